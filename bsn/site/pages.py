"""From an executed notebook to a page: its head, its figures' data, its downloads."""

import html
import json
import re

import nbformat

from bsn.results import TRAINING

DOWNLOADS = "downloads"


def page(executed, name):
    """The notebook of a page, and its files.

    Args:
        executed: the notebook as papermill left it.
        name: of the chapter.

    Returns:
        The notebook to build, and a dict: path below the site -> text.
    """
    notebook = nbformat.from_dict(json.loads(json.dumps(executed)))
    files, spent = {}, []
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            made = output.get("data", {})
            if TRAINING in made:
                spent.append(made[TRAINING])
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
    notebook.cells[0].source = "\n".join([lines[0], "", _head(executed, name, spent), *lines[1:]])
    return notebook, files


def _head(executed, name, spent):
    """Run times and downloads, under the title."""
    seconds = executed.metadata.papermill.duration
    nets, cost = sum(one["nets"] for one in spent), sum(one["core_seconds"] for one in spent)
    if nets:
        run = f"Its {nets} nets take about {_time(cost / 2)} on two cores; this build took {_time(seconds)}"
        run += f", with {sum(one['trained'] for one in spent)} of them trained in it."
    else:
        run = f"This build took {_time(seconds)}; no nets are trained here."
    links = [f'<a href="{DOWNLOADS}/{name}.ipynb" download>notebook</a>']
    links.append(f'<a href="{DOWNLOADS}/{name}-executed.ipynb" download>with its results</a>')
    return f'```{{raw}} html\n<p class="bsn-head">{html.escape(run)} Download: {", ".join(links)}.</p>\n```\n'


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
