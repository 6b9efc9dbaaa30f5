"""Which values a chapter's parameters and the command's options may take."""

import ast
import json
from collections.abc import Iterable
from typing import Any

import jsonschema

from bookkit.paths import table
from bookkit.studies import vae
from bsn.errors import InputError, shown
from bsn.estimators.registry import ESTIMATORS as REGISTRY

ESTIMATORS = [name for name, entry in REGISTRY.items() if entry.evaluations != "2^H"]  # those that train


def _names(names: Iterable[str]) -> dict[str, Any]:
    items, words = {"enum": [*names]}, f"a list of 1 to 1000 different values, each one of {', '.join(names)}"
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True, "description": words}


RULES: dict[str, Any] = table("parameters") | {
    "estimators": _names(ESTIMATORS),
    "vae_estimators": _names(vae.ESTIMATORS),
    "architectures": _names(vae.ARCHITECTURES),
}


def check(name: str, value: Any, where: str = "") -> Any:
    """Return the value of a parameter; a list also from its JSON text, as `papermill -p` hands it on.

    Raises:
        InputError: its rule in `RULES`, from `book/tables/parameters.yml`, does not allow the value.
    """
    rule = RULES[name]
    try:
        text = value if isinstance(value, str) and rule.get("type") == "array" else None
        value = json.loads(json.dumps(value, allow_nan=False) if text is None else text)
        jsonschema.Draft4Validator(rule).validate(value)  # its integers are no floats
    except (jsonschema.ValidationError, TypeError, ValueError, RecursionError):
        raise InputError(f"{where}{name} is {shown(value)}; expected {rule['description']}") from None
    return value


def assignments(source: str) -> dict[str, ast.expr]:
    """Return name -> value for each assignment of a cell, such as `epochs = 5` or `epochs: int = 5`."""
    values: dict[str, ast.expr] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            values |= {target.id: statement.value for target in targets if isinstance(target, ast.Name)}
    return values
