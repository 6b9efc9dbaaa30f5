"""Estimators that sum out the outcomes of one unit at a time, or of all: many evaluations of f.

f need not be differentiable.
"""

from bsn.backend import tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample


@register(
    title="Local expectation",
    kind="gradient",
    bias="unbiased",
    evaluations="H + 1",
    derivative="",
    noise=1,
    reference="Titsias, Lázaro-Gredilla 2015, arXiv:1503.01494",
)
def local_expectation(f, logits, noise):
    """Local expectation (RAM): g_i = p_i (1 - p_i) (f(b, b_i = 1) - f(b, b_i = 0)), the others sampled.

    Unbiased; H + 1 evaluations, at b and at b with each unit flipped, in one call. It is REINFORCE's
    mean given all units but one, and that with any baseline, so its variance is the least of these.

    References: Titsias, Lázaro-Gredilla 2015, arXiv:1503.01494; Tokui, Sato 2017 (RAM), ICML.

    >>> import tensorflow as tf
    >>> def f(b):
    ...     return b[..., 0] * b[..., 1]
    >>> local_expectation(f, tf.zeros([1, 2]), tf.constant([[0.3, 0.6]])).numpy().tolist()
    [[0.0, 0.25]]
    """
    b, p = sample(logits, noise), tf.sigmoid(logits)
    units, rank = logits.shape[-1], logits.shape.rank
    unit = tf.reshape(tf.eye(units, dtype=b.dtype), [units] + [1] * (rank - 1) + [units])
    change = f(b) - f(tf.abs(b - unit))  # H x ...: by each unit's flip
    change = tf.transpose(change, [*range(1, rank), 0])  # ... x H
    return p * tf.sigmoid(-logits) * (2 * b - 1) * change


def states(units, dtype="float32"):
    """All states of some units, [2^H, H], the last unit changing fastest."""
    place = tf.range(units - 1, -1, -1)
    return tf.cast(tf.bitwise.right_shift(tf.range(2**units)[:, None], place) % 2, dtype)


@register(
    title="Exact",
    kind="gradient",
    bias="unbiased",
    evaluations="2^H",
    derivative="",
    noise=0,
    reference="",
)
def exact(f, logits, noise=None):
    """Full enumeration, the oracle: g = sum over all b of P(b) f(b) (b - p), the exact gradient.

    2^H evaluations, in one call. The noise is not used.

    >>> import tensorflow as tf
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
