"""The book without its own command: by papermill alone, and by Jupyter Book alone."""

import pathlib
import re
import shutil
import subprocess
import sys

import bs4
import papermill
import pytest
import yaml
from conftest import environment

from bookkit.publish import book


@pytest.mark.parametrize("name, misspelt", [("neuron", "epoch"), ("experiment_2", "epoch"), ("vae", "steps")])
def test_a_chapter_refuses_a_parameter_that_it_does_not_have(tmp_path, monkeypatch, name, misspelt):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            str(book.chapters()[name]), None, {misspelt: 3}, kernel_name="python3", progress_bar=False
        )
    assert caught.value.ename == "InputError"
    assert re.match(rf"the chapter has no parameter {misspelt}; expected one of \w+, ", caught.value.evalue)


def test_jupyter_book_alone(checkout, tmp_path, open_page):
    """Figures in the theme's colours, numbered, and numbers in the text; on some of the pages."""
    copy, pages = tmp_path / "copy", ["neuron", "straight_through", "scorecard"]
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build"))
    toc = {"format": "jb-book", "root": "book/why", "chapters": [{"file": f"book/{page}"} for page in pages]}
    (copy / "_toc.yml").write_text(yaml.safe_dump(toc))
    command = [pathlib.Path(sys.executable).with_name("jupyter-book"), "build", copy]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0 and "Traceback" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
    for name in pages:
        page = copy / "_build" / "html" / "book" / f"{name}.html"
        article = bs4.BeautifulSoup(page.read_text(), "html.parser").find("article")
        assert article.select("figure .bsn-figure svg") and article.select(".pasted-text")
        assert "{glue" not in article.get_text()
        assert all(text.get_text() for text in article.select(".pasted-text"))
        shown = open_page(page.as_uri(), color_scheme="dark").locator(".bsn-figure text").first
        assert shown.evaluate("text => getComputedStyle(text).fill") != "rgb(31, 35, 40)"  # the light theme's


def test_jupyter_book_in_the_wrong_folder(checkout, tmp_path):
    """It ends with an error, not with a site that has gaps."""
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build"))
    command = [pathlib.Path(sys.executable).with_name("jupyter-book"), "build", copy / "book"]
    assert subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode
