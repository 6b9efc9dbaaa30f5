"""Executed notebooks to a static site that needs no network."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

from bookkit import files, processes
from bookkit.data import dataset_title
from bookkit.figures import theme
from bookkit.paths import BOOK, CONFIG, ROOT, SITE, TOC
from bookkit.publish import executed, light, pages
from bsn.errors import InputError

STATIC = "_static"


def build(chapters, failures, scratch):
    """Build the site from the last executed notebooks, warnings as errors; the old one stays until it stands.

    Args:
        chapters: name -> path of the clean notebooks.
        failures: names of chapters whose last run failed.
        scratch: a folder that is removed after the build.

    Returns:
        The exit status, 0 or 1.
    """
    import nbformat
    import yaml

    source = scratch / "book"
    left_out = shutil.ignore_patterns(
        ".ipynb_checkpoints", STATIC, "bookkit", "record", "tables", "*.egg-info"
    )
    shutil.copytree(BOOK, source, ignore=left_out)
    (source / "_themes").mkdir()
    (source / "_themes" / "figures.css").write_text(theme.css())
    results, more, known = {}, {}, repository()
    for name, path in chapters.items():
        made = _executed(name)
        more[f"{pages.DOWNLOADS}/{name}.ipynb"] = path.read_text()
        if made:
            results[name] = made
            notebook, data = pages.page(made, name, known and known[0])
            more |= data
            more[f"{pages.DOWNLOADS}/{name}-executed.ipynb"] = executed.path(name).read_text()
        else:
            notebook = pages.without_results(nbformat.read(path, as_version=4))
        nbformat.write(notebook, source / f"{name}.ipynb")
    config = yaml.safe_load(CONFIG.read_text())
    notice = _notice(results, failures)
    if notice:
        config["html"]["announcement"] = notice
    # not within the source folder, where Jupyter Book would load every script on every page
    config["sphinx"]["config"]["html_static_path"] = [str(BOOK / STATIC), "_themes"]
    if known:
        add_launch_buttons(config, *known)
    written = source / "_config.yml"
    written.write_text(yaml.safe_dump(config))
    print("bsn: building the site ...", file=sys.stderr)
    arguments = [os.path.join(sysconfig.get_path("scripts"), "jupyter-book"), "build", str(source)]
    toc = scratch / "_toc.yml"
    toc.write_text(TOC.read_text().replace(": book/", ": "))  # the pages' addresses have no folder
    arguments += ["--config", str(written), "--toc", str(toc), "--path-output", str(scratch)]
    arguments += ["-W", "-n", "--keep-going", "--all", "-q"]
    ran = processes.run(arguments, {"TMPDIR": str(scratch)})
    made = scratch / "_build" / "html"
    if ran.returncode or not (made / "index.html").exists():
        full = files.full_disk(ran.stdout + ran.stderr)
        if full:
            raise InputError(f"build: cannot write {made}: {full}; the last site and all results are kept")
        print(ran.stdout + ran.stderr, file=sys.stderr)
        print("bsn: the site was not built; the warnings above say why", file=sys.stderr)
        return 1
    for name, text in more.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text)
    light.lighten(made)
    if SITE.exists():
        os.rename(SITE, scratch / "last")
    os.rename(made, SITE)
    return 0


def _executed(name):
    """A chapter's executed notebook, or None where it has none that can be used, which is said."""
    try:
        return executed.read(name)
    except InputError as error:
        print(f"bsn: {error}: the page of {name} says that it has no results", file=sys.stderr)
        return None


def _notice(results, failures):
    """What every page must say of how this site's pages came about, or None."""
    made = {}
    for name, notebook in results.items():
        made.setdefault(tuple(notebook.metadata.bsn[key] for key in ("dataset", "profile")), []).append(name)
    notes = []
    for (dataset, profile), names in made.items():
        if (dataset, profile) not in (("mnist", "quick"), ("mnist", "full")) or len(made) > 1:
            which = "This build" if len(made) == 1 else f"Chapters {', '.join(names)}: this build"
            notes.append(f"{which} trained on {dataset_title(dataset)}, {profile} profile.")
    if any(dataset != "mnist" for dataset, _ in made):
        notes.append("Numbers measured on other data than MNIST are not comparable with the post's.")
    if failures:
        notes.append(f"The last run of {', '.join(failures)} failed: shown is an earlier one, if any.")
    return " ".join(notes) or None


def repository():
    """The web address of the checkout's origin on a public host, and its branch; None where it has none."""

    def git(*arguments):
        try:
            ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        except OSError:  # no git
            return ""
        return ran.stdout.strip() if ran.returncode == 0 else ""

    match = re.fullmatch(
        r"(?:https://|ssh://git@|git@)(github\.com)[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?",
        git("config", "--get", "remote.origin.url"),
    )
    branch = git("rev-parse", "--abbrev-ref", "HEAD")
    return match and (f"https://{match[1]}/{match[2]}", branch if branch not in ("", "HEAD") else "main")


def add_launch_buttons(config, address, branch):
    """Buttons to Binder and Colab, and to the source."""
    config["repository"] = {"url": address, "branch": branch, "path_to_book": "book"}
    config["launch_buttons"] = {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    }
    config["html"] |= {"use_repository_button": True, "use_issues_button": True}
