"""Run commands that end, with all that they started, when the process that wants them is gone.

A killed process can tell nobody. Its end of a pipe is closed all the same: a small process between it and the
command waits for that.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading


@contextlib.contextmanager
def leash():
    """Yields what `run` needs; commands still running when the context is left are killed."""
    held, holding = os.pipe()
    try:
        yield held
    finally:
        os.close(holding)
        os.close(held)


def run(command, held, **options):
    """As `subprocess.run` with its output captured as text; the command cannot outlive its `leash`."""
    command = [sys.executable, "-m", "bsn.leash", *map(str, command)]
    return subprocess.run(command, stdin=held, capture_output=True, text=True, **options)


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
