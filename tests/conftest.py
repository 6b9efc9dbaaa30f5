"""Shared by all tests: where MNIST is, and one smoke build of the whole book."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(config, items):
    """Tests that need MNIST fail in CI where it is missing, and are left out elsewhere."""
    if os.environ.get("BSN_MNIST_DIR") or os.environ.get("CI"):
        return
    unavailable = [item for item in items if "mnist_dir" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=unavailable)
    items[:] = [item for item in items if item not in unavailable]


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder with the four original files."""
    folder = os.environ.get("BSN_MNIST_DIR")
    assert folder, "CI must set BSN_MNIST_DIR"
    return pathlib.Path(folder).resolve()


@pytest.fixture(autouse=True)
def no_record(monkeypatch):
    """Nets are trained anew in tests, but where a test gives a folder for the record."""
    monkeypatch.setenv("BSN_RECORD", "")


def run_bsn(*arguments, cwd=ROOT, **environment):
    """Run the `bsn` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bsn.cli", *map(str, arguments)],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of what git would commit, so that a build here leaves the working tree alone."""
    target = tmp_path_factory.mktemp("checkout")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


@pytest.fixture(scope="session")
def smoke(checkout):
    """The book in the smoke profile: (the finished command, the folder it ran in)."""
    return run_bsn("build", "--profile", "smoke", cwd=checkout, PYTHONPATH=str(checkout)), checkout


@pytest.fixture(scope="session")
def site(smoke):
    ran, folder = smoke
    assert ran.returncode == 0, ran.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    known = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, known)), None)
    assert path, f"these tests need a browser: install one of {', '.join(known)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
