"""The post's learning curves of many nets: which mini-batches, noise and evaluations, and in what order.

Nets that agree in all but learning rate, slopes and modes train side by side and share their mini-batches and
noise, so that settings are compared in pairs; up to rounding, none depends on the others.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsn import training
from bsn.backend import Tensor, tf
from bsn.errors import refusal
from bsn.estimators import ESTIMATORS, sample, sigmoid
from bsn.spec import BATCH_SIZE, RECORD_EVERY, Spec
from bsn.training import Function, Layers, behaviour, forward, train_step

Part = tuple[np.ndarray, np.ndarray]  # images [N, D] and labels [N]

# Philox streams under a net's seed from here on; those below are the layers' initial values
SHUFFLING = 1 << 32
TRAINING, RECORD, EPOCH, SECOND = range(4)  # uses of noise; the last is of leave-one-out's other sample
EVALUATED_TOGETHER = 1000  # images
WAYS = {  # of evaluation: mode, and whether the slope is that after the last epoch, else 1; rounding has none
    "stochastic": ("stochastic", False),
    "stochastic annealed": ("stochastic", True),
    "deterministic": ("deterministic", True),
}
DIFFER = "learning_rate slope_rate slope_in_training slope_in_evaluation train_mode eval_mode".split()


class Curve(NamedTuple):
    """The learning curve of one net, and the step at which it diverged.

    Attributes:
        points: (epochs completed, steps, metric, accuracy). The metrics are those of the post: "training",
            the sum of the batch accuracies since the last record divided by 100 (an epoch's first sum holds
            101 of them), and "validation", at the same points; "epoch", before the first epoch and after
            each one, with the slope already increased for the next. If requested, those for all `WAYS` come
            last, including the spec's own: for example, "evaluated stochastic annealed", on the part that the
            spec evaluates on, and "trained stochastic annealed", on the part trained on, or as many of its
            first images as the other part has.
        diverged: the first step whose loss was not finite, or -1.
    """

    points: list[tuple[int, int, str, float]]
    diverged: int


class Nets:
    """R nets of one shape and seed, trained by `bsn.training.train_step` and compiled by XLA.

    Another engine of `train` has the same `diverged`, `train` and `evaluate`. Noise is uniform, [..., S] for
    the hidden units of all layers; slope and stochastic are [R].

    Attributes:
        diverged: the first step whose loss was not finite, or -1, [R].
        layers: first those from the pixels `live` on, [D]; the others are black in all examples.
    """

    def __init__(self, specs: Sequence[Spec], parts: Mapping[str, Part], classes: int) -> None:
        common, count = specs[0], len(specs)
        both = parts[common.train_on], parts[common.evaluate_on]
        # the weights of other pixels make no difference
        self.live = live = np.any([images.any(axis=0) for images, _ in both], axis=0)
        [(weights, biases), *upper] = initial_layers(common, len(live), classes)
        self.layers = side_by_side([(weights[live], biases), *upper], count)
        widths = [int(live.sum()), *common.hidden, classes]
        self.states = initial_states(common, widths, count)
        self.diverged = np.full(count, -1)
        self._rate = np.array([[[spec.learning_rate]] for spec in specs], np.float32)
        self._trained, self._evaluated = (
            (tf.constant(np.compress(live, images, axis=1)), tf.constant(labels, tf.int32))
            for images, labels in both
        )
        self._steps = training_program(common.estimator, common.stable_loss, common.temperature)
        self._count_right = evaluation_program(sigmoid if common.estimator == "sigmoid" else sample)
        self._traced: dict[str, Any] = {}

    def train(
        self, rows: np.ndarray, noise: np.ndarray, step: int, slope: np.ndarray, stochastic: np.ndarray
    ) -> np.ndarray:
        """Train on mini-batches of the examples `rows` [steps, B], the first of which is number `step`.

        Returns the accuracies before each step, summed over the steps, [R].
        """
        steps = np.array(len(rows), np.int32)
        # always as long, so that it is one program
        padded = [np.resize(array, [RECORD_EVERY + 1, *array.shape[1:]]) for array in (rows, noise)]
        state = self.layers, self.states, *self._trained
        self.layers, self.states, right, first_bad = self._call(
            "train", self._steps, *state, *padded, steps, self._rate, slope, stochastic
        )
        bad = first_bad.numpy()
        self.diverged = np.where((self.diverged < 0) & (bad >= 0), step + bad, self.diverged)
        return right.numpy() / rows.shape[1]

    def evaluate(
        self, noise: np.ndarray, slope: np.ndarray, stochastic: np.ndarray, trained: bool = False
    ) -> np.ndarray:
        """Return the accuracies, [R], on the images to evaluate, or the first of those trained on.

        There is noise for each image.
        """
        examples = [array[: len(noise)] for array in self._trained] if trained else self._evaluated
        use = f"evaluate on {len(noise)}"
        right = self._call(use, self._count_right, self.layers, *examples, noise, slope, stochastic)
        return right.numpy() / len(noise)

    def _call(self, use: str, program: Any, *arguments: Any) -> Any:
        """Call a program that is traced for each shape of nets: TensorFlow would warn of the fifth."""
        if use not in self._traced:
            self._traced[use] = program.get_concrete_function(*arguments)
        return self._traced[use](*arguments)


def per_layer(layers: Layers, noise: Tensor, stochastic: Tensor) -> list[Tensor]:
    """Return the noise of each hidden layer, [..., R, B, H], from [..., B, S]; 1/2 makes units round."""
    if noise.shape.rank > 2:  # two uniforms per unit
        noise = noise[:, None]
    noise = tf.where(stochastic[:, None, None], noise, 0.5)
    return tf.split(noise, [weights.shape[-1] for weights, _ in layers[:-1]], axis=-1)


@functools.cache
def training_program(estimator: str, stable_loss: bool, temperature: float) -> Function:
    """Return the training of R nets; XLA compiles it once for equal shapes."""
    loss = training.cross_entropy if stable_loss else training.log_of_softmax

    def flipped(layers: Layers) -> Layers:
        """Return the layers with the first weights as [D, R, H], for one wide product without a copy."""
        (weights, biases), *upper = layers
        return [(tf.transpose(weights, [1, 0, 2]), biases), *upper]

    @tf.function(jit_compile=True, autograph=False)
    def train(layers, states, images, labels, rows, noise, steps, rate, slope, stochastic):  # type: ignore
        unit, estimate = behaviour(estimator, slope[:, None, None], rate, temperature)

        def step(t, layers, states, right, first_bad):  # type: ignore
            x, y = tf.gather(images, rows[t]), tf.gather(labels, rows[t])
            u = per_layer(layers, noise[t], stochastic)
            results = train_step(flipped(layers), states, x, y, u, rate, unit, estimate, loss)
            layers, states, losses, logits = results
            bad = (first_bad < 0) & ~tf.math.is_finite(tf.reduce_sum(losses, -1))
            right += count_right(logits, y)
            return t + 1, flipped(layers), states, right, tf.where(bad, t, first_bad)

        nets = rate.shape[0]
        start = 0, flipped(layers), states, tf.zeros([nets], tf.int32), tf.fill([nets], -1)
        layers, *others = tf.while_loop(lambda t, *_: t < steps, step, start)[1:]
        return flipped(layers), *others

    return train


@functools.cache
def evaluation_program(unit: Function) -> Function:
    """Return the evaluation of R nets whose units are `unit`, the same for all estimators that sample."""

    @tf.function(jit_compile=True, autograph=False)
    def evaluate(layers, images, labels, noise, slope, stochastic):  # type: ignore
        def sloped(a: Tensor, u: Tensor) -> Tensor:
            return unit(a, u, slope[:, None, None])

        def count(x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
            return count_right(forward(layers, x, per_layer(layers, noise, stochastic), sloped), y)

        # some at a time, so that what is read again stays in the processor's cache
        arrays, examples = (images, labels, noise), images.shape[0]
        groups = -(-examples // EVALUATED_TOGETHER)
        even = examples - examples % groups
        grouped = [tf.reshape(array[:even], [groups, -1, *array.shape[1:]]) for array in arrays]
        right = tf.map_fn(lambda group: count(*group), grouped, fn_output_signature=tf.int32)
        return tf.reduce_sum(right, 0) + count(*(array[even:] for array in arrays))

    return evaluate


def count_right(logits: Tensor, y: Tensor) -> Tensor:
    """Return how many predictions are right, [R]; NaN predicts class 0."""
    q = tf.nn.softmax(logits)
    predicted = tf.argmax(tf.where(tf.math.is_nan(q), 0.0, q), axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(predicted == y, tf.int32), axis=-1)


def side_by_side(arrays: Any, nets: int) -> Any:
    """Return equal nets as one: each array of a net `nets` times, [R, ...], and vectors as [R, 1, out]."""
    return tf.nest.map_structure(lambda x: tf.stack([x[None] if x.ndim == 1 else x] * nets), arrays)


def initial_layers(spec: Spec, inputs: int, classes: int) -> Layers:
    """Return the layers of a spec's net before training."""
    widths = [inputs, *spec.hidden, classes]
    streams = [np.random.Philox(key=[spec.seed, layer]) for layer in range(len(widths) - 1)]
    layers = training.init([np.random.Generator(stream) for stream in streams], widths)
    return [(weights, np.zeros_like(biases) if spec.zero_biases else biases) for weights, biases in layers]


