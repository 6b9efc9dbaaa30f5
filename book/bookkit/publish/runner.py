"""Chapters through papermill, several at a time, each in a process of its own."""

import concurrent.futures
import contextlib
import json
import os
import sys
import time

from bookkit import cluster, files, record, threads
from bookkit.compiled import jit
from bookkit.paths import ROOT
from bookkit.progress import FILE_VARIABLE
from bookkit.publish import executed
from bsn.errors import InputError

JOBS = 2  # at once: a kernel's start-up and compilation use one core


def run(chosen, declared, given, dataset, profile, scratch, held):
    """Run chapters unless their executed notebooks still stand; those are kept in `bookkit.paths.EXECUTED`.

    Args:
        chosen: name -> path of the clean notebooks.
        declared: name -> parameters and their defaults; given: name -> those set in their place.
        dataset, profile: of this build.
        scratch: a folder for what is not kept; held: a `bookkit.leash.Leash`.

    Returns:
        name -> the reason, in one line, of those that failed.

    Raises:
        InputError: the disk is full. Chapters that were done are kept.
    """
    import papermill  # noqa: F401  fail here, not in a thread

    jit.check()
    facts = {"dataset": os.path.basename(dataset), "profile": profile}
    around = executed.surroundings(dataset)
    failures, started = {}, time.time()
    jobs = cluster.CHAPTERS if cluster.address() else JOBS

    def start(names):
        wanted = {}
        for name in names:
            parts = executed.fingerprint(chosen[name], declared[name], given[name], profile, around)
            why = _outdated(name, parts)
            if why is None:
                overview.finished(name, "unchanged")
            else:
                wanted[name] = why, {**facts, "fingerprint": parts}
        more = scratch, held, min(jobs, len(wanted))
        return {
            pool.submit(_run_one, name, chosen[name], given[name], kept, *more): (name, why)
            for name, (why, kept) in wanted.items()
        }

    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    with _Overview(len(chosen), scratch) as overview:
        try:
            running = start(sorted(chosen, key=lambda name: -_expected_seconds(chosen[name])))
            while running:
                done, _ = concurrent.futures.wait(running, timeout=0.5, return_when="FIRST_COMPLETED")
                for future in done:
                    name, why = running.pop(future)
                    reason = future.result()
                    if reason and files.full_disk(reason):
                        raise InputError(f"{name}: {reason}; {_kept(overview)}")
                    if reason:
                        failures[name] = reason
                    took = f"{time.time() - started:.0f} s{why and f', {why}'}"
                    overview.finished(name, f"{'FAILED' if reason else 'done'} ({took})")
                overview.show()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(overview)) from None
        finally:  # the leash ends those that run
            pool.shutdown(wait=False, cancel_futures=True)
    return failures


def _kept(overview):
    done = f"{overview.count} of {overview.total} chapters"
    return f"kept are {done} and this build's record; the next build goes on from there"


def _expected_seconds(path):
    """How long a chapter trains in the quick profile, from its metadata: the longest one starts first."""
    import nbformat

    return nbformat.read(path, as_version=4).metadata.get("bsn", {}).get("expected_seconds", 0)


def _outdated(name, parts):
    """As `bookkit.publish.executed.outdated`; all are when everything is to be trained anew."""
    if os.environ.get(record.FRESH_VARIABLE):
        return ""
    try:
        return executed.outdated(name, parts)
    except InputError as error:
        print(f"bsn: {error}; the chapter is run anew", file=sys.stderr)
        return "was damaged"


def _run_one(name, path, given, facts, scratch, held, together):
    """Run one of the chapters that run `together`, and keep it with `facts` if all is well.

    Returns:
        None, or the reason it failed.
    """
    draft = scratch / f"{name}.ipynb"
    arguments = [sys.executable, "-m", "papermill", str(path), str(draft), "-k", "python3"]
    arguments += ["--no-progress-bar", "--log-level", "ERROR", "-y", json.dumps(given)]
    environment = {**os.environ, FILE_VARIABLE: str(scratch / f"{name}.progress")}
    environment |= {
        threads.VARIABLE: str(max(1, threads.thread_count() // together)),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TMPDIR": str(scratch),  # a killed kernel cleans up nothing
    }
    for _ in range(2):  # two kernels that start at once may choose the same port: then one dies
        ran = held.run(arguments, env=environment, cwd=ROOT)
        if "Kernel died before replying" not in ran.stderr:
            break
    if ran.returncode:
        return _reason(draft, ran.stderr)
    import nbformat

    notebook = nbformat.read(draft, as_version=4)
    for key in ("input_path", "output_path"):  # absolute paths of this machine
        notebook.metadata.papermill.pop(key, None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")
    try:
        executed.write(name, notebook, **facts)
    except OSError as error:
        return f"cannot write {executed.path(name)}: {error.strerror}"
    return None


def _reason(draft, stderr):
    """The cell that failed and its error, from the notebook that papermill leaves behind."""
    import nbformat

    with contextlib.suppress(OSError, ValueError):  # none yet, or half of one on a full disk
        code = [cell for cell in nbformat.read(draft, as_version=4).cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            for output in cell.outputs:
                if output.output_type == "error":
                    return f"code cell {number}: {output.ename}: {output.evalue}"
    full = files.full_disk(stderr)
    if full:
        return f"cannot write {draft}: {full}"
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else "papermill gave no reason"


class _Overview:
    """What is running and what is left: one bar on a terminal, plain lines elsewhere."""

    def __init__(self, total, scratch):
        from tqdm import tqdm

        self.scratch, self.total, self.count = scratch, total, 0
        self.bar = tqdm(
            total=total,
            unit="chapter",
            disable=None,
            bar_format="{n_fmt}/{total_fmt} chapters [{elapsed}] {desc}",
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def finished(self, name, how):
        self.count += 1
        (self.scratch / f"{name}.progress").unlink(missing_ok=True)
        self.bar.write(f"bsn: [{self.count}/{self.total}] {name} {how}", file=sys.stderr)
        self.bar.update()

    def show(self):
        parts = []
        for path in sorted(self.scratch.glob("*.progress")):
            try:
                done, total = json.loads(path.read_text())
            except (OSError, ValueError):  # just finished, or not yet whole
                continue
            parts.append(f"{path.stem} {done / total:.0%}")
        self.bar.set_description_str(", ".join(parts))
