"""How much of a sampler's gradient in a deep net's first layer is signal, and how much is noise."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bookkit.compiled import network
from bookkit.data import Data
from bsn.backend import Tensor, tf
from bsn.estimators import gradient, lookup
from bsn.spec import BATCH_SIZE

CHUNK = 16  # draws of the noise per call
GUMBELS = 10  # K of Gumbel-Rao, as in the trainer


def signal_and_noise(
    names: Iterable[str], depths: Iterable[int], width: int, data: Data, draws: int = 128, seed: int = 1
) -> pd.DataFrame:
    """Measure the gradient with respect to the first layer's logits of the post's net, before training.

    Args:
        names: samplers of `bsn.estimators.ESTIMATORS`.
        depths: numbers of hidden layers, of `width` units each.
        data: the loss is that of its first 50 training images.
        draws: of the noise, at least two; rounded up to a multiple of 16.
        seed: of the initial values and the noise.

    Returns:
        One row per depth and sampler: `depth`, `estimator`, `signal`, the length of the mean over draws
        minus what their noise adds to it; `noise`, the root of the variance, summed over images and units;
        and `ratio`, signal / noise.
    """
    images, labels = (array[:BATCH_SIZE] for array in data.parts["train"])
    images, targets = tf.constant(images, tf.float32), tf.one_hot(labels, data.classes)
    rows = []
    for depth in depths:
        layers = network.initial_parameters(seed, [images.shape[1], *[width] * depth, data.classes])
        for name in names:
            g = _gradients(name, layers, images, targets, draws, seed)
            mean, variance = g.mean(0), g.var(0, ddof=1).sum()
            signal = np.sqrt(max(np.sum(mean**2) - variance / len(g), 0))
            rows.append((depth, name, signal, np.sqrt(variance), signal / np.sqrt(variance)))
    return pd.DataFrame(rows, columns=["depth", "estimator", "signal", "noise", "ratio"])


def _gradients(
    name: str, layers: network.Parameters, images: Tensor, targets: Tensor, draws: int, seed: int
) -> np.ndarray:
    """Return gradients [draws, B, H] in float64."""
    entry, rng = lookup(name), np.random.default_rng(seed)
    planes = () if entry.noise in (0, 1) else (1 + GUMBELS,)
    (weights, biases), *above, (last, offset) = layers
    logits = tf.repeat((images @ weights + biases)[None], CHUNK, 0)
    noise: list[Tensor] = []

    def loss(h: Tensor) -> Tensor:
        for (weights, biases), u in zip(above, noise[1:]):
            h = entry.function(h @ weights + biases, u)
        z = h @ last + offset
        labels = tf.broadcast_to(targets, tf.shape(z))
        return tf.nn.softmax_cross_entropy_with_logits(labels, z) / targets.shape[1]

    parts = []
    for _ in range(-(-draws // CHUNK)):
        shapes = [(*planes, CHUNK, len(images), len(biases)) for _, biases in layers[:-1]]
        noise = [tf.constant(rng.random(shape, np.float32)) for shape in shapes]
        parts.append(gradient(name, loss, logits, noise[0])[0].numpy().astype(float))
    return np.concatenate(parts)