def initial_states(spec: Spec, widths: Sequence[int], nets: int) -> list[Any]:
    """Return what the estimator keeps for each hidden layer of R nets, at first; () if nothing."""
    rng = np.random.default_rng(spec.seed)

    def of_layer(inputs: int, units: int) -> Any:
        if spec.estimator == "nvil":
            return side_by_side((np.zeros([inputs, 1], "float32"), np.zeros(1, "float32")), nets)
        if spec.estimator == "relax":
            hidden, (weights, bias) = training.init([rng, rng], [units, training.SURROGATE_UNITS, 1])
            return side_by_side([np.ones(1, "float32"), hidden, (0 * weights, 0 * bias)], nets)
        initial = ESTIMATORS[spec.estimator].initial
        return initial(tf.zeros([nets, 1, units])) if initial else ()

    return [of_layer(*shape) for shape in zip(widths, widths[1:-1])]


def train(
    specs: Sequence[Spec],
    parts: Mapping[str, Part],
    classes: int = 10,
    advance: Callable[[int], object] = lambda steps: None,
    engine: Callable[[list[Spec]], Any] | None = None,
    all_ways: bool = False,
) -> list[Curve]:
    """Train a net for each spec; return their learning curves.

    Args:
        parts: images [N, D] and labels [N] for each of `bsn.spec.PARTS` that a spec names.
        classes: C, how many labels there are.
        advance: called repeatedly with the number of net-steps just done; any exception that it raises ends
            the training.
        engine: specs that train side by side -> their nets, like `Nets`, the default.
        all_ways: whether to evaluate in all `WAYS` after the last epoch.

    Raises:
        InputError: `specs` is not a list of `Spec` objects.
    """
    if not isinstance(specs, list | tuple) or not all(isinstance(spec, Spec) for spec in specs):
        raise refusal("train: specs", specs, "a list of bsn.Spec")
    curves: dict[int, Curve] = {}
    for together in alike(specs):
        group = [specs[i] for i in together]
        nets = engine(group) if engine else Nets(group, parts, classes)
        curves |= zip(together, _learning_curves(group, nets, parts, advance, all_ways))
    return [curves[i] for i in range(len(specs))]


