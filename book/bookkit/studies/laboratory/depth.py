"""How much of a sampler's gradient in a deep net's first layer is signal, and how much is noise."""

import numpy as np
import pandas as pd

from bookkit.compiled import network
from bsn import estimators
from bsn.backend import tf
from bsn.spec import BATCH_SIZE

AT_ONCE = 16  # draws of the noise in a call


def signal_and_noise(names, depths, width, data, draws=128, seed=1):
    """Mean and deviation of the gradient in the first layer's logits, before training.

    The net is the post's, at its initial values; the loss is its own, of the first 50 training images.

    Args:
        names: samplers of `bsn.estimators.ESTIMATORS`.
        depths: numbers of hidden layers, of `width` units each.
        data: a `bookkit.data.Data`.
        draws: of the noise, at least two; rounded up to a multiple of 16.
        seed: of the initial values and the noise.

    Returns:
        A DataFrame, a row a depth and sampler: `depth`, `estimator`, `signal`, the length of the mean over
        draws less what their noise adds to it; `noise`, the root of the variance, summed over images and
        units; and `ratio`, signal / noise.
    """
    images, labels = (array[:BATCH_SIZE] for array in data.parts["train"])
    images, answers = tf.constant(images, tf.float32), tf.one_hot(labels, data.classes)
    rows = []
    for depth in depths:
        layers = network.initial_parameters(seed, [images.shape[1], *[width] * depth, data.classes])
        for name in names:
            drawn = _gradients(name, layers, images, answers, draws, seed)
            count = len(drawn)
            mean, variance = drawn.mean(0), drawn.var(0, ddof=1).sum()
            signal = np.sqrt(max(np.sum(mean**2) - variance / count, 0))
            rows.append((depth, name, signal, np.sqrt(variance), signal / np.sqrt(variance)))
    return pd.DataFrame(rows, columns=["depth", "estimator", "signal", "noise", "ratio"])


def _gradients(name, layers, images, answers, draws, seed):
    """[draws, B, H], in float64."""
    entry = estimators.ESTIMATORS[name]
    uniforms = {0: (), 1: ()}.get(entry.noise, (11,))  # 1 + K of Gumbel-Rao, as bookkit.runs.run has it
    below, *above, (last, offset) = layers
    logits = images @ below[0] + below[1]  # B x H
    tiled = tf.repeat(logits[None], AT_ONCE, 0)

    def gradients(noise):
        with tf.GradientTape() as tape:
            tape.watch(tiled)
            h = entry.function(tiled, noise[0])
            for (weights, biases), u in zip(above, noise[1:]):
                h = entry.function(h @ weights + biases, u)
            z = h @ last + offset
            wanted = tf.broadcast_to(answers, tf.shape(z))
            losses = tf.nn.softmax_cross_entropy_with_logits(wanted, z) / answers.shape[1]
        return tape.gradient(losses, tiled)

    rng = np.random.default_rng(seed)
    made = []
    for _ in range(-(-draws // AT_ONCE)):
        noise = [
            tf.constant(rng.random((*uniforms, AT_ONCE, len(images), weights.shape[1]), np.float32))
            for weights, _ in layers[:-1]
        ]
        made.append(gradients(noise).numpy().astype(float))
    return np.concatenate(made)
