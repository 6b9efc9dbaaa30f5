"""Trained nets on disk: look up, add, never half-written.

A record is a folder of Parquet files, one per net, under a name that is a hash of what determines the
net: its spec, the data's checksum and the version of the training semantics. The book's record is all
of them in one file. Nets of another kind have a folder, a file and a schema of their own.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import bsn
from bookkit import environment, files
from bookkit.data import Data
from bsn.curves import WAYS, Curve
from bsn.errors import InputError
from bsn.spec import Spec

T = TypeVar("T")
Row = dict[str, Any]  # one trained net: the columns of `SCHEMA`, or of another

SEMANTICS = 1  # raise it when a change gives the same spec other results: the golden test tells
# fields since formats 1 to 3; what they are in older nets, which keep their keys
ADDED = {"zero_biases": False, "engine": "compiled", "temperature": 0.5}
LACKED = {b"1": [*ADDED], b"2": ["engine", "temperature"], b"3": ["temperature"], b"4": []}
CURVES = ("validation", "training", "epoch")  # metrics along the training
METRICS = {
    (way, role): f"{role} {way}" for way in WAYS for role in ("evaluated", "trained")
}  # and at its end
COMPUTED_WITH = ["bsn", "numba", "numpy", "scipy", "tensorflow"]

SCHEMA = pa.schema(
    [("key", pa.string()), ("semantics", pa.int64()), ("data", pa.string()), ("dataset", pa.string())]
    + [(name, pa.string()) for name in ("engine", "estimator", "hidden", "train_mode", "eval_mode")]
    + [(name, pa.string()) for name in ("train_on", "evaluate_on")]
    + [(name, pa.float64()) for name in ("learning_rate", "slope_rate", "temperature")]
    + [(name, pa.bool_()) for name in ("slope_in_training", "slope_in_evaluation")]
    + [(name, pa.bool_()) for name in ("stable_loss", "zero_biases")]
    + [(name, pa.int64()) for name in ("seed", "epochs", "steps_per_epoch", "diverged_step")]
    + [("seconds", pa.float64()), ("date", pa.string()), ("machine", pa.string()), ("versions", pa.string())]
    + [("after_epoch", pa.list_(pa.int64())), ("step", pa.list_(pa.int64()))]
    + [("metric", pa.list_(pa.string())), ("value", pa.list_(pa.float64()))]
    + [("digest", pa.string())],
    metadata={"bsn_format": "4"},
)


@functools.cache
def trainer_digest() -> str:
    """Return a hash of the sources in `bsn` that train a net, as they are when this is first called."""
    folder = pathlib.Path(bsn.__file__).parent
    return environment.source_digest(
        [folder / "curves.py", folder / "training.py", *sorted((folder / "estimators").glob("*.py"))]
    )


def key(spec: Spec, checksum: str, engine: str) -> str:
    """Return the name of a spec's net, for data with that checksum, trained by that engine."""
    fields = {"spec": _without_added(dataclasses.asdict(spec)), "data": checksum, "semantics": SEMANTICS}
    if engine == "tensorflow":
        fields["trainer"] = trainer_digest()
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


def row(spec: Spec, data: Data, engine: str, curve: Curve, seconds: float) -> Row:
    """Return a net as the record holds it."""
    fields = {**dataclasses.asdict(spec), "hidden": "-".join(map(str, spec.hidden)), "engine": engine}
    fields |= {"diverged_step": curve.diverged, "seconds": float(seconds)}
    fields |= dict(zip(("after_epoch", "step", "metric", "value"), map(list, zip(*curve.points))))
    return signed(key(spec, data.checksum, engine), data, {"semantics": SEMANTICS, **fields}, COMPUTED_WITH)


def signed(key: str, data: Data, fields: Row, packages: Iterable[str]) -> Row:
    """Return a row with its key, what it came from, `packages` included, and its `digest`."""
    row = {
        "key": key,
        "data": data.checksum,
        "dataset": data.name,
        **fields,
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{environment.processor()}, {platform.system()}",
        "versions": json.dumps(environment.versions(packages)),
    }
    return {**row, "digest": digest(row)}


def _without_added(fields: Mapping[str, Any]) -> Row:
    return {k: v for k, v in fields.items() if k not in ADDED or v != ADDED[k]}


