"""Kernels that start at once: forked from a process that has imported the libraries which chapters use.

Importing TensorFlow and the rest takes longer than most chapters need for all that they do. Only on Linux,
since macOS's own libraries do not survive a fork: elsewhere kernels start as Jupyter starts them.
"""

import contextlib
import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from bookkit import processes
from bookkit.paths import BOOK

CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
PROVISIONER = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "bookkit"} if sys.platform == "linux" else {}


@functools.cache
def prepare() -> None:
    """Begin to import the libraries, with this process's environment; once is enough."""
    # this process has its parent's path; what a new interpreter finds is the kernels'
    fresh = [sys.executable, "-c", "import sys; print(*sys.path, sep='\\n')"]
    sys.path[:] = subprocess.check_output(fresh, encoding="utf-8").splitlines()
    if sys.platform == "linux":
        from multiprocessing import forkserver

        CONTEXT.set_forkserver_preload(["bookkit.publish.libraries"])
        usual = tempfile.gettempdir()
        # its socket's path must be short, wherever the checkout lies
        tempfile.tempdir = f"/proc/{os.getpid()}/fd/{os.open(usual, os.O_RDONLY)}"
        with contextlib.chdir(BOOK):  # where no settings of a user's lie
            forkserver.ensure_running()
        tempfile.tempdir = usual


def call(function: Callable[..., object], *arguments: Any) -> int:
    """Call a function in a process that has the libraries; return its exit status."""
    prepare()
    process = _start(function, *arguments)
    process.join()
    return process.exitcode


def _start(function: Callable[..., object], *arguments: Any) -> Any:
    process = CONTEXT.Process(target=_run, args=(function, *arguments))
    process.start()
    return process


def _run(function: Callable[..., object], *arguments: Any) -> None:
    processes.end_with_parent()
    function(*arguments)


class Provisioner(LocalProvisioner):
    """Starts kernels so: an entry point of jupyter_client."""

    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel of a command line; see `jupyter_client.provisioning.KernelProvisionerBase`."""
        self.process = _Process(cmd[cmd.index("-f") :], kwargs["env"], kwargs.get("cwd", os.getcwd()))
        self.pid = self.process.pid
        return self.connection_info


class _Process:
    """What `LocalProvisioner` uses of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, *arguments: Any) -> None:
        self._process = _start(_run_kernel, *arguments)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _run_kernel(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be the kernel that `python -m ipykernel_launcher` would be with these variables in that folder."""
    os.setsid()  # Ctrl-C is the build's to handle
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    paths = environment["PYTHONPATH"].split(os.pathsep)
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    # those of the checkout are for the chapter to import: they are files that it uses
    for name in [name for name in sys.modules if name.partition(".")[0] in ("bookkit", "bsn")]:
        del sys.modules[name]
    runpy.run_path(os.path.join(paths[0], "sitecustomize.py"))

    from ipykernel import kernelapp

    kernelapp.launch_new_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])
