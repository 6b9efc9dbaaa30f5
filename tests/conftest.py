"""Shared by all tests: where MNIST is, and one smoke build of the whole book."""

import hashlib
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import tempfile

import filelock
import hypothesis
import nbformat
import numpy as np
import pytest
import yaml
from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from hypothesis import is_hypothesis_test
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[1]

# what XLA has compiled is for all processes of the run, as in a build
if "TF_XLA_FLAGS" not in os.environ:
    PROGRAMS = tempfile.TemporaryDirectory()
    os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={PROGRAMS.name}"

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HANG = 600_000  # milliseconds that only a page that hangs takes, however slow the machine


def find_browser():
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=2, help="how often test_keep kills a build (default: 2)")
    parser.addoption("--seed-offset", type=int, default=0, help="added to the seeds of the numeric tests")


@pytest.fixture
def seed_offset(request):
    return request.config.getoption("--seed-offset")


@pytest.fixture
def rng(seed_offset):
    return np.random.default_rng(seed_offset)


def pytest_collection_modifyitems(config, items):
    """Mark builds, browsers and the laboratory as slow; what lacks a browser or MNIST runs in CI alone."""
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            hypothesis.seed(config.getoption("--seed-offset"))(item.obj)
        if {"checkout", "browser", "measured"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    missing = {}
    if not os.environ.get("CI") and not os.environ.get("BSN_MNIST_DIR"):
        missing["mnist_dir"] = "BSN_MNIST_DIR is not set"
    if not os.environ.get("CI") and not find_browser():
        missing["browser"] = f"none of {', '.join(BROWSERS)} is installed"
    unavailable = [item for item in items if missing.keys() & set(getattr(item, "fixturenames", ()))]
    if unavailable:
        config.hook.pytest_deselected(items=unavailable)
        items[:] = [item for item in items if item not in unavailable]
        print(f"left out: {len(unavailable)} tests, since {' and '.join(missing.values())}")


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder with the four original files."""
    folder = os.environ.get("BSN_MNIST_DIR")
    assert folder, "CI must set BSN_MNIST_DIR"
    return pathlib.Path(folder).resolve()


@pytest.fixture(autouse=True)
def no_record(monkeypatch):
    """Nets are retrained in tests, unless a test names a folder for the record."""
    monkeypatch.setenv("BSN_RECORD", "")


def environment(**more):
    """This process's, without what tells ipykernel of a test: it hides what libraries print to stderr."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} | more


def run_bsn(*arguments, cwd=ROOT, **more):
    """Run the `bsn` command of a checkout in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bookkit.publish.cli", *map(str, arguments)], cwd=cwd,
        env=environment(PYTHONPATH=f"{cwd}:{cwd / 'book'}") | more,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def digests(folder):
    """Return file -> digest: pytest would take minutes to show how whole pages differ."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of what git would commit, which tests read: those that build in it copy it.

    It is one for all processes of the run, as are `smoke`'s results.
    """
    base = tmp_path_factory.getbasetemp()
    target = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "checkout"
    with filelock.FileLock(f"{target}.lock"):
        if not target.exists():
            listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
            files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            for name in filter(None, files.split("\0")):
                if (ROOT / name).exists():
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / name, target / name)
    return target


def abridge(copy, root, *chapters):
    """Leave these pages of a checkout's book, their code without its text, so that a build takes seconds."""
    for name in (root, *chapters):
        path = copy / "book" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        title, *cells = notebook.cells
        title.source = title.source.splitlines()[0]
        notebook.cells = [title, *(cell for cell in cells if cell.cell_type == "code")]
        nbformat.write(notebook, path)
    toc = {"format": "jb-book", "root": f"book/{root}"}
    toc["chapters"] = [{"file": f"book/{name}"} for name in chapters]
    (copy / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")


@pytest.fixture(scope="session")
def smoke(checkout):
    """The book in the smoke profile: (the finished command, the folder it ran in)."""
    finished = pathlib.Path(f"{checkout}.finished")
    with filelock.FileLock(f"{finished}.lock"):
        if not finished.exists():
            ran = run_bsn("build", "--profile", "smoke", cwd=checkout)
            finished.write_bytes(pickle.dumps(ran))
    return pickle.loads(finished.read_bytes()), checkout


@pytest.fixture(scope="session")
def site(smoke):
    ran, folder = smoke
    assert ran.returncode == 0, ran.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    path = find_browser()
    assert path, f"CI must install one of {', '.join(BROWSERS)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open pages; whatever goes wrong on one, or is asked of another host, fails the test at its end.

    After each call `open_page.urls` has what that page has asked for.
    """
    contexts, wrong = [], []

    def open_page(url, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(HANG)
        contexts.append(context)
        page = context.new_page()
        urls = open_page.urls = set()
        page.on("request", lambda request: urls.add(request.url))
        page.on(
            "request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url)
        )
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        if options.get("java_script_enabled", True):  # without it a promise is never kept
            page.evaluate("document.fonts.ready.then(() => new Promise(done => setTimeout(done)))")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


class Armed:
    """Pickled: it makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# drops texts that axe need not judge: single characters, of which it never says anything; and of words of
# code that look the same, by their classes and those of all that they are in, all but one that is visible
FEWER_TEXTS = """() => {
    for (const part of document.querySelectorAll("math *"))
        part.toggleAttribute("data-short", !part.childElementCount && part.textContent.trim().length < 2);
    const seen = new Set();
    const words = document.querySelectorAll(".highlight span, .sig span");
    for (const word of [...words].reverse()) {
        if (word.childElementCount) continue;
        let look = "";
        for (let part = word; part; part = part.parentElement) look += part.className + " < ";
        if (word.textContent.trim().length < 2 || seen.has(look)) word.replaceWith(...word.childNodes);
        else if (word.checkVisibility()) seen.add(look);
    }
}"""
CONTRAST = """;axe.configure({rules: [{id: "color-contrast", selector: "*:not([data-short])"}]})"""


def barriers(page):
    """Serious violations of the rules for accessible pages, once all animations have ended."""
    page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
    page.evaluate(FEWER_TEXTS)
    # to preload would fetch the style sheets, which a file may not; passes in detail take as long again
    options = {"preload": False, "resultTypes": ["violations"]}
    # a drawing is one image to a screen reader, whatever it is made of
    context = {"include": [["html"]], "exclude": [[".bsn-figure svg > *"]]}
    violations = Axe(AXE_SCRIPT + CONTRAST).run(page, context=context, options=options).response["violations"]
    return [
        (rule["id"], rule["nodes"][:3]) for rule in violations if rule["impact"] in ("serious", "critical")
    ]


PLAYGROUND_THEME = """
html { color: #222832; background: #fff; font: 16px/1.65 sans-serif; --pst-color-text-base: #222832;
  --pst-color-text-muted: #48566b; --pst-color-border: #d1d5da; --pst-color-surface: #f3f4f5;
  --pst-color-background: #fff; color-scheme: light }
html[data-theme=dark] { color: #ced6dd; background: #121212; --pst-color-text-base: #ced6dd;
  --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b; --pst-color-surface: #29313d;
  --pst-color-background: #121212; color-scheme: dark }
"""


@pytest.fixture(scope="session")
def playground(tmp_path_factory):
    """The page's raw block alone, in the theme's colours: it needs no build of the site."""
    folder = tmp_path_factory.mktemp("playground")
    shutil.copytree(ROOT / "book" / "_static", folder / "_static")
    block = re.search(r"```\{raw\} html\n(.*?)```", (ROOT / "book" / "playground.md").read_text(), re.S)[1]
    (folder / "page.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Playground</title>'
        f'<meta name="viewport" content="width=device-width"><style>{PLAYGROUND_THEME}</style></head>'
        f'<body><main><h1>Playground</h1>{block}<h2 id="more">More</h2></main></body></html>'
    )
    return (folder / "page.html").as_uri()
