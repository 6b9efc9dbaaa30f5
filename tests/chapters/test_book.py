"""Every chapter through papermill, and the site that comes of it."""

import collections
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse

import bs4
import nbformat
import numpy as np
import papermill.cli
import pytest
import yaml
from conftest import ROOT, run_bsn

from bookkit import experiments, record
from bookkit.parameters import RULES, check
from bookkit.publish import book

CHAPTERS = list(book.chapters())


@pytest.fixture(scope="session")
def pages(site):
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path: bs4.BeautifulSoup(path.read_text(), "html.parser") for path in paths}


def test_the_build_ends_with_the_path_of_the_site(smoke, site):
    ran, _ = smoke
    assert ran.stdout.strip().splitlines()[-1].endswith(str(site / "index.html"))
    assert "WARNING" not in ran.stdout + ran.stderr and "Traceback" not in ran.stdout + ran.stderr
    for number, _ in enumerate(CHAPTERS, 1):
        assert f"[{number}/{len(CHAPTERS)}]" in ran.stderr  # plain lines off a terminal


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_is_committed_clean(name):
    notebook = nbformat.read(book.chapters()[name], as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    declared = book.declared_parameters(book.chapters()[name])
    assert declared and set(declared) <= set(RULES)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_commands_that_a_chapter_suggests(name):
    """Their parameters exist, and arrive through papermill with values that are allowed."""
    path = book.chapters()[name]
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    lines = [line for source in cells for line in source.splitlines() if line.startswith("papermill ")]
    assert len(lines) >= (2 if name.startswith("experiment") else 1)
    for line in lines:
        assert f"book/{name}.ipynb" in line
        command = papermill.cli.papermill.make_context("papermill", shlex.split(line)[1:]).params
        values = {key: papermill.cli._resolve_type(value) for key, value in command["parameters"]}
        for text in command["parameters_yaml"]:
            values |= yaml.safe_load(text)
        assert values and set(values) <= set(book.declared_parameters(path))
        for key, value in values.items():
            check(key, value)


@pytest.mark.parametrize("name", CHAPTERS)
def test_executed_chapter(site, name):
    """No error, no noise, no path of this machine, and a figure."""
    path = site.parent / "executed" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type in ("error", "stream")]
    assert any("<svg" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert str(site.parents[1]) not in path.read_text()


@pytest.mark.parametrize("name", CHAPTERS)
def test_page(site, pages, name):
    page = pages[site / f"{name}.html"]
    article = page.find("article")
    assert article.find("h1")
    figures = article.select(".cell_output img, .cell_output svg")
    assert figures and all((site / image["src"]).exists() for image in figures if image.get("src"))
    assert "digits" in page.select_one(".bd-header-announcement").text  # this build is not on MNIST
    assert not re.search(r"\bnan\b|\{glue", article.get_text())


def test_no_page_names_a_path_of_this_machine(site, pages):
    assert not [path.name for path in pages if str(site.parents[1]) in path.read_text()]


def test_the_chapters_train_every_setting_of_the_table(site):
    """So that the full profile trains what the book's record holds."""
    nets = record.read_all(site.parent / "record")
    compared = [name for name in experiments.SETTINGS if name != "epochs"]
    wanted = experiments.table()[compared].drop_duplicates()
    trained = record.curves(nets)[compared].drop_duplicates()
    assert len(wanted.merge(trained, on=compared)) == len(wanted)


def test_no_dead_internal_link(site, pages):
    dead = collections.defaultdict(list)
    for path, page in pages.items():
        for tag, attribute in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
            for element in page.find_all(tag):
                link = urllib.parse.urlsplit(element.get(attribute) or "")
                if link.scheme or link.netloc or not (link.path or link.fragment):
                    continue
                target = (path.parent / urllib.parse.unquote(link.path)).resolve() if link.path else path
                if target.is_dir():
                    target /= "index.html"
                if not target.exists():
                    dead[path.name].append(element[attribute])
                elif link.fragment and target in pages and tag == "a":
                    fragment = urllib.parse.unquote(link.fragment)
                    if not (pages[target].find(id=fragment) or pages[target].find(attrs={"name": fragment})):
                        dead[path.name].append(element[attribute])
    assert not dead


def run_papermill(folder, *arguments):
    """Run a chapter from any folder, without the build."""
    command = [sys.executable, "-m", "papermill", ROOT / "book" / "experiment_0.ipynb", folder / "out.ipynb"]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_a_chapter_by_papermill_alone(tmp_path):
    values = ["-p", "epochs", "1", "-p", "steps_per_epoch", "101", "-p", "dataset", "digits"]
    ran = run_papermill(tmp_path, *values, "-y", "seeds: [3, 4]")
    assert ran.returncode == 0, ran.stderr
    assert "2 seeds" in (tmp_path / "out.ipynb").read_text()


@pytest.mark.slow
def test_a_value_that_papermill_lets_through_is_one_line(tmp_path):
    ran = run_papermill(tmp_path, "-p", "epochs", "0", "-p", "dataset", "digits")
    assert ran.returncode != 0
    assert "InputError: epochs is 0; expected a whole number from 1" in ran.stderr


def test_one_chapter_in_a_fresh_checkout_on_data_of_ones_own(checkout, tmp_path):
    """The other pages say that they have no results; nothing else goes wrong."""
    fresh = tmp_path / "fresh"
    shutil.copytree(checkout, fresh, ignore=shutil.ignore_patterns("_build"))
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 300), ("validation", 60), ("test", 60)):
        labels = rng.integers(0, 3, count)
        arrays |= {f"{part}_images": np.eye(3)[labels], f"{part}_labels": labels}
    np.savez(fresh / "mine.npz", **arrays)
    short = ["-p", "epochs", "1", "-p", "steps_per_epoch", "101", "-p", "hidden", "[8]"]
    arguments = ["--dataset", "mine.npz", "--chapter", "experiment_0", *short]
    ran = run_bsn("build", *arguments, cwd=fresh, PYTHONPATH=f"{fresh}:{fresh / 'book'}")
    assert ran.returncode == 0, ran.stderr
    site = fresh / "_build" / "html"
    assert "mine.npz" in bs4.BeautifulSoup((site / "experiment_0.html").read_text(), "html.parser").text
    assert "has not been run" in (site / "experiment_2.html").read_text()
    assert "has not been run" not in (site / "experiment_0.html").read_text()


def test_a_failing_chapter_stops_nothing_else(checkout, site):
    """Reported with its cell and error; its last good result stays; the others are built."""
    path = checkout / "book" / "experiment_0.ipynb"
    original = path.read_text()
    notebook = nbformat.reads(original, as_version=4)
    notebook.cells[2].source += "\nraise RuntimeError('broken on purpose')"
    result = site.parent / "executed" / "experiment_0.ipynb"
    before = result.read_bytes(), (site.parent / "executed" / "estimators.ipynb").stat().st_mtime_ns
    try:
        nbformat.write(notebook, path)
        arguments = ["--profile", "smoke", "--fresh", "--chapter", "experiment_0", "estimators"]
        ran = run_bsn("build", *arguments, cwd=checkout, PYTHONPATH=f"{checkout}:{checkout / 'book'}")
    finally:
        path.write_text(original)
    assert ran.returncode == 1
    assert "chapter experiment_0 failed: code cell 3: RuntimeError: broken on purpose" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert result.read_bytes() == before[0]
    assert (site.parent / "executed" / "estimators.ipynb").stat().st_mtime_ns > before[1]
    assert (site / "index.html").exists()
