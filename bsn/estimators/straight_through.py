"""Straight-through estimators: sample forward, pretend a smooth function backward.

All are biased, never evaluate the loss themselves, and need it differentiable in the sample.
"""

from bsn.backend import tf


def sample(logits, noise, slope=1.0):
    """Bernoulli sample b = 1[u < sigmoid(s a)], without a gradient.

    Args:
        logits: a, any shape.
        noise: u, uniform on [0, 1), broadcastable to `logits`; 1/2 for the deterministic step.
        slope: s > 0, broadcastable to `logits`.

    Returns:
        Zeros and ones, of the shape and type of `logits`.
    """
    return tf.stop_gradient(tf.cast(noise < tf.sigmoid(slope * logits), logits.dtype))


def _straight_through(logits, noise, slope, derivative):
    """The sample, with `derivative(b, p)` in place of its derivative in the logits."""

    @tf.custom_gradient
    def unit(logits):
        p = tf.sigmoid(slope * logits)
        b = tf.cast(noise < p, logits.dtype)
        return b, lambda upstream: upstream * derivative(b, p)

    return unit(logits)


def pass_through(logits, noise, slope=1.0):
    """Straight-through estimator with the identity as derivative: g = f'(b).

    Shapes as in `sample`. With a slope, only the forward pass uses it.

    Reference: Bengio, Léonard, Courville 2013, arXiv:1308.3432.

    >>> import tensorflow as tf
    >>> a = tf.constant([0.0, 0.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(a)
    ...     loss = tf.reduce_sum(3.0 * pass_through(a, noise=tf.constant([0.4, 0.6])))
    >>> float(loss), tape.gradient(loss, a).numpy().tolist()
    (3.0, [3.0, 3.0])
    """
    return _straight_through(logits, noise, slope, lambda b, p: tf.ones_like(p))


def sigmoid_adjusted(logits, noise, slope=1.0):
    """Straight-through estimator with the sigmoid's derivative: g = f'(b) s p (1 - p).

    Shapes as in `sample`. A slope that grows during training is *slope annealing*.

    References: Bengio, Léonard, Courville 2013, arXiv:1308.3432; for the slope, Chung, Ahn,
    Bengio 2016, arXiv:1609.01704.
    """
    return _straight_through(logits, noise, slope, lambda b, p: slope * p * (1 - p))


def fires_only(logits, noise, slope=1.0):
    """Straight-through estimator that passes only where the unit fired: g = f'(b) b.

    Shapes as in `sample`. This is what R2RT's code computed before January 2017.
    """
    return _straight_through(logits, noise, slope, lambda b, p: b)


def sigmoid(logits, noise, slope=1.0):
    """The deterministic baseline sigmoid(s a), with its exact gradient; the noise is not used."""
    del noise
    return tf.sigmoid(slope * logits)
