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

from bsn.backend import tf

from bsn.estimators.straight_through import fires_only, pass_through, reinmax, sigmoid, sigmoid_adjusted  # isort: skip
from bsn.estimators.relaxed import concrete, gumbel_rao, st_gumbel  # isort: skip
from bsn.estimators.score_function import (  # isort: skip
    leave_one_out,
    moving_average,
    nvil,
    reinforce,
    variance_adjusted,
)
from bsn.estimators.control_variates import muprop, rebar, relax, variance_gradient  # isort: skip
from bsn.estimators.coupled import arm, disarm  # isort: skip
from bsn.estimators.enumeration import exact, local_expectation, states  # isort: skip
from bsn.estimators.registry import ESTIMATORS, Estimator, lookup
from bsn.estimators.sampling import sample, tied


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
    entry, logits = lookup(name), tf.convert_to_tensor(logits)
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
    "leave_one_out",
    "local_expectation",
    "lookup",
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
