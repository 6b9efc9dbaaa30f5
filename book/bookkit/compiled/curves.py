"""Learning curves of nets that train side by side in one thread."""

import functools
import time
import typing

import numpy as np

from bookkit import record
from bookkit.compiled import network, sparse, steps, units
from bookkit.data import Data
from bookkit.parameters import SEVERAL_PASSES
from bsn.spec import BATCH_SIZE, RECORD_EVERY

# Philox streams under a net's seed from here on; those below are the layers' initial values
SHUFFLING = 1 << 32
TRAINING, RECORD, EPOCH, SECOND = range(4)  # uses of noise; the last is of another sample


class Part(typing.NamedTuple):
    images: sparse.Rows
    labels: np.ndarray
    pixels: int
    source: Data


@functools.lru_cache(maxsize=6)
def load_part(data, part):
    images, labels = data.parts[part]
    return Part(sparse.rows(images), labels, images.shape[1], data)


def train_together(specs, data, advance):
    """Train nets of one batch key, side by side, in this thread.

    Args:
        specs: the nets'; data: their `bookkit.data.Data`.
        advance: called with each number of net-steps just done; what it raises ends the training.

    Returns:
        A `bookkit.record.row` for each.
    """
    started = time.perf_counter()
    points, diverged = _learning_curves(specs, data, advance)
    seconds = (time.perf_counter() - started) / len(specs)
    return [
        record.row(spec, data, [(*point, values[i]) for *point, values in points], diverged[i], seconds)
        for i, spec in enumerate(specs)
    ]


def _learning_curves(specs, data, advance):
    """The points of nets of one batch key, (epochs completed, steps, metric, values [R]); diverged [R]."""
    common, nets = specs[0], len(specs)
    trained, evaluated = (load_part(data, part) for part in (common.train_on, common.evaluate_on))
    widths = np.array([*common.hidden, data.classes])
    first, upper = network.side_by_side(
        [network.initial_parameters(common.seed, [trained.pixels, *widths], common.zero_biases)] * nets
    )
    moments = network.initial_moments(nets, sum(common.hidden))
    diverged = np.full(nets, -1)
    order = shuffled_batches(common.seed, len(trained.labels), common.epochs * common.steps_per_epoch)
    estimator = units.CODES[common.estimator]
    learning_rate = np.array([spec.learning_rate for spec in specs], np.float32)
    train_stochastic = np.array([spec.train_mode == "stochastic" for spec in specs])
    eval_stochastic = np.array([spec.eval_mode == "stochastic" for spec in specs])
    rates = np.array([spec.slope_rate for spec in specs])
    in_training = np.array([spec.slope_in_training for spec in specs])
    in_evaluation = np.array([spec.slope_in_evaluation for spec in specs])
    points = []

    # reused: memory asked for and given back at each record slows down both threads
    hidden = sum(common.hidden)
    noise = np.empty([RECORD_EVERY + 1, BATCH_SIZE, hidden], np.float32)
    second = np.empty_like(noise if common.estimator == "leave-one-out" else noise[:0])
    eval_noise = np.empty([len(evaluated.labels), hidden], np.float32)

    def train(start, end, epoch):
        slope = np.where(in_training, rates**epoch, 1).astype(np.float32)
        drawn = uniform_noise(common.seed, start, TRAINING, noise[: end - start])
        if common.estimator in SEVERAL_PASSES:
            other = uniform_noise(common.seed, start, SECOND, second[: end - start])
            summed = steps.train(
                first, upper, diverged, trained.images, trained.labels, order[start:end], drawn, other,
                learning_rate, estimator, common.stable_loss, widths, start,
            )  # fmt: skip
        else:
            summed = network.train(
                first, upper, moments, diverged, trained.images, trained.labels, order[start:end], drawn,
                slope, train_stochastic, learning_rate, estimator, common.stable_loss, widths, start,
            )  # fmt: skip
        advance(nets * (end - start))
        return summed

    def evaluate(epoch, step, kind):
        slope = np.where(in_evaluation, rates**epoch, 1).astype(np.float32)
        drawn = uniform_noise(common.seed, step, kind, eval_noise)
        return network.accuracy(
            first, upper, evaluated.images, evaluated.labels, drawn, slope, eval_stochastic, estimator, widths
        )

    points.append((0, 0, "epoch", evaluate(0, 0, EPOCH)))
    step = 0
    for epoch in range(common.epochs):
        end = step + common.steps_per_epoch
        # the post records after the batches numbered 100, 200, ..., counting from 0
        for recorded in range(step + RECORD_EVERY + 1, end + 1, RECORD_EVERY):
            points.append((epoch, recorded, "training", train(step, recorded, epoch) / RECORD_EVERY))
            points.append((epoch, recorded, "validation", evaluate(epoch, recorded, RECORD)))
            step = recorded
        if step < end:
            train(step, end, epoch)
        step = end
        points.append((epoch + 1, step, "epoch", evaluate(epoch + 1, step, EPOCH)))
    return points, diverged


def shuffled_batches(seed, examples, steps):
    """Indices [steps, 50]: the data shuffled, walked through once, shuffled again, and so on.

    A batch may straddle two passes, as in the reader of the old TensorFlow tutorial.
    """
    passes = -(-steps * BATCH_SIZE // examples)
    order = np.concatenate([_random(seed, SHUFFLING + i).permutation(examples) for i in range(passes)])
    return order[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE).astype(np.int32)


def uniform_noise(seed, step, kind, out):
    """Fill `out` with noise, uniform on [0, 1): that of a seed, of a step, and of what it is for."""
    bits = np.random.SFC64(np.random.SeedSequence([seed, step, kind]))  # the fastest there is
    return np.random.Generator(bits).random(out=out, dtype=np.float32)


def _random(seed, stream):
    return np.random.Generator(np.random.Philox(key=[seed, stream]))
