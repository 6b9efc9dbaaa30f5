"""Score-function estimators (REINFORCE): weight the log-probability's gradient b - p by the loss.

None needs f to be differentiable. A baseline c that does not depend on b leaves the expectation of
(b - p) (f(b) - c) unchanged, and can remove much of the variance.
"""

from typing import Any

from bsn.backend import Loss, Scalar, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample

__all__ = ["leave_one_out", "moving_average", "nvil", "reinforce", "variance_adjusted"]

DECAY = 0.95  # of the moving averages (the post)
FLOOR = 1e-4  # added to the variance adjustment's denominator (the post)


def squared_score(p: Any, q: Any, b: Any) -> Any:
    """Return (b - p)^2."""
    return b * q * q + (1 - b) * p * p


def weighted(p: Any, q: Any, b: Any, loss: Any, baseline: Any) -> Any:
    """Return the score b - p times f - c; in a form that keeps the digits of both 1 - p and p."""
    return (b * q - (1 - b) * p) * (loss - baseline)


def decayed(average: Any, value: Any) -> Any:
    """Return a moving average with one more value."""
    return DECAY * average + (1 - DECAY) * value


def average_with(average: Tensor, values: Tensor, axis: int) -> Tensor:
    """Return a moving average with a batch's mean; as it was if the batch is empty."""
    return tf.where(tf.size(values) > 0, decayed(average, tf.reduce_mean(values, axis=axis)), average)


def variance_baseline(numerator: Any, denominator: Any) -> Any:
    """Return the variance adjustment's c, from its two moments."""
    return numerator / (denominator + FLOOR)


def by_rule(logits: Tensor, b: Tensor, loss: Tensor, baseline: Scalar) -> Tensor:
    """Return `weighted` for samples [..., H] and losses [...]; the baseline broadcasts with [..., 1]."""
    return weighted(tf.sigmoid(logits), tf.sigmoid(-logits), b, loss[..., None], baseline)


@register("REINFORCE", "unbiased", "Williams 1992, doi:10.1007/BF00992696", rule=weighted)
def reinforce(f: Loss, logits: Tensor, noise: Tensor) -> Tensor:
    """Weight the score b - p by the loss.

    g = (b - p) f(b).

    >>> reinforce(lambda b: 2.0 * b[..., 0], tf.zeros([1, 1]), tf.constant([[0.3]])).numpy().tolist()
    [[1.0]]
    """
    b = sample(logits, noise)
    return by_rule(logits, b, f(b), 0.0)


@register(
    "Moving-average",
    "unbiased",
    "Williams 1992, doi:10.1007/BF00992696",
    state="mean loss",
    initial=lambda logits: tf.zeros_like(tf.reduce_sum(logits, [-2, -1])),
    rule=weighted,
)
def moving_average(f: Loss, logits: Tensor, noise: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the moving average of past losses from the loss (reinforcement comparison).

    g = (b - p) (f(b) - c).

    Args:
        mean: c, shape [...] without the batch and unit axes: a moving average over the batches before this
            one; initially 0. The new one is returned with g.

    >>> g, mean = moving_average(lambda b: 2.0 * b[..., 0], tf.zeros([1, 1]), tf.constant([[0.3]]), mean=1.0)
    >>> print(g.numpy(), mean.numpy())
    [[0.5]] 1.05
    """
    b = sample(logits, noise)
    loss = f(b)  # ... x B
    g = by_rule(logits, b, loss, tf.expand_dims(mean, -1)[..., None])
    return g, average_with(mean, loss, axis=-1)


@register(
    "Variance-adjusted",
    "slightly biased: its baseline depends on the current batch",
    "Bengio, Léonard, Courville 2013, arXiv:1308.3432",
    state="two moments per unit",
    initial=lambda logits: (zeros := tf.zeros_like(tf.reduce_sum(logits, -2)), zeros + 1),
    rule=weighted,
)
def variance_adjusted(
    f: Loss, logits: Tensor, noise: Tensor, moments: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Subtract from the loss, for each unit, the constant that minimises the variance.

    g = (b - p) (f(b) - c); c estimates E[(b - p)^2 f] / E[(b - p)^2] by moving averages of the batch means.
    Bias: slight, because as in the post the averages include the current batch.

    Args:
        moments: numerator and denominator, each [..., H]; initially 0 and 1. The new ones are returned with
            g.

    >>> a, u, moments = tf.zeros([1, 1]), tf.constant([[0.3]]), (tf.zeros([1]), tf.ones([1]))
    >>> g, moments = variance_adjusted(lambda b: 2.0 * b[..., 0], a, u, moments)
    >>> print(g.numpy().round(3))
    [[0.987]]
    """
    b = sample(logits, noise)
    loss = f(b)  # ... x B
    squared = squared_score(tf.sigmoid(logits), tf.sigmoid(-logits), b)  # ... x B x H
    numerator = average_with(moments[0], squared * loss[..., None], axis=-2)
    denominator = average_with(moments[1], squared, axis=-2)
    baseline = variance_baseline(numerator, denominator)  # ... x H
    return by_rule(logits, b, loss, baseline[..., None, :]), (numerator, denominator)


@register("NVIL", "unbiased", "Mnih, Gregor 2014, arXiv:1402.0030", state="baseline, its caller's")
def nvil(f: Loss, logits: Tensor, noise: Tensor, baseline: Tensor) -> Tensor:
    """Subtract from each example's loss a learned baseline for that example.

    g = (b - p) (f(b) - c(x)); the paper also divides by a moving standard deviation of f(b) - c, which
    only changes the step length.
    Unbiased for any c not depending on b.

    Args:
        baseline: c(x), shape [...] like f's. The caller learns it as a function of the input x, by gradient
            descent on (f(b) - c(x))^2.

    >>> a, u, c = tf.zeros([1, 1]), tf.constant([[0.3]]), tf.constant([1.0])
    >>> nvil(lambda b: 2.0 * b[..., 0], a, u, baseline=c).numpy().tolist()
    [[0.5]]
    """
    b = sample(logits, noise)
    return by_rule(logits, b, f(b), baseline[..., None])


@register("Leave-one-out", "unbiased", "Salimans, Knowles 2014, arXiv:1401.1022", evaluations="K", noise="K")
def leave_one_out(f: Loss, logits: Tensor, noise: Tensor) -> Tensor:
    """Draw K samples and subtract from each one's loss the mean loss of the others.

    g = (1/K) sum_k (b_k - p) (f(b_k) - mean of f(b_j) over j != k), which is the samples' covariance of b and
    f, sum_k (b_k - mean b) (f(b_k) - mean f) / (K - 1), and (f_1 - f_2) (b_1 - b_2) / 2 for K = 2.
    Noise is [K, ..., H], K >= 2.

    >>> u = tf.constant([[[0.3]], [[0.6]]])
    >>> leave_one_out(lambda b: 2.0 * b[..., 0], tf.zeros([1, 1]), u).numpy().tolist()
    [[1.0]]

    See also: Kool, van Hoof, Welling 2019 (Buy 4 REINFORCE samples, get a baseline for free); for a
    multi-sample bound, Mnih, Rezende 2016, arXiv:1602.06725.
    """
    b = sample(logits, noise)  # K x ... x H
    loss, count = f(b), tf.cast(tf.shape(b)[0], b.dtype)
    centred = loss - tf.reduce_mean(loss, axis=0)  # K x ...
    return tf.reduce_sum((b - tf.reduce_mean(b, axis=0)) * centred[..., None], axis=0) / (count - 1)
