"""Executed notebooks to a static site that needs no network."""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import nbformat
import yaml

from bookkit import files
from bookkit.data import dataset_title
from bookkit.paths import BOOK, BUILD, CONFIG, ROOT, SITE, TOC
from bookkit.publish import executed, hosting, pages
from bsn.errors import InputError

BUILT_FROM = BUILD / "html.sha256"  # of what the site was built from
PROGRAMS = ("_static", "_templates", "bookkit")  # what makes the site, beside its sources
# not in the source folder: Jupyter Book would load every script of _static on every page
NO_PAGES = (*PROGRAMS, ".ipynb_checkpoints", "record", "*.egg-info")
ICON = re.compile(r"fa-[\w-]+")
# after a brace: a search that begins at each character takes more than a second
ICON_RULE = re.compile(r'(?<=[{}])[^{}]*\bfa-[^{}]*:before\{content:"\\\w+"\}')


def build(
    names: Sequence[str],
    chapters: Mapping[str, pathlib.Path],
    failures: Collection[str],
    scratch: pathlib.Path,
    template: concurrent.futures.Executor,
    jobs: int,
) -> int:
    """Build the site from the last executed notebooks, warnings as errors; return the exit status, 0 or 1.

    On failure the old site stays, and also if nothing that it was built from has changed. Raises an
    `InputError` if the disk is full.

    Args:
        names: those of all pages.
        chapters, failures: the pages that are notebooks, and those of them whose last run failed.
        template: the process that `bookkit.publish.kernels.available` yields, which has the libraries.
        jobs: how many pages are read or written at once.
    """
    folder = scratch / "site"
    source, extra = folder / "book", folder / "extra"
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns(*NO_PAGES))
    downloads = extra / pages.DOWNLOADS
    downloads.mkdir(parents=True)
    shutil.copytree(
        ROOT / "bsn", folder / "bsn", ignore=shutil.ignore_patterns("__pycache__")
    )  # shown on pages
    origin = hosting.origin()
    results: dict[str, Any] = {}
    glued: dict[str, Any] = {}
    for name, path in chapters.items():
        (downloads / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, downloads / f"{name}.ipynb")
        notebook, written = executed.read(name), nbformat.read(path, as_version=4)
        if notebook:
            notebook.cells = pages.with_current_text(notebook.cells, written.cells)
            results[name] = notebook
            glued[name] = pages.with_glued(notebook)
            notebook = pages.page(notebook, name, downloads, origin)
        else:
            notebook = pages.without_results(written)
        nbformat.write(notebook, source / f"{name}.ipynb")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
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
    toc = _without_folder(yaml.safe_load(TOC.read_text(encoding="utf-8")))
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    inputs = _digest([folder, *(BOOK / name for name in PROGRAMS)], f"{config} {origin}")
    if BUILT_FROM.exists() and BUILT_FROM.read_text(encoding="utf-8") == inputs and SITE.exists():
        print("bsn: nothing that the site is built from has changed", file=sys.stderr)
        return 0
    print("bsn: building the site ...", file=sys.stderr)
    if origin:
        hosting.announce(config, origin, glued.get("introduction"), extra, template)
    (folder / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    log, site = scratch / "site.log", scratch / "html"
    status = template.submit(_sphinx, source, folder, site, log, jobs).result()
    if status or not (site / "index.html").exists():
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        full = files.full_disk(said)
        if full:
            raise InputError(f"build: cannot write {site}: {full}; the last site and all results are kept")
        print(said, file=sys.stderr)
        print("bsn: the site was not built; the warnings above say why", file=sys.stderr)
        return 1
    for name, notebook in glued.items():  # what the theme's button downloads
        nbformat.write(notebook, site / pages.SOURCES / f"{name}.ipynb")
    if origin:
        hosting.write_sitemap(site, names, origin)
    for unused in site.rglob("*.map"):  # for who debugs the theme
        unused.unlink()
    _drop_unused_icons(site)
    (site / ".buildinfo").unlink()  # of use to Sphinx alone, and other in another folder
    BUILT_FROM.unlink(missing_ok=True)
    if SITE.is_symlink() or SITE.is_mount():  # a user's own, which stays, with what else is in it
        shutil.copytree(site, SITE.resolve(), dirs_exist_ok=True)
    else:
        if SITE.exists():
            os.rename(SITE, scratch / "last")
        os.rename(site, SITE)
    BUILT_FROM.write_text(inputs, encoding="utf-8")
    return 0


def _sphinx(
    source: pathlib.Path, folder: pathlib.Path, site: pathlib.Path, log: pathlib.Path, jobs: int
) -> int:
    """Build the site, in this process, as `jupyter-book build -W -n --keep-going` does, but on several cores.

    The current folder is one without files of a user's; the output goes to the file `log`.
    """
    os.chdir(folder)
    for output in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), output)
    from jupyter_book.sphinx import build_sphinx

    return build_sphinx(
        source,
        site,
        noconfig=True,
        path_config=folder / "_config.yml",
        confoverrides=dict(
            external_toc_path=str(folder / "_toc.yml"), nitpicky=True, latex_individualpages=False
        ),
        warningiserror=True,
        keep_going=True,
        quiet=True,
        jobs=jobs,
    )


def _drop_unused_icons(site: pathlib.Path) -> None:
    """Remove the rules for icons that no page shows from the theme's style sheet, a fifth of its size."""
    users = [*site.rglob("*.html"), *site.rglob("*.js")]
    names = {name for path in users for name in ICON.findall(path.read_text(encoding="utf-8"))}
    for sheet in (site / "_static" / "styles").glob("*.css"):
        style = sheet.read_text(encoding="utf-8")
        sheet.write_text(
            ICON_RULE.sub(lambda rule: rule[0] if names & {*ICON.findall(rule[0])} else "", style),
            encoding="utf-8",
        )


def _digest(folders: Sequence[pathlib.Path], more: str) -> str:
    """Return a hash of all files in the folders, of the packages installed, and of `more`."""
    digest = hashlib.sha256(f"{executed.installed()} {more}".replace(str(ROOT), "").encode())
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in paths:
        if not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}:
            size = f"{path.relative_to(ROOT)} {path.stat().st_size}\n"
            digest.update(size.encode("utf-8", "surrogateescape") + path.read_bytes())
    return digest.hexdigest()


def _without_folder(toc: Any) -> Any:
    """Return a table of contents whose files are named from the book's folder: addresses do not have it."""
    if isinstance(toc, list):
        return [_without_folder(entry) for entry in toc]
    if not isinstance(toc, dict):
        return toc
    return {
        key: value.removeprefix(f"{BOOK.name}/") if key in ("root", "file") else _without_folder(value)
        for key, value in toc.items()
    }


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
