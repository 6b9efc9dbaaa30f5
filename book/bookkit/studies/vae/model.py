"""The net and its bound: encoder, Bernoulli latents, decoder, trainable prior."""

import typing

import numpy as np

from bsn.backend import tf
from bsn.estimators import sample

LATENTS = 200
ARCHITECTURES = {"linear": (), "nonlinear": (200, 200)}  # widths between image and latents, each way
LEAK = 0.3  # of the hidden LeakyReLU
AT_ONCE = 2000  # rows of the decoder in one call of an evaluation


class Net(typing.NamedTuple):
    """A net of D pixels and H latents; all fields but the last are trained.

    Attributes:
        encoder, decoder: [(weights [in, out], bias [out]), ...], the last layer linear.
        prior: logits [H].
        mean: [D], the training images', taken off the encoder's input.
    """

    encoder: list
    decoder: list
    prior: typing.Any
    mean: typing.Any


def initial_net(seed, architecture, mean, latents=LATENTS):
    """Glorot-uniform weights, zeros elsewhere; the decoder's last bias gives each pixel its mean.

    Args:
        architecture: a name in `ARCHITECTURES`; mean: of the training images, [D].
    """
    rng = np.random.default_rng([seed, 0])
    widths = [len(mean), *ARCHITECTURES[architecture], latents]
    encoder, decoder = glorot(rng, widths), glorot(rng, widths[::-1])
    p = np.clip(mean, 0.001, 0.999)
    decoder[-1] = decoder[-1][0], tf.constant(np.log(p / (1 - p)), tf.float32)
    return Net(encoder, decoder, tf.zeros([latents]), tf.constant(mean, tf.float32))


def glorot(rng, widths):
    """Layers [(weights, bias), ...] of these widths."""
    limits = [np.sqrt(6 / (a + b)) for a, b in zip(widths, widths[1:])]
    return [
        (tf.constant(rng.uniform(-limit, limit, [a, b]), tf.float32), tf.zeros([b]))
        for a, b, limit in zip(widths, widths[1:], limits)
    ]


def forward(layers, h, activation=lambda h: tf.nn.leaky_relu(h, LEAK)):
    """[..., in] to [..., out]."""
    for place, (weights, bias) in enumerate(layers):
        h = tf.tensordot(activation(h) if place else h, weights, 1) + bias
    return h


def encode(net, x):
    """Logits of q(b | x), [B, H], for images [B, D]."""
    return forward(net.encoder, x - net.mean)


def negative_elbo(net, x, logits, b):
    """f(b) = log q(b | x) - log p(b) - log p(x | b), [..., B], for latents [..., B, H].

    Between 0 and 1 the log-probabilities of b are carried on linearly, as by Concrete's and REBAR's authors.
    """
    pixels = forward(net.decoder, 2 * b - 1)
    return bernoulli(logits, b) - bernoulli(net.prior, b) - bernoulli(pixels, x)


def bernoulli(logits, b):
    """log of the probability of b, summed over the last axis."""
    return tf.reduce_sum(b * logits - tf.math.softplus(logits), -1)


def bound(net, images, samples, seed):
    """Each image's bound, [N]: the log of the mean of p(x, b) / q(b | x) over so many b from q, in nats.

    With one sample it is an estimate of the ELBO; its mean grows with their number, towards log p(x).

    Args:
        images: [N, D] of zeros and ones; seed: of the samples, the same for all nets.

    Reference: Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519.
    """
    rng, share = np.random.default_rng(seed), max(1, AT_ONCE // samples)
    found = []
    for low in range(0, len(images), share):
        x = images[low : low + share]
        noise = rng.random([samples, len(x), net.prior.shape[0]], np.float32)
        found.append(_bound(net, tf.constant(x), tf.constant(noise)).numpy())
    return np.concatenate(found)


@tf.function(jit_compile=True)
def _bound(net, x, noise):
    x = tf.cast(x, net.mean.dtype)
    logits = encode(net, x)
    weights = -negative_elbo(net, x, logits, sample(logits, noise))
    return tf.reduce_logsumexp(weights, 0) - tf.math.log(tf.cast(noise.shape[0], weights.dtype))
