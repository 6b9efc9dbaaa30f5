"""Nothing is lost, half-written or left behind: kills, full disks, Ctrl-C, two builds at once."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import bs4
import filelock
import nbformat
import numpy as np
import psutil
import pytest
from conftest import abridge, digests, environment

from bookkit import files, record

pytestmark = pytest.mark.slow

CHAPTERS = ("experiment_0", "introduction")
MARK = "BSN_TEST_KEEP"  # of the environment of all processes that a test starts


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """A book of three chapters, two of them built; each test leaves it usable for the next."""
    copy = tmp_path_factory.mktemp("keep") / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    abridge(copy, "introduction", "experiment_0", "experiment_2")
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 300), ("validation", 60), ("test", 60)):
        labels = rng.integers(0, 3, count)
        arrays |= {f"{part}_images": np.eye(3)[labels], f"{part}_labels": labels}
    np.savez(copy / "mine.npz", **arrays)
    ran = subprocess.run(**build(copy), capture_output=True)
    assert ran.returncode == 0, ran.stderr
    return copy


def build(copy, *arguments):
    """Return the arguments of `subprocess.run` for a smoke build of two chapters, on data of one's own."""
    command = [sys.executable, "-m", "bookkit.publish.cli", "build", "--profile", "smoke"]
    command += ["--dataset", "mine.npz"]
    paths = {"PYTHONPATH": f"{copy}:{copy / 'book'}", "BSN_RECORD": str(copy / "_build" / "record")}
    return dict(
        args=[*command, *arguments, "--chapter", *CHAPTERS],
        cwd=copy, env=environment(**paths) | {MARK: str(copy)}, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def alive(copy):
    """Return the commands of the processes started for `copy`, zombies left out."""
    commands = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(copy) and process.status() != psutil.STATUS_ZOMBIE:
                commands.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return commands


def wait_until_none_is_left(copy):
    while alive(copy):  # pytest's caller gives up, not a clock: a busy machine takes its time
        time.sleep(0.1)


def results(copy):
    """Return what a build made: the site's pages, and the nets without what varies from run to run."""
    rows = record.read_all(copy / "_build" / "record")
    varies = ("seconds", "date", "digest")
    nets = [{key: value for key, value in row.items() if key not in varies} for row in rows]
    site = copy / "_build" / "html"
    return nets, sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())


def test_two_chapters_in_a_fresh_checkout_on_data_of_ones_own(built):
    """The other pages say that they have no results; nothing else goes wrong."""
    site = built / "_build" / "html"
    assert "mine.npz" in bs4.BeautifulSoup((site / "experiment_0.html").read_text(), "html.parser").text
    assert "has not been run" in (site / "experiment_2.html").read_text()
    assert "has not been run" not in (site / "experiment_0.html").read_text()


def test_a_failing_chapter_stops_nothing_else(built):
    """Reported with its cell and error; its last good result stays; the others are built."""
    path, results = built / "book" / "experiment_0.ipynb", built / "_build" / "executed"
    original, before = path.read_text(), digests(results)
    notebook = nbformat.reads(original, as_version=4)
    notebook.cells[2].source += "\nraise RuntimeError('broken on purpose')"
    nbformat.write(notebook, path)
    ran = subprocess.run(**build(built, "--fresh"), capture_output=True)
    path.write_text(original)
    assert ran.returncode == 1
    assert "chapter experiment_0 failed: code cell 3: RuntimeError: broken on purpose" in ran.stderr
    assert "Traceback" not in ran.stderr
    changed = [path.stem for path, digest in digests(results).items() if digest != before[path]]
    assert changed == ["introduction"]
    assert "The last run of experiment_0 failed" in (built / "_build/html/experiment_0.html").read_text()