def digest(row: Row) -> str:
    """Return a hash of a row's other fields, to tell whether it was changed after it was written."""
    text = json.dumps({k: v for k, v in _without_added(row).items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def completed(
    keys: Mapping[T, str],
    folder: pathlib.Path | None,
    fresh: bool,
    train: Callable[[list[T]], Iterable[Row]],
    schema: pa.Schema = SCHEMA,
) -> tuple[list[Row], int]:
    """Train the nets that a folder lacks, or all if `fresh`; each is added to it as it comes.

    Args:
        keys: what each net is trained from -> its key.
        train: yields one row per net that it is asked for, in any order.

    Returns:
        The rows of all in the order of `keys`, and how many were trained.

    Raises:
        InputError: a file that cannot be read or written; what came before is recorded.
    """
    # a damaged file is refused even if nothing in it is wanted: it would be overwritten
    rows = look_up(folder, keys.values(), schema) if folder else {}
    rows = {} if fresh else rows
    lacking = [net for net, key in keys.items() if key not in rows]
    for row in train(lacking) if lacking else []:
        if folder:
            write(folder / f"{row['key']}.parquet", [row], schema)
        rows[row["key"]] = row
    return [rows[key] for key in keys.values()], len(lacking)


def write(path: pathlib.Path, rows: Sequence[Mapping[Any, Any]], schema: pa.Schema = SCHEMA) -> None:
    """Write rows to one file, whole or not at all; make its folder if it is missing.

    Raises:
        InputError: it cannot be written.
    """
    table = pa.Table.from_pylist(rows, schema=schema)
    try:
        with files.replaced(path) as file:
            pq.write_table(table, file, compression="zstd")
    except OSError as error:
        raise InputError(f"record: cannot write {path}: {error.strerror or error}") from None


def read(path: pathlib.Path, schema: pa.Schema = SCHEMA) -> list[Row]:
    """Return the rows of a file, each one checked.

    Raises:
        InputError: the file is cut short, damaged, edited, of a newer version or has another schema.
        FileNotFoundError: there is none.
    """
    if files.special(path):
        raise refused(path, "is not a file")
    try:
        with open(path, "rb") as content, pq.ParquetFile(content) as file:  # Python's open is audited
            rows, table = file.read().to_pylist(), file.schema_arrow
    except (FileNotFoundError, NotADirectoryError):
        raise
    except PermissionError:
        raise refused(path, "must not be read") from None
    except Exception:  # of many kinds, for what is malformed
        raise refused(path, "is cut short or damaged") from None
    written = (table.metadata or {}).get(b"bsn_format", b"4")  # other kinds of nets have no format
    lacked = LACKED.get(written, [])
    expected = [field for field in schema if field.name not in lacked]
    if written not in LACKED or not table.equals(pa.schema(expected)):
        raise refused(path, "is not a record of trained nets in format 1, 2, 3 or 4")
    rows = [{name: ADDED[name] for name in lacked} | row for row in rows]
    for row in rows:
        if row["digest"] != digest(row):
            raise refused(path, f"was changed after it was written (net {row['key']})")
        _check(row, path)
        if row.get("semantics", SEMANTICS) > SEMANTICS:
            raise refused(path, f"comes from training semantics {row['semantics']}, newer than {SEMANTICS}")
    return rows


def _check(row: Row, path: pathlib.Path) -> None:
    """Refuse a row that lacks a value, or whose lists are empty or of unequal length."""
    lists = [value for value in row.values() if isinstance(value, list)]
    if None in row.values() or any(None in value for value in lists):
        raise refused(path, f"lacks a value (net {row['key']})")
    texts = [value for value in row.values() if isinstance(value, str)]
    texts += itertools.chain.from_iterable({*value} for value in lists if value and isinstance(value[0], str))
    if not all(map(str.isprintable, texts)):
        raise refused(path, f"has a text that cannot be printed (net {row['key']})")
    curve = [len(row[name]) for name in ("after_epoch", "step", "metric", "value") if name in row]
    if not all(map(len, lists)) or len(set(curve)) > 1:
        raise refused(path, f"has an empty or a ragged curve (net {row['key']})")
    if "metric" not in row:  # nets of another kind
        return
    # the post's first training accuracy is that of 101 batches over 100
    accuracies = all(0 <= value <= 1.01 for value in {*row["value"]})
    if not (
        {*CURVES, *METRICS.values()}.issuperset(row["metric"]) and accuracies and 0 <= row["seconds"] < np.inf
    ):
        raise refused(path, f"has an unknown metric, or a value out of its range (net {row['key']})")
    fields = {field.name: row[field.name] for field in dataclasses.fields(Spec)}
    try:
        Spec(**fields | {"hidden": [int(width) for width in row["hidden"].split("-")]})
    except ValueError as error:
        raise refused(path, f"has a net that cannot be trained: {error} (net {row['key']})") from None


def refused(path: pathlib.Path, reason: str) -> InputError:
    """Return the error for a file of a record that is neither used nor touched."""
    return InputError(f"record: {path} {reason}; it is left as it is: move it away and train again")


def look_up(folder: pathlib.Path, keys: Iterable[str], schema: pa.Schema = SCHEMA) -> dict[str, Row]:
    """Return key -> row, of those that the folder has."""
    known = {}
    for name in keys:
        path = folder / f"{name}.parquet"
        try:
            rows = read(path, schema)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if len(rows) != 1 or rows[0]["key"] != name:
            raise refused(path, "holds another net than its name says")
        known[name] = rows[0]
    return known


def read_all(folder: pathlib.Path) -> list[Row]:
    """Return the rows of every net in the folder, in the order of their keys."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in read(path)]


def curves(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as the tidy DataFrame of `bookkit.runs.run`; `net` counts the rows."""
    dropped = ("key", "semantics", "data", "date", "machine", "versions", "digest")
    frame = pd.DataFrame(rows, columns=[name for name in SCHEMA.names if name not in dropped])
    frame.insert(0, "net", range(len(frame)))
    return frame.explode(["after_epoch", "step", "metric", "value"], ignore_index=True).astype(
        {"after_epoch": int, "step": int, "value": float}
    )
