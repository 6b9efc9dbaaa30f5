"""Which values a chapter's parameters and the command's options may take."""

import json
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from bookkit.studies import vae
from bsn.errors import InputError, shown
from bsn.estimators.registry import ESTIMATORS as REGISTRY
from bsn.spec import MAX_COUNT, MAX_LAYERS, MAX_WIDTH, RECORD_EVERY

ESTIMATORS = [name for name, entry in REGISTRY.items() if entry.evaluations != "2^H"]  # those that train
MAX_LENGTH = 1000  # entries of a list, characters of a path


class Rule(NamedTuple):
    """What a parameter may be: a type that pydantic checks, and the same in words."""

    type: Any
    expected: str


def _whole(low: int, high: int = MAX_COUNT) -> Rule:
    return Rule(Annotated[int, Field(strict=True, ge=low, le=high)], f"a whole number from {low} to {high}")


def _steps(low: int) -> Rule:
    """Return the rule for numbers of steps that end with a record."""
    kind = Annotated[int, Field(strict=True, ge=low, le=MAX_COUNT, multiple_of=RECORD_EVERY)]
    return Rule(kind, f"a multiple of {RECORD_EVERY} from {low} to {MAX_COUNT}")


def _text(expected: str) -> Rule:
    return Rule(Annotated[str, Field(strict=True, max_length=MAX_LENGTH, pattern=r"^[^\x00]+$")], expected)


def _read_list(value: Any) -> Any:
    """Read a list from JSON: `papermill -p seeds '[0, 1]'` hands it on as text."""
    if isinstance(value, str):
        return json.loads(value)
    return list(value) if isinstance(value, tuple) else value


def _satisfying(condition: Callable[[Any], bool]) -> AfterValidator:
    def validate(value: Any) -> Any:
        if not condition(value):
            raise ValueError
        return value

    return AfterValidator(validate)


def _list_of(rule: Rule, least: int = 1, most: int = MAX_LENGTH, different: bool = True) -> Rule:
    items: Any = types.GenericAlias(list, rule.type)
    length = Field(strict=True, min_length=least, max_length=most)
    unequal = _satisfying(lambda values: not different or len(set(values)) == len(values))
    words = "different values" if different else "values"
    kind: Any = Annotated[items, length, BeforeValidator(_read_list), unequal]
    return Rule(kind, f"a list of {least} to {most} {words}, each {rule.expected}")


def _names(names: Sequence[str]) -> Rule:
    return _list_of(Rule(Literal[*names], "one of " + ", ".join(names)))


NUMBER = Annotated[float, Field(strict=True, gt=0, le=MAX_COUNT, allow_inf_nan=False)]
POSITIVE = Rule(NUMBER, f"a number above 0, up to {MAX_COUNT}")
FRACTION = Rule(Annotated[NUMBER, Field(lt=1)], "a number between 0 and 1")
NOT_HALF = _satisfying(lambda number: number != 0.5)
TARGET = Rule(Annotated[FRACTION.type, NOT_HALF], f"{FRACTION.expected}, but not 0.5")
RATES = _list_of(POSITIVE)
FLAG = Rule(Annotated[bool, Field(strict=True)], "true or false")
SEED = _whole(0, 2**31 - 1)
WIDTH = _whole(1, MAX_WIDTH)
STEPS = _list_of(SEED)
RISING = _satisfying(lambda steps: steps == sorted(steps))

RULES = {
    # of one net
    "learning_rate": POSITIVE,
    "hidden": _list_of(WIDTH, most=MAX_LAYERS, different=False),
    "width": WIDTH,
    "slope_rate": POSITIVE,
    "slope_in_training": FLAG,
    "stable_loss": FLAG,
    "seed": SEED,
    "epochs": _whole(1),
    "steps_per_epoch": _whole(RECORD_EVERY + 1),
    # of the experiments and the ranking
    "engine": Rule(Literal["tensorflow", "compiled"], "one of tensorflow, compiled"),
    "dataset": _text("auto, mnist, digits or the path of an .npz file"),
    "seeds": _list_of(SEED),
    "learning_rates": RATES,
    "reinforce_learning_rates": RATES,
    "sigmoid_learning_rates": RATES,
    "failing_learning_rate": POSITIVE,
    "failing_epochs": _whole(1),
    "depths": _list_of(_whole(1, MAX_LAYERS)),
    "estimators": _names(ESTIMATORS),
    "tune": FLAG,
    "tuning_seed": SEED,
    # of the other chapters
    "level": FRACTION,
    "samples": _whole(1),
    "slopes": RATES,
    "targets": _list_of(TARGET),
    "points": _whole(2),
    "problems": _whole(2),
    "units": _whole(2, 6),
    "layer_width": _whole(1, 8),
    "net_seeds": _list_of(SEED, least=2),
    "checkpoints": Rule(Annotated[STEPS.type, RISING], f"{STEPS.expected}, in rising order"),
    "draws": _whole(2),
    "noises": _whole(1),
    "compared_steps": _whole(1),
    "temperature": POSITIVE,
    "tuning_steps": _whole(1),
    "vae_estimators": _names(vae.ESTIMATORS),
    "architectures": _names(list(vae.ARCHITECTURES)),
    "vae_steps": _steps(RECORD_EVERY),
    # of the command
    "benchmark": _text("the path of a file from bsn bench --json"),
    "scaling": _text("the path of a file from bsn bench --workers --json"),
    "mnist-dir": _text("a folder with MNIST's four original files"),
    "rounds": _whole(1),
    "steps": _steps(2 * RECORD_EVERY),
}
_ADAPTERS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(rule.type) for name, rule in RULES.items()}


def check(name: str, value: Any, where: str = "") -> Any:
    """Return the value of a parameter, with a list read from its JSON text.

    Raises:
        InputError: its rule in `RULES` does not allow the value.
    """
    try:
        return _ADAPTERS[name].validate_python(value)
    except (ValidationError, TypeError, ValueError, RecursionError):
        raise InputError(f"{where}{name} is {shown(value)}; expected {RULES[name].expected}") from None
