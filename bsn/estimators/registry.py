"""The registry of estimators: what is known of each before it is called.

It is the only list of their names. Each estimator enters itself where it is defined, with the decorator
`register`; reading the registry does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from bsn.errors import InputError, shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimator:
    """One entry of the registry.

    Attributes:
        name: the estimator's name everywhere, such as "sigmoid-adjusted".
        title: its name in headings and legends.
        function: see `bsn.estimators` for its arguments.
        kind: "sampler" or "gradient".
        bias: "unbiased", or "biased" with the exceptions.
        evaluations: how often f is evaluated per example; a number, or a formula in H units and K noises.
        derivative: the points where f' is taken; "" if f need not be differentiable.
        noise: uniforms per unit; a number, or a formula in K.
        reference: paper with its arXiv number or DOI.
        state: what is carried from step to step; "" if nothing.
        initial: logits -> the state before the first step; None if there is none.
        caller: the argument that the caller must supply and learn, such as a baseline; "" if none.
        slope: whether the unit has a slope.
        deterministic: whether the unit can train in the deterministic mode.
    """

    name: str
    title: str
    function: Callable[..., Any]
    kind: Literal["sampler", "gradient"]
    bias: str
    evaluations: int | str
    derivative: str
    noise: int | str
    reference: str
    state: str = ""
    initial: Callable[..., Any] | None = None
    caller: str = ""
    slope: bool = False
    deterministic: bool = False


ESTIMATORS: dict[str, Estimator] = {}


def register(**facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function under its own name, hyphens for underscores.

    Args:
        facts: the fields of `Estimator` but for `name` and `function`. A sampler has a slope and a
            deterministic mode unless they say otherwise.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__.replace("_", "-")
        sampler = facts["kind"] == "sampler"
        defaults = {"slope": sampler, "deterministic": sampler}
        ESTIMATORS[name] = Estimator(name=name, function=function, **{**defaults, **facts})
        return function

    return enter


def lookup(name: str) -> Estimator:
    """Return an estimator's entry.

    Raises:
        InputError: no estimator has that name.
    """
    if not isinstance(name, str) or name not in ESTIMATORS:
        raise InputError(f"estimator is {shown(name)}; expected one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]
