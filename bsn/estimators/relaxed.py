"""Relaxed estimators: a logistic variable in place of the step, at a temperature t > 0.

The relaxed unit is y = sigmoid(z / t) for z = s a - logit(u), which approaches the sample b = 1[z > 0] as t
goes to 0; the derivative dy/da = s y (1 - y) / t is then nearly always close to 0, and occasionally large.
All are samplers (see `bsn.estimators`) and evaluate f once. The default temperature of 1/2 is not a
recommendation.
"""

from bsn.backend import Scalar, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import conditional_logistic, logistic, probability, sample
from bsn.estimators.straight_through import straight_through

__all__ = ["concrete", "gumbel_rao", "st_gumbel"]


@register("Concrete", "biased", "Maddison, Mnih, Teh 2017, arXiv:1611.00712", derivative="y")
def concrete(logits: Tensor, noise: Tensor, slope: Scalar = 1.0, temperature: Scalar = 0.5) -> Tensor:
    """Return the relaxed sample y itself (binary Gumbel-softmax); noise of 1/2 gives sigmoid(s a / t).

    g = f'(y) dy/da.
    Unbiased for E[f(y)], biased for E[f(b)].

    >>> concrete(tf.constant([0.0]), tf.constant([0.25]), temperature=1.0).numpy().tolist()
    [0.75]

    See also: Jang, Gu, Poole 2017, arXiv:1611.01144.
    """
    return probability(logistic(slope * logits, noise) / temperature)


@register("ST-Gumbel", "biased", "Jang, Gu, Poole 2017, arXiv:1611.01144", derivative="b")
def st_gumbel(logits: Tensor, noise: Tensor, slope: Scalar = 1.0, temperature: Scalar = 0.5) -> Tensor:
    """Sample, with the derivative of the relaxed sample y: straight-through Gumbel-softmax.

    g = f'(b) dy/da.
    Biased, even if f is linear.

    >>> st_gumbel(tf.constant([0.0]), tf.constant([0.25])).numpy().tolist()
    [1.0]
    """
    z = logistic(slope * logits, noise) / temperature
    derivative = slope * tf.sigmoid(z) * tf.sigmoid(-z) / temperature
    return straight_through(logits, sample(logits, noise, slope), derivative)


@register(
    "Gumbel-Rao", "biased", "Paulus, Maddison, Krause 2021, arXiv:2010.04838", derivative="b", noise="1 + K"
)
def gumbel_rao(logits: Tensor, noise: Tensor, slope: Scalar = 1.0, temperature: Scalar = 0.5) -> Tensor:
    """Sample, with ST-Gumbel's derivative averaged over K noise values that lead to the same b.

    g = f'(b) (1/K) sum_k dy_k/da, for y_k = sigmoid(z~_k / t) and z~_k from `conditional_logistic`.
    The first uniform is for b, the others are for z~. Bias: ST-Gumbel's; the variance is at most ST-Gumbel's,
    and equal for K = 1.

    dy_k/da is taken at fixed noise, as in ST-Gumbel and unlike in `relax`. A note in the paper
    differentiates through the conditional noise instead; the expectation would then differ from the one that
    its own proposition states.

    >>> gumbel_rao(tf.constant([0.0]), tf.constant([[0.25], [0.1], [0.9]])).numpy().tolist()
    [1.0]
    """
    b = sample(logits, noise[0], slope)
    z = conditional_logistic(slope * logits, b, noise[1:]) / temperature  # K x ... x H
    steepness = tf.reduce_mean(tf.sigmoid(z) * tf.sigmoid(-z), axis=0)
    return straight_through(logits, b, slope * steepness / temperature)
