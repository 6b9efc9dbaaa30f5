"""Score-function estimators (REINFORCE): weigh the log-probability's gradient b - p by the loss.

f need not be differentiable. A baseline c that does not depend on b leaves the mean of
(b - p) (f(b) - c) as it is, and can take away much of the variance.
"""

from bsn.backend import tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample

DECAY = 0.95  # of the moving averages (the post)
FLOOR = 1e-4  # added to the variance adjustment's denominator (the post)


def initial_mean(logits):
    """The moving average before the first step: 0, for logits [..., B, H]."""
    return tf.zeros_like(logits[..., 0, 0])


def initial_moments(logits):
    """The moving averages before the first step, numerator 0 and denominator 1, for logits [..., B, H]."""
    first = logits[..., 0, :]
    return tf.zeros_like(first), tf.ones_like(first)


@register(
    title="REINFORCE",
    kind="gradient",
    bias="unbiased",
    evaluations=1,
    derivative="",
    noise=1,
    reference="Williams 1992, doi:10.1007/BF00992696",
)
def reinforce(f, logits, noise):
    """REINFORCE: g = f(b) (b - p). Unbiased; evaluates f once.

    Reference: Williams 1992, doi:10.1007/BF00992696.

    >>> import tensorflow as tf
    >>> reinforce(lambda b: 2.0 * b[..., 0], tf.zeros([1, 1]), tf.constant([[0.3]])).numpy().tolist()
    [[1.0]]
    """
    b = sample(logits, noise)
    return (b - tf.sigmoid(logits)) * f(b)[..., None]


@register(
    title="Moving-average",
    kind="gradient",
    bias="unbiased",
    evaluations=1,
    derivative="",
    noise=1,
    reference="Williams 1992, doi:10.1007/BF00992696",
    state="mean loss",
    initial=initial_mean,
)
def moving_average(f, logits, noise, mean):
    """REINFORCE with the past losses' mean as baseline: g = (b - p) (f(b) - c). Unbiased; one evaluation.

    Args:
        f, logits, noise: as for all; the batch axis is the last but one.
        mean: c, shape [...] without batch and units, a moving average of the batches before this one.

    Returns:
        The gradient estimate [..., B, H], and the new mean.

    Reference: Williams 1992 (reinforcement comparison), doi:10.1007/BF00992696.
    """
    b = sample(logits, noise)
    loss = f(b)  # ... x B
    gradient = (b - tf.sigmoid(logits)) * (loss - mean[..., None])[..., None]
    return gradient, DECAY * mean + (1 - DECAY) * tf.reduce_mean(loss, axis=-1)


@register(
    title="Variance-adjusted",
    kind="gradient",
    bias="slightly biased: the baseline knows the present batch",
    evaluations=1,
    derivative="",
    noise=1,
    reference="Bengio, Léonard, Courville 2013, arXiv:1308.3432",
    state="two moments per unit",
    initial=initial_moments,
)
def variance_adjusted(f, logits, noise, moments):
    """REINFORCE with a baseline for each unit: g = (b - p) (f(b) - c). One evaluation.

    c estimates E[(b - p)^2 f] / E[(b - p)^2], the constant that minimises the variance, by
    moving averages of the batch means. As in the post they take in the present batch before
    they are used, so that the estimate is slightly biased.

    Args:
        f, logits, noise: as for all; the batch axis is the last but one.
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


@register(
    title="NVIL",
    kind="gradient",
    bias="unbiased",
    evaluations=1,
    derivative="",
    noise=1,
    reference="Mnih, Gregor 2014, arXiv:1402.0030",
    state="baseline, its caller's",
    caller="baseline",
)
def nvil(f, logits, noise, baseline):
    """REINFORCE with a learned baseline for each example: g = (b - p) (f(b) - c(x)).

    Unbiased; one evaluation. The baseline is its caller's: a function of the input x, learned by
    regression on the loss, that is by descending (f(b) - c(x))^2 in its parameters. Any c that does
    not depend on b will do. The paper's division of f(b) - c by its moving deviation, a choice of the
    step's length, is left out.

    Args:
        baseline: c(x), shape [...] as f's.

    Reference: Mnih, Gregor 2014, arXiv:1402.0030.
    """
    b = sample(logits, noise)
    return (b - tf.sigmoid(logits)) * (f(b) - baseline)[..., None]


@register(
    title="Leave-one-out",
    kind="gradient",
    bias="unbiased",
    evaluations="K",
    derivative="",
    noise="K",
    reference="Salimans, Knowles 2014, arXiv:1401.1022",
)
def leave_one_out(f, logits, noise):
    """REINFORCE with K samples, each one's baseline the others' mean loss. Unbiased; K evaluations.

    g = (1/K) sum_k (b_k - p) (f(b_k) - mean of f(b_j) over j != k); since the sum over k of f(b_k) less
    their mean is 0, that is sum_k b_k (f(b_k) - mean f) / (K - 1), and (f_1 - f_2) (b_1 - b_2) / 2 for
    K = 2.

    Args:
        noise: [K, ..., H], K at least 2.

    References: Salimans, Knowles 2014, arXiv:1401.1022; Kool, van Hoof, Welling 2019 (Buy 4 REINFORCE
    samples, get a baseline for free); for a multi-sample bound, Mnih, Rezende 2016, arXiv:1602.06725.
    """
    if noise.shape[0] < 2:
        raise ValueError(f"leave_one_out: noise is for {noise.shape[0]} sample; expected at least 2")
    b = sample(logits, noise)  # K x ... x H
    loss = f(b)
    centred = loss - tf.reduce_mean(loss, axis=0)  # K x ...
    return tf.reduce_sum(b * centred[..., None], axis=0) / (noise.shape[0] - 1)
