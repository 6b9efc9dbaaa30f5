"""Gradient estimators for Bernoulli units, as plain functions with their noise passed in.

A unit with logit a fires with probability p = sigmoid(a). With uniform noise u in [0, 1) its sample is
b = 1[u < p], for all estimators alike. Wanted is the gradient of E[f(b)] in the logits. Two kinds:

* a **sampler**, ``sampler(logits, noise, slope=1.0) -> sample``, returns the sample, or what stands in
  for it, and the gradient estimate flows back through it: f is whatever is computed from the sample.
  The slope s makes p = sigmoid(s a); noise of 1/2 gives the deterministic unit, round(p) with 0 at 1/2.
* a **gradient** estimator, ``estimator(f, logits, noise) -> gradient``, evaluates f and returns the
  estimate itself. One that keeps a state between steps takes it after the noise and returns it, brought
  up to date, after the gradient.

What both share:

* logits: [..., H], any leading axes, the last runs over units. Where there is a state, the axis before
  it is the batch, [..., B, H].
* noise: uniform on [0, 1), of the logits' type, and of their shape or broadcastable to it. Where the table
  says that a unit needs n > 1 uniforms, [n, ..., H]; K, where the table has it, is read off the noise.
* f: maps [..., H] to [...], each example by itself, with further axes in front where it is evaluated at
  several samples at once. If it depends on the logits directly too, its caller adds that derivative.
* options: temperature, eta, baseline, surrogate, by name; see the functions.

`ESTIMATORS` is the table of all, and `gradient` calls any of them. `bsn.run` trains with all but nvil, relax
and exact, each for a reason that `bsn.spec.UNTRAINED` and the refusal of a `bsn.Spec` give. To add an
estimator, write the function and enter it in the table.
"""

import typing

from bsn.backend import tf
from bsn.estimators.control_variates import muprop, rebar, relax, variance_gradient
from bsn.estimators.coupled import arm, disarm
from bsn.estimators.enumeration import exact, local_expectation, states
from bsn.estimators.relaxed import concrete, gumbel_rao, st_gumbel
from bsn.estimators.sampling import sample, tied
from bsn.estimators.score_function import (
    initial_mean,
    initial_moments,
    leave_one_out,
    moving_average,
    nvil,
    reinforce,
    variance_adjusted,
)
from bsn.estimators.straight_through import fires_only, pass_through, reinmax, sigmoid, sigmoid_adjusted


class Estimator(typing.NamedTuple):
    """What there is to know of an estimator before it is called.

    Attributes:
        function: see the module's docstring for its arguments.
        kind: "sampler" or "gradient".
        bias: "unbiased", "biased", or biased and where not.
        evaluations: of f for an example's gradient, a number or a formula in H units and K noises.
        derivative: where f' is taken; "" if f need not be differentiable.
        uniforms: noise needed a unit, a number or a formula in K.
        reference: paper and arXiv number, or DOI.
        state: what is kept between steps, and by whom if not by the estimator; "" if nothing.
        initial: logits -> the state before the first step; None if there is none.
    """

    function: typing.Callable
    kind: str
    bias: str
    evaluations: int | str
    derivative: str
    uniforms: int | str
    reference: str
    state: str = ""
    initial: typing.Callable | None = None


_ST = "Bengio, Léonard, Courville 2013, arXiv:1308.3432"
_JANG = "Jang, Gu, Poole 2017, arXiv:1611.01144"
_WILLIAMS = "Williams 1992, doi:10.1007/BF00992696"
_LINEAR = "biased, except where f is linear in each unit"
_QUADRATIC = "biased, except where f is quadratic in each unit"
_SLIGHTLY = "slightly biased: the baseline knows the present batch"

