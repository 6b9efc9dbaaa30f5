"""Coupled estimators: f at an antithetic pair of samples, b from the noise u and b~ from 1 - u.

Each is a Bernoulli sample, and they differ as often as they can. Both estimators are unbiased,
evaluate f twice, at b and b~, and need no derivative of it. DisARM is ARM's mean given b and b~, so that
its variance is at most ARM's.
"""

from bsn.backend import tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample


@register(
    title="ARM",
    kind="gradient",
    bias="unbiased",
    evaluations=2,
    derivative="",
    noise=1,
    reference="Yin, Zhou 2019, arXiv:1807.11143",
)
def arm(f, logits, noise):
    """ARM (augment, REINFORCE, merge): g = (f(b~) - f(b)) (u - 1/2).

    Reference: Yin, Zhou 2019, arXiv:1807.11143.
    """
    b, mirrored = sample(logits, noise), sample(logits, 1 - noise)
    return (f(mirrored) - f(b))[..., None] * (noise - 0.5)


@register(
    title="DisARM",
    kind="gradient",
    bias="unbiased",
    evaluations=2,
    derivative="",
    noise=1,
    reference="Dong, Mnih, Tucker 2020, arXiv:2006.10680",
)
def disarm(f, logits, noise):
    """DisARM, also U2G: ``g = (f(b) - f(b~)) (b - b~) sigmoid(|a|) / 2``.

    Units with b = b~ have no gradient.

    References: Dong, Mnih, Tucker 2020, arXiv:2006.10680; Yin et al. 2020 (U2G), arXiv:2006.06448.

    >>> import tensorflow as tf
    >>> disarm(lambda b: b[..., 0], tf.zeros([1, 2]), tf.constant([[0.3, 0.6]])).numpy().tolist()
    [[0.25, -0.25]]
    """
    b, mirrored = sample(logits, noise), sample(logits, 1 - noise)
    return (f(b) - f(mirrored))[..., None] * (b - mirrored) * tf.sigmoid(tf.abs(logits)) / 2
