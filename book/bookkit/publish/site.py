"""Executed notebooks to a static site that needs no network."""

import ast
import copy
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Mapping
from typing import Any

import nbformat
import yaml
from myst_nb.ext.glue import GLUE_PREFIX

from bookkit import files, processes
from bookkit.data import dataset_title
from bookkit.figures import card
from bookkit.parameters import assignments
from bookkit.paths import BOOK, CONFIG, ROOT, SITE, TOC
from bookkit.progress import COST, readable
from bookkit.publish import executed
from bsn.errors import InputError

DOWNLOADS, SOURCES, CARD = "downloads", "_sources", "card.png"
SITEMAPS = "http://www.sitemaps.org/schemas/sitemap/0.9"  # the name of the format
# not in the source folder: Jupyter Book would load every script of _static on every page
NO_PAGES = (".ipynb_checkpoints", "_static", "_templates", "bookkit", "record", "*.egg-info")


def build(chapters: dict[str, pathlib.Path], failures: Collection[str], scratch: pathlib.Path) -> int:
    """Build the site from the last executed notebooks, warnings as errors; return the exit status, 0 or 1.

    On failure the old site stays. Raises an `InputError` if the disk is full.
    """
    source, extra = scratch / "book", scratch / "extra"
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns(*NO_PAGES))
    downloads = extra / DOWNLOADS
    downloads.mkdir(parents=True)
    shutil.copytree(ROOT / "bsn", scratch / "bsn")  # whose sources pages include
    origin = repository()
    results: dict[str, Any] = {}
    glued: dict[str, Any] = {}
    for name, path in chapters.items():
        shutil.copyfile(path, downloads / path.name)
        notebook = executed.read(name)
        if notebook:
            results[name] = notebook
            glued[name] = with_glued(notebook)
            notebook = page(notebook, name, downloads, origin and origin[0])
        else:
            notebook = without_results(nbformat.read(path, as_version=4))
        nbformat.write(notebook, source / path.name)
    config = yaml.safe_load(CONFIG.read_text())
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
    if origin:
        config["repository"] = {"url": origin[0], "branch": origin[1], "path_to_book": "book"}
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
        _announce(config, _pages_address(origin[0]), glued.get("introduction"), extra)
    (scratch / "_config.yml").write_text(yaml.safe_dump(config))
    (scratch / "_toc.yml").write_text(TOC.read_text().replace(": book/", ": "))  # addresses have no folder
    print("bsn: building the site ...", file=sys.stderr)
    command = [os.path.join(sysconfig.get_path("scripts"), "jupyter-book"), "build", str(source)]
    command += ["--config", str(scratch / "_config.yml"), "--toc", str(scratch / "_toc.yml")]
    command += ["--path-output", str(scratch), "-W", "-n", "--keep-going", "--all", "-q"]
    with processes.pool(1, {"TMPDIR": str(scratch), "NO_COLOR": "1"}) as pool:
        ran = pool.submit(subprocess.run, command, capture_output=True, text=True).result()
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
        _write_sitemap(site, _pages_address(origin[0]))
    for unused in site.rglob("*.map"):  # for who debugs the theme
        unused.unlink()
    (site / ".buildinfo").unlink()  # of use to Sphinx alone, and other in another folder
    if SITE.exists():
        os.rename(SITE, scratch / "last")
    os.rename(site, SITE)
    return 0


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


def repository() -> tuple[str, str] | None:
    """Return the web address of the checkout's origin on a public host, and its branch, if it has one."""
    git = f"git -C {shlex.quote(str(ROOT))}"
    remote = subprocess.getoutput(f"{git} config --get remote.origin.url")
    match = re.fullmatch(r"(?:https://|(?:ssh://)?git@)github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?", remote)
    branch = subprocess.getoutput(f"{git} branch --show-current")
    return (f"https://github.com/{match[1]}", branch or "main") if match else None


def _pages_address(repository: str) -> str:
    """Return where GitHub Pages serves a repository's site."""
    owner, name = repository.split("/")[-2:]
    own = f"{owner}.github.io".lower()
    return f"https://{own}/" if name.lower() == own else f"https://{own}/{name}/"


def _announce(config: dict[str, Any], address: str, landing: Any, extra: pathlib.Path) -> None:
    """Add what search engines and links from elsewhere need, which name the site's own address."""
    config["sphinx"]["extra_extensions"] += ["sphinxext.opengraph"]
    options: dict[str, Any] = {
        "html_baseurl": address,
        "ogp_site_url": address,
        "ogp_social_cards": {"enable": False},
    }
    outputs = [output for cell in landing.cells for output in cell.get("outputs", [])] if landing else []
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    if pictures:
        title, _, subtitle = config["title"].partition(", ")
        card.draw(title, subtitle, pictures[0], extra / CARD)
        options |= {"ogp_image": address + CARD, "ogp_image_alt": config["title"]}
    config["sphinx"]["config"] |= options


def _write_sitemap(site: pathlib.Path, address: str) -> None:
    pages = sorted(path.name for path in site.glob("*.html") if path.stem not in ("search",))
    urls = "".join(f"<url><loc>{address}{page}</loc></url>" for page in pages)
    header = '<?xml version="1.0" encoding="utf-8"?>'
    (site / "sitemap.xml").write_text(f'{header}<urlset xmlns="{SITEMAPS}">{urls}</urlset>\n')


def page(notebook: Any, name: str, downloads: pathlib.Path, address: str | None = None) -> Any:
    """Return a chapter's executed notebook, changed in place, as its page shows it.

    The data of its figures go to the folder `downloads`; `address` is the repository's on the web.
    """
    costs, figures = [], 0
    notebook.cells = with_values(notebook.cells, notebook.metadata.papermill.parameters)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        costs += [output.data[COST] for output in outputs if COST in output.get("data", {})]
        if outputs:
            cell.outputs = [output for output in outputs if COST not in output.get("data", {})]
        for output in outputs:
            data = output.get("data", {})
            if "text/csv" in data:
                figures += 1
                file = f"{name}-{figures}.csv"
                (downloads / file).write_text(data.pop("text/csv"))
                data.pop("image/png", None)  # the page shows the SVG
                output.metadata["figure"]["data"] = f"{DOWNLOADS}/{file}"
    provenance = _provenance(notebook.metadata.papermill.duration, name, costs, address)
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


def _provenance(seconds: float, name: str, costs: list[dict[str, Any]], address: str | None) -> str:
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
    links = [f'<a href="{DOWNLOADS}/{name}.ipynb" download>the notebook</a>']
    results = f'href="{SOURCES}/{name}.ipynb" download="{name}-executed.ipynb"'
    links.append(f"<a {results}>the notebook with its results</a>")
    text = f"{run}. Download {' or '.join(links)}."
    if address:
        install = f"!git clone -q {address} repo &amp;&amp; pip install -q ./repo ./repo/book"
        path = 'import sys; sys.path.insert(0, "repo/book")'  # with the clone's tables and records
        text += f" In Colab, first: <code>{install}</code>, then <code>{path}</code>."
    return f'```{{raw}} html\n<p class="bsn-provenance">{text}</p>\n```\n'


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
