"""Processes of a pool end with their parent, however that ends; those of a build share what XLA compiled."""

import subprocess
import sys
import time

import psutil

from bookkit import processes

PARENT = """
import subprocess
from bookkit import processes

if __name__ == "__main__":
    with processes.pool(1, {}) as pool:
        pool.submit(subprocess.run, ["sleep", "600"]).result()
"""


def running(several):
    """Those that have not ended; a zombie has, whoever is to reap it."""
    alive = []
    for process in several:
        try:
            alive += [process] if process.status() != psutil.STATUS_ZOMBIE else []
        except psutil.NoSuchProcess:
            continue
    return alive


def test_a_pool_and_what_its_tasks_started_end_when_the_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script])
    started, deadline = [], time.monotonic() + 120
    while not any(process.name() == "sleep" for process in started):
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
        started = running(psutil.Process(parent.pid).children(recursive=True))
    assert len(started) >= 2  # the pool's process, and the one that its task started
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while running(started):
        assert time.monotonic() < deadline, running(started)
        time.sleep(0.1)


def multiplied():
    from bsn.backend import tf

    return float(tf.function(lambda x: tf.sigmoid(x @ x), jit_compile=True)(tf.ones([8, 8]))[0, 0])


def test_a_program_is_compiled_once_for_all_processes(tmp_path):
    """Whatever the folder's name: TensorFlow reads it among other flags."""
    folder = tmp_path / """my "first" 'book' \\ 📷"""
    folder.mkdir()
    written = []
    for _ in range(2):
        with processes.pool(1, processes.surroundings(folder)) as pool:
            assert pool.submit(multiplied).result() > 0.99
        [program] = (folder / "programs").iterdir()
        written.append(program.stat().st_mtime_ns)
    assert written[0] == written[1]
