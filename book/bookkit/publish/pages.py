"""Executed notebooks to what their pages show, and to what readers download."""

import ast
import copy
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import nbformat
from myst_nb.ext.glue import GLUE_PREFIX

from bookkit.parameters import assignments
from bookkit.progress import COST, readable
from bookkit.publish import hosting

DOWNLOADS, SOURCES = "downloads", "_sources"


def with_current_text(done: list[Any], written: list[Any]) -> list[Any]:
    """Return a notebook's executed cells, with the text that it has now, if its code is what was run."""
    results = [cell for cell in done if cell.cell_type == "code"]
    own = [cell.source for cell in results if "injected-parameters" not in cell.metadata.get("tags", [])]
    if own != [cell.source for cell in written if cell.cell_type == "code"]:
        return done
    cells = []
    for cell in written:
        cells.append(results.pop(0) if cell.cell_type == "code" else cell)
        if results and "injected-parameters" in results[0].metadata.get("tags", []):
            cells.append(results.pop(0))
    return cells


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
