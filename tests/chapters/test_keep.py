"""Nothing is lost, half-written or left behind: kills, full disks, Ctrl-C, two builds at once."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import ROOT, run_bsn

from bookkit import files

NAME = "experiment_0"
MARK = "BSN_TEST_KEEP"


def alive(mark):
    """Processes that have inherited the mark, but for those that only wait to be buried."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def none_left(mark):
    until = time.time() + 10
    while (left := alive(mark)) and time.time() < until:
        time.sleep(0.1)
    return not left


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def built(smoke, tmp_path_factory):
    """A copy of the checkout with its smoke build."""
    ran, checkout = smoke
    assert ran.returncode == 0, ran.stderr
    copy = tmp_path_factory.mktemp("keep") / "copy"
    shutil.copytree(checkout, copy)
    return copy


def again(copy, **environment):
    """The command that builds one chapter anew, and its environment."""
    command = [
        sys.executable,
        "-m",
        "bookkit.publish.cli",
        "build",
        "--profile",
        "smoke",
        "--fresh",
        "--chapter",
        NAME,
    ]
    environment |= {"PYTHONPATH": str(copy), "BSN_RECORD": str(copy / "_build" / "record"), MARK: str(copy)}
    return dict(args=command, cwd=copy, env={**os.environ, **environment}, text=True)


@pytest.mark.parametrize("limit", [20_000, 150_000], ids=["notebook", "site"])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(built, limit):
    """Files that may not grow beyond a limit stand for it: no rights and no disk of its own are needed."""
    before = contents(built / "_build")
    ran = subprocess.run(
        **again(built), capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ran.returncode == 2
    [line] = [line for line in ran.stderr.splitlines() if "File too large" in line]
    assert line.startswith("bsn: ") and "cannot write" in line and "kept" in line
    assert "Traceback" not in ran.stderr and len(ran.stderr.splitlines()) <= 3  # with those of progress
    after = contents(built / "_build")
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    record, executed = built / "_build" / "record", built / "_build" / "executed" / f"{NAME}.ipynb"
    # the chapter is done, and kept, when the site is what does not fit
    assert {path for path in changed if path.parent != record} <= ({executed} if limit > 100_000 else set())
    assert all(path.suffix == ".parquet" for path in changed if path.parent == record)


def test_ctrl_c_says_what_is_kept_and_ends_everything(built):
    for kill in (os.kill, os.killpg):  # the command alone, and as a terminal does it
        build = subprocess.Popen(
            **again(built), stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
        )  # fmt: skip
        until = time.time() + 120
        while not any("ipykernel_launcher" in " ".join(one) for one in alive(str(built))):
            assert time.time() < until and build.poll() is None
            time.sleep(0.2)
        kill(build.pid, signal.SIGINT)
        _, said = build.communicate(timeout=60)
        assert build.returncode == 130
        assert said.startswith("bsn: stopped: kept are 0 of 1 chapters and this build's record; ")
        assert said.count("\n") == 1
        assert none_left(str(built)) and not (built / "_build" / "scratch").exists()


def test_a_second_build_in_a_checkout_is_refused(built):
    before = contents(built / "_build")
    with files.alone(built / "_build", "refused"):
        ran = subprocess.run(**again(built), capture_output=True)
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr == f"bsn: another build is at work in {built / '_build'}; wait until it has ended\n"
    assert contents(built / "_build") == before


SLEEPER = """
import sys
from bsn import leash
with leash.Leash() as held:
    held.run([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'])"])
"""


TRAINER = """
from bookkit.studies.vae import runs
if __name__ == "__main__":
    runs.train("digits", [("linear", "disarm", seed, 1_000_000) for seed in (1, 2)])
"""


@pytest.mark.parametrize(
    "script, started, how",
    [
        (SLEEPER, "sleep 600", signal.SIGKILL),
        (SLEEPER, "sleep 600", signal.SIGTERM),
        (TRAINER, "spawn_main", signal.SIGKILL),
    ],
)
def test_what_a_killed_process_had_started_ends(tmp_path, script, started, how):
    environment = {**os.environ, MARK: str(tmp_path), "PYTHONPATH": str(ROOT), "BSN_RECORD": ""}
    (tmp_path / "script.py").write_text(script)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py"], env=environment)
    until = time.time() + 60
    while not any(started in " ".join(one) for one in alive(str(tmp_path))):
        assert time.time() < until and process.poll() is None
        time.sleep(0.1)
    process.send_signal(how)
    process.wait()
    assert none_left(str(tmp_path))


def test_what_a_killed_process_left_is_removed_by_the_next_and_by_none_that_is_not_alone(tmp_path):
    (tmp_path / ".new-file").write_text("half")
    (tmp_path / ".new-folder").mkdir()
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH)  # as one that writes just now
    with files.replaced(tmp_path / "one") as file:
        file.write(b"1")
    assert {path.name for path in tmp_path.iterdir()} == {"one", ".new-file", ".new-folder"}
    os.close(other)
    with files.replaced(tmp_path / "two") as file:
        file.write(b"2")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


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


def test_a_site_that_cannot_be_built_leaves_the_last_one(built):
    config, before = built / "_config.yml", contents(built / "_build" / "html")
    text = config.read_text()
    config.write_text(text.replace("bookkit.publish.extension", "nothing_of_the_kind"))
    try:
        ran = run_bsn("build", "--profile", "smoke", "--chapter", NAME, cwd=built, PYTHONPATH=str(built))
    finally:
        config.write_text(text)
    assert ran.returncode == 1 and "the site was not built" in ran.stderr
    assert contents(built / "_build" / "html") == before
    assert not (built / "_build" / "scratch").exists()
