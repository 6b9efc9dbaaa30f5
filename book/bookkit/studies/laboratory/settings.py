"""Where estimators are measured: one unit, random quadratics, and the post's net with a small layer."""

import typing
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bookkit import engines
from bookkit.data import Data
from bsn import curves
from bsn.backend import Loss, Tensor, tf
from bsn.spec import BATCH_SIZE, RECORD_EVERY, Spec
from bsn.training import Layers


class Setting(typing.NamedTuple):
    """P points, each a loss and a batch of E examples with H units."""

    loss: Loss  # f, maps [..., P, E, H] to [..., P, E]
    logits: np.ndarray  # [P, E, H]
    gram: np.ndarray  # [P, E, E], dot products of the examples' inputs
    points: pd.DataFrame  # one row per point, that says which it is


def one_unit(targets: Sequence[float], logits: Sequence[float]) -> Setting:
    """Take (b - t)^2 for each target t, at each of some logits."""
    table = pd.MultiIndex.from_product([targets, logits], names=["target", "logit"]).to_frame(index=False)
    target, logit = table[["target", "logit"]].to_numpy().T[..., None]
    gram = np.ones([len(table), 1, 1])
    return Setting(lambda b: tf.square(b[..., 0] - target), logit[..., None], gram, table)


def quadratics(problems: int, units: int, seed: int) -> Setting:
    """Draw b Q b + w b of some units, all numbers normal, at random logits of deviation 1."""
    rng = np.random.default_rng(seed)
    matrix, vector = rng.normal(size=(problems, units, units)), rng.normal(size=(problems, 1, units))
    logits = rng.normal(size=(problems, 1, units))

    def loss(b: Tensor) -> Tensor:
        return tf.reduce_sum((tf.matmul(b, matrix) + vector) * b, -1)

    table = pd.DataFrame({"problem": range(1, problems + 1)})
    return Setting(loss, logits, np.ones([problems, 1, 1]), table)


def nets(
    seeds: Sequence[int], width: int, data: Data, checkpoints: Sequence[int], learning_rate: float
) -> Setting:
    """Train the post's net with one small hidden layer; take its first 50 training images at checkpoints.

    Args:
        seeds: one net per seed, trained as in the post, with the sigmoid-adjusted estimator.
        width: number of hidden units.
        checkpoints: numbers of training steps.
    """
    checkpoints, (images, labels) = sorted(checkpoints), data.parts["train"]
    images, labels = images[:BATCH_SIZE].astype(float), labels[:BATCH_SIZE]
    trained = [
        [array.astype(float) for layer in layers for array in layer]
        for seed in seeds
        for layers in _trained(seed, width, data, checkpoints, learning_rate)
    ]
    weights, bias, last, shift = map(np.array, zip(*trained))
    table = pd.MultiIndex.from_product([seeds, checkpoints], names=["net", "step"]).to_frame(index=False)
    targets = np.eye(data.classes)[labels]

    def loss(h: Tensor) -> Tensor:
        z = tf.matmul(h, last) + shift[:, None]
        return (tf.reduce_logsumexp(z, -1) - tf.reduce_sum(z * targets, -1)) / data.classes

    gram = np.repeat((images @ images.T + 1)[None], len(table), 0)  # the 1 is the bias's
    return Setting(loss, images @ weights + bias[:, None], gram, table)


def _trained(
    seed: int, width: int, data: Data, checkpoints: Sequence[int], learning_rate: float
) -> Iterator[Layers]:
    """Yield the two layers of one net after each of some numbers of steps."""
    fields: dict[str, Any] = dict(stable_loss=True, hidden=(width,), seed=seed)
    spec = Spec(estimator="sigmoid-adjusted", learning_rate=learning_rate, **fields)
    net, slope, stochastic = curves.Nets([spec], data.parts, data.classes), np.ones(1, "f"), np.array([True])
    order = curves.shuffled_batches(seed, len(data.parts["train"][1]), max(*checkpoints, 1))
    for start, end in zip([0, *checkpoints], checkpoints):
        noise = curves.uniform_noise(seed, start, curves.TRAINING, [end - start, BATCH_SIZE, width])
        for step in range(start, end, RECORD_EVERY):
            stop = min(step + RECORD_EVERY, end)
            net.train(order[step:stop], noise[step - start : stop - start], step, slope, stochastic)
        yield engines.layers_of(net, 0)
