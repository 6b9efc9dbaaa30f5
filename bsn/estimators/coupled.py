"""Coupled estimators: f at an antithetic pair of samples, b from the noise u and b~ from 1 - u.

Each is a Bernoulli sample, and they differ as often as possible. DisARM is the conditional expectation of ARM
given b and b~, so its variance is at most ARM's.
"""

from bsn.backend import Loss, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample

__all__ = ["arm", "disarm"]


def pair(logits: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return b = 1[u < p] and b~ = 1[1 - u <= p]; the equality makes b~ right at p = 1, even for u = 0."""
    return sample(logits, noise), 1 - sample(-logits, noise)


@register("ARM", "unbiased", "Yin, Zhou 2019, arXiv:1807.11143", evaluations=2)
def arm(f: Loss, logits: Tensor, noise: Tensor) -> Tensor:
    """Weight the difference between the pair's losses by the noise: augment, REINFORCE, merge.

    g = (f(b~) - f(b)) (u - 1/2).

    >>> arm(lambda b: b[..., 0], tf.zeros([1, 1]), tf.constant([[0.25]])).numpy().tolist()
    [[0.25]]
    """
    b, mirrored = pair(logits, noise)
    return (f(mirrored) - f(b))[..., None] * (noise - 0.5)


@register("DisARM", "unbiased", "Dong, Mnih, Tucker 2020, arXiv:2006.10680", evaluations=2)
def disarm(f: Loss, logits: Tensor, noise: Tensor) -> Tensor:
    """Weight the difference between the pair's losses by the units that differ; also known as U2G.

    ``g = (f(b) - f(b~)) (b - b~) sigmoid(|a|) / 2``, which is 0 for units with b = b~.

    >>> disarm(lambda b: b[..., 0], tf.zeros([1, 2]), tf.constant([[0.3, 0.6]])).numpy().tolist()
    [[0.25, -0.25]]

    See also, for U2G: Yin et al. 2020, arXiv:2006.06448.
    """
    b, mirrored = pair(logits, noise)
    return (f(b) - f(mirrored))[..., None] * (b - mirrored) * tf.sigmoid(tf.abs(logits)) / 2
