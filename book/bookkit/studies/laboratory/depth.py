"""How much of a sampler's gradient in a deep net's first layer is signal, and how much is noise."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bookkit.data import Data
from bsn.backend import tf
from bsn.curves import initial_layers
from bsn.estimators import lookup
from bsn.spec import BATCH_SIZE, Spec

GUMBELS = 10  # K of Gumbel-Rao, as in the trainer


def signal_and_noise(
    names: Iterable[str], depths: Iterable[int], width: int, data: Data, draws: int = 128, seed: int = 1
) -> pd.DataFrame:
    """Measure the gradient with respect to the first layer's logits of the post's net, before training.

    The loss is that of the first 50 training images, with all `draws` of the noise, at least two, in memory.

    Returns:
        One row per depth and sampler: `depth`, `estimator`, `signal`, the length of the mean over draws
        minus what their noise adds to it; `noise`, the root of the variance, summed over images and units;
        and `ratio`, signal / noise.
    """
    images, labels = (array[:BATCH_SIZE] for array in data.parts["train"])
    targets = tf.one_hot(np.tile(labels, (draws, 1)), data.classes)
    rows = []
    for depth in depths:
        spec = Spec(estimator="sigmoid-adjusted", learning_rate=1.0, hidden=(width,) * depth, seed=seed)
        layers = initial_layers(spec, images.shape[1], data.classes)
        (weights, biases), *above, (last, offset) = layers
        logits = tf.repeat((tf.constant(images, tf.float32) @ weights + biases)[None], draws, 0)
        for name in names:
            entry, rng = lookup(name), np.random.default_rng(seed)
            planes = [1 + GUMBELS] if entry.noise == "1 + K" else []
            first, *noise = (rng.random([*planes, *logits.shape], np.float32) for _ in layers[:-1])
            with tf.GradientTape() as tape:
                tape.watch(logits)
                h = entry.function(logits, first)
                for (weights, biases), u in zip(above, noise):
                    h = entry.function(h @ weights + biases, u)
                loss = tf.nn.softmax_cross_entropy_with_logits(targets, h @ last + offset) / data.classes
            g = tape.gradient(loss, logits).numpy().astype(float)
            mean, variance = g.mean(0), g.var(0, ddof=1).sum()
            signal = np.sqrt(max(np.sum(mean**2) - variance / draws, 0))
            rows.append((depth, name, signal, np.sqrt(variance), signal / np.sqrt(variance)))
    return pd.DataFrame(rows, columns=["depth", "estimator", "signal", "noise", "ratio"])
