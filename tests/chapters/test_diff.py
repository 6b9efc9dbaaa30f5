"""What `bsn diff` says of two builds: each kind of change, and nothing where nothing moved."""

import shutil

import nbformat
import pandas as pd
import pytest

from bookkit.publish import cli
from bookkit.publish.diff import GLUE, diff


def notebook(accuracy=0.9, verdict="agrees", value=1.5, rows=3):
    """A chapter with a number in its text, a table and a figure."""
    table = pd.DataFrame(
        {"published": ["0.9516", "0.9600"], "verdict": [verdict, "agrees"]}, index=["Net A", "Net B"]
    )
    figure = pd.DataFrame({"step": range(rows), "value": [value] * rows})
    glued = {"scrapbook": {"name": "accuracy", "mime_prefix": GLUE}}
    outputs = [
        nbformat.v4.new_output("display_data", {GLUE + "text/plain": f"{accuracy}"}, metadata=glued),
        nbformat.v4.new_output("display_data", {"text/html": table.style.to_html()}),
        nbformat.v4.new_output(
            "display_data", {"text/html": "<svg/>", "text/csv": figure.to_csv(index=False)}
        ),
    ]
    cell = nbformat.v4.new_code_cell("")
    cell.outputs = outputs
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.fixture
def build(tmp_path):
    def make(name, **chapters):
        folder = tmp_path / name / "executed"
        folder.mkdir(parents=True)
        for chapter, made in chapters.items():
            nbformat.write(made, folder / f"{chapter}.ipynb")
        return folder.parent

    return make


@pytest.mark.parametrize(
    "change, lines",
    [
        (dict(), []),
        (dict(accuracy=0.95), ["one: text accuracy: 0.9 -> 0.95"]),
        (dict(verdict="differs"), ["one: verdict table 1, Net A, verdict: agrees -> differs"]),
        (dict(value=1.25), ["one: figure 1: 3 of 3 rows moved, a number by 0.25 at most"]),
        (dict(rows=4), ["one: figure 1: 3 rows of step, value -> 4 rows of step, value"]),
    ],
)
def test_each_kind_of_change(build, change, lines):
    assert diff(build("a", one=notebook()), build("b", one=notebook(**change))) == lines


def test_verdicts_come_first_and_missing_chapters_are_named(build):
    changed = notebook(accuracy=1.0, verdict="too close to call")
    lines = diff(build("a", one=notebook(), two=notebook()), build("b", one=changed))
    assert len(lines) == 3 and lines[0].startswith("one: verdict") and "two: only in" in lines[2]


def test_on_the_command_line(build, smoke, capsys):
    _, checkout = smoke
    first, second = checkout / "_build", build("copy")
    assert cli.main(["diff", str(first), str(first)]) == 0
    shutil.copytree(first / "executed", second / "executed", dirs_exist_ok=True)
    page = second / "executed" / "scorecard.ipynb"
    page.write_text(page.read_text().replace("0.9516", "0.9517"))
    assert cli.main(["diff", str(first), str(second)]) == 1
    same, *moved = capsys.readouterr().out.splitlines()
    assert same == "nothing moved" and "published: 0.9516 -> 0.9517" in "".join(moved)
