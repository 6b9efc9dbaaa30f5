"""Straight-through estimators: sample forward, substitute a smooth derivative backward.

All are samplers (see `bsn.estimators`) and evaluate f once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bsn.backend import Scalar, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import probability, sample

__all__ = ["fires_only", "pass_through", "reinmax", "sigmoid", "sigmoid_adjusted"]

BENGIO = "Bengio, Léonard, Courville 2013, arXiv:1308.3432"
LINEAR = "biased, except where f is linear in each unit"


def straight_through(logits: Tensor, value: Tensor, derivative: Tensor) -> Tensor:
    """Return `value`, with `derivative` in place of its derivative with respect to the logits."""

    @tf.custom_gradient
    def unit(logits: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return value, lambda upstream: upstream * derivative

    return unit(logits)


def steepness(p: Any, q: Any, b: Any, slope: Any) -> Any:
    """Return the derivative of sigmoid(s a), s p (1 - p)."""
    return slope * p * q


def fired(p: Any, q: Any, b: Any, slope: Any) -> Any:
    """Return 1 if the unit fired, else 0."""
    return b


def unchanged(p: Any, q: Any, b: Any, slope: Any) -> Any:
    """Return 1, the identity's derivative."""
    return b * 0 + 1


def half_the_distance(p: Any, q: Any, b: Any, slope: Any) -> Any:
    """Return s |b - p| / 2."""
    return slope * (b * q + (1 - b) * p) / 2


def by_rule(logits: Tensor, noise: Tensor, slope: Scalar, rule: Callable[..., Tensor]) -> Tensor:
    """Return the sample, with the derivative that `rule` gives; see `bsn.estimators.registry.Estimator`."""
    p, q = tf.sigmoid(slope * logits), tf.sigmoid(-slope * logits)
    b = sample(logits, noise, slope)
    return straight_through(logits, b, rule(p, q, b, slope))


@register("Sigmoid", LINEAR, "", derivative="p", noise=0, rule=steepness)
def sigmoid(logits: Tensor, noise: Tensor | None, slope: Scalar = 1.0) -> Tensor:
    """Return the deterministic unit p = sigmoid(s a), not a sample.

    g = f'(p) s p (1 - p), the derivative of f(p).

    >>> sigmoid(tf.constant([0.0]), noise=None).numpy().tolist()
    [0.5]
    """
    return probability(slope * logits)


@register("Pass-through", "biased", BENGIO, derivative="b", rule=unchanged)
def pass_through(logits: Tensor, noise: Tensor, slope: Scalar = 1.0) -> Tensor:
    """Sample, with the identity's derivative in place of the step's.

    g = f'(b); the slope acts in the forward pass alone.
    Bias: if f is linear, g is 1 / (s p (1 - p)) times the exact gradient.

    >>> a = tf.constant([0.0, 0.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(a)
    ...     loss = tf.reduce_sum(3.0 * pass_through(a, noise=tf.constant([0.4, 0.6])))
    >>> float(loss), tape.gradient(loss, a).numpy().tolist()
    (3.0, [3.0, 3.0])
    """
    return by_rule(logits, noise, slope, unchanged)


@register("Sigmoid-adjusted", LINEAR, BENGIO, derivative="b", rule=steepness)
def sigmoid_adjusted(logits: Tensor, noise: Tensor, slope: Scalar = 1.0) -> Tensor:
    """Sample, with the sigmoid's derivative.

    g = f'(b) s p (1 - p). A slope that grows during training is *slope annealing*.
    Bias: in expectation, p f'(1) + (1 - p) f'(0) replaces f(1) - f(0); 0 if f is linear in each unit.

    >>> sigmoid_adjusted(tf.zeros([2]), tf.constant([0.4, 0.6]), slope=2.0).numpy().tolist()
    [1.0, 0.0]

    See also, for the slope (of a hard sigmoid): Chung, Ahn, Bengio 2016, arXiv:1609.01704.
    """
    return by_rule(logits, noise, slope, steepness)


@register("Fires-only", "biased", "R2RT 2016", derivative="b", rule=fired)
def fires_only(logits: Tensor, noise: Tensor, slope: Scalar = 1.0) -> Tensor:
    """Sample, and pass the gradient only if the unit fired, as R2RT's code did before January 2017.

    g = f'(b) b; the slope acts in the forward pass alone.
    Bias: the expectation is p f'(1).

    >>> fires_only(tf.zeros([2]), tf.constant([0.4, 0.6])).numpy().tolist()
    [1.0, 0.0]
    """
    return by_rule(logits, noise, slope, fired)


@register(
    "ReinMax",
    "biased, except where f is quadratic in each unit",
    "Liu et al. 2023, arXiv:2304.08612",
    derivative="b",
    rule=half_the_distance,
)
def reinmax(logits: Tensor, noise: Tensor, slope: Scalar = 1.0) -> Tensor:
    """Sample, with half the distance from b to p as the derivative: ReinMax at temperature 1.

    ``g = f'(b) s |b - p| / 2``, which is also DARN's estimator: REINFORCE with the baseline
    f(b) + f'(b) (1/2 - b), which extrapolates f from b to 1/2.
    Bias: in expectation, (f'(0) + f'(1)) / 2 replaces f(1) - f(0), the trapezoidal rule; 0 if f is at most
    quadratic in each unit, s p (1 - p) f''' / 12 if it is cubic.

    >>> reinmax(tf.zeros([2]), tf.constant([0.4, 0.6])).numpy().tolist()
    [1.0, 0.0]

    See also, for DARN: Gregor et al. 2014, arXiv:1310.8499.
    """
    return by_rule(logits, noise, slope, half_the_distance)
