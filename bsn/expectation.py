"""One differentiable loss for any estimator, for training a model of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bsn.backend import Tensor, tf
from bsn.errors import InputError
from bsn.estimators import gradient, lookup, sample
from bsn.estimators.enumeration import weighted_states
from bsn.estimators.registry import checked_losses, prepare

__all__ = ["expectation"]


def expectation(
    f: Callable[[Tensor], Any],
    logits: Tensor,
    estimator: str,
    noise: Tensor,
    state: Any = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Return f at a sample, as a loss whose gradient with respect to the logits is the estimator's.

    With respect to anything else that f depends on, such as the weights above the units, the gradient is
    the ordinary one at the sample. Evaluations of f beyond the first take place in the backward pass only.
    In a stack of stochastic layers, the f of a layer is the rest of the net from its sample on: it calls
    `expectation` for the next layer, with noise from outside, because f may draw none of its own.

    Args:
        f: maps samples [..., H] to a loss per example [...], or to (that loss, anything to pass on). With
            several samples at once, f receives them along a leading axis, [K, ..., H].
        logits: [..., H].
        estimator: a name in `bsn.estimators.ESTIMATORS`.
        noise: uniform on [0, 1), of the shape that the estimator expects; see `bsn.estimators`.
        state: as the last call returned it; None before the first step.
        options: slope, temperature, eta, smooth, baseline or surrogate, whichever the estimator takes.

    Returns:
        What f returned at the sample, with its loss [...] averaged over K samples; and the new state.

    Raises:
        InputError: the name is unknown, the estimator does not accept the option, or one of the errors in
            `bsn.estimators`.

    The caller trains some parts itself, by gradient descent: NVIL's baseline c on (f - c)^2, the parameters
    of REBAR's and RELAX's control variates on the variance; see `bsn.estimators.variance_gradient`.

    >>> a, u, c = tf.Variable([[0.0]]), tf.constant([[0.3]]), tf.Variable([1.0])
    >>> with tf.GradientTape() as tape:
    ...     loss, _ = expectation(lambda b: 2.0 * b[..., 0], a, "nvil", u, baseline=tf.stop_gradient(c))
    ...     objective = tf.reduce_sum(loss + tf.square(tf.stop_gradient(loss) - c))
    >>> [g.numpy().tolist() for g in tape.gradient(objective, [a, c])]
    [[[0.5]], [-2.0]]
    """
    entry, logits = lookup(estimator), tf.convert_to_tensor(logits)
    for name in options:
        if name not in entry.options:
            expected = f"one of {', '.join(entry.options)}" if entry.options else "none"
            raise InputError(f"{estimator}: option {name!r}; expected {expected}")
    aux: list[Any] = []

    def losses(b: Tensor) -> Tensor:
        value = f(b)
        aux[:] = value[1:] if isinstance(value, tuple) else ()
        return value[0] if isinstance(value, tuple) else value

    first = checked_losses(f"{estimator}: f", losses, logits.dtype)
    if entry.kind == "sampler":
        loss = first(entry.function(logits, noise, **options))
        return (loss, *aux) if aux else loss, state
    given = {"logits": tf.stop_gradient(logits), "noise": noise, **options}
    prepare(entry, given)
    u, weights = given["noise"], None
    if entry.evaluations == "2^H":
        b, weights = weighted_states(given["logits"])
    else:
        b = sample(given["logits"], u[0] if entry.noise == 2 else u)
    loss, handed_on = first(b), tuple(aux)
    known = tf.cast(tf.stop_gradient(loss), logits.dtype)
    # what evaluates f at these samples alone takes the losses from here
    at = (lambda points: known) if entry.evaluations in (1, "K", "2^H") else losses
    g = None
    if entry.initial:
        g, state = gradient(estimator, at, tf.stop_gradient(logits), noise, state, **options)

    @tf.custom_gradient
    def nothing(logits: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def backward(upstream: Tensor) -> Tensor:
            estimate = entry.function(at, logits, noise, **options) if g is None else g
            return upstream[..., None] * estimate

        return tf.zeros_like(logits[..., 0]), backward

    if weights is not None:
        loss = tf.reduce_sum(weights * loss, 0)
    elif entry.evaluations == "K":
        loss = tf.reduce_mean(loss, 0)
    loss = tf.cast(loss, logits.dtype) + nothing(logits)
    return (loss, *handed_on) if handed_on else loss, state
