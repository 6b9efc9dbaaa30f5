"""Chapters to executed notebooks, and on to the site."""

import concurrent.futures
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bookkit.parameters import ANY, RULES, check, parse
from bookkit.paths import BOOK, BUILD, EXECUTED, SITE, TOC, table
from bookkit.settings import Settings
from bsn.errors import InputError, shown

PROFILES: dict[str, dict[str, Any]] = table("profiles")


def pages() -> list[str]:
    """Return the names of the book's pages, in the order of the table of contents: their paths in `book/`."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    try:
        files = [pathlib.PurePosixPath(file) for file in parse_toc_yaml(TOC)]
    except Exception as error:  # of many kinds
        raise InputError(f"{TOC}: not a table of contents: {error}") from None
    for file in files:
        if file.parts[0] != BOOK.name or ".." in file.parts:
            raise InputError(
                f"{TOC}: {file} is not in the folder {BOOK.name}; expected {BOOK.name}/{file.name}"
            )
    return [str(file.relative_to(BOOK.name).with_suffix("")) for file in files]


def chapters() -> dict[str, pathlib.Path]:
    """Return the pages that are notebooks: name -> path.

    Raises:
        InputError: the table of contents names a page that there is not.
    """
    notebooks = {}
    for name in pages():
        if not (BOOK / f"{name}.md").exists():
            notebooks[name] = BOOK / f"{name}.ipynb"
            if not notebooks[name].exists():
                raise InputError(f"{TOC}: there is no {notebooks[name]} and no {name}.md beside it")
    return notebooks


def declared_parameters(path: pathlib.Path) -> list[str]:
    """Return the names of the parameters that a notebook declares."""
    import papermill

    try:
        return list(papermill.inspect_notebook(path))
    except Exception as error:  # of many kinds, for a malformed file
        raise InputError(f"{path}: not a notebook with parameters: {error}") from None


def build(
    settings: Settings,
    profile: str = "quick",
    dataset: str = "auto",
    names: Sequence[str] = (),
    parameters: Iterable[tuple[str, str]] = (),
) -> int:
    """Run chapters through papermill and build the site; return 0, or 1 if a chapter or the site failed.

    Args:
        dataset: as for `bookkit.data.load`; the smoke profile means digits by "auto".
        names: chapters to run, all by default; the others keep their last results.
        parameters: pairs (name, value as text for `bookkit.parameters.parse`) for the chapters named.

    Raises:
        InputError: an unknown chapter, parameter or value, data that cannot be had, a cluster that does
            not answer, or another build at work here: nothing has been run or written then. Or the disk is
            full, or a process was killed: what was done before is kept.
    """
    import filelock

    from bookkit import data, processes
    from bookkit.publish import kernels, runner, site

    known = chapters()
    for name in names:
        if name not in known:
            raise InputError(f"no chapter {shown(name)}; expected {', '.join(known)}")
    chosen = {name: path for name, path in known.items() if not names or name in names}
    values = _values({name: declared_parameters(path) for name, path in chosen.items()}, profile, parameters)
    if dataset == "auto":
        dataset = PROFILES[profile].get("dataset", dataset)
    dataset = data.resolve(dataset, settings.mnist_dir)
    source = data.load(dataset, settings.mnist_dir)
    if dataset not in ("mnist", "digits"):
        dataset = os.path.abspath(dataset)  # the kernels run in another folder
    for given in values.values():
        if "dataset" in given:
            given["dataset"] = dataset
    if settings.scheduler:
        from bookkit import cluster

        cluster.announce(settings.scheduler)
    scratch = BUILD / "scratch"
    try:
        with filelock.FileLock(BUILD / "build.lock", timeout=0):
            shutil.rmtree(scratch, ignore_errors=True)  # of a build that was killed
            scratch.mkdir()
            for unfinished in EXECUTED.rglob(".*.ipynb.*"):  # and what that was writing
                unfinished.unlink()
            try:
                facts = {"dataset": os.path.basename(dataset), "profile": profile}
                environment = processes.surroundings(scratch) | settings.environment()
                with kernels.available(environment) as template:
                    failures = runner.run(chosen, values, facts, source, settings, scratch)
                    status = site.build(pages(), known, failures, scratch, template, settings.threads)
            except concurrent.futures.BrokenExecutor:
                raise InputError(
                    "a process of the build died; often of too little memory; "
                    "chapters that are done and this build's record are kept"
                ) from None
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except filelock.Timeout:
        raise InputError(f"another build is at work in {BUILD}; wait until it has ended") from None
    except OSError as error:
        raise InputError(
            f"build: cannot write {error.filename or BUILD}: {error.strerror}; what was there is kept"
        ) from None
    for name, reason in failures.items():
        print(f"bsn: chapter {name} failed: {reason}", file=sys.stderr)
    if status == 0:
        print(f"bsn: the site is at {SITE / 'index.html'}")
    return 1 if failures or status else 0


def _values(
    declared: Mapping[str, Sequence[str]], profile: str, parameters: Iterable[tuple[str, str]]
) -> dict[str, dict[str, Any]]:
    """Return the parameters to set for each chapter, checked by name and value; `dataset` is None.

    A parameter goes to every chapter chosen that has it; one that none has is refused.
    """
    from bookkit.bench import reports

    expected = sorted({key for keys in declared.values() for key in keys} - {"dataset"})
    given = {}
    for key, text in parameters:
        if key not in expected:
            hint = "use --dataset" if key == "dataset" else f"expected {', '.join(expected)}"
            raise InputError(f"no chapter chosen has a parameter {shown(key)} for -p; {hint}")
        try:
            value = check(key, parse(text), where="-p: ")
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            rule = RULES.get(key, ANY)
            raise InputError(f"-p {key} is {shown(text)}; expected {rule['description']}") from None
        if key in reports.REPORTS:
            value = value if value == reports.OWN else os.path.abspath(value)  # kernels run in another folder
            reports.read(value, key)
        given[key] = value
    shared, own = PROFILES[profile], PROFILES[profile].get("chapters", {})
    wanted = {name: {**shared, **own.get(name, {}), **given, "dataset": None} for name in declared}
    return {name: {key: new[key] for key in declared[name] if key in new} for name, new in wanted.items()}
