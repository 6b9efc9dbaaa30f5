"""Executed notebooks to a static site that needs no network."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection
from typing import Any

from bookkit import files, processes
from bookkit.data import dataset_title
from bookkit.figures import theme
from bookkit.paths import BOOK, CONFIG, ROOT, SITE, TOC
from bookkit.publish import executed, pages
from bsn.errors import InputError

# not in the source folder: Jupyter Book would load every script of _static on every page
NO_PAGES = (".ipynb_checkpoints", "_static", "_templates", "bookkit", "record", "tables", "*.egg-info")


def build(chapters: dict[str, pathlib.Path], failures: Collection[str], scratch: pathlib.Path) -> int:
    """Build the site from the last executed notebooks, warnings as errors; return the exit status, 0 or 1.

    On failure the old site stays. Raises an `InputError` if the disk is full.
    """
    import nbformat
    import yaml

    source, extra, themes = scratch / "book", scratch / "extra", scratch / "themes"
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns(*NO_PAGES))
    downloads = extra / pages.DOWNLOADS
    downloads.mkdir(parents=True)
    themes.mkdir()
    (themes / "figures.css").write_text(theme.css())
    origin = repository()
    results = {}
    for name, path in chapters.items():
        shutil.copyfile(path, downloads / path.name)
        notebook = executed.read(name)
        if notebook:
            results[name] = notebook
            shutil.copyfile(executed.path(name), downloads / f"{name}-executed.ipynb")
            notebook = pages.page(notebook, name, downloads, origin and origin[0])
        else:
            notebook = pages.without_results(nbformat.read(path, as_version=4))
        nbformat.write(notebook, source / path.name)
    config = yaml.safe_load(CONFIG.read_text())
    config["sphinx"]["config"] |= {
        "html_static_path": [str(BOOK / "_static"), str(themes)],
        "html_extra_path": [str(extra)],
        "templates_path": [str(BOOK / "_templates")],
    }
    notice = _notice(results, failures)
    if notice:
        config["html"]["announcement"] = notice
    if origin:
        config["repository"] = {"url": origin[0], "branch": origin[1], "path_to_book": "book"}
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
    (scratch / "_config.yml").write_text(yaml.safe_dump(config))
    (scratch / "_toc.yml").write_text(TOC.read_text().replace(": book/", ": "))  # addresses have no folder
    print("bsn: building the site ...", file=sys.stderr)
    command = [os.path.join(sysconfig.get_path("scripts"), "jupyter-book"), "build", str(source)]
    command += ["--config", str(scratch / "_config.yml"), "--toc", str(scratch / "_toc.yml")]
    command += ["--path-output", str(scratch), "-W", "-n", "--keep-going", "--all", "-q"]
    with processes.pool(1, {"TMPDIR": str(scratch)}) as pool:
        ran = pool.submit(subprocess.run, command, capture_output=True, text=True).result()
    site = scratch / "_build" / "html"
    if ran.returncode or not (site / "index.html").exists():
        full = files.full_disk(ran.stdout + ran.stderr)
        if full:
            raise InputError(f"build: cannot write {site}: {full}; the last site and all results are kept")
        print(ran.stdout + ran.stderr, file=sys.stderr)
        print("bsn: the site was not built; the warnings above say why", file=sys.stderr)
        return 1
    (site / ".buildinfo").unlink()  # of use to Sphinx alone, and other in another folder
    if SITE.exists():
        os.rename(SITE, scratch / "last")
    os.rename(site, SITE)
    return 0


def _notice(results: dict[str, Any], failures: Collection[str]) -> str | None:
    """Return what every page must say of how this build's pages came about, if anything."""
    origins = {(book.metadata.bsn["dataset"], book.metadata.bsn["profile"]) for book in results.values()}
    notes = []
    if len(origins) > 1 or origins - {("mnist", "quick"), ("mnist", "full")}:
        runs = [f"{dataset_title(dataset)}, {profile} profile" for dataset, profile in sorted(origins)]
        notes.append(f"This build trained on {'; and on '.join(runs)}.")
    if any(dataset != "mnist" for dataset, _ in origins):
        notes.append("Numbers measured on other data than MNIST are not comparable with the post's.")
    if failures:
        notes.append(f"The last run of {', '.join(failures)} failed: shown is an earlier one, if any.")
    return " ".join(notes) or None


def repository() -> tuple[str, str] | None:
    """Return the web address of the checkout's origin on a public host, and its branch, if it has one."""
    git = f"git -C {shlex.quote(str(ROOT))}"
    remote = subprocess.getoutput(f"{git} config --get remote.origin.url")
    match = re.fullmatch(r"(?:https://|(?:ssh://)?git@)github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?", remote)
    branch = subprocess.getoutput(f"{git} branch --show-current")
    return (f"https://github.com/{match[1]}", branch or "main") if match else None
