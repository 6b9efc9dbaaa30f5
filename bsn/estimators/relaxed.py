"""Relaxed estimators: a logistic variable in place of the step, at a temperature t.

The relaxed unit is y = sigmoid(z / t) for z = s a - logit(u), which nears the sample b = 1[z > 0] as t
goes to 0; the derivative dy/da = s y (1 - y) / t then grows rare and large. All are samplers (see
`bsn.estimators`), biased, and use the derivative of f. The temperature of 1/2 is no recommendation.
"""

from bsn.backend import tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import conditional_logistic, logistic, sample
from bsn.estimators.straight_through import straight_through


@register(
    title="Concrete",
    kind="sampler",
    bias="biased",
    evaluations=1,
    derivative="y",
    noise=1,
    reference="Maddison, Mnih, Teh 2017, arXiv:1611.00712",
)
def concrete(logits, noise, slope=1.0, temperature=0.5):
    """Concrete (binary Gumbel-softmax): the relaxed sample y itself, g = f'(y) dy/da.

    Unbiased for E[f(y)], biased for E[f(b)]. Evaluates f once, at y between 0 and 1, and uses its
    derivative there.

    Args:
        logits, noise, slope: as in `sample`; noise of 1/2 gives sigmoid(s a / t).
        temperature: t > 0.

    References: Maddison, Mnih, Teh 2017, arXiv:1611.00712; Jang, Gu, Poole 2017, arXiv:1611.01144.

    >>> import tensorflow as tf
    >>> concrete(tf.constant([0.0]), tf.constant([0.25]), temperature=1.0).numpy().tolist()
    [0.75]
    """
    return tf.sigmoid(logistic(slope * logits, noise) / temperature)


@register(
    title="ST-Gumbel",
    kind="sampler",
    bias="biased",
    evaluations=1,
    derivative="b",
    noise=1,
    reference="Jang, Gu, Poole 2017, arXiv:1611.01144",
)
def st_gumbel(logits, noise, slope=1.0, temperature=0.5):
    """Straight-through Gumbel-softmax: the sample b forward, Concrete backward, g = f'(b) dy/da.

    Biased, even where f is linear. Evaluates f once, at b, and uses its derivative there.
    Arguments as in `concrete`.

    Reference: Jang, Gu, Poole 2017, arXiv:1611.01144.
    """
    y = concrete(logits, noise, slope, temperature)
    return straight_through(logits, sample(logits, noise, slope), slope * y * (1 - y) / temperature)


@register(
    title="Gumbel-Rao",
    kind="sampler",
    bias="biased",
    evaluations=1,
    derivative="b",
    noise="1 + K",
    reference="Paulus, Maddison, Krause 2021, arXiv:2010.04838",
    deterministic=False,  # its average is over noise that leads to the sample, which rounding has none of
)
def gumbel_rao(logits, noise, slope=1.0, temperature=0.5):
    """Gumbel-Rao: ST-Gumbel's derivative averaged over K noises that lead to the same b.

    g = f'(b) (1/K) sum_k dy_k/da, for y_k = sigmoid(z~_k / t) and z~_k as in `conditional_logistic`.
    Its mean is ST-Gumbel's, and so is the bias; its variance is at most ST-Gumbel's, the same for
    K = 1. Evaluates f once, at b, whatever K, and uses its derivative there.

    dy_k/da is taken with the noise fixed, as in ST-Gumbel and unlike in `relax`. A note in the paper has
    it go through the conditional noise; the mean would then be another, against its own proposition.

    Args:
        logits, slope, temperature: as in `concrete`.
        noise: [1 + K, ..., H], the first for b, the others for z~.

    Reference: Paulus, Maddison, Krause 2021, arXiv:2010.04838.
    """
    b = sample(logits, noise[0], slope)
    y = tf.sigmoid(conditional_logistic(slope * logits, b, noise[1:]) / temperature)  # K x ... x H
    return straight_through(logits, b, slope * tf.reduce_mean(y * (1 - y), axis=0) / temperature)
