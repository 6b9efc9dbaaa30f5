"""Executed notebooks on disk: each says what determined it, and has a digest that tells damage and edits."""

import hashlib
import importlib.metadata
import json

from bookkit import data, environment, files, record
from bookkit.paths import BOOK, BUILD, EXECUTED, RECORDS, ROOT, TABLES
from bookkit.progress import COST
from bsn.errors import InputError

READ = (".csv", ".parquet", ".json")  # files of the book that chapters read


def path(name):
    """Where a chapter's executed notebook lies."""
    return EXECUTED / f"{name}.ipynb"


def write(name, notebook, **facts):
    """Keep a notebook, with `facts` in its metadata.

    Raises:
        OSError: it cannot be written; the last one is as it was.
    """
    import nbformat

    notebook.metadata.bsn = facts
    notebook.metadata.bsn["digest"] = _digest(json.loads(nbformat.writes(notebook)))
    with files.replaced(path(name)) as file:
        file.write(nbformat.writes(notebook).encode())


def read(name):
    """A chapter's executed notebook, or None where there is none.

    Raises:
        InputError: it is damaged, was changed after it was written, or comes from another program.
    """
    import nbformat

    try:
        text = path(name).read_text()
        made = json.loads(text)
        whole = made["metadata"]["bsn"].pop("digest") == _digest(made)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        where = path(name).relative_to(BUILD.parent)
        raise InputError(f"{where} is damaged, or was changed after the build wrote it; it is not used")
    return nbformat.reads(text, as_version=4)


def _digest(made):
    return _hash(json.dumps(made, sort_keys=True).encode())


def surroundings(dataset):
    """What determines the result of every chapter, as digests."""
    installed = sorted((one.name, one.version) for one in importlib.metadata.distributions())
    machine = [environment.versions([]), environment.processor()]
    return {
        "data": data.load(dataset).checksum,
        "code": _hash_files(sorted([*(ROOT / "bsn").rglob("*.py"), *(BOOK / "bookkit").rglob("*.py")])),
        "book's files": _hash_files(
            sorted(file for file in [*TABLES.iterdir(), *RECORDS.iterdir()] if file.suffix in READ)
        ),
        "installed packages": _hash(json.dumps([installed, machine]).encode()),
    }


def fingerprint(clean, declared, given, profile, around):
    """What determines a chapter's result, as digests.

    Args:
        clean: path of its notebook without outputs.
        declared: its parameters and their defaults; given: those set in their place.
        profile: a name in `bookkit.publish.book.PROFILES`; around: see `surroundings`.
    """
    values = {**declared, **given}
    named = [
        place / value for value in values.values() if isinstance(value, str) for place in (ROOT, RECORDS)
    ]
    parameters = json.dumps(given, sort_keys=True) + _hash_files(file for file in named if file.is_file())
    parts = {"notebook": _hash_files([clean]), "parameters": _hash(parameters.encode()), "profile": profile}
    return {**parts, **around}


def _hash_files(paths):
    return _hash(b"".join(str(file.name).encode() + _hash(file.read_bytes()).encode() for file in paths))


def _hash(content):
    return hashlib.sha256(content).hexdigest()[:32]


def outdated(name, determined):
    """Why a chapter must be run, in a few words ("" where it has no result yet), or None.

    Args:
        determined: its `fingerprint` now.

    Raises:
        InputError: see `read`.
    """
    notebook = read(name)
    if notebook is None:
        return ""
    then = notebook.metadata.bsn.get("fingerprint", {})
    changed = [part for part in determined if then.get(part) != determined[part]]
    if not _recorded(notebook):
        changed.append("this build's record")
    return f"{', '.join(changed)} changed" if changed else None


def _recorded(notebook):
    """Whether this build's record, where there is one, still has the nets that a notebook trained."""
    where = record.folder()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    costs = [output.data[COST] for output in outputs if COST in output.get("data", {})]
    keys = [key for cost in costs for key in cost.get("keys", [])]
    try:
        return not where or len(record.look_up(where, keys)) == len(set(keys))
    except InputError:  # damaged: the chapter says so
        return False
