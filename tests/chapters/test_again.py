"""Building again: a chapter runs again if a file that it used has changed, and not if another has."""

import os
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import digests, environment, run_bsn

from bookkit import data, processes
from bookkit.paths import BOOK, ROOT
from bookkit.publish import executed, runner

NAME = "experiment_0"
SCRIPT = """
from bookkit.publish import cli, site
if __name__ == "__main__":
    site.build = lambda *_: 0
    raise SystemExit(cli.main({}))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(smoke, tmp_path_factory):
    """A copy of the checkout with its smoke build."""
    ran, checkout = smoke
    assert ran.returncode == 0, ran.stderr
    copy = tmp_path_factory.mktemp("again") / "copy"
    shutil.copytree(checkout, copy, copy_function=shutil.copy2)
    return copy


def again(copy, *arguments, chapters=(NAME,), status=0):
    """Build chapters again, without the site; returns the finished process."""
    arguments = ["build", "--profile", "smoke", "--chapter", *chapters, *arguments]
    command = [sys.executable, "-c", SCRIPT.format(arguments)]
    paths = {"PYTHONPATH": f"{copy}:{copy / 'book'}", "BSN_RECORD": str(copy / "_build" / "record")}
    ran = subprocess.run(command, cwd=copy, env=environment(**paths), capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran


def result(copy, name=NAME):
    return copy / "_build" / "executed" / f"{name}.ipynb"


def test_nothing_is_run_again_and_the_site_is_the_same(built):
    results = {path.name: path.stat().st_mtime_ns for path in result(built).parent.iterdir()}
    before = digests(built / "_build")
    ran = run_bsn("build", "--profile", "smoke", cwd=built, BSN_RECORD=str(built / "_build" / "record"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count(" unchanged\n") == len(results) and " done " not in ran.stderr
    assert results == {path.name: path.stat().st_mtime_ns for path in result(built).parent.iterdir()}
    assert digests(built / "_build") == before
    assert "nothing that the site is built from has changed" in ran.stderr


def test_a_change_of_text_runs_nothing_and_is_on_the_page(built):
    _edit(built / "book" / f"{NAME}.ipynb", "Experiment 0", "Experiment zero")
    results = digests(built / "_build" / "executed")
    ran = run_bsn("build", "--profile", "smoke", cwd=built, BSN_RECORD=str(built / "_build" / "record"))
    assert ran.returncode == 0 and " done " not in ran.stderr
    assert "Experiment zero" in (built / "_build" / "html" / f"{NAME}.html").read_text()
    assert digests(built / "_build" / "executed") == results


def _edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _comment(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].source += "\n# nothing else"
    nbformat.write(notebook, path)


CHANGES = {
    f"book/{NAME}.ipynb": lambda copy: _comment(copy / "book" / f"{NAME}.ipynb"),
    "book/record/confirmatory.parquet": lambda copy: _rewrite(copy / "book/record/confirmatory.parquet"),
    "book/tables/experiments.csv": lambda copy: _edit(copy / "book/tables/experiments.csv", "\n", "\n\n"),
    "bsn/estimators/relaxed.py": lambda copy: _edit(copy / "bsn/estimators/relaxed.py", '"""', '"""  '),
    "this build's record": lambda copy: shutil.rmtree(copy / "_build" / "record"),
}
UNUSED = ("book/ranking.ipynb", "book/bookkit/publish/site.py", "book/record/vae.parquet")


def _rewrite(path):
    pq.write_table(pq.read_table(path), path, compression="snappy")


def test_a_change_of_another_file_runs_nothing(built):
    for name in UNUSED:
        (built / name).write_bytes((built / name).read_bytes() + b"\n")
    (built / "book" / "bookkit" / "new.py").write_text("")
    assert f"[1/1] {NAME} unchanged" in again(built).stderr


def test_a_change_of_what_a_chapter_used_runs_it_again(built):
    """Each kind of file by itself is a reason, which the message names."""
    before = result(built).stat().st_mtime_ns
    for change in CHANGES.values():
        change(built)
    assert f" s, {', '.join(CHANGES)} changed)" in again(built).stderr
    assert result(built).stat().st_mtime_ns > before
    assert f"[1/1] {NAME} unchanged" in again(built).stderr


def test_what_a_kernels_own_processes_use_counts(tmp_path, monkeypatch):
    """As those that train several VAEs at once, which import its model."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (runner.AUDIT, ROOT, BOOK))))
    monkeypatch.setenv("BSN_USED_FILES", str(tmp_path / "files"))
    with processes.pool(1, {}) as pool:
        pool.submit(exec, "import bookkit.studies.vae.model").result()
    used = executed.used_files(BOOK / "vae.ipynb", tmp_path / "files", executed.file_digests())
    assert "book/bookkit/studies/vae/model.py" in used


def test_a_damaged_record_is_named_and_refused(built):
    """Though the chapter's result stands: it is not used, and the build does not pass over it in silence."""
    text = result(built).read_text()
    path = next(path for path in (built / "_build" / "record").glob("*.parquet") if path.stem in text)
    before, whole = result(built).read_bytes(), path.read_bytes()
    path.write_bytes(whole[:-9])
    ran = again(built, status=1)
    [line] = [line for line in ran.stderr.splitlines() if "is cut short or damaged" in line]
    assert str(path) in line and path.read_bytes() == whole[:-9] and result(built).read_bytes() == before
    path.write_bytes(whole)


def test_a_damaged_result_another_parameter_or_data_set_runs_it_again(built):
    assert " s, parameters changed)" in again(built, "-p", "epochs", "2").stderr
    parts = data.load("digits").parts
    arrays = {f"{part}_images": images.copy() for part, (images, _) in parts.items()}
    arrays |= {f"{part}_labels": labels for part, (_, labels) in parts.items()}
    np.savez(built / "mine.npz", **arrays)
    result(built).write_bytes(result(built).read_bytes()[:-100])
    assert f"{NAME} done" in again(built, "--dataset", "mine.npz").stderr
    assert f"{NAME} unchanged" in again(built, "--dataset", "mine.npz").stderr
    arrays["train_images"][0, 0] += 0.5
    np.savez(built / "mine.npz", **arrays)
    assert " s, parameters, data changed)" in again(built, "--dataset", "mine.npz").stderr
