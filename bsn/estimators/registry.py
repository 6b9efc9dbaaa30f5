"""The registry of estimators: what is known about each before it is called.

It is the only list of their names. Each estimator enters itself where it is defined, with the decorator
`register`; reading the registry does not import TensorFlow.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np

from bsn.backend import Tensor, tf
from bsn.errors import refusal

P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One entry in the registry.

    Attributes:
        name: the estimator's name everywhere, such as "sigmoid-adjusted".
        title: its name in headings and legends.
        bias: "unbiased", or "biased" with the exceptions.
        reference: paper with its arXiv number or DOI.
        kind: "sampler" or "gradient".
        function: see `bsn.estimators` for its arguments.
        evaluations: how many times f is evaluated per example; a number, or a formula in H units and K noise
            values.
        derivative: the points at which f' is evaluated; "" if f need not be differentiable.
        noise: uniforms per unit; a number, or a formula in K whose value is at least 2.
        state: what is carried from step to step; "" if nothing.
        initial: logits -> the state before the first step; None if there is none.
        rule: for an estimator that needs a single pass and no noise of its own: the arithmetic of one unit,
            which TensorFlow and Numba both run. For a sampler: (p, q, b, slope) -> the sample's derivative.
            For a gradient estimator: (p, q, b, loss, baseline) -> g. Here q = 1 - p.
    """

    name: str
    title: str
    bias: str
    reference: str
    kind: Literal["sampler", "gradient"]
    function: Callable[..., Any]
    evaluations: int | str = 1
    derivative: str = ""
    noise: int | str = 1
    state: str = ""
    initial: Callable[[Tensor], Any] | None = None
    rule: Callable[..., Any] | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the other arguments: slope, temperature, eta, smooth, baseline, surrogate."""
        names = tuple(inspect.signature(self.function).parameters)
        return names[names.index("noise") + (2 if self.initial else 1) :]

    @property
    def slope(self) -> bool:
        """Whether the unit has a slope."""
        return self.kind == "sampler"

    @property
    def deterministic(self) -> bool:
        """Whether the unit has a deterministic mode, noise of 1/2."""
        return self.kind == "sampler" and self.noise in (0, 1)


ESTIMATORS: dict[str, Estimator] = {}


def register(
    title: str, bias: str, reference: str, **facts: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Enter the decorated function under its own name, with hyphens for underscores.

    A function of f is a gradient estimator, any other a sampler. Each call checks its arguments, and what f
    returns. Half precision is computed in float32. The arguments are the fields of `Estimator`; the
    docstring ends with what they say.
    """

    def enter(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            given = signature.bind(*args, **options).arguments
            narrow = prepare(entry, given)
            for key in given.keys() & {"f", "smooth", "surrogate"}:
                given[key] = given[key] and checked_losses(f"{entry.name}: {key}", given[key], narrow)
            result: Any = function(**given)  # type: ignore[call-arg]
            if entry.initial:
                return tf.cast(result[0], narrow), result[1]  # type: ignore[return-value]
            return tf.cast(result, narrow)

        name = function.__name__.replace("_", "-")
        kind: Literal["gradient", "sampler"] = "gradient" if "f" in signature.parameters else "sampler"
        entry = ESTIMATORS[name] = Estimator(name, title, bias, reference, kind, checked, **facts)
        checked.__doc__ = (
            f"{inspect.getdoc(function)}\n\nEvaluations of f: {entry.evaluations}; its derivative at: "
            f"{entry.derivative or 'none'}; uniforms per unit: {entry.noise}; {bias}."
        ) + f"\n\nReference: {reference}." * bool(reference)
        return checked

    return enter


def prepare(entry: Estimator, given: dict[str, Any]) -> Any:
    """Check an estimator's named arguments and replace them with tensors, float32 for half precision.

    Only what is known when tracing is checked: shapes and types, and options that are not traced.

    Returns:
        The type of the logits that were given.

    Raises:
        InputError: an argument has a shape, type or value that the estimator does not accept.
    """
    logits = tf.convert_to_tensor(given["logits"])
    if not logits.dtype.is_floating:
        raise refusal(f"{entry.name}: the logits' type", logits.dtype.name, "one of floating point")
    wide = given["logits"] = tf.cast(logits, tf.float32) if logits.dtype.size == 2 else logits
    noise = given.get("noise")
    check_noise(entry, logits, noise)
    if noise is not None and entry.noise != 0:
        noise = tf.convert_to_tensor(noise, logits.dtype if isinstance(noise, float) else None)
        if noise.dtype not in (logits.dtype, wide.dtype):
            raise refusal(
                f"{entry.name}: the noise's type", noise.dtype.name, f"the logits', {wide.dtype.name}"
            )
        given["noise"] = tf.cast(noise, wide.dtype)
    for name in given.keys() & {"slope", "temperature"}:
        value = tf.get_static_value(tf.convert_to_tensor(given[name]))
        if value is not None and not (np.isfinite(value) & (value > 0)).all():
            raise refusal(f"{entry.name}: {name}", value, "numbers above 0")
    if "baseline" in given:
        given["baseline"] = tf.cast(given["baseline"], wide.dtype)
        _check_shapes(f"{entry.name}: baseline", given["baseline"], wide[..., 0])
    if entry.initial:
        if logits.shape.rank == 1:
            raise refusal(f"{entry.name}: the logits' shape", list(logits.shape), "[..., B, H]")
        initial = entry.initial(wide)
        for name in given.keys() - {"f", "logits", "noise"}:
            given[name] = initial if given[name] is None else given[name]
            _check_shapes(f"{entry.name}: {name}", given[name], initial)
    return logits.dtype


def _check_shapes(what: str, value: Any, like: Any) -> None:
    """Raise an `InputError` if a tensor, or a tuple of them, does not broadcast to the shapes of another."""
    values, expected = tf.nest.flatten(value), [x.shape for x in tf.nest.flatten(like)]
    shapes = [tf.TensorShape(np.shape(x)) for x in values]
    try:
        broadcast = [tf.broadcast_static_shape(*pair) for pair in zip(shapes, expected, strict=True)]
        fits = all(a.is_compatible_with(b) for a, b in zip(broadcast, expected))
    except ValueError:
        fits = False
    if not fits:
        raise refusal(f"{what}: the shape", [list(x) for x in shapes], f"{[list(x) for x in expected]}")


def checked_losses(what: str, f: Callable[..., Any], narrow: Any) -> Callable[[Tensor], Tensor]:
    """Return f with its samples cast to that type and its losses back, and refuse losses of another shape."""

    def checked(b: Tensor) -> Tensor:
        losses = tf.convert_to_tensor(f(tf.cast(b, narrow)))
        if losses.dtype != narrow or not losses.shape.is_compatible_with(b.shape[:-1]):
            actual, expected = (
                f"{losses.dtype.name} {list(losses.shape)}",
                f"{narrow.name} {list(b.shape[:-1])}",
            )
            raise refusal(f"{what}'s result", actual, f"{expected}, one number per example")
        return tf.cast(losses, b.dtype)

    return checked


def check_noise(entry: Estimator, logits: Any, noise: Any) -> None:
    """Raise an `InputError` if the noise's static shape contradicts the registry; no operation is added."""
    if entry.noise == 0 or entry.deterministic and np.ndim(noise) == 0:
        return
    shape, expected = tf.TensorShape(np.shape(noise)), tf.TensorShape(np.shape(logits))
    text = ", ".join(map(str, expected)) if expected.rank is not None else "..."
    if entry.noise == 1:
        text = f"[{text}], as the logits" + " or a scalar" * entry.deterministic
    else:
        count = entry.noise if isinstance(entry.noise, int) else max(2, shape.rank and shape[0] or 2)
        expected = tf.TensorShape([count]).concatenate(expected)
        text = f"[{entry.noise}, {text}]" + ", the first at least 2" * isinstance(entry.noise, str)
    if not shape.is_compatible_with(expected):
        raise refusal(f"{entry.name}: the noise's shape", list(shape), text)


def lookup(name: str) -> Estimator:
    """Return an estimator's entry; raise an `InputError` if no estimator has that name."""
    if not isinstance(name, str) or name not in ESTIMATORS:
        raise refusal("estimator", name, f"one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]
