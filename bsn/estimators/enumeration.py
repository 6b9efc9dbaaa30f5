"""Estimators that sum out the outcomes of one unit at a time, or of all: many evaluations of f."""

from __future__ import annotations

from bsn.backend import Loss, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample

__all__ = ["exact", "local_expectation", "states"]


@register(
    "Local expectation", "unbiased", "Titsias, Lázaro-Gredilla 2015, arXiv:1503.01494", evaluations="H + 1"
)
def local_expectation(f: Loss, logits: Tensor, noise: Tensor) -> Tensor:
    """Sum out each unit with the others sampled; also known as RAM.

    g_i = p_i (1 - p_i) (f(b, b_i = 1) - f(b, b_i = 0)).
    Requires H + 1 evaluations of f, at b and with each unit flipped, no derivative; one uniform per unit.
    Unbiased. It is the conditional expectation of REINFORCE, with any baseline, given the other units, so its
    variance is the least of these.

    >>> u = tf.constant([[0.3, 0.6]])
    >>> local_expectation(lambda b: b[..., 0] * b[..., 1], tf.zeros([1, 2]), u).numpy().tolist()
    [[0.0, 0.25]]

    See also, for RAM: Tokui, Sato 2017, ICML.
    """
    b, p = sample(logits, noise), tf.sigmoid(logits)
    units, rank = logits.shape[-1], logits.shape.rank
    unit = tf.reshape(tf.eye(units, dtype=b.dtype), [units] + [1] * (rank - 1) + [units])
    change = f(b) - f(tf.abs(b - unit))  # H x ...: by each unit's flip
    change = tf.transpose(change, [*range(1, rank), 0])  # ... x H
    return p * tf.sigmoid(-logits) * (2 * b - 1) * change


def states(units: int, dtype: str | tf.DType = "float32") -> Tensor:
    """Return all states of some units, [2^H, H], the last unit changing fastest."""
    power = tf.range(units - 1, -1, -1)
    return tf.cast(tf.bitwise.right_shift(tf.range(2**units)[:, None], power) % 2, dtype)


@register("Exact", "unbiased", "", evaluations="2^H", noise=0)
def exact(f: Loss, logits: Tensor, noise: Tensor | None = None) -> Tensor:
    """Compute the exact gradient by full enumeration.

    g = sum over all b of P(b) f(b) (b - p).
    Requires 2^H evaluations of f, no derivative; no noise. No bias and no variance.

    >>> exact(lambda b: 2.0 * b[..., 0] * b[..., 1], tf.zeros([1, 2])).numpy().tolist()
    [[0.25, 0.25]]
    """
    del noise
    units, rank = logits.shape[-1], logits.shape.rank
    b = tf.reshape(states(units, logits.dtype), [2**units] + [1] * (rank - 1) + [units])
    b += tf.zeros_like(logits)  # 2^H x ... x H
    log_probability = tf.reduce_sum(b * logits - tf.math.softplus(logits), axis=-1)
    weighted = tf.exp(log_probability) * f(b)  # 2^H x ...
    return tf.reduce_sum(weighted[..., None] * (b - tf.sigmoid(logits)), axis=0)