def alike(specs: Sequence[Spec]) -> list[list[int]]:
    """Return the positions of the specs, those that can train side by side together."""
    groups: dict[Spec, list[int]] = {}
    for i, spec in enumerate(specs):
        plain = Spec(estimator=spec.estimator, learning_rate=1.0)
        common = dataclasses.replace(spec, **{name: getattr(plain, name) for name in DIFFER})
        groups.setdefault(common, []).append(i)
    return list(groups.values())


def _learning_curves(
    specs: Sequence[Spec],
    nets: Any,
    parts: Mapping[str, Part],
    advance: Callable[[int], object],
    all_ways: bool,
) -> list[Curve]:
    common, hidden = specs[0], sum(specs[0].hidden)
    trained, examples = len(parts[common.train_on][1]), len(parts[common.evaluate_on][1])
    order = shuffled_batches(common.seed, trained, common.epochs * common.steps_per_epoch)
    points: list[tuple[int, int, str, np.ndarray]] = []

    def options(epoch: int, annealed: str, mode: str) -> tuple[np.ndarray, np.ndarray]:
        slopes = [spec.slope_rate**epoch if getattr(spec, annealed) else 1 for spec in specs]
        return np.array(slopes, np.float32), np.array([getattr(spec, mode) == "stochastic" for spec in specs])

    def steps(start: int, end: int, epoch: int) -> np.ndarray:
        noise = training_noise(common, start, end)
        how = options(epoch, "slope_in_training", "train_mode")
        summed = nets.train(order[start:end], noise, start, *how)
        advance(len(specs) * (end - start))
        return summed

    def accuracy(epoch: int, step: int, use: int) -> np.ndarray:
        noise = uniform_noise(common.seed, step, use, [examples, hidden])
        return nets.evaluate(noise, *options(epoch, "slope_in_evaluation", "eval_mode"))

    points.append((0, 0, "epoch", accuracy(0, 0, EPOCH)))
    step = 0
    for epoch in range(common.epochs):
        end = step + common.steps_per_epoch
        # the post records after the batches numbered 100, 200, ..., counting from 0
        for recorded in range(step + RECORD_EVERY + 1, end + 1, RECORD_EVERY):
            points.append((epoch, recorded, "training", steps(step, recorded, epoch) / RECORD_EVERY))
            points.append((epoch, recorded, "validation", accuracy(epoch, recorded, RECORD)))
            step = recorded
        if step < end:
            steps(step, end, epoch)
        step = end
        points.append((epoch + 1, step, "epoch", accuracy(epoch + 1, step, EPOCH)))
    for name, (mode, annealed) in WAYS.items() if all_ways else ():
        noise = uniform_noise(common.seed, step, EPOCH, [examples, hidden])
        slope = np.array([spec.slope_rate**common.epochs if annealed else 1 for spec in specs], np.float32)
        how = slope, np.full(len(specs), mode == "stochastic")
        for role, on in (("evaluated", noise), ("trained", noise[:trained])):
            values = nets.evaluate(on, *how, role == "trained")
            points.append((common.epochs, step, f"{role} {name}", values))
    return [
        Curve([(epochs, n, metric, float(values[i])) for epochs, n, metric, values in points], int(diverged))
        for i, diverged in enumerate(nets.diverged)
    ]


