"""Nothing is lost, half-written or left behind: kills, full disks, Ctrl-C, two builds at once."""

import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import filelock
import psutil
import pytest

from bookkit import files, record

pytestmark = pytest.mark.slow

CHAPTERS = ("experiment_0", "introduction")
MARK = "BSN_TEST_KEEP"  # of the environment of all processes that a test starts


@pytest.fixture
def built(checkout, tmp_path):
    """A copy of the checkout with a smoke build of two chapters."""
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build"))
    ran = subprocess.run(**build(copy), capture_output=True)
    assert ran.returncode == 0, ran.stderr
    return copy


def build(copy, *arguments):
    """Return the arguments of `subprocess.run` for a smoke build of two chapters."""
    command = [sys.executable, "-m", "bookkit.publish.cli", "build", "--profile", "smoke"]
    environment = {"PYTHONPATH": f"{copy}:{copy / 'book'}", "BSN_RECORD": str(copy / "_build" / "record")}
    return dict(
        args=[*command, *arguments, "--chapter", *CHAPTERS],
        cwd=copy, env={**os.environ, **environment, MARK: str(copy)}, text=True, stdin=subprocess.DEVNULL,
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


def digests(folder):
    """Return file -> digest: pytest would take minutes to show how whole pages differ."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


def results(copy):
    """Return what a build made: the site's pages, and the nets without what varies from run to run."""
    rows = record.read_all(copy / "_build" / "record")
    varies = ("seconds", "date", "digest")
    nets = [{key: value for key, value in row.items() if key not in varies} for row in rows]
    site = copy / "_build" / "html"
    return nets, sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())


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
        ran = subprocess.run(**build(built), capture_output=True)
        assert ran.returncode == 0, ran.stderr
        assert "damaged" not in ran.stderr and results(built) == expected
        assert {path.name for path in (built / "_build").iterdir()} == {
            "build.lock", "executed", "html", "record"
        }  # fmt: skip
        assert not [path for path in (built / "_build").rglob(".*")]


@pytest.mark.parametrize("limit", [20_000, 150_000], ids=["notebook", "site"])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(built, limit):
    """Files that may not grow beyond a limit stand for it: no rights and no disk of its own are needed."""
    before = digests(built / "_build")
    ran = subprocess.run(
        **build(built, "--fresh"), capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ran.returncode == 2
    [line] = [line for line in ran.stderr.splitlines() if "File too large" in line]
    assert line.startswith("bsn: ") and "cannot write" in line and "kept" in line
    assert "Traceback" not in ran.stderr
    after = digests(built / "_build")
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    done = {"record", "executed"} if limit > 100_000 else {"record"}  # the site is what does not fit
    assert {path.parent.name for path in changed} <= done


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["command", "terminal"])
def test_ctrl_c_says_what_is_kept_and_ends_everything(built, send):
    process = subprocess.Popen(
        **build(built, "--fresh"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
    )  # fmt: skip
    while not any("ipykernel_launcher" in command for command in alive(built)):
        assert process.poll() is None
        time.sleep(0.1)
    send(process.pid, signal.SIGINT)
    _, message = process.communicate()
    assert process.returncode == 130
    *others, last = message.splitlines()
    assert last.startswith("bsn: stopped: kept are 0 of 2 chapters and this build's record; ")
    assert all(line.startswith("bsn: no results yet of ") for line in others)
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
    config.write_text(config.read_text().replace("sphinx.ext.napoleon", "nothing_of_the_kind"))
    ran = subprocess.run(**build(built), capture_output=True)
    assert ran.returncode == 1 and "the site was not built" in ran.stderr
    assert digests(built / "_build" / "html") == before
    assert not (built / "_build" / "scratch").exists()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "one"
    for content in (b"old", b"newer"):
        with files.replaced(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    with pytest.raises(KeyboardInterrupt), files.replaced(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"newer" and list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / f".one.{ended.pid}").write_text("half")
    (tmp_path / f".one.{os.getppid()}").write_text("in progress")
    with files.replaced(tmp_path / "one") as file:
        file.write(b"1")
    assert {path.name for path in tmp_path.iterdir()} == {"one", f".one.{os.getppid()}"}
