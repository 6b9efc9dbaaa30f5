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

import nbformat
import yaml

from bookkit import files, processes
from bookkit.data import dataset_title
from bookkit.figures import theme
from bookkit.paths import BOOK, CONFIG, ROOT, SITE, TOC
from bookkit.progress import COST
from bookkit.publish import executed
from bsn.errors import InputError

DOWNLOADS = "downloads"
# not in the source folder: Jupyter Book would load every script of _static on every page
NO_PAGES = (".ipynb_checkpoints", "_static", "_templates", "bookkit", "record", "tables", "*.egg-info")


def build(chapters: dict[str, pathlib.Path], failures: Collection[str], scratch: pathlib.Path) -> int:
    """Build the site from the last executed notebooks, warnings as errors; return the exit status, 0 or 1.

    On failure the old site stays. Raises an `InputError` if the disk is full.
    """
    source, extra, themes = scratch / "book", scratch / "extra", scratch / "themes"
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns(*NO_PAGES))
    downloads = extra / DOWNLOADS
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
            notebook = page(notebook, name, downloads, origin and origin[0])
        else:
            notebook = without_results(nbformat.read(path, as_version=4))
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


def page(notebook: Any, name: str, downloads: pathlib.Path, address: str | None = None) -> Any:
    """Return a chapter's executed notebook, changed in place, as its page shows it.

    The data of its figures go to the folder `downloads`; `address` is the repository's on the web.
    """
    costs, figures = [], 0
    for cell in notebook.cells:
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        costs += [data[COST] for data in outputs if COST in data]
        if outputs:
            cell.outputs = [output for output in cell.outputs if COST not in output.get("data", {})]
        for data in outputs:
            if "text/csv" in data:
                figures += 1
                file = f"{name}-{figures}.csv"
                (downloads / file).write_text(data.pop("text/csv"))
                link = f'<a href="{DOWNLOADS}/{file}" download>Data of this figure (CSV)</a>'
                caption = f"<figcaption>{link}</figcaption></figure>"
                data["text/html"] = data["text/html"].replace("</figure>", caption)
    title, *text = notebook.cells[0].source.split("\n")
    head = _head(notebook.metadata.papermill.duration, name, costs, address)
    notebook.cells[0].source = "\n".join([title, "", head, *text])
    return notebook


def _head(seconds: float, name: str, costs: list[dict[str, Any]], address: str | None) -> str:
    """Return run times and downloads, for under the title."""
    nets, core_seconds, trained = (
        sum(cost[key] for cost in costs) for key in ("nets", "core_seconds", "trained")
    )
    run = f"The run shown: {_time(seconds)}"
    if nets:
        run = f"To train from nothing: about {_time(core_seconds / 2)} on two cores. {run}"
        run += f", with {trained} trained and {nets - trained} found in this build's record."
    else:
        run += "; none of its nets is recorded."
    links = [f'<a href="{DOWNLOADS}/{name}.ipynb" download>notebook</a>']
    links.append(f'<a href="{DOWNLOADS}/{name}-executed.ipynb" download>with its results</a>')
    text = f"{run} Download: {', '.join(links)}."
    if address:
        install = f"!git clone {address} repo &amp;&amp; pip install -e repo -e repo/book"
        text += f" In Colab, first: <code>{install}</code>."
    return f'```{{raw}} html\n<p class="bsn-head">{text}</p>\n```\n'


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def without_results(notebook: Any) -> Any:
    """Return a chapter that has not been run: its text, with a note, and gaps in place of results."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{glue:text\}`[^`]*`", "…", cell.source)
    note = "```{warning}\nThis chapter has not been run in this build: its results are missing.\n```"
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(note))
    return notebook
