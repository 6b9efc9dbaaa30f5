"""Chapters through papermill, several at a time, each with a kernel of its own."""

import concurrent.futures
import logging
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import nbformat
import papermill

from bookkit import data, files, processes
from bookkit.paths import BOOK, ROOT
from bookkit.progress import readable
from bookkit.publish import executed, kernels
from bookkit.settings import Settings
from bsn.errors import InputError

JOBS = 2  # chapters at once: a kernel's start-up and compilation use one core
CLUSTER_JOBS = 6  # they only wait for their nets, but each keeps a kernel of half a GiB in memory
START = 3.0  # seconds of a chapter that trains nothing
AUDIT = pathlib.Path(__file__).with_name("audit")

logging.getLogger("papermill").setLevel(logging.CRITICAL)  # errors are reported here


def run(
    chapters: Mapping[str, pathlib.Path],
    parameters: Mapping[str, dict[str, Any]],
    facts: Mapping[str, str],
    source: data.Data,
    settings: Settings,
    scratch: pathlib.Path,
) -> dict[str, str]:
    """Run the chapters whose executed notebooks are stale, the longest first.

    Args:
        parameters: name of a chapter -> those set in place of their defaults.
        facts: the `dataset` and `profile` of this build.
        source: its data.

    Returns:
        name -> the reason, in one line, for each chapter that failed.

    Raises:
        InputError: the disk is full; chapters that are done are kept.
        KeyboardInterrupt: with a message that says what is kept.
    """
    digests, started = executed.file_digests(), time.monotonic()
    reasons, facts_of, failures, done = {}, {}, {}, 0

    def finish(name: str, how: str) -> None:
        nonlocal done
        done += 1
        print(f"bsn: [{done}/{len(chapters)}] {name} {how}", file=sys.stderr)

    for name in sorted(chapters, key=lambda name: -_expected_seconds(chapters[name])):
        fingerprint = executed.fingerprint(parameters[name], facts["profile"], source.checksum)
        fresh, record = settings.fresh, settings.record
        reason = "" if fresh else executed.why_stale(name, fingerprint, digests, record)
        if reason is None:
            finish(name, "unchanged")
        else:
            reasons[name], facts_of[name] = reason, {**facts, "fingerprint": fingerprint}
    together = min(_jobs(settings), max(len(reasons), 1))
    if reasons:
        print(f"bsn: running {', '.join(reasons)}, {together} at once ...", file=sys.stderr)
        kernels.expect_kernels()
    expected = {name: START + _expected_seconds(chapters[name]) for name in reasons}
    waiting = dict(expected)
    shared = {"BSN_THREADS": str(max(1, settings.threads // together))}
    if reasons and source.name == "mnist" and not settings.mnist_dir:  # TFDS decodes it once for all kernels
        data.unpack(source, scratch / "mnist")
        shared["BSN_MNIST_DIR"] = str(scratch / "mnist")
    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        running = {
            pool.submit(
                _run_one, name, chapters[name], parameters[name], facts_of[name], digests, scratch, shared
            ): name
            for name in reasons
        }
        try:
            for future in concurrent.futures.as_completed(running):
                name, failure = running[future], future.result()
                if failure and files.full_disk(failure):
                    raise InputError(f"{name}: cannot write: {failure}; {_kept(done, len(chapters))}")
                if failure:
                    failures[name] = failure
                del waiting[name]
                seconds = time.monotonic() - started
                took = f"{seconds:.0f} s{reasons[name] and ', '}{reasons[name]}"
                left = _time_left(seconds, expected, waiting)
                finish(name, f"{'FAILED' if failure else 'done'} ({took}){left}")
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.kill_children()  # the threads end with their kernels
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(_kept(done, len(chapters))) from None
            raise
    return failures


def _time_left(seconds: float, expected: Mapping[str, float], waiting: Mapping[str, float]) -> str:
    """Say how long the chapters that wait will take if they go on as the others did in those seconds."""
    ahead, total = sum(waiting.values()), sum(expected.values())
    return f", about {readable(seconds * ahead / (total - ahead))} left" if waiting else ""


def _kept(done: int, total: int) -> str:
    return f"kept are {done} of {total} chapters and this build's record; the next build goes on from there"


def _expected_seconds(path: pathlib.Path) -> float:
    """Return how long a chapter trains in the quick profile, from its metadata."""
    return nbformat.read(path, as_version=4).metadata.get("bsn", {}).get("expected_seconds", 0)


def _jobs(settings: Settings) -> int:
    return CLUSTER_JOBS if settings.scheduler else JOBS


def _run_one(
    name: str,
    path: pathlib.Path,
    parameters: dict[str, Any],
    facts: dict[str, Any],
    digests: Mapping[str, str],
    scratch: pathlib.Path,
    shared: Mapping[str, str],
) -> str | None:
    """Run a chapter and write its executed notebook; returns the reason, in one line, if it failed.

    `shared` are the variables that all kernels have.
    """
    log = scratch / f"{name.replace('/', '--')}.files"
    # a helper beside the chapter can be imported, as in Jupyter; nothing else that lies about
    folders = os.pathsep.join(map(str, (AUDIT, ROOT, BOOK, path.parent)))
    variables = {**shared, "BSN_USED_FILES": str(log), "PYTHONPATH": folders}
    kernels.ENVIRONMENT.set(variables)
    try:
        notebook = _execute(path, parameters)
        for key in ("input_path", "output_path"):  # absolute paths of this machine
            notebook.metadata.papermill.pop(key, None)
        for cell in notebook.cells:
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.metadata.tags.append("hide-input")
                cell.id = "injected-parameters"  # papermill's is another one in each run
        used = executed.used_files(path, log, digests)
        executed.write(name, notebook, {**facts, "files": used})
        if executed.read(name) is None:
            return "its result cannot be read back"
    except papermill.PapermillExecutionError as error:
        return " ".join(f"code cell {error.exec_count}: {error.ename}: {error.evalue}".split())
    except concurrent.futures.BrokenExecutor:
        raise
    except Exception as error:  # of many kinds: a full disk, a kernel that dies, a malformed notebook
        if "Kernel died" in str(error):
            return "its kernel died; often of too little memory"
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _execute(path: pathlib.Path, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    options = {"kernel_name": "python3", "progress_bar": False}
    # not papermill's `cwd`: that would be this process's, and so the other chapters'
    options["resources"] = {"metadata": {"path": str(path.parent)}}
    try:
        return papermill.execute_notebook(path, None, parameters, **options)
    except RuntimeError as error:  # two kernels that start at once may choose the same port: then one dies
        if "Kernel died before replying" not in str(error):
            raise
        return papermill.execute_notebook(path, None, parameters, **options)
