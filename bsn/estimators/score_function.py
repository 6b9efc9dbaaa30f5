"""Score-function estimators (REINFORCE): weigh the log-probability's gradient by the loss.

The loss f is evaluated once, at the sample, and need not be differentiable.
"""

from bsn.backend import tf
from bsn.estimators.straight_through import sample

DECAY = 0.95  # of the moving averages behind the variance adjustment (the post)
FLOOR = 1e-4  # added to their denominator (the post)


def reinforce(f, logits, noise, moments=()):
    """REINFORCE: g = f(b) (b - p). Unbiased.

    Args:
        f: maps a sample [..., B, H] to each example's loss [..., B].
        logits: a, shape [..., B, H].
        noise: u, uniform on [0, 1), broadcastable to `logits`.
        moments: returned as it came; this estimator has no baseline.

    Returns:
        The gradient estimate [..., B, H], and `moments`.

    Reference: Williams 1992, doi:10.1007/BF00992696.

    >>> import tensorflow as tf
    >>> gradient, _ = reinforce(lambda b: 2.0 * b[..., 0], tf.zeros([1, 1]), tf.constant([[0.3]]))
    >>> gradient.numpy().tolist()
    [[1.0]]
    """
    b = sample(logits, noise)
    return (b - tf.sigmoid(logits)) * f(b)[..., None], moments


def variance_adjusted(f, logits, noise, moments):
    """REINFORCE with a baseline for each unit: g = (b - p) (f(b) - c).

    c estimates E[(b - p)^2 f] / E[(b - p)^2], the constant that minimises the variance, by
    moving averages of the batch means. As in the post they take in the present batch before
    they are used, so that the estimate is slightly biased.

    Args:
        f, logits, noise: as in `reinforce`; the batch axis is the last but one.
        moments: numerator and denominator, each [..., H]; see `initial_moments`.

    Returns:
        The gradient estimate [..., B, H], and the new moments.

    Reference: Bengio, Léonard, Courville 2013, arXiv:1308.3432, section 4.
    """
    b = sample(logits, noise)
    score = b - tf.sigmoid(logits)  # ... x B x H
    loss = f(b)[..., None]  # ... x B x 1
    numerator, denominator = moments
    squared = tf.square(score)
    numerator = DECAY * numerator + (1 - DECAY) * tf.reduce_mean(squared * loss, axis=-2)
    denominator = DECAY * denominator + (1 - DECAY) * tf.reduce_mean(squared, axis=-2)
    baseline = numerator / (denominator + FLOOR)  # ... x H
    return score * (loss - baseline[..., None, :]), (numerator, denominator)


def initial_moments(shape, dtype=tf.float32):
    """The moving averages before the first step: numerator 0 and denominator 1."""
    return tf.zeros(shape, dtype), tf.ones(shape, dtype)
