"""Estimators that sum out the outcomes of one unit at a time, or of all at once: many evaluations of f."""

from __future__ import annotations

from bsn.backend import Loss, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import in_front, sample, score

__all__ = ["exact", "local_expectation", "states"]


@register(
    "Local expectation", "unbiased", "Titsias, Lázaro-Gredilla 2015, arXiv:1503.01494", evaluations="H + 1"
)
def local_expectation(f: Loss, logits: Tensor, noise: Tensor) -> Tensor:
    """Sum out each unit with the others sampled; also known as RAM.

    g_i = p_i (1 - p_i) (f(b, b_i = 1) - f(b, b_i = 0)).
    It is the conditional expectation, given the other units, of REINFORCE with any baseline that ignores the
    unit, so its variance is no larger than that of any of them.

    >>> u = tf.constant([[0.3, 0.6]])
    >>> local_expectation(lambda b: b[..., 0] * b[..., 1], tf.zeros([1, 2]), u).numpy().tolist()
    [[0.0, 0.25]]

    See also, for RAM: Tokui, Sato 2017, ICML.
    """
    b, units = sample(logits, noise), logits.shape[-1] or tf.shape(logits)[-1]
    unit = in_front(tf.eye(units, dtype=b.dtype), logits)
    change = f(b) - f(tf.abs(b - unit))  # H x ...: by each unit's flip
    change = tf.transpose(change, [*range(1, logits.shape.rank), 0])  # ... x H
    return tf.sigmoid(logits) * tf.sigmoid(-logits) * (2 * b - 1) * change


def states(units: int, dtype: str | tf.DType = "float32") -> Tensor:
    """Return all states of the given number of units, [2^H, H], with the last unit changing fastest."""
    power = tf.range(units - 1, -1, -1)
    return tf.cast(tf.bitwise.right_shift(tf.range(2**units)[:, None], power) % 2, dtype)


def weighted_states(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return all states of the units, [2^H, ..., H], and their probabilities, [2^H, ...]."""
    units = logits.shape[-1] or tf.shape(logits)[-1]
    b = in_front(states(units, logits.dtype), logits) + tf.zeros_like(logits)
    return b, tf.exp(-tf.reduce_sum(tf.math.softplus((1 - 2 * b) * logits), axis=-1))


@register("Exact", "unbiased", "", evaluations="2^H", noise=0)
def exact(f: Loss, logits: Tensor, noise: Tensor | None = None) -> Tensor:
    """Compute the exact gradient by full enumeration.

    g = sum over all b of P(b) f(b) (b - p).

    >>> exact(lambda b: 2.0 * b[..., 0] * b[..., 1], tf.zeros([1, 2])).numpy().tolist()
    [[0.25, 0.25]]
    """
    b, weights = weighted_states(logits)
    return tf.reduce_sum((weights * f(b))[..., None] * score(logits, b), axis=0)
