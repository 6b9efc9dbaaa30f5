"""The draws behind every estimator: the Bernoulli sample, and the logistic variable whose sign it is.

All take the same uniform noise u, so that estimators can be compared at the same draw: b = 1[u < p]
is b = 1[z > 0] for z = a - logit(u).
"""

import numpy as np

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


def logit(noise):
    """log u - log(1 - u), finite for all u in [0, 1]: the ends count as the float next to them."""
    noise = tf.convert_to_tensor(noise)
    limits = np.finfo(noise.dtype.as_numpy_dtype)
    noise = tf.clip_by_value(noise, limits.tiny, 1 - limits.epsneg)
    return tf.math.log(noise) - tf.math.log1p(-noise)


def logistic(logits, noise):
    """z = a - logit(u): logistic noise around the logit, with 1[z > 0] = `sample(logits, noise)`."""
    return logits - logit(noise)


def conditional_logistic(logits, b, noise):
    """z~ = a - logit(u'), drawn given b: the noise v becomes u' = v p for b = 1, p + v (1 - p) for b = 0.

    The u' that led to b depends on the logits, and so the derivative goes through it. Without u',
    whose ends lie too close to 0 and 1 for a float, the same is

        z~ = softplus(softplus(a) - logit(v)) for b = 1, -softplus(softplus(-a) + logit(v)) for b = 0.

    Args:
        logits: a, shape [..., H]; b: their sample.
        noise: v, uniform on [0, 1), independent of b or from `tied`; further axes may come in front.

    Reference: Tucker et al. 2017, arXiv:1703.07370, appendix; Maddison et al. 2017, arXiv:1611.00712.
    """
    noise = logit(noise)
    fired = tf.math.softplus(tf.math.softplus(logits) - noise)
    silent = -tf.math.softplus(tf.math.softplus(-logits) + noise)
    return tf.where(b > 0, fired, silent)


def tied(logits, noise):
    """The v that leads `conditional_logistic` back to the z of u: z~ = z, with a derivative of its own.

    Given b, it is uniform like any v, so that an unbiased estimator stays so, at a lower variance
    (the common random numbers of REBAR's authors): pass ``tf.stack([u, tied(logits, u)])`` as noise.
    """
    p = tf.sigmoid(logits)
    return tf.stop_gradient(tf.where(noise < p, noise / p, (noise - p) / (1 - p)))
