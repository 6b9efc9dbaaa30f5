"""Chapters to executed notebooks, and on to the site."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from bsn import cluster, threads
from bsn.errors import InputError
from bsn.paths import BOOK, EXECUTED, ROOT, SITE, TOC
from bsn.progress import FILE_VARIABLE
from bsn.spec import RULES, check

SHORT = {
    "epochs": 1, "failing_epochs": 1, "steps_per_epoch": 101, "samples": 200,
    "points": 3, "problems": 3, "net_seeds": [1, 2], "checkpoints": [0, 50], "draws": 40, "tuning_steps": 10,
    "recorded_nets": 50,
}  # fmt: skip
PROFILES = {
    "smoke": {"dataset": "digits", "seeds": [1], **SHORT},
    "quick": {"seeds": [0]},  # none of the record's
    "full": {"seeds": list(range(1, 11))},
}
LAST = "making"  # reads how long the others took
JOBS = 2  # chapters at once: a kernel's start-up and compilation use one core


def pages():
    """The names of the book's pages, in the order of the table of contents."""
    import yaml

    toc = yaml.safe_load(TOC.read_text())
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


def chapters():
    """The pages that are notebooks: name -> path."""
    return {name: BOOK / f"{name}.ipynb" for name in pages() if not (BOOK / f"{name}.md").exists()}


def build(profile="quick", dataset="auto", names=None, parameters=()):
    """Run chapters through papermill and build the site.

    Args:
        profile: a name in `PROFILES`.
        dataset: "auto", "mnist", "digits" or the path of an .npz file; smoke means digits by "auto".
        names: chapters to run, all by default; the others keep their last results.
        parameters: pairs (name, value in YAML) for the chapters named.

    Returns:
        0, or 1 where a chapter or the site failed.

    Raises:
        InputError: an unknown chapter, parameter or value, data that cannot be had, or a cluster that does
            not answer. Nothing has been run or written then.
    """
    known = chapters()
    for name in names or ():
        if name not in known:
            raise InputError(f"no chapter {name!r}; allowed: {', '.join(known)}")
    chosen = {name: path for name, path in known.items() if not names or name in names}
    settings = _settings(chosen, profile, parameters)
    dataset = _resolve(PROFILES[profile].get("dataset", dataset) if dataset == "auto" else dataset)
    for values in settings.values():
        values["dataset"] = dataset
    if cluster.address():
        cluster.announce(cluster.address())
    missing = [name for name in known if name not in chosen and not (EXECUTED / f"{name}.ipynb").exists()]
    if missing:
        print(
            f"bsn: no results yet of {', '.join(missing)}: their pages say so",
            file=sys.stderr,
        )

    from bsn import site

    failures = _execute(chosen, settings, profile)
    status = site.build(known, failures)
    for name, message in failures.items():
        print(f"bsn: chapter {name} failed: {message}", file=sys.stderr)
    if status == 0:
        print(f"bsn: the site is at {SITE / 'index.html'}")
    return 1 if failures or status else 0


def _settings(chosen, profile, parameters):
    """Chapter -> the parameters to inject, checked by name and value.

    A parameter goes to every chapter chosen that has it; one that none has is refused.
    """
    import yaml

    declared = {name: declared_parameters(path) for name, path in chosen.items()}
    allowed = sorted({key for keys in declared.values() for key in keys} - {"dataset"})
    given = {}
    for key, text in parameters:
        if key not in allowed:
            hint = "use --dataset" if key == "dataset" else f"allowed: {', '.join(allowed)}"
            raise InputError(f"no chapter chosen has a parameter {key!r} for -p; {hint}")
        try:
            given[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"-p {key} {text!r} is not YAML; allowed: {RULES[key][1]}") from None
    for key, value in given.items():
        check(key, value, where="-p: ")
    wanted = {**PROFILES[profile], **given}
    return {
        name: {key: value for key, value in wanted.items() if key in keys and key != "dataset"}
        for name, keys in declared.items()
    }


def declared_parameters(path):
    """Names assigned in a notebook's parameters cell."""
    import ast

    import nbformat

    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    body = ast.parse(cells[0].source).body if cells else []
    return [target.id for line in body if isinstance(line, ast.Assign) for target in line.targets]


