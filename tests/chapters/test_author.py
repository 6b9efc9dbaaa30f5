"""An author adds chapters to the book, by Jupyter Book's own conventions."""

import shutil

import bs4
import nbformat
import pytest
import yaml
from conftest import abridge, run_bsn

MINE = "part/mine"
PART = {
    "caption": "Mine",
    "chapters": [
        {"file": "book/mine", "sections": [{"file": f"book/{MINE}"}]},
        {"url": "https://example.org", "title": "Elsewhere"},
        {"file": "book/code_first"},
    ],
}
SOURCE = """import pandas as pd
from my_helper import doubled

rows = pd.read_csv("table.csv")
print(f"doubled: {doubled(rows.x.sum())}, points: {n_points}")"""


def notebook(*cells):
    book = nbformat.v4.new_notebook()
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.cells = list(cells)
    return book


@pytest.fixture(scope="module")
def book(checkout, tmp_path_factory):
    """A checkout with a page and two chapters of an author's, one of them in a folder."""
    copy = tmp_path_factory.mktemp("author") / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build"))
    abridge(copy, "introduction")
    toc = {"format": "jb-book", "root": "book/introduction", "parts": [PART]}
    (copy / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (copy / "book" / "mine.md").write_text("# Mine\n\nA page.\n", encoding="utf-8")
    folder = copy / "book" / "part"
    folder.mkdir()
    (folder / "table.csv").write_text("x\n1\n2\n", encoding="utf-8")
    (folder / "my_helper.py").write_text("def doubled(x):\n    return 2 * x\n", encoding="utf-8")
    parameters = nbformat.v4.new_code_cell("n_points: int = 5", metadata={"tags": ["parameters"]})
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    nbformat.write(
        notebook(markdown("(my-label)=\n# My chapter"), parameters, code(SOURCE)), folder / "mine.ipynb"
    )
    # libraries come with a kernel; what is of the checkout is for it to import
    first = code("import sys\n'tensorflow' in sys.modules, 'bookkit' in sys.modules, 'bsn' in sys.modules")
    link = markdown("# Code first\n\nSee {ref}`my-label`.")
    nbformat.write(notebook(first, link), copy / "book" / "code_first.ipynb")
    return copy


def build(book, *more):
    return run_bsn("build", "--profile", "smoke", "--chapter", MINE, "code_first", *more, cwd=book)


def shown(book, name):
    page = (book / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")
    return bs4.BeautifulSoup(page, "html.parser")


def test_a_chapter_in_a_folder_under_another_with_a_label_a_table_and_a_helper(book):
    ran = build(book)
    assert ran.returncode == 0, ran.stderr
    page = shown(book, MINE)
    assert "doubled: 6, points: 5" in page.get_text()
    for link in page.select("p.bsn-provenance a"):
        assert (book / "_build" / "html" / "part" / link["href"]).resolve().is_file()
    assert shown(book, "code_first").find("a", href="part/mine.html#my-label")
    assert "(True, False, False)" in shown(book, "code_first").get_text()
    assert "unchanged" in build(book).stderr
    (book / "book" / "part" / "table.csv").write_text("x\n10\n", encoding="utf-8")
    (book / "book" / "part" / "my_helper.py").write_text(
        "def doubled(x):\n    return 200 * x\n", encoding="utf-8"
    )
    ran = build(book)
    assert "book/part/my_helper.py, book/part/table.csv changed" in ran.stderr
    assert "doubled: 2000, points: 5" in shown(book, MINE).get_text()


def test_a_kernel_that_dies_is_a_line(book):
    path = book / "book" / "code_first.ipynb"
    original = path.read_text(encoding="utf-8")
    nbformat.write(notebook(nbformat.v4.new_code_cell("import os\nos.kill(os.getpid(), 9)")), path)
    ran = build(book)
    path.write_text(original, encoding="utf-8")
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    assert "chapter code_first failed: its kernel died; often of too little memory" in ran.stderr


def test_a_parameter_of_its_own(book):
    assert build(book, "-p", "n_points", "20").returncode == 0
    assert "points: 20" in shown(book, MINE).get_text()
    assert "n_points: int = 20" in shown(book, MINE).get_text()
    ran = build(book, "-p", "n_points", "{a: 1}")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1) and "-p n_points is '{a: 1}'" in ran.stderr


@pytest.mark.parametrize(
    "file, expected", [("book/nothing", "there is no"), ("CONTRIBUTING", "is not in the folder book")]
)
def test_a_table_of_contents_that_names_no_page_of_the_book(book, file, expected):
    original = (book / "_toc.yml").read_text(encoding="utf-8")
    toc = {"format": "jb-book", "root": "book/why", "chapters": [{"file": file}]}
    (book / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    try:
        ran = build(book)
    finally:
        (book / "_toc.yml").write_text(original, encoding="utf-8")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1) and expected in ran.stderr