# fmt: off
ESTIMATORS = {
    # name: function, kind, bias, evaluations, derivative, uniforms, reference, state, initial
    "sigmoid": Estimator(sigmoid, "sampler", _LINEAR, 1, "p", 0, ""),
    "pass-through": Estimator(pass_through, "sampler", "biased", 1, "b", 1, _ST),
    "sigmoid-adjusted": Estimator(sigmoid_adjusted, "sampler", _LINEAR, 1, "b", 1, _ST),
    "fires-only": Estimator(fires_only, "sampler", "biased", 1, "b", 1, "R2RT 2016"),
    "reinmax": Estimator(
        reinmax, "sampler", _QUADRATIC, 1, "b", 1, "Liu et al. 2023, arXiv:2304.08612"),
    "concrete": Estimator(
        concrete, "sampler", "biased", 1, "y", 1, "Maddison, Mnih, Teh 2017, arXiv:1611.00712"),
    "st-gumbel": Estimator(st_gumbel, "sampler", "biased", 1, "b", 1, _JANG),
    "gumbel-rao": Estimator(
        gumbel_rao, "sampler", "biased", 1, "b", "1 + K", "Paulus, Maddison, Krause 2021, arXiv:2010.04838"),
    "reinforce": Estimator(reinforce, "gradient", "unbiased", 1, "", 1, _WILLIAMS),
    "moving-average": Estimator(
        moving_average, "gradient", "unbiased", 1, "", 1, _WILLIAMS, "mean loss", initial_mean),
    "variance-adjusted": Estimator(
        variance_adjusted, "gradient", _SLIGHTLY, 1, "", 1, _ST, "two moments a unit", initial_moments),
    "nvil": Estimator(
        nvil, "gradient", "unbiased", 1, "", 1, "Mnih, Gregor 2014, arXiv:1402.0030",
        "baseline, its caller's"),
    "leave-one-out": Estimator(
        leave_one_out, "gradient", "unbiased", "K", "", "K", "Salimans, Knowles 2014, arXiv:1401.1022"),
    "muprop": Estimator(
        muprop, "gradient", "unbiased", 2, "p", 1, "Gu et al. 2016, arXiv:1511.05176"),
    "rebar": Estimator(
        rebar, "gradient", "unbiased", 3, "y, y~", 2, "Tucker et al. 2017, arXiv:1703.07370",
        "eta and temperature, its caller's"),
    "relax": Estimator(
        relax, "gradient", "unbiased", 1, "", 2, "Grathwohl et al. 2018, arXiv:1711.00123",
        "surrogate, its caller's"),
    "arm": Estimator(arm, "gradient", "unbiased", 2, "", 1, "Yin, Zhou 2019, arXiv:1807.11143"),
    "disarm": Estimator(
        disarm, "gradient", "unbiased", 2, "", 1, "Dong, Mnih, Tucker 2020, arXiv:2006.10680"),
    "local-expectation": Estimator(
        local_expectation, "gradient", "unbiased", "H + 1", "", 1,
        "Titsias, Lázaro-Gredilla 2015, arXiv:1503.01494"),
    "exact": Estimator(exact, "gradient", "unbiased", "2^H", "", 0, ""),
}
# fmt: on


def gradient(name, f, logits, noise, state=None, **options):
    """Any estimator's estimate of the gradient of E[f(b)], by its name in `ESTIMATORS`.

    Args:
        f, logits, noise, options: see the module's docstring.
        state: as the last call returned it; None before the first step.

    Returns:
        The gradient estimate, of the logits' shape, and the state; None where there is none.

    >>> import tensorflow as tf
    >>> a, u = tf.constant([[0.0], [0.0]]), tf.constant([[0.3], [0.6]])
    >>> def f(b):
    ...     return (b[..., 0] - 0.45) ** 2
    >>> for name in ("sigmoid-adjusted", "reinforce", "local-expectation"):
    ...     print(name, gradient(name, f, a, u)[0].numpy().round(3).ravel())
    sigmoid-adjusted [ 0.275 -0.225]
    reinforce [ 0.151 -0.101]
    local-expectation [0.025 0.025]
    """
    entry, logits = ESTIMATORS[name], tf.convert_to_tensor(logits)
    if entry.kind == "sampler":
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = f(entry.function(logits, noise, **options))
        return tape.gradient(loss, logits, unconnected_gradients="zero"), state
    if entry.initial is None:
        return entry.function(f, logits, noise, **options), state
    state = entry.initial(logits) if state is None else state
    return entry.function(f, logits, noise, state, **options)


__all__ = [
    "ESTIMATORS",
    "Estimator",
    "arm",
    "concrete",
    "disarm",
    "exact",
    "fires_only",
    "gradient",
    "gumbel_rao",
    "initial_mean",
    "initial_moments",
    "leave_one_out",
    "local_expectation",
    "moving_average",
    "muprop",
    "nvil",
    "pass_through",
    "rebar",
    "reinforce",
    "reinmax",
    "relax",
    "sample",
    "sigmoid",
    "sigmoid_adjusted",
    "st_gumbel",
    "states",
    "tied",
    "variance_adjusted",
    "variance_gradient",
]
