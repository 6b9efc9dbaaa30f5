"""Run commands that end, with all that they started, when the process that wants them is gone.

A killed process can tell nobody. Its end of a pipe is closed all the same: a small process between it and the
command waits for that.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading


class Leash:
    """Holds the commands that it runs; those still running when its context is left are killed."""

    def __enter__(self):
        self.held, self.holding = os.pipe()
        self.started = []
        return self

    def __exit__(self, *_):
        os.close(self.holding)
        for process in self.started:
            process.wait()
        os.close(self.held)

    def run(self, command, **options):
        """As `subprocess.run` with its output captured as text."""
        command = [sys.executable, "-m", "bsn.leash", *map(str, command)]
        pipes = {"stdin": self.held, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **pipes, **options)
        self.started.append(process)
        out, err = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def end_with_parent():
    """In a process of `multiprocessing`: end when the one that started it is gone, even if it was killed."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to everyone: who holds the leash decides
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    sys.exit(child.wait() % 256)


def _watch(child):
    import psutil

    os.read(0, 1)  # nothing is ever written: it returns when the other end is closed
    with contextlib.suppress(psutil.NoSuchProcess):
        child.send_signal(signal.SIGSTOP)  # so that it starts nothing more
        for process in [*psutil.Process(child.pid).children(recursive=True), child]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    os._exit(1)


if __name__ == "__main__":
    _main()