def training_noise(spec: Spec, start: int, end: int) -> np.ndarray:
    """Return the noise of steps `start` to `end`, [steps, B, S], or leave-one-out's, [steps, 2, B, S]."""
    shape = [end - start, BATCH_SIZE, sum(spec.hidden)]
    noise = uniform_noise(spec.seed, start, TRAINING, shape)
    if ESTIMATORS[spec.estimator].noise == "K":
        return np.stack([noise, uniform_noise(spec.seed, start, SECOND, shape)], axis=1)
    return noise


def shuffled_batches(seed: int, examples: int, steps: int) -> np.ndarray:
    """Return indices [steps, 50]: the data shuffled, walked through once, shuffled again, and so on.

    A batch may straddle two passes, as in the reader of the old TensorFlow tutorial.
    """
    passes = -(-steps * BATCH_SIZE // examples)
    streams = [np.random.Philox(key=[seed, SHUFFLING + i]) for i in range(passes)]
    order = np.concatenate([np.random.Generator(stream).permutation(examples) for stream in streams])
    return order[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE).astype(np.int32)


def uniform_noise(seed: int, step: int, use: int, shape: Sequence[int]) -> np.ndarray:
    """Return the noise of a seed, a step and a use, uniform on [0, 1): multiples of 2 ** -24.

    It is what `numpy.random.Generator.random` returns, in half the time.
    """
    bits, count = np.random.SFC64(np.random.SeedSequence([seed, step, use])), math.prod(shape)
    halves = bits.random_raw(-(-count // 2)).astype("<u8", copy=False).view("<u4")[:count]
    halves >>= 8
    return (halves.astype(np.float32) * np.float32(2**-24)).reshape(shape)
