"""Every chapter through papermill, and the site that comes of it."""

import ast
import base64
import collections
import re
import shlex
import subprocess
import sys
import urllib.parse

import bs4
import nbformat
import papermill
import papermill.cli
import pytest
import yaml
from conftest import ROOT, environment

from bookkit import experiments, record
from bookkit.parameters import RULES, check
from bookkit.publish import book

CHAPTERS = list(book.chapters())
UNPARAMETERISED = {"renewing"}  # trains nothing, and tables what is there


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
    assert (declared or name in UNPARAMETERISED) and set(declared) <= set(RULES)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_commands_that_a_chapter_suggests(name):
    """Their parameters exist, and arrive through papermill with values that are allowed."""
    path = book.chapters()[name]
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    lines = [line for source in cells for line in source.splitlines() if line.startswith("papermill ")]
    assert len(lines) >= (2 if name.startswith("experiment") else name not in UNPARAMETERISED)
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
    """No error, no warning, and a figure or a table."""
    notebook = nbformat.read(site.parent / "executed" / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    tables = [output for output in outputs if "<table" in output.get("data", {}).get("text/html", "")]
    drawn = [output.data for output in outputs if "image/svg+xml" in output.get("data", {})]
    assert tables or drawn
    for data in drawn:  # notebooks show an SVG if they are trusted, else the PNG; HTML they would sanitise
        assert "text/html" not in data and data["image/svg+xml"].startswith("<svg")
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", CHAPTERS)
def test_executed_chapter_to_download(site, name):
    """Its text has the measured numbers, not the roles that stand for them; its figures' data are files."""
    executed, download = (
        nbformat.read(site.parent / path, as_version=4)
        for path in (f"executed/{name}.ipynb", f"html/_sources/{name}.ipynb")
    )
    codes = [
        [cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (executed, download)
    ]
    for output in (output for cell in codes[0] for output in cell.outputs):
        output.get("data", {}).pop("text/csv", None)
    assert codes[0] == codes[1]
    texts = [
        "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        for notebook in (executed, download)
    ]
    assert "{glue" not in texts[1] and (texts[0] == texts[1]) == ("{glue" not in texts[0])


@pytest.mark.parametrize("name", CHAPTERS)
def test_parameters_tell_their_types(name):
    """To papermill's `--help-notebook`; and each default is of its type."""
    for parameter in papermill.inspect_notebook(str(book.chapters()[name])).values():
        kind, value = parameter["inferred_type_name"], ast.literal_eval(parameter["default"])
        items = value if isinstance(value, list) else [value]
        expected = kind.removeprefix("list[").removesuffix("]")
        assert kind.startswith("list[") == isinstance(value, list), parameter
        assert {type(item).__name__ for item in items} == {expected}, parameter


@pytest.mark.parametrize("name", CHAPTERS)
def test_page(site, pages, name):
    page = pages[site / f"{name}.html"]
    article = page.find("article")
    assert article.find("h1")
    figures = article.select(".cell_output img, .cell_output svg")
    assert figures or article.select(".cell_output table")
    assert all((site / image["src"]).exists() for image in figures if image.get("src"))
    assert "digits" in page.select_one(".bd-header-announcement").text  # this build is not on MNIST
    assert not re.search(r"(?<!fig-)\bnan\b|\{glue", article.get_text())
    assert "# Parameters" not in article.get_text()  # papermill's own cell
    for folder in ("downloads", "_sources"):  # that they are there, `test_no_dead_internal_link` tests
        assert page.find("a", href=f"{folder}/{name}.ipynb")


def test_values_that_were_set_stand_in_the_parameters_cell(pages, site):
    """Not the defaults: the smoke profile trains on the digits, at one seed."""
    code = pages[site / "experiment_3.html"].find("article").get_text()
    assert 'dataset: str = "digits"  # auto, mnist' in code
    assert "seeds: list[int] = [1]" in code and "epochs: int = 1" in code
    assert '"auto"' not in code


def test_every_reference_can_be_followed(site, pages):
    """Each paper has a link to it, and what pages link outside has an address that can be."""
    entries = pages[site / "references.html"].select(".citation")
    assert len(entries) > 15
    for entry in entries:
        assert [link for link in entry.find_all("a", href=True) if link["href"].startswith("https://")], entry
    outside = {
        link["href"]
        for page in pages.values()
        for link in (page.find("article") or page).find_all("a", href=True)
        if urllib.parse.urlsplit(link["href"]).scheme
    }
    assert all(re.fullmatch(r"(https://[\w.-]+\.\w+/?|mailto:).*", link) for link in outside)


def test_nothing_names_a_path_of_this_machine(site, pages):
    paths = [*pages, *(site.parent / "executed").iterdir()]
    assert not [path.name for path in paths if str(site.parents[1]) in path.read_text()]


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "epochs, status, says",
    [("1", 0, "2 seeds"), ("0", 1, "InputError: epochs is 0; expected a whole number from 1")],
)
def test_a_chapter_by_papermill_alone(tmp_path, epochs, status, says):
    """Run from any folder, without the build; a wrong value is one line."""
    chapter, out = ROOT / "book" / "experiment_0.ipynb", tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", chapter, out, "-p", "epochs", epochs]
    values = ["-p", "steps_per_epoch", "101", "-p", "dataset", "digits", "-y", "seeds: [3, 4]"]
    ran = subprocess.run([*command, *values], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert says in (ran.stderr if status else out.read_text())
