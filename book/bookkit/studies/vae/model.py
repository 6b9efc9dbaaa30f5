"""The net and its bound: encoder, Bernoulli latents, decoder, trainable prior."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bookkit.studies.vae import ARCHITECTURES
from bsn import training
from bsn.backend import Tensor, tf
from bsn.estimators import sample
from bsn.training import Function, Layers

LATENTS = 200
LEAK = 0.3  # of the hidden LeakyReLU
MAX_ROWS = 2000  # of the decoder in one call of an evaluation


class Net(NamedTuple):
    """A net of D pixels and H latents; all fields but the last are trained."""

    encoder: Layers
    decoder: Layers
    prior: Tensor  # logits [H]
    mean: Tensor  # of the training images, [D], subtracted from the encoder's input


def initial_net(seed: int, architecture: str, mean: np.ndarray, latents: int = LATENTS) -> Net:
    """Draw Glorot-uniform weights; the decoder's last bias gives each pixel its `mean` [D], the rest is 0."""
    rng = np.random.default_rng([seed, 0])
    widths = [len(mean), *ARCHITECTURES[architecture], latents]
    encoder, decoder = glorot(rng, widths), glorot(rng, widths[::-1])
    p = np.clip(mean, 0.001, 0.999)
    decoder[-1][1].assign(np.log(p / (1 - p)))
    return Net(encoder, decoder, tf.Variable(tf.zeros([latents])), tf.constant(mean, tf.float32))


def glorot(rng: np.random.Generator, widths: Sequence[int]) -> Layers:
    """Draw Glorot-uniform weights between layers of these widths, with zero biases."""
    layers = []
    for a, b in zip(widths, widths[1:]):
        limit = np.sqrt(6 / (a + b))
        weights = rng.uniform(-limit, limit, [a, b]).astype(np.float32)
        layers.append((tf.Variable(weights), tf.Variable(tf.zeros([b]))))
    return layers


leaky_relu = functools.partial(tf.nn.leaky_relu, alpha=LEAK)


def forward(layers: Layers, h: Tensor, activation: Function = leaky_relu) -> Tensor:
    """Map [..., in] to [..., out], with the activation between layers, the last of which is linear."""
    return training.forward(layers, h, [h] * (len(layers) - 1), lambda a, _: activation(a))


def encode(net: Net, x: Tensor) -> Tensor:
    """Return the logits of q(b | x), [B, H], for images [B, D]."""
    return forward(net.encoder, x - net.mean)


def decode(net: Net, b: Tensor) -> Tensor:
    """Return each pixel's probability of being 1, [..., D], for latents [..., H]."""
    return tf.sigmoid(forward(net.decoder, 2 * b - 1))


def negative_elbo(net: Net, x: Tensor, logits: Tensor, b: Tensor) -> Tensor:
    """Return f(b) = log q(b | x) - log p(b) - log p(x | b), [..., B], for latents [..., B, H].

    Between 0 and 1 the log-probabilities of b are extended linearly, as by Concrete's and REBAR's authors.
    """
    pixels = forward(net.decoder, 2 * b - 1)
    return log_probability(logits, b) - log_probability(net.prior, b) - log_probability(pixels, x)


def log_probability(logits: Tensor, b: Tensor) -> Tensor:
    """Return the log-probability of b by independent Bernoulli units, summed over the last axis."""
    return tf.reduce_sum(b * logits - tf.math.softplus(logits), -1)


def bound(net: Net, images: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Estimate each image's bound, [N], in nats: the log of the mean of p(x, b) / q(b | x) over b from q.

    With one sample it is an estimate of the ELBO; its expectation grows with their number, towards log p(x).
    Images are [N, D] of zeros and ones; the seed is the same for all nets.

    Reference: Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519.
    """

    @tf.function(jit_compile=True, autograph=False)
    def estimate(x: Tensor, noise: Tensor) -> Tensor:
        x = tf.cast(x, net.mean.dtype)
        logits = encode(net, x)
        weights = -negative_elbo(net, x, logits, sample(logits, noise))
        return tf.reduce_logsumexp(weights, 0) - np.log(samples)

    rng, count = np.random.default_rng(seed), max(1, MAX_ROWS // samples)
    bounds = []
    for low in range(0, len(images), count):
        x = images[low : low + count]
        noise = rng.random([samples, len(x), net.prior.shape[0]], np.float32)
        bounds.append(estimate(tf.constant(x), tf.constant(noise)))
    return np.concatenate(bounds)
