"""Which values a chapter's parameters and the command's options may take."""

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

import jsonschema
import yaml

from bookkit.paths import table
from bookkit.studies import vae
from bsn.errors import InputError, shown
from bsn.estimators.registry import ESTIMATORS as REGISTRY

LITERAL = re.compile(r"null|true|false|-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
ESTIMATORS = [name for name, entry in REGISTRY.items() if entry.evaluations != "2^H"]  # those that train


def _names(names: Iterable[str]) -> dict[str, Any]:
    items, words = {"enum": [*names]}, f"a list of 1 to 1000 different values, each one of {', '.join(names)}"
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True, "description": words}


RULES: dict[str, Any] = table("parameters") | {
    "estimators": _names(ESTIMATORS),
    "vae_estimators": _names(vae.ESTIMATORS),
    "architectures": _names(vae.ARCHITECTURES),
}

ANY = {"description": "a number, true, false, text, or a list of these"}


def parse(text: str) -> Any:
    """Return the value that a text is: a number, true, false or null as in JSON, text, or a list of these.

    Words need no quotes. There are no dates, no octal or base-60 numbers, no tags, anchors or mappings, which
    YAML would have: what is no number in JSON is text.

    Raises:
        ValueError: the text is no such value.
    """
    try:
        node = yaml.compose(text, yaml.BaseLoader)
        events = [event for event in yaml.parse(text, yaml.BaseLoader)]
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{error}") from None
    marks = ("anchor", "tag")
    if any(getattr(event, mark, None) for event in events for mark in marks):
        raise ValueError("anchors, aliases and tags have no meaning")
    return _value(node)


def _value(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("neither a single value nor a list")
    if node.style is None and LITERAL.fullmatch(node.value):
        return json.loads(node.value)
    return node.value


def check(name: str, value: Any, where: str = "") -> Any:
    """Return the value of a parameter; a list also from its JSON text, as `papermill -p` hands it on.

    Raises:
        InputError: its rule in `RULES`, from `book/tables/parameters.yml`, does not allow the value. What has
            no rule may be anything that `parse` returns.
    """
    rule = RULES.get(name, ANY)
    try:
        text = value if isinstance(value, str) and rule.get("type") == "array" else None
        value = json.loads(json.dumps(value, allow_nan=False) if text is None else text)
        if isinstance(value, str):  # papermill writes a character beyond 16 bits as two
            value = value.encode("utf-16", "surrogatepass").decode("utf-16")
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
