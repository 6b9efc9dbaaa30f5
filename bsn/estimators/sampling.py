"""The draws behind every estimator: the Bernoulli sample, and the logistic variable whose sign it is.

All take the same uniform noise u, so that estimators can be compared on the same draw: b = 1[u < p]
is b = 1[z > 0] for z = a - logit(u).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bsn.backend import Scalar, Tensor, tf
from bsn.errors import InputError


def sample(logits: Tensor, noise: Tensor, slope: Scalar = 1.0) -> Tensor:
    """Return the Bernoulli sample b = 1[u < sigmoid(s a)], without a gradient.

    Args:
        logits: a, any shape.
        noise: u, uniform on [0, 1); 1/2 gives the deterministic step. Unlike the estimators, this takes any
            shape that broadcasts with `logits`, so that [K, ..., H] draws K samples.
        slope: s > 0, broadcastable to `logits`.

    Returns:
        Zeros and ones, of the same type as `logits`; NaN where `logits` is NaN.
    """
    p = tf.sigmoid(slope * logits)
    return tf.stop_gradient(tf.where(noise < p, tf.ones_like(p), 0 * p))


def probability(logits: Tensor) -> Tensor:
    """Return p = sigmoid(a), with the derivative p (1 - p) to full precision even where p is near 1."""

    @tf.custom_gradient
    def unit(a: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return tf.sigmoid(a), lambda upstream: upstream * probability(a) * probability(-a)

    return unit(logits)


def score(logits: Tensor, b: Tensor) -> Tensor:
    """Return b - p, the derivative of log P(b) with respect to the logits, to full precision."""
    return b * tf.sigmoid(-logits) - (1 - b) * tf.sigmoid(logits)


def in_front(rows: Tensor, logits: Tensor) -> Tensor:
    """Return rows [N, H] as [N, 1, ..., 1, H], to be broadcast with logits [..., H] to [N, ..., H]."""
    if logits.shape.rank is None:
        raise InputError("estimator: the logits' rank is unknown when tracing; expected a known one")
    for _ in range(logits.shape.rank - 1):
        rows = rows[:, None]
    return rows


def logit(noise: Tensor) -> Tensor:
    """Return log u - log(1 - u), finite for all u in [0, 1]: the ends count as the floats next to them."""
    noise = tf.convert_to_tensor(noise)
    limits = np.finfo(noise.dtype.as_numpy_dtype)
    noise = tf.clip_by_value(noise, limits.tiny, 1 - limits.epsneg)
    return tf.math.log(noise) - tf.math.log1p(-noise)


def logistic(logits: Tensor, noise: Tensor) -> Tensor:
    """Return z = a - logit(u), logistic noise around the logit, with 1[z > 0] = `sample(logits, noise)`."""
    return logits - logit(noise)


def conditional_logistic(logits: Tensor, b: Tensor, noise: Tensor) -> Tensor:
    """Draw z~ = a - logit(u') given b: the noise v becomes u' = v p if b = 1, p + v (1 - p) if b = 0.

    This u' depends on the logits, so the derivative goes through it. In a form that avoids u', whose extremes
    are too close to 0 and 1 for a float:

        z~ = softplus(softplus(a) - logit(v)) if b = 1, -softplus(softplus(-a) + logit(v)) if b = 0.

    Args:
        logits: a, shape [..., H].
        b: their sample, of the same shape.
        noise: v, uniform on [0, 1), independent of b or from `tied`; extra leading axes are allowed.

    References: Tucker et al. 2017, arXiv:1703.07370, appendix; Maddison et al. 2017, arXiv:1611.00712.
    """
    noise = logit(noise)
    fired = tf.math.softplus(tf.math.softplus(logits) - noise)
    silent = -tf.math.softplus(tf.math.softplus(-logits) + noise)
    return tf.where(b > 0, fired, silent)


def tied(logits: Tensor, noise: Tensor) -> Tensor:
    """Return the v for which `conditional_logistic` reproduces u's own z, with a different derivative.

    Given b, it is uniform like any v, so an unbiased estimator stays unbiased, with a lower variance
    (the common random numbers of REBAR's authors): pass ``tf.stack([u, tied(logits, u)])`` as noise.
    """
    p = tf.sigmoid(logits)
    return tf.stop_gradient(tf.where(noise < p, noise / p, (noise - p) / (1 - p)))
