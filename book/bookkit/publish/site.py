"""Executed notebooks to a static site that needs no network."""

import ast
import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import nbformat
import yaml
from myst_nb.ext.glue import GLUE_PREFIX

from bookkit import files, processes
from bookkit.data import dataset_title
from bookkit.parameters import assignments
from bookkit.paths import BOOK, CONFIG, ROOT, SITE, TOC
from bookkit.progress import COST, readable
from bookkit.publish import executed, hosting
from bsn.errors import InputError

DOWNLOADS, SOURCES = "downloads", "_sources"
# not in the source folder: Jupyter Book would load every script of _static on every page
NO_PAGES = (".ipynb_checkpoints", "_static", "_templates", "bookkit", "record", "*.egg-info")


def build(
    pages: Sequence[str],
    chapters: Mapping[str, pathlib.Path],
    failures: Collection[str],
    scratch: pathlib.Path,
) -> int:
    """Build the site from the last executed notebooks, warnings as errors; return the exit status, 0 or 1.

    On failure the old site stays. Raises an `InputError` if the disk is full.
    """
    source, extra = scratch / "book", scratch / "extra"
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns(*NO_PAGES))
    downloads = extra / DOWNLOADS
    downloads.mkdir(parents=True)
    shutil.copytree(ROOT / "bsn", scratch / "bsn")  # whose sources pages include
    origin = hosting.origin()
    results: dict[str, Any] = {}
    glued: dict[str, Any] = {}
    for name, path in chapters.items():
        (downloads / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, downloads / f"{name}.ipynb")
        notebook = executed.read(name)
        if notebook:
            results[name] = notebook
            glued[name] = with_glued(notebook)
            notebook = page(notebook, name, downloads, origin)
        else:
            notebook = without_results(nbformat.read(path, as_version=4))
        nbformat.write(notebook, source / f"{name}.ipynb")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["execute"] = {"execute_notebooks": "off"}  # they have been run, with checked parameters
    config["sphinx"]["config"] |= {
        "html_static_path": [str(BOOK / "_static")],
        "html_extra_path": [str(extra)],
        "templates_path": [str(BOOK / "_templates")],
    }
    config["bibtex_bibfiles"] = ["references.bib"]
    config["logo"] = config["html"]["favicon"] = str(BOOK / "_static" / "logo.svg")
    notice = _notice(results, failures)
    if notice:
        config["html"]["announcement"] = notice
    with processes.pool(1, processes.surroundings(scratch)) as pool:
        if origin:
            hosting.announce(config, origin, glued.get("introduction"), extra, pool)
        (scratch / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        toc = _without_folder(yaml.safe_load(TOC.read_text(encoding="utf-8")))
        (scratch / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
        print("bsn: building the site ...", file=sys.stderr)
        command = [os.path.join(sysconfig.get_path("scripts"), "jupyter-book"), "build", str(source)]
        command += ["--config", str(scratch / "_config.yml"), "--toc", str(scratch / "_toc.yml")]
        command += ["--path-output", str(scratch), "-W", "-n", "--keep-going", "--all", "-q"]
        # not in the caller's folder, whose files are none of the build's
        run = pool.submit(subprocess.run, command, capture_output=True, encoding="utf-8", cwd=scratch)
        ran = run.result()
    site = scratch / "_build" / "html"
    if ran.returncode or not (site / "index.html").exists():
        full = files.full_disk(ran.stdout + ran.stderr)
        if full:
            raise InputError(f"build: cannot write {site}: {full}; the last site and all results are kept")
        print(ran.stdout + ran.stderr, file=sys.stderr)
        print("bsn: the site was not built; the warnings above say why", file=sys.stderr)
        return 1
    for name, notebook in glued.items():  # what the theme's button downloads
        nbformat.write(notebook, site / SOURCES / f"{name}.ipynb")
    if origin:
        hosting.write_sitemap(site, pages, origin)
    for unused in site.rglob("*.map"):  # for who debugs the theme
        unused.unlink()
    (site / ".buildinfo").unlink()  # of use to Sphinx alone, and other in another folder
    if SITE.exists():
        os.rename(SITE, scratch / "last")
    os.rename(site, SITE)
    return 0


def _without_folder(toc: Any) -> Any:
    """Return a table of contents whose files are named from the book's folder: addresses do not have it."""
    if isinstance(toc, list):
        return [_without_folder(entry) for entry in toc]
    if not isinstance(toc, dict):
        return toc
    return {
        key: value.removeprefix(f"{BOOK.name}/") if key in ("root", "file") else _without_folder(value)
        for key, value in toc.items()
    }


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


def page(notebook: Any, name: str, downloads: pathlib.Path, origin: hosting.Origin | None = None) -> Any:
    """Return a chapter's executed notebook, changed in place, as its page shows it.

    The data of its figures go to the folder `downloads`.
    """
    costs, figures = [], 0
    notebook.cells = with_values(notebook.cells, notebook.metadata.papermill.parameters)
    for cell in notebook.cells:
        cell.source = cell.source.replace("  # fmt: skip", "")  # for the formatter, not for readers
        outputs = cell.get("outputs", [])
        costs += [output.data[COST] for output in outputs if COST in output.get("data", {})]
        if outputs:
            cell.outputs = [output for output in outputs if COST not in output.get("data", {})]
        for output in outputs:
            data = output.get("data", {})
            if "text/csv" in data:
                figures += 1
                file = f"{name}-{figures}.csv"
                (downloads / file).write_text(data.pop("text/csv"), encoding="utf-8")
                data.pop("image/png", None)  # the page shows the SVG
                output.metadata["figure"]["data"] = f"{to_root(name)}{DOWNLOADS}/{file}"
    provenance = _provenance(notebook.metadata.papermill.duration, name, costs, origin)
    notebook.cells.append(nbformat.v4.new_markdown_cell(provenance, id="provenance"))
    return notebook


def with_values(cells: list[Any], values: Mapping[str, Any]) -> list[Any]:
    """Return the cells with papermill's values in the parameters cell, in place of a cell of their own."""
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            source = cell.source.encode()
            for name, old in reversed(assignments(cell.source).items()):
                if name in values:
                    lines = source.splitlines(keepends=True)
                    assert old.end_lineno and old.end_col_offset
                    first = len(b"".join(lines[: old.lineno - 1])) + old.col_offset
                    last = len(b"".join(lines[: old.end_lineno - 1])) + old.end_col_offset
                    value = repr(values[name]).replace("'", '"')
                    source = source[:first] + value.encode() + source[last:]
            cell.source = source.decode()
    return [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]


def with_glued(notebook: Any) -> Any:
    """Return an executed notebook for readers without a site: with what it glued in place of the roles.

    The data of its figures are files of the site, and left out.
    """
    notebook, glued = copy.deepcopy(notebook), {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop("text/csv", None)
        name = output.get("metadata", {}).get("scrapbook", {}).get("name")
        text = output.get("data", {}).get(f"{GLUE_PREFIX}text/plain")
        if name and text is not None:
            glued[name] = str(ast.literal_eval(text))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                r"\{glue:text\}`([^`]*)`", lambda role: glued.get(role[1], role[0]), cell.source
            )
    return notebook


def _provenance(seconds: float, name: str, costs: list[dict[str, Any]], origin: hosting.Origin | None) -> str:
    """Return run times and downloads, for the page's end."""
    nets, core_seconds, trained = (
        sum(cost[key] for cost in costs) for key in ("nets", "core_seconds", "trained")
    )
    run = f"This page was built in {readable(seconds)}"
    if nets:
        loaded = f"loaded {_nets(nets - trained)} from this build's record" * bool(nets - trained)
        new = f"trained {_nets(trained)}" * bool(trained)
        run += f". It {' and '.join(filter(None, [new, loaded]))}"
        run += f"; training all of them takes about {readable(core_seconds / 2)} on two cores"
    links = [f'<a href="{to_root(name)}{DOWNLOADS}/{name}.ipynb" download>the notebook</a>']
    file = f"{name.rpartition('/')[2]}-executed.ipynb"
    results = f'href="{to_root(name)}{SOURCES}/{name}.ipynb" download="{file}"'
    links.append(f"<a {results}>the notebook with its results</a>")
    text = f"{run}. Download {' or '.join(links)}."
    if origin:
        folder = f"repo/{origin.folder}"
        install = f"pip install -q ./{folder} ./{folder}book"
        path = f'import sys; sys.path.insert(0, "{folder}book")'  # with the clone's tables and records
        text += f" In Colab, first: <code>!git clone -q {origin.address} repo &amp;&amp; {install}</code>, "
        text += f"then <code>{path}</code>."
    return f'```{{raw}} html\n<p class="bsn-provenance">{text}</p>\n```\n'


def to_root(name: str) -> str:
    """Return the way from a page to the site's root, "" or "../" for each folder."""
    return "../" * name.count("/")


def _nets(count: int) -> str:
    return f"{count} net{'s' * (count != 1)}"


def without_results(notebook: Any) -> Any:
    """Return a chapter that has not been run: its text, with a note, and gaps in place of results."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{(?:glue:text|numref)\}`[^`]*`", "…", cell.source)
    note = "```{warning}\nThis chapter has not been run in this build: its results are missing.\n```"
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(note, id="note"))
    return notebook