def test_killed_builds_lose_nothing_and_leave_nothing(built, request):
    expected = results(built)
    started = time.monotonic()
    assert subprocess.run(**build(built, "--fresh"), capture_output=True).returncode == 0
    duration = time.monotonic() - started
    for _ in range(request.config.getoption("--kills")):
        shutil.rmtree(built / "_build" / "record")
        process = subprocess.Popen(**build(built, "--fresh"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(random.uniform(0, duration))
        process.kill()
        process.communicate()
        wait_until_none_is_left(built)
        record.read_all(built / "_build" / "record")  # raises for a half-written one
        (built / "_build/executed/.introduction.ipynb.4194305").touch()  # killed as it wrote
        ran = subprocess.run(**build(built), capture_output=True)
        assert ran.returncode == 0, ran.stderr
        assert "damaged" not in ran.stderr and results(built) == expected
        assert {path.name for path in (built / "_build").iterdir()} == {
            "build.lock", "executed", "html", "html.sha256", "matplotlib", "record"
        }  # fmt: skip
        assert not [path for path in (built / "_build").rglob(".*")]


@pytest.mark.parametrize("limit, fresh", [(20_000, ["--fresh"]), (150_000, [])], ids=["notebook", "site"])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(built, limit, fresh):
    """Files that may not grow beyond a limit stand for it: no rights and no disk of its own are needed."""
    (built / "_build" / "html.sha256").unlink(missing_ok=True)  # the site is to be built
    before = digests(built / "_build")
    ran = subprocess.run(
        **build(built, *fresh), capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ran.returncode == 2
    [line] = [line for line in ran.stderr.splitlines() if "File too large" in line]
    assert line.startswith("bsn: ") and "cannot write" in line and "kept" in line
    assert "Traceback" not in ran.stderr
    after = digests(built / "_build")
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path.parent.name for path in changed} <= {"record"}


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["command", "terminal"])
def test_ctrl_c_says_what_is_kept_and_ends_everything(built, send):
    process = subprocess.Popen(
        **build(built, "--fresh"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
    )  # fmt: skip
    while not list((built / "_build" / "scratch").glob("*.files")):  # which a kernel writes
        assert process.poll() is None
        time.sleep(0.1)
    send(process.pid, signal.SIGINT)
    _, message = process.communicate()
    assert process.returncode == 130
    first, last = message.splitlines()
    assert first == "bsn: running experiment_0, introduction, 2 at once ..."
    assert last.startswith("bsn: stopped: kept are 0 of 2 chapters and this build's record; ")
    wait_until_none_is_left(built)
    assert not (built / "_build" / "scratch").exists()


def test_a_second_build_in_a_checkout_is_refused(built):
    before = digests(built / "_build")
    with filelock.FileLock(built / "_build" / "build.lock"):
        ran = subprocess.run(**build(built), capture_output=True)
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr == f"bsn: another build is at work in {built / '_build'}; wait until it has ended\n"
    assert digests(built / "_build") == before


def test_a_site_that_cannot_be_built_leaves_the_last_one(built):
    config, before = built / "_config.yml", digests(built / "_build" / "html")
    original = config.read_text()
    config.write_text(original.replace("sphinx.ext.napoleon", "nothing_of_the_kind"))
    ran = subprocess.run(**build(built), capture_output=True)
    config.write_text(original)
    assert ran.returncode == 1 and "the site was not built" in ran.stderr
    assert digests(built / "_build" / "html") == before
    assert not (built / "_build" / "scratch").exists()


def test_a_process_that_is_killed_is_a_line(built):
    """As by a system that is out of memory: what was done is kept, and no kernel outlives it.

    It is the one process that imports the libraries, for all kernels and for the site.
    """
    before = results(built)
    process = subprocess.Popen(**build(built, "--fresh"), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while not list((built / "_build" / "scratch").glob("*.files")):
        assert process.poll() is None
        time.sleep(0.1)
    children = psutil.Process(process.pid).children()
    [template] = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    template.kill()
    _, message = process.communicate()
    assert process.returncode == 2 and "Traceback" not in message
    says = "bsn: a process of the build died; often of too little memory; "
    assert message.splitlines()[-1].startswith(says)
    wait_until_none_is_left(built)
    assert results(built) == before


def test_a_link_to_a_file_stays(tmp_path):
    """As git-annex has them: what it points to is replaced."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "one").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "store" / "one")
    with files.replaced(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "store" / "one").read_bytes() == b"new"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    """What a killed process left of it is removed, and what a living one writes is not."""
    path, ended = tmp_path / "new" / "one", subprocess.Popen(["true"])
    ended.wait()
    for content in (b"old", b"newer"):
        with files.replaced(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    (path.parent / f".one.{ended.pid}").write_text("half")
    (path.parent / f".one.{os.getppid()}").write_text("in progress")
    with pytest.raises(KeyboardInterrupt), files.replaced(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"newer"
    assert {path.name for path in path.parent.iterdir()} == {"one", f".one.{os.getppid()}"}