def _resolve(dataset):
    """Settle the data set once, before any chapter starts, so that a wrong file stops the build."""
    from bsn import data

    for name in ("BSN_MNIST_DIR", "BSN_RECORD"):
        if os.environ.get(name):  # the kernels run in another folder
            os.environ[name] = os.path.abspath(os.environ[name])
    dataset = data.resolve(dataset)
    if dataset == "mnist":
        data.load("mnist")
    elif dataset != "digits":
        data.load(dataset)
        dataset = os.path.abspath(dataset)
    return dataset


def _execute(chosen, settings, profile):
    """Run chapters, some at a time; returns name -> one-line reason of those that failed."""
    import papermill  # noqa: F401  fail here, not in a thread

    EXECUTED.mkdir(parents=True, exist_ok=True)
    failures, started = {}, time.time()
    jobs = cluster.CHAPTERS if cluster.address() else JOBS
    with (
        tempfile.TemporaryDirectory(prefix="bsn-") as scratch,
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
        _Overview(len(chosen), pathlib.Path(scratch)) as overview,
    ):

        def start(names):
            more = profile, pathlib.Path(scratch), min(jobs, len(chosen))
            arguments = ((name, chosen[name], settings[name], *more) for name in names)
            return {pool.submit(_execute_one, *given): given[0] for given in arguments}

        names = sorted(set(chosen) - {LAST}, key=lambda name: -_expected_seconds(chosen[name]))
        running, left = start(names), [LAST] if LAST in chosen else []
        try:
            while running or left:
                if not running:
                    running, left = start(left), []
                done, _ = concurrent.futures.wait(running, timeout=0.5, return_when="FIRST_COMPLETED")
                for future in done:
                    name = running.pop(future)
                    reason = future.result()
                    if reason:
                        failures[name] = reason
                    overview.finished(name, reason, time.time() - started)
                overview.show()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # those not begun; the others get the signal too
            raise
    return failures


def _expected_seconds(path):
    """How long a chapter trains in the quick profile, from its metadata: the longest one starts first."""
    import nbformat

    return nbformat.read(path, as_version=4).metadata.get("bsn", {}).get("expected_seconds", 0)


def _execute_one(name, path, values, profile, scratch, together):
    """Run one of the chapters that run `together`, in a process of its own, to a temporary file.

    Returns:
        None, or the reason it failed.
    """
    draft = scratch / f"{name}.ipynb"
    declared = {key: value for key, value in values.items() if key in declared_parameters(path)}
    arguments = [sys.executable, "-m", "papermill", str(path), str(draft), "-k", "python3"]
    arguments += ["--no-progress-bar", "--log-level", "ERROR", "-y", json.dumps(declared)]
    environment = {**os.environ, FILE_VARIABLE: str(scratch / f"{name}.progress")}
    environment |= {
        threads.VARIABLE: str(max(1, threads.thread_count() // together)),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    for _ in range(2):  # two kernels that start at once may choose the same port: then one dies
        ran = subprocess.run(arguments, env=environment, cwd=ROOT, capture_output=True, text=True)
        if "Kernel died before replying" not in ran.stderr:
            break
    if ran.returncode:
        return _reason(draft, ran.stderr)
    import nbformat

    notebook = nbformat.read(draft, as_version=4)
    notebook.metadata.bsn = {"dataset": os.path.basename(values["dataset"]), "profile": profile}
    for key in ("input_path", "output_path"):  # absolute paths of this machine
        notebook.metadata.papermill.pop(key, None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")
    nbformat.write(notebook, draft)
    temporary = EXECUTED / f".{name}.new"
    shutil.copyfile(draft, temporary)
    os.replace(temporary, EXECUTED / f"{name}.ipynb")
    return None


def _reason(draft, stderr):
    """The cell that failed and its error, from the notebook that papermill leaves behind."""
    import nbformat

    if draft.exists():
        code = [cell for cell in nbformat.read(draft, as_version=4).cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            for output in cell.outputs:
                if output.output_type == "error":
                    return f"code cell {number}: {output.ename}: {output.evalue}"
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

    def finished(self, name, reason, elapsed):
        self.count += 1
        (self.scratch / f"{name}.progress").unlink(missing_ok=True)
        self.bar.write(
            f"bsn: [{self.count}/{self.total}] {name} {'FAILED' if reason else 'done'} ({elapsed:.0f} s)",
            file=sys.stderr,
        )
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
