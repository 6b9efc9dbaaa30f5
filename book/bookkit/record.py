"""Trained nets on disk: look up, add, never half-written.

A record is a folder of Parquet files, a net each, under a name that is a hash of what determines the
net: its spec, the data's checksum and the version of the training semantics. The book's record is all
of them in one file.
"""

import dataclasses
import hashlib
import json
import os
import platform
import time
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bookkit import environment, files
from bsn.errors import InputError

Row = dict[str, Any]  # one trained net: the columns of `SCHEMA`

SEMANTICS = 1  # raise it when a change gives the same spec other results: the golden test tells
FORMAT = 2
ADDED = {"zero_biases": False}  # fields since format 1; what they are in older nets, which keep their keys
COMPUTED_WITH = ["bsn", "numba", "numpy", "scipy"]

SCHEMA = pa.schema(
    [("key", pa.string()), ("semantics", pa.int64()), ("data", pa.string()), ("dataset", pa.string())]
    + [(name, pa.string()) for name in ("estimator", "hidden", "train_mode", "eval_mode")]
    + [(name, pa.string()) for name in ("train_on", "evaluate_on")]
    + [(name, pa.float64()) for name in ("learning_rate", "slope_rate")]
    + [(name, pa.bool_()) for name in ("slope_in_training", "slope_in_evaluation")]
    + [(name, pa.bool_()) for name in ("stable_loss", "zero_biases")]
    + [(name, pa.int64()) for name in ("seed", "epochs", "steps_per_epoch", "diverged_step")]
    + [("seconds", pa.float64()), ("date", pa.string()), ("machine", pa.string()), ("versions", pa.string())]
    + [("after_epoch", pa.list_(pa.int64())), ("step", pa.list_(pa.int64()))]
    + [("metric", pa.list_(pa.string())), ("value", pa.list_(pa.float64()))]
    + [("digest", pa.string())],
    metadata={"bsn_format": str(FORMAT)},
)


def key(spec, data):
    """The name of a spec's net, for data with the checksum `data`."""
    fields = dataclasses.asdict(spec)
    text = json.dumps({"spec": _without_added(fields), "data": data, "semantics": SEMANTICS}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def row(spec, data, points, diverged_step, seconds):
    """A net as it is kept.

    Args:
        spec: its `bsn.Spec`; data: its `bookkit.data.Data`.
        points: [(epochs completed, step, metric, value), ...]; diverged_step, seconds: see `bookkit.runs.run`.
    """
    fields = {**dataclasses.asdict(spec), "hidden": "-".join(map(str, spec.hidden)), "dataset": data.name}
    after_epoch, step, metric, value = (list(column) for column in zip(*points))
    made = {
        "key": key(spec, data.checksum),
        "semantics": SEMANTICS,
        "data": data.checksum,
        **fields,
        "diverged_step": int(diverged_step),
        "seconds": float(seconds),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{environment.processor()}, {platform.system()}",
        "versions": json.dumps(environment.versions(COMPUTED_WITH)),
        "after_epoch": after_epoch,
        "step": step,
        "metric": metric,
        "value": [float(v) for v in value],
    }
    return {**made, "digest": digest(made)}


def _without_added(fields):
    return {k: v for k, v in fields.items() if k not in ADDED or v != ADDED[k]}


def digest(made):
    """Of a row's other fields, to tell whether it was changed after it was written."""
    text = json.dumps({k: v for k, v in _without_added(made).items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def add(where, made):
    """Write a net into the folder `where`, whole or not at all."""
    write(os.path.join(where, made["key"] + ".parquet"), [made])


def write(path, rows, schema=SCHEMA):
    """Write rows to one file, whole or not at all; its folder is made where it is missing."""
    table = pa.Table.from_pylist(rows, schema=schema)
    try:
        with files.replaced(path) as file:
            pq.write_table(table, file, compression="zstd")
    except OSError as error:
        raise InputError(f"record: cannot write {path}: {error.strerror or error}") from None


def read(path):
    """The rows of a file, each one checked.

    Raises:
        InputError: the file is cut short, damaged, edited or of a newer version.
    """
    schema, found = read_table(path)
    written = (schema.metadata or {}).get(b"bsn_format", b"none").decode(errors="replace")
    if written.isdecimal() and int(written) > FORMAT:
        raise refused(path, f"is of format {written}, newer than this version's {FORMAT}")
    older = written.isdecimal() and int(written) < FORMAT
    expected = [field for field in SCHEMA if not older or field.name not in ADDED]
    if not written.isdecimal() or not schema.equals(pa.schema(expected)):
        raise refused(path, "is not a record of trained nets")
    rows = [ADDED | made for made in found]
    for made in rows:
        if made["digest"] != digest(made):
            raise refused(path, f"was changed after it was written (net {made['key']})")
        if made["semantics"] > SEMANTICS:
            raise refused(path, f"comes from training semantics {made['semantics']}, newer than {SEMANTICS}")
    return rows


def read_table(path):
    """The schema and the rows of a Parquet file, unchecked.

    Raises:
        InputError: it cannot be read or is damaged. That there is none stays a `FileNotFoundError`.
    """
    try:
        with open(path, "rb") as content, pq.ParquetFile(content) as file:  # Python's open is audited
            table = file.read()
        return table.schema, table.to_pylist()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except PermissionError:
        raise refused(path, "must not be read") from None
    except Exception:  # of many kinds, for what is malformed
        raise refused(path, "is cut short or damaged") from None


def refused(path, reason):
    """The error for a file of a record that is not used, and not touched."""
    return InputError(f"record: {path} {reason}; it is left as it is: move it away and train anew")


def look_up(where, keys):
    """key -> row, of those that the folder has."""
    found = {}
    for name in keys:
        path = os.path.join(where, name + ".parquet")
        try:
            rows = read(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if len(rows) != 1 or rows[0]["key"] != name:
            raise refused(path, "holds another net than its name says")
        found[name] = rows[0]
    return found


def read_all(where):
    """The rows of every net in the folder, in the order of their keys."""
    names = (
        sorted(name for name in os.listdir(where) if name.endswith(".parquet"))
        if os.path.isdir(where)
        else []
    )
    return [made for name in names for made in read(os.path.join(where, name))]


def curves(rows):
    """Rows as the tidy DataFrame of `bookkit.runs.run`, `net` counting the rows."""
    apart = ("key", "semantics", "data", "date", "machine", "versions", "digest")
    frame = pd.DataFrame(rows, columns=[name for name in SCHEMA.names if name not in apart])
    frame.insert(0, "net", range(len(frame)))
    return frame.explode(["after_epoch", "step", "metric", "value"], ignore_index=True).astype(
        {"after_epoch": int, "step": int, "value": float}
    )
