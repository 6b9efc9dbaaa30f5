"""From an executed notebook to a page: its head, its figures' data, its downloads."""

import pathlib
import re
from typing import Any

import nbformat

from bookkit.progress import COST

DOWNLOADS = "downloads"


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
        run += "; no nets are trained here."
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
