"""From an executed notebook to a page: its head, its figures' data, its downloads."""

import copy
import html
import re

import nbformat

from bookkit.progress import COST

DOWNLOADS = "downloads"


def page(executed, name, address=None):
    """The notebook of a page, and its files.

    Args:
        executed: the notebook as papermill left it.
        name: of the chapter.
        address: of the repository on the web, where it has one.

    Returns:
        The notebook to build, and a dict: path below the site -> text.
    """
    notebook = copy.deepcopy(executed)
    files, spent = {}, []
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            made = output.get("data", {})
            if COST in made:
                spent.append(made[COST])
                continue
            if "text/csv" in made:
                path = f"{DOWNLOADS}/{name}-{len(files) + 1}.csv"
                files[path] = made.pop("text/csv")
                link = f'<figcaption><a href="{path}" download>Data of this figure (CSV)</a></figcaption>'
                made["text/html"] = made["text/html"].replace("</figure>", link + "</figure>")
            kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept
    lines = notebook.cells[0].source.split("\n")
    assert lines[0].startswith("# "), name
    notebook.cells[0].source = "\n".join([lines[0], "", _head(executed, name, spent, address), *lines[1:]])
    return notebook, files


def _head(executed, name, spent, address):
    """Run times and downloads, under the title."""
    seconds = executed.metadata.papermill.duration
    nets, cost = sum(one["nets"] for one in spent), sum(one["core_seconds"] for one in spent)
    if nets:
        trained = sum(one["trained"] for one in spent)
        run = f"To train from nothing: about {_time(cost / 2)} on two cores. The run shown: {_time(seconds)}"
        run += f", with {trained} trained and {nets - trained} found in this build's record."
    else:
        run = f"The run shown: {_time(seconds)}; no nets are trained here."
    links = [f'<a href="{DOWNLOADS}/{name}.ipynb" download>notebook</a>']
    links.append(f'<a href="{DOWNLOADS}/{name}-executed.ipynb" download>with its results</a>')
    text = f"{html.escape(run)} Download: {', '.join(links)}."
    if address:
        text += f" In Colab, first: <code>!git clone {address} repo &amp;&amp; pip install -e repo</code>."
    return f'```{{raw}} html\n<p class="bsn-head">{text}</p>\n```\n'


def _time(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def without_results(notebook):
    """A chapter that has not been run: its text, with a note and gaps where results would stand."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\{glue:text\}`[^`]*`", "…", cell.source)
    note = "```{warning}\nThis chapter has not been run in this build: its results are missing.\n```"
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(note))
    return notebook
