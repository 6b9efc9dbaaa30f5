"""Where estimators are measured: one unit, random quadratics, and the post's net with a small layer."""

import typing

import numpy as np
import pandas as pd

from bookkit.compiled import curves, network, units
from bsn.backend import tf
from bsn.spec import BATCH_SIZE


class Setting(typing.NamedTuple):
    """Where estimators are measured.

    Attributes:
        loss: f, maps [..., P, E, H] to [..., P, E].
        logits: [P, E, H].
        gram: [P, E, E], dot products of the examples' inputs.
        points: a DataFrame, a row a point, that says which it is.
        repeat: the column of `points` that counts independent repetitions; None where there are none.
    """

    loss: typing.Callable
    logits: np.ndarray
    gram: np.ndarray
    points: pd.DataFrame
    repeat: str | None = None


def adam(slopes, values, steps, rate, fading=False):
    """Adam from `values`, a list of arrays; yields them before each step and after the last.

    A fading rate falls to 0 along a line.

    Reference: Kingma, Ba 2015, arXiv:1412.6980.
    """
    first, second = [0.0] * len(values), [0.0] * len(values)
    yield values
    for step in range(1, steps + 1):
        gradients = [np.asarray(gradient) for gradient in slopes(values)]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients)]
        root = [np.sqrt(v / (1 - 0.999**step)) + 1e-12 for v in second]
        now = rate * (1 - (step - 1) / steps if fading else 1)
        values = [x - now * m / (1 - 0.9**step) / r for x, m, r in zip(values, first, root)]
        yield values


def one_unit(targets, steps, points):
    """(b - t)^2 for each target t, at some points of the descent with the exact gradient by Adam at 0.01."""
    target = np.repeat(targets, points)

    def slopes(values):
        p = 1 / (1 + np.exp(-values[0]))
        return [p * (1 - p) * (1 - 2 * np.array(targets))]

    path = np.array([values[0] for values in adam(slopes, [np.zeros(len(targets))], steps, 0.01)])
    at = np.linspace(0, steps, points).round().astype(int)
    logits = path[at].T.ravel()
    table = pd.DataFrame({"target": target, "step": np.tile(at, len(targets)), "logit": logits})
    return Setting(
        lambda b: tf.square(b[..., 0] - target[:, None]),
        logits[:, None, None], np.ones([len(target), 1, 1]), table,
    )  # fmt: skip


def quadratics(problems, units, seed):
    """Random b Q b + w b of some units, all numbers normal, at random logits of deviation 1."""
    rng = np.random.default_rng(seed)
    matrix, vector = rng.normal(size=(problems, units, units)), rng.normal(size=(problems, 1, units))
    table = pd.DataFrame({"problem": range(1, problems + 1)})
    logits = rng.normal(size=(problems, 1, units))
    return Setting(
        lambda b: tf.reduce_sum((tf.matmul(b, matrix) + vector) * b, -1),
        logits, np.ones([problems, 1, 1]), table, "problem",
    )  # fmt: skip


def nets(seeds, width, data, checkpoints, learning_rate):
    """The post's net with one small hidden layer, at checkpoints of its training, on one batch.

    It is trained as the post trains, with the sigmoid-adjusted estimator; measured on the first 50 images
    of the training part.
    """
    images, labels = data.parts["train"]
    images, labels = images[:BATCH_SIZE].astype(float), labels[:BATCH_SIZE]
    below, above, offset, table = [], [], [], []
    for seed in seeds:
        for step, ((weights, bias), (upper, last)) in zip(
            checkpoints, _trained(seed, width, data, checkpoints, learning_rate)
        ):
            below.append(images @ weights.astype(float) + bias)
            above.append(upper)
            offset.append(last)
            table.append((seed, step))
    above, offset = np.array(above, float), np.array(offset, float)[:, None]
    answer = np.eye(data.classes)[labels]

    def loss(h):
        z = tf.matmul(h, above) + offset
        return (tf.reduce_logsumexp(z, -1) - tf.reduce_sum(z * answer, -1)) / data.classes

    gram = np.repeat((images @ images.T + 1)[None], len(table), 0)  # the 1 is the bias's
    return Setting(loss, np.array(below), gram, pd.DataFrame(table, columns=["net", "step"]), "net")


def _trained(seed, width, data, checkpoints, learning_rate):
    """[(W, b), (W, b)] of one net after each of some numbers of steps."""
    part, pixels = curves.load_part(data, "train"), data.parts["train"][0].shape[1]
    net = network.side_by_side([network.initial_parameters(seed, [pixels, width, data.classes])])
    order = curves.shuffled_batches(seed, len(part.labels), max(max(checkpoints), 1))
    options = network.Options(
        units.CODES["sigmoid-adjusted"], True,
        np.array([learning_rate], np.float32), np.ones(1, np.float32), np.array([True]),
    )  # fmt: skip
    done = 0
    for step in checkpoints:
        if step > done:
            noise = np.empty([step - done, BATCH_SIZE, width], np.float32)
            drawn = curves.uniform_noise(seed, done, curves.TRAINING, noise)
            network.train(net, options, part, order[done:step], drawn, done)
            done = step
        bias, weights, last = np.split(net.upper[0].copy(), np.cumsum([width, width * data.classes]))
        yield (net.first.copy(), bias), (weights.reshape(width, data.classes), last)
