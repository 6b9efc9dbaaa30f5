"""Executed notebooks on disk: each says what determined it."""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import pathlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import nbformat

from bookkit import environment, files, record
from bookkit.paths import BOOK, BUILD, EXECUTED, ROOT
from bookkit.progress import COST
from bsn.errors import InputError

NAMED = 5  # reasons for a run that are given by name


def path(name: str) -> pathlib.Path:
    """Return where a chapter's executed notebook lies."""
    return EXECUTED / f"{name}.ipynb"


def write(name: str, notebook: nbformat.NotebookNode, facts: Mapping[str, Any]) -> None:
    """Write a notebook with `facts` in its metadata, and a digest of all of it, whole or not at all."""
    notebook.metadata.bsn = {**facts}
    notebook = nbformat.reads(nbformat.writes(notebook), as_version=4)  # as it will be read
    notebook.metadata.bsn.digest = _digest(notebook)
    with files.replaced(path(name)) as file:
        file.write(nbformat.writes(notebook).encode())


def read(name: str) -> nbformat.NotebookNode | None:
    """Return a chapter's executed notebook, or None if there is none to use.

    One that is damaged or comes from another program is named on the standard error.
    """
    try:
        if files.special(path(name)):
            raise ValueError("not a file")
        notebook = nbformat.read(path(name), as_version=4)
        if notebook.metadata.bsn.digest != _digest(notebook):
            raise ValueError("changed after it was written")
        return notebook
    except FileNotFoundError:
        return None
    except Exception:  # nbformat raises many kinds
        file = path(name).relative_to(BUILD.parent)
        print(f"bsn: {file} is damaged, or no result of a build; it is not used", file=sys.stderr)
        return None


def _digest(notebook: nbformat.NotebookNode) -> str:
    facts = {name: fact for name, fact in notebook.metadata.bsn.items() if name != "digest"}
    return _hash(json.dumps([notebook.cells, {**notebook.metadata, "bsn": facts}], sort_keys=True).encode())


def file_digests() -> dict[str, str]:
    """Return the digest of each file that a chapter could use, by its path from the root of the checkout."""
    paths = [path for folder in (ROOT / "bsn", BOOK) for path in sorted(folder.rglob("*"))]
    return {
        str(path.relative_to(ROOT)): _hash(_content(path))
        for path in paths
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}
    }


def _content(path: pathlib.Path) -> bytes:
    """Return what of a file decides results: all, but of a notebook its code, whose text is for the site."""
    content = path.read_bytes()
    if path.suffix == ".ipynb":
        with contextlib.suppress(ValueError, KeyError, TypeError):  # malformed: no chapter
            cells = [cell for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
            return json.dumps([[cell["source"], cell["metadata"].get("tags")] for cell in cells]).encode()
    return content


def used_files(notebook: pathlib.Path, log: pathlib.Path, digests: Mapping[str, str]) -> dict[str, str]:
    """Return the files that a chapter used, by the log that `bookkit.publish.audit` wrote, and their digests.

    These are `file_digests` from before the kernel's start, so that a file edited since is stale.
    """
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    sources = {importlib.util.source_from_cache(line) if line.endswith(".pyc") else line for line in lines}
    sources.add(str(notebook.relative_to(ROOT)))
    return {source: digests[source] for source in sorted(sources) if source in digests}


def fingerprint(parameters: Mapping[str, Any], profile: str, checksum: str) -> dict[str, str]:
    """Return what determines a chapter's result, its files apart: name -> value or digest."""
    texts = [value for value in parameters.values() if isinstance(value, str)]
    named = [path for path in map(pathlib.Path, texts) if path.is_absolute() and path.is_file()]
    contents = [_hash(path.read_bytes()) for path in named]
    machine = [environment.versions([]), environment.processor()]
    return {
        "parameters": _hash(json.dumps([parameters, contents], sort_keys=True).encode()),
        "profile": profile,
        "data": checksum,
        "installed packages": _hash(json.dumps([installed(), machine]).encode()),
    }


@functools.cache
def installed() -> list[tuple[str, str]]:
    """Return name and version of every package installed."""
    return sorted((package.name, package.version) for package in importlib.metadata.distributions())


def why_stale(
    name: str, current: Mapping[str, str], digests: Mapping[str, str], nets: pathlib.Path | None
) -> str | None:
    """Return why a chapter must run, in a few words ("" if it has no result to use), or None if it need not.

    That depends on its `fingerprint` now, on `file_digests`, and on the nets in this build's record.
    """
    notebook = read(name)
    if notebook is None:
        return ""
    facts = notebook.metadata.bsn
    then = facts.fingerprint
    changed = [part for part in current if then.get(part) != current[part]]
    changed += [file for file, digest in facts.get("files", {}).items() if digests.get(file) != digest]
    if nets and not _recorded(notebook.cells, nets):
        changed.append("this build's record")
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"{', '.join(changed[:NAMED])}{more} changed" if changed else None


def _recorded(cells: Iterable[nbformat.NotebookNode], nets: pathlib.Path) -> bool:
    """Return whether this build's record still has the nets that a notebook trained."""
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    keys = {key for output in outputs for key in output.get(COST, {}).get("keys", [])}
    try:
        return len(record.look_up(nets, keys)) == len(keys)
    except InputError:  # damaged: the chapter says so
        return False


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
