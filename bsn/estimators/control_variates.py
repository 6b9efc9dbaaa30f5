"""Control variates: REINFORCE minus a correlated term, whose expectation is added back with less variance.

All are unbiased whatever the control variate, which affects only the variance.
"""

from __future__ import annotations

from collections.abc import Callable

from bsn.backend import Loss, Scalar, Tensor, tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import conditional_logistic, logistic, probability, sample, score

__all__ = ["muprop", "rebar", "relax", "variance_gradient"]


@register("MuProp", "unbiased", "Gu et al. 2016, arXiv:1511.05176", evaluations=2, derivative="p")
def muprop(f: Loss, logits: Tensor, noise: Tensor, smooth: Loss | None = None) -> Tensor:
    """Take f's first-order expansion around p as the control variate.

    g = (f(b) - f(p) - f'(p) (b - p)) (b - p) + f'(p) p (1 - p), with f'(p) (b - p) summed over units.
    No variance if f is linear.

    Args:
        smooth: a substitute for f at p; f itself by default. If f contains binary layers of its own, the
            paper replaces their outputs with their means.

    >>> muprop(lambda b: 3.0 * b[..., 0], tf.zeros([1, 1]), tf.constant([[0.3]])).numpy().tolist()
    [[0.75]]
    """
    b, p = sample(logits, noise), tf.stop_gradient(tf.sigmoid(logits))
    with tf.GradientTape() as tape:
        tape.watch(p)
        at_mean = (smooth or f)(p)
    derivative = tape.gradient(at_mean, p, unconnected_gradients="zero")
    weight = score(logits, b)
    residual = f(b) - at_mean - tf.reduce_sum(derivative * weight, axis=-1)
    return residual[..., None] * weight + derivative * p * tf.sigmoid(-logits)


@register(
    "REBAR",
    "unbiased",
    "Tucker et al. 2017, arXiv:1703.07370",
    evaluations=3,
    derivative="y, y~",
    noise=2,
    state="eta and temperature, its caller's",
)
def rebar(
    f: Loss,
    logits: Tensor,
    noise: Tensor,
    eta: Scalar = 1.0,
    temperature: Scalar = 0.5,
    smooth: Loss | None = None,
) -> Tensor:
    """Take f at the relaxed sample as the control variate: `relax` with r(z) = eta f(sigmoid(z / t)).

    g = (f(b) - eta f(y~)) (b - p) + eta d/da (f(y) - f(y~)), for y = sigmoid(z / t) and y~ of z~.

    Args:
        noise: [2, ..., H], for b and z, and for z~; see `tied` for the paper's coupled noise.
        eta, temperature: scale of the control variate, and t > 0; tuned by `variance_gradient` in the paper,
            which relaxes to sigmoid(z / t + a t / (t + 1)) in its experiments.
        smooth: a substitute for f at y and y~; f itself by default. If f contains binary layers of its own,
            their relaxed outputs replace them.

    >>> u = tf.constant([[[0.3]], [[0.8]]])
    >>> print(rebar(lambda b: 2.0 * b[..., 0], tf.zeros([1, 1]), u).numpy().round(3))
    [[0.69]]
    """
    return relax(f, logits, noise, lambda z: eta * (smooth or f)(probability(z / temperature)))


@register(
    "RELAX",
    "unbiased",
    "Grathwohl et al. 2018, arXiv:1711.00123",
    noise=2,
    state="surrogate, its caller's",
)
def relax(f: Loss, logits: Tensor, noise: Tensor, surrogate: Loss) -> Tensor:
    """Take a learned function r of z as the control variate.

    g = (f(b) - r(z~)) (b - p) + d/da (r(z) - r(z~)), for z = a - logit(u), whose sign is b, and z~, another
    such z given b. The noise of z~ depends on a, and d/da goes through it (see `conditional_logistic`).

    Args:
        noise: as in `rebar`.
        surrogate: r, maps z [..., H] to [...]. The caller learns its parameters by gradient descent on the
            estimate's variance; see `variance_gradient`.

    >>> u = tf.constant([[[0.3]], [[0.8]]])
    >>> g = relax(lambda b: b[..., 0], tf.zeros([1, 1]), u, surrogate=lambda z: 0.1 * z[..., 0] ** 2)
    >>> print(g.numpy().round(3))
    [[0.648]]
    """
    b = sample(logits, noise[0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        conditional = surrogate(conditional_logistic(logits, b, noise[1]))
        difference = surrogate(logistic(logits, noise[0])) - conditional
    correction = tape.gradient(difference, logits, unconnected_gradients="zero")
    return (f(b) - conditional)[..., None] * score(logits, b) + correction


def variance_gradient(estimate: Callable[[], Tensor], variables: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return an estimate, and the gradient of its variance with respect to its control variate's parameters.

    These don't change the expectation, so the gradient of g^2, summed over all units and examples, is an
    unbiased estimate of the gradient of the summed variance.

    Args:
        estimate: returns g, for example by a call to `relax`.
        variables: tensors or variables that it depends on.

    Returns:
        g, and a list of gradients, one for each of `variables`.
    """
    with tf.GradientTape() as tape:
        tape.watch(variables)
        g = estimate()
        squared = tf.reduce_sum(tf.square(g))
    return g, tape.gradient(squared, variables)
