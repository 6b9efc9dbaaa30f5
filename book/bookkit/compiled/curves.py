"""Learning curves of nets that train side by side in one thread."""

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np

from bookkit import record
from bookkit.compiled import network, sparse, steps, units
from bookkit.data import Data
from bsn.spec import BATCH_SIZE, RECORD_EVERY, Spec

Point = tuple[int, int, str, np.ndarray]  # epochs completed, steps, metric, values [R]

# Philox streams under a net's seed from here on; those below are the layers' initial values
SHUFFLING = 1 << 32
TRAINING, RECORD, EPOCH, SECOND = range(4)  # uses of noise; the last is of another sample


@functools.lru_cache(maxsize=6)
def load_part(data: Data, part: str) -> network.Examples:
    """Return a part of the data as the compiled training reads it."""
    images, labels = data.parts[part]
    return network.Examples(sparse.rows(images), labels)


def train_together(specs: Sequence[Spec], data: Data, advance: Callable[[int], None]) -> list[record.Row]:
    """Train nets of one batch key, side by side, in this thread; return a `bookkit.record.row` for each.

    `advance` is called with each number of net-steps just done; what it raises ends the training.
    """
    started = time.perf_counter()
    points, diverged = _learning_curves(specs, data, advance)
    seconds = (time.perf_counter() - started) / len(specs)
    return [
        record.row(spec, data, [(*point, values[i]) for *point, values in points], diverged[i], seconds)
        for i, spec in enumerate(specs)
    ]


def _learning_curves(
    specs: Sequence[Spec], data: Data, advance: Callable[[int], None]
) -> tuple[list[Point], np.ndarray]:
    """Return the points of nets of one batch key, and the steps that diverged, [R]."""
    common, count = specs[0], len(specs)
    trained, evaluated = (load_part(data, part) for part in (common.train_on, common.evaluate_on))
    widths = [data.parts[common.train_on][0].shape[1], *common.hidden, data.classes]
    nets = network.side_by_side([network.initial_parameters(common.seed, widths, common.zero_biases)] * count)
    order = shuffled_batches(common.seed, len(trained.labels), common.epochs * common.steps_per_epoch)
    rates = np.array([spec.slope_rate for spec in specs])
    points: list[Point] = []

    def options(epoch: int, annealed: list[bool], modes: list[str]) -> network.Options:
        return network.Options(
            units.CODES[common.estimator],
            common.stable_loss,
            np.array([spec.learning_rate for spec in specs], np.float32),
            np.where(annealed, rates**epoch, 1).astype(np.float32),
            np.array([mode == "stochastic" for mode in modes]),
        )

    # reused: memory allocated and freed at each record slows down both threads
    hidden = sum(common.hidden)
    noise = np.empty([RECORD_EVERY + 1, BATCH_SIZE, hidden], np.float32)
    second = np.empty_like(noise if common.estimator == "leave-one-out" else noise[:0])
    eval_noise = np.empty([len(evaluated.labels), hidden], np.float32)

    def train(start: int, end: int, epoch: int) -> np.ndarray:
        how = options(epoch, [spec.slope_in_training for spec in specs], [spec.train_mode for spec in specs])
        drawn = uniform_noise(common.seed, start, TRAINING, noise[: end - start])
        other = uniform_noise(common.seed, start, SECOND, second[: end - start])
        summed = steps.train(nets, how, trained, order[start:end], drawn, other, start)
        advance(count * (end - start))
        return summed

    def evaluate(epoch: int, step: int, use: int) -> np.ndarray:
        how = options(epoch, [spec.slope_in_evaluation for spec in specs], [spec.eval_mode for spec in specs])
        drawn = uniform_noise(common.seed, step, use, eval_noise)
        return network.accuracy(nets, how, evaluated, drawn)

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
    return points, nets.diverged


def shuffled_batches(seed: int, examples: int, steps: int) -> np.ndarray:
    """Return indices [steps, 50]: the data shuffled, walked through once, shuffled again, and so on.

    A batch may straddle two passes, as in the reader of the old TensorFlow tutorial.
    """
    passes = -(-steps * BATCH_SIZE // examples)
    streams = [np.random.Philox(key=[seed, SHUFFLING + i]) for i in range(passes)]
    order = np.concatenate([np.random.Generator(stream).permutation(examples) for stream in streams])
    return order[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE).astype(np.int32)


def uniform_noise(seed: int, step: int, use: int, out: np.ndarray) -> np.ndarray:
    """Fill `out` with the noise of a seed, a step and a use, uniform on [0, 1), and return it."""
    bits = np.random.SFC64(np.random.SeedSequence([seed, step, use]))  # the fastest there is
    return np.random.Generator(bits).random(out=out, dtype=np.float32)
