"""Gradient estimators for Bernoulli units, as plain functions with their noise passed in.

A unit with logit a fires with probability p = sigmoid(a). With uniform noise u in [0, 1) its sample is
b = 1[u < p], for all estimators alike. The goal is the gradient of E[f(b)] with respect to the logits; g is
its estimate. There are two kinds of estimators, samplers and gradient estimators:

* a **sampler**, ``sampler(logits, noise, slope=1.0) -> sample``, returns the sample, or what stands in
  for it, and g flows back through it: f is whatever is computed from the sample. The slope s makes
  p = sigmoid(s a); noise of 1/2 gives the deterministic unit, round(p) with 0 at 1/2.
* a **gradient** estimator, ``estimator(f, logits, noise) -> gradient``, evaluates f and returns g itself.
  One that keeps state between steps takes it after the noise and returns (g, new state).

Shapes and options are the same for all:

* logits: [..., H], with any leading axes; the last axis runs over units. If there is state, the
  second-to-last axis is the batch, [..., B, H]. Samples and g have the shape and type of the logits; half
  precision is computed in float32, states included, and the noise may then be float32 too. NaN gives NaN.
* noise: uniform on [0, 1), of the logits' type and shape; [n, ..., H] if the table says n > 1 uniforms per
  unit; K is read from this shape. A sampler with a deterministic unit also accepts a scalar, and an
  estimator that uses no noise accepts anything.
* f: maps [..., H] to [...], one number of the logits' type per example, computed independently of the others,
  with extra leading axes if f is evaluated at several samples at once. If f also depends on the logits
  directly, its caller adds that derivative.
* options: slope, temperature, eta, smooth, baseline, surrogate, by name; see the functions.

Other shapes or types raise `bsn.InputError`, and so does a slope or temperature that is not positive, as long
as the shape, type or value is known at tracing time. `ESTIMATORS` is the table of all estimators, and
`gradient` can call any of them.
"""

# ruff: noqa: F403, I001 (each family exports its `__all__`; the order of the families is that of ESTIMATORS)
from typing import Any

from bsn.backend import Loss, Tensor, tf
from bsn.estimators.straight_through import *
from bsn.estimators.relaxed import *
from bsn.estimators.score_function import *
from bsn.estimators.control_variates import *
from bsn.estimators.coupled import *
from bsn.estimators.enumeration import *
from bsn.estimators.registry import ESTIMATORS as ESTIMATORS, Estimator as Estimator, lookup as lookup
from bsn.estimators.registry import checked_losses
from bsn.estimators.sampling import sample as sample, tied as tied


def gradient(
    name: str, f: Loss, logits: Tensor, noise: Tensor, state: Any = None, **options: Any
) -> tuple[Tensor, Any]:
    """Estimate the gradient of E[f(b)] with the estimator of that name in `ESTIMATORS`.

    Args:
        f: maps samples to losses, as above.
        logits, noise: as above.
        options: those of the estimator, such as `slope`.
        state: as the last call returned it; None before the first step.

    Returns:
        The estimate g, of the logits' shape, and the state; None if the estimator has none.

    Raises:
        InputError: no estimator has that name, or the noise has the wrong shape.

    >>> a, u = tf.constant([[0.0], [0.0]]), tf.constant([[0.3], [0.6]])
    >>> def f(b):
    ...     return (b[..., 0] - 0.45) ** 2
    >>> for name in ("sigmoid-adjusted", "reinforce"):
    ...     print(name, gradient(name, f, a, u)[0].numpy().round(3).ravel())
    sigmoid-adjusted [ 0.275 -0.225]
    reinforce [ 0.151 -0.101]
    """
    entry, logits = lookup(name), tf.convert_to_tensor(logits)
    if entry.kind == "sampler":
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = checked_losses(f"{name}: f", f, logits.dtype)(entry.function(logits, noise, **options))
        return tape.gradient(loss, logits, unconnected_gradients="zero"), state
    if entry.initial is None:
        return entry.function(f, logits, noise, **options), state
    return entry.function(f, logits, noise, state, **options)
