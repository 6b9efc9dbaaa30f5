"""What identifies one trained net."""

import dataclasses
import math
import numbers
from collections.abc import Collection
from typing import Any

from bsn.errors import InputError, refusal
from bsn.estimators.registry import ESTIMATORS

MODES = ("stochastic", "deterministic")
PARTS = ("train", "validation", "test")
BATCH_SIZE = 50  # examples per mini-batch (the post)
RECORD_EVERY = 100  # steps between two points of a learning curve (the post)
MAX_LAYERS = 8
MAX_WIDTH = 10_000  # units of a layer
MAX_COUNT = 1_000_000  # of anything that is counted; larger numbers are mistakes
CHOICES = dict(train_mode=MODES, eval_mode=MODES, train_on=PARTS[:2], evaluate_on=PARTS[1:])
RANGES = {"seed": (0, 2**31 - 1), "epochs": (1, MAX_COUNT), "steps_per_epoch": (RECORD_EVERY + 1, MAX_COUNT)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """The settings that, with the data, determine one trained net.

    Equal settings make equal specs, however they are written: lists become tuples, and NumPy numbers become
    Python numbers.

    Attributes:
        estimator: a name in `bsn.estimators.ESTIMATORS`, with its default options except for the
            temperature: eta is 1; Gumbel-Rao averages over 10 evenly spaced noise values.
        learning_rate: as the post writes it. Gradients are summed over the batch and the loss is a tenth of
            the cross-entropy, so the rate in the usual convention is 5 times this.
        hidden: widths of the hidden layers.
        slope_rate: factor on the slope after each epoch; 1 keeps it constant.
        slope_in_training: whether training uses the annealed slope too. The post's code does not do so.
        slope_in_evaluation: whether evaluation uses the annealed slope.
        temperature: of a relaxed estimator that has this option.
        train_mode, eval_mode: "stochastic" samples, "deterministic" rounds.
        stable_loss: compute log-softmax in one step; False takes the log of the softmax, as the post does.
        zero_biases: start biases at 0; False draws them Glorot-uniform, as the post does.
        train_on, evaluate_on: which parts of the data.
        seed: for the initial weights, the shuffling and the sampling.
        epochs, steps_per_epoch: length of the training, in epochs and in mini-batches per epoch.

    Raises:
        InputError: a value out of range, or a combination that is not defined.
    """

    estimator: str
    learning_rate: float
    hidden: tuple[int, ...] = (100,)
    slope_rate: float = 1.0
    slope_in_training: bool = False
    slope_in_evaluation: bool = True
    temperature: float = 0.5
    train_mode: str = "stochastic"
    eval_mode: str = "stochastic"
    stable_loss: bool = False
    zero_biases: bool = False
    train_on: str = "train"
    evaluate_on: str = "validation"
    seed: int = 1
    epochs: int = 20
    steps_per_epoch: int = 1001

    def __post_init__(self) -> None:
        for name, choices in dict(estimator=ESTIMATORS, **CHOICES).items():
            check_choice(getattr(self, name), choices, f"spec: {name}")
        for name in ("learning_rate", "slope_rate", "temperature"):
            self._set(name, check_positive(getattr(self, name), f"spec: {name}"))
        for name, (low, high) in RANGES.items():
            self._set(name, check_whole(getattr(self, name), low, high, f"spec: {name}"))
        for name in ("slope_in_training", "slope_in_evaluation", "stable_loss", "zero_biases"):
            if not isinstance(getattr(self, name), bool):
                raise refusal(f"spec: {name}", getattr(self, name), "true or false")
        if not isinstance(self.hidden, list | tuple) or not 1 <= len(self.hidden) <= MAX_LAYERS:
            raise refusal("spec: hidden", self.hidden, f"a list of 1 to {MAX_LAYERS} layer widths")
        widths = (check_whole(width, 1, MAX_WIDTH, "spec: hidden: a width") for width in self.hidden)
        self._set("hidden", tuple(widths))
        if self.train_on == self.evaluate_on:
            raise InputError(f"spec: train_on and evaluate_on are both {self.train_on!r}; expected two parts")
        entry = ESTIMATORS[self.estimator]
        if self.slope_rate != 1 and not entry.slope:
            raise InputError(f"spec: slope_rate is {self.slope_rate} with {self.estimator}; expected 1")
        if self.temperature != 0.5 and "temperature" not in entry.options:
            raise InputError(f"spec: temperature is {self.temperature} with {self.estimator}; expected 0.5")
        if self.train_mode == "deterministic" and not entry.deterministic:
            raise InputError(
                f"spec: train_mode is 'deterministic' with {self.estimator}; expected stochastic"
            )
        if not (self.slope_in_training or self.slope_in_evaluation):  # annealed nowhere
            self._set("slope_rate", 1.0)
        if self.slope_rate == 1:  # with a constant slope, the same net
            self._set("slope_in_training", False)
            self._set("slope_in_evaluation", True)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def check_choice(value: Any, choices: Collection[str], what: str) -> str:
    """Return `value`; raise an `InputError` if it is not one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise refusal(what, value, f"one of {', '.join(choices)}")
    return value


def check_whole(value: Any, low: int, high: int, what: str) -> int:
    """Return `value` as a Python integer; raise an `InputError` if it is not one from `low` to `high`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise refusal(what, value, f"a whole number from {low} to {high}")
    return int(value)


def check_positive(value: Any, what: str) -> float:
    """Return `value` as a Python float; raise an `InputError` unless it is above 0 and up to `MAX_COUNT`."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 < value <= MAX_COUNT:
        raise refusal(what, value, f"a number above 0, up to {MAX_COUNT}")
    return float(value)
