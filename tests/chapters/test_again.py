"""Building again: what has not changed is not run again, and what has is run and named."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import run_bsn

from bookkit.publish import executed
from bsn import InputError

NAME = "experiment_0"
WITHOUT_SITE = "from bsn import cli, site; site.build = lambda *_: 0; raise SystemExit(cli.main({}))"


@pytest.fixture(scope="module")
def built(smoke, tmp_path_factory):
    """A copy of the checkout with its smoke build."""
    ran, checkout = smoke
    assert ran.returncode == 0, ran.stderr
    copy = tmp_path_factory.mktemp("again") / "copy"
    shutil.copytree(checkout, copy, copy_function=shutil.copy2)
    return copy


def again(copy, *arguments, chapters=(NAME,), status=0, **environment):
    """Build chapters again, without the site; returns the finished process."""
    arguments = ["build", "--profile", "smoke", "--chapter", *chapters, *arguments]
    code = WITHOUT_SITE.format(arguments)
    env = {**os.environ, "PYTHONPATH": str(copy), "BSN_RECORD": str(copy / "_build/record"), **environment}
    ran = subprocess.run([sys.executable, "-c", code], cwd=copy, env=env, capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran


def result(copy, name=NAME):
    return copy / "_build" / "executed" / f"{name}.ipynb"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_run_again_and_the_site_is_the_same(built):
    results = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in result(built).parent.iterdir()}
    site = contents(built / "_build" / "html")
    ran = run_bsn(
        "build",
        "--profile",
        "smoke",
        cwd=built,
        PYTHONPATH=str(built),
        BSN_RECORD=str(built / "_build/record"),
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count(" unchanged\n") == len(results) and " done " not in ran.stderr
    assert results == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in results}
    assert contents(built / "_build" / "html") == site


def _edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _comment(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].source += "\n# nothing else"
    nbformat.write(notebook, path)


CHANGES = {
    "notebook": lambda copy: _comment(copy / "book" / f"{NAME}.ipynb"),
    "code": lambda copy: _edit(copy / "bsn" / "theme.py", '"""', '"""  '),
    "book's files": lambda copy: _edit(copy / "book" / "claim_titles.csv", "\n", "\n\n"),
    "this build's record": lambda copy: shutil.rmtree(copy / "_build" / "record"),
}


def test_a_change_of_what_determines_a_chapter_runs_it_again(built):
    again(built)
    for part, change in CHANGES.items():
        before = result(built).stat().st_mtime_ns
        change(built)
        ran = again(built)
        assert f"[1/1] {NAME} done (" in ran.stderr and f" s, {part} changed)" in ran.stderr
        assert result(built).stat().st_mtime_ns > before
    assert f"[1/1] {NAME} unchanged" in again(built).stderr


def test_another_parameter_or_data_set_runs_it_again(built, tmp_path):
    again(built)
    assert "parameters changed)" in again(built, "-p", "epochs", "2").stderr
    assert f"{NAME} unchanged" in again(built, "-p", "epochs", "2").stderr
    assert "parameters changed)" in again(built).stderr
    digits = "import numpy as np; from bsn import data; d = data.load('digits').parts; np.savez('mine.npz', "
    digits += "**{f'{p}_{k}': a for p in d for k, a in zip(('images', 'labels'), d[p])})"
    subprocess.run([sys.executable, "-c", digits], cwd=built, check=True)
    assert "parameters changed)" in again(built, "--dataset", "mine.npz").stderr
    _edit_array(built / "mine.npz")
    assert "parameters, data changed)" in again(built, "--dataset", "mine.npz").stderr
    again(built)


def _edit_array(path):
    import numpy as np

    with np.load(path) as file:
        arrays = dict(file)
    arrays["train_images"][0, 0] = 0.5
    np.savez(path, **arrays)


def _change_a_number(path):
    made = json.loads(path.read_text())
    made["metadata"]["papermill"]["duration"] += 1
    path.write_text(json.dumps(made))


DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "edited": _change_a_number,
    "not text": lambda path: path.write_bytes(b"\xff" + path.read_bytes()[1:]),
    "another program's": lambda path: nbformat.write(nbformat.v4.new_notebook(), path),
    "nothing of the kind": lambda path: path.write_text("[" * 100000),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_result_is_refused(built, tmp_path, monkeypatch, how):
    monkeypatch.setattr(executed, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(executed, "EXECUTED", tmp_path / "_build" / "executed")
    shutil.copytree(result(built).parent, executed.EXECUTED)
    assert executed.read(NAME).cells
    DAMAGES[how](executed.path(NAME))
    with pytest.raises(InputError, match=f"{NAME}.ipynb is damaged, or was changed"):
        executed.read(NAME)


def test_a_damaged_result_is_named_and_run_anew(built):
    again(built)
    DAMAGES["cut short"](result(built))
    ran = again(built)
    [line] = [line for line in ran.stderr.splitlines() if "is damaged, or was changed" in line]
    assert line.startswith(f"bsn: _build/executed/{NAME}.ipynb ") and "run anew" in line
    assert " s, was damaged)" in ran.stderr
    assert f"{NAME} unchanged" in again(built).stderr


def test_a_damaged_record_is_named_and_refused(built):
    """Though the chapter's result stands: it is not used, and the build does not pass over it in silence."""
    again(built)
    [path] = [
        path for path in (built / "_build" / "record").iterdir() if path.stem in result(built).read_text()
    ]
    before, whole = result(built).read_bytes(), path.read_bytes()
    path.write_bytes(whole[:-9])
    ran = again(built, status=1)
    [line] = [line for line in ran.stderr.splitlines() if "is cut short or damaged" in line]
    assert str(path) in line and path.read_bytes() == whole[:-9] and result(built).read_bytes() == before
    path.write_bytes(whole)
    assert f"{NAME} unchanged" in again(built).stderr


def test_fresh_runs_it_again(built):
    again(built)
    before = result(built).stat().st_mtime_ns
    assert "unchanged" not in again(built, "--fresh").stderr
    assert result(built).stat().st_mtime_ns > before
