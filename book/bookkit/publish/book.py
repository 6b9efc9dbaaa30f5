"""Chapters to executed notebooks, and on to the site."""

import os
import sys

from bookkit.parameters import RULES, check
from bookkit.paths import BOOK, BUILD, SITE, TOC
from bsn.errors import InputError, shown

SHORT = {
    "epochs": 1, "failing_epochs": 1, "steps_per_epoch": 101, "samples": 200,
    "points": 3, "problems": 3, "net_seeds": [1, 2], "checkpoints": [0, 50], "draws": 40, "tuning_steps": 10,
    "tune": True, "vae_steps": 200,
}  # fmt: skip
PROFILES = {
    "smoke": {"dataset": "digits", "seeds": [1], **SHORT},
    "quick": {"seeds": [0]},  # none of the record's
    "full": {"seeds": list(range(1, 11)), "tune": True},
}


def pages():
    """The names of the book's pages, in the order of the table of contents."""
    import yaml

    try:
        toc = yaml.safe_load(TOC.read_text())
        files = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
        return [file.removeprefix("book/") for file in files]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise InputError(f"{TOC}: not a table of contents: {error}") from None


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
        InputError: an unknown chapter, parameter or value, data that cannot be had, a cluster that does
            not answer, or another build at work here: nothing has been run or written then. Or a full disk:
            what was done before is kept.
    """
    from bookkit import cluster, files, leash
    from bookkit.publish import executed, runner, site

    known = chapters()
    for name in names or ():
        if name not in known:
            raise InputError(f"no chapter {shown(name)}; expected {', '.join(known)}")
    chosen = {name: path for name, path in known.items() if not names or name in names}
    declared = {name: declared_parameters(path) for name, path in chosen.items()}
    settings = _settings(declared, profile, parameters)
    dataset = _resolve(PROFILES[profile].get("dataset", dataset) if dataset == "auto" else dataset)
    for name, values in settings.items():
        values |= {"dataset": dataset} if "dataset" in declared[name] else {}
    if cluster.address():
        cluster.announce(cluster.address())
    try:
        with files.alone(BUILD, f"another build is at work in {BUILD}; wait until it has ended") as scratch:
            missing = [name for name in known if name not in chosen and not executed.path(name).exists()]
            if missing:
                print(f"bsn: no results yet of {', '.join(missing)}: their pages say so", file=sys.stderr)
            with leash.Leash() as held:
                failures = runner.run(chosen, declared, settings, dataset, profile, scratch, held)
                status = site.build(known, failures, scratch, held)
    except OSError as error:
        reason = files.cannot_write(str(error))
        if not reason:
            raise
        where = error.filename or BUILD
        raise InputError(f"build: cannot write {where}: {reason}; what was there is kept") from None
    for name, message in failures.items():
        print(f"bsn: chapter {name} failed: {message}", file=sys.stderr)
    if status == 0:
        print(f"bsn: the site is at {SITE / 'index.html'}")
    return 1 if failures or status else 0


def _settings(declared, profile, parameters):
    """Chapter -> the parameters to inject but the data set, checked by name and value.

    A parameter goes to every chapter chosen that has it; one that none has is refused.
    """
    import yaml

    from bookkit.bench import kept

    allowed = sorted({key for keys in declared.values() for key in keys} - {"dataset"})
    given = {}
    for key, text in parameters:
        if key not in allowed:
            hint = "use --dataset" if key == "dataset" else f"allowed: {', '.join(allowed)}"
            raise InputError(f"no chapter chosen has a parameter {shown(key)} for -p; {hint}")
        try:
            given[key] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):  # also a date that there is not
            raise InputError(f"-p {key} {shown(text)} is not YAML; expected {RULES[key][1]}") from None
    for key, value in given.items():
        check(key, value, where="-p: ")
        if key in kept.REPORTS:
            kept.read(value, key)
    wanted = {**PROFILES[profile], **given}
    return {
        name: {key: value for key, value in wanted.items() if key in keys and key != "dataset"}
        for name, keys in declared.items()
    }


def declared_parameters(path):
    """What a notebook's parameters cell assigns: name -> default."""
    import ast

    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        body = ast.parse(cells[0].source).body if cells else []
        return {
            target.id: ast.literal_eval(line.value)
            for line in body
            if isinstance(line, ast.Assign)
            for target in line.targets
        }
    except Exception as error:  # nbformat raises many kinds for a malformed file
        raise InputError(f"{path}: not a notebook with its parameters' defaults: {error}") from None


def _resolve(dataset):
    """Settle the data set once, before any chapter starts, so that a wrong file stops the build."""
    from bookkit import data, threads

    for name in ("BSN_MNIST_DIR", "BSN_RECORD"):
        if os.environ.get(name):  # the kernels run in another folder
            os.environ[name] = os.path.abspath(os.environ[name])
    threads.thread_count()
    dataset = data.resolve(dataset)
    if dataset == "mnist":
        data.load("mnist")
    elif dataset != "digits":
        data.load(dataset)
        dataset = os.path.abspath(dataset)
    return dataset
