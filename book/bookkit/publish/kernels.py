"""Kernels that start at once: forked from a process that has imported the libraries which chapters use.

Importing TensorFlow and the rest takes longer than most chapters need for all that they do. Only on Linux,
since macOS's own libraries do not survive a fork: elsewhere that process starts kernels as Jupyter does.
"""

import concurrent.futures
import contextlib
import contextvars
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from bookkit import processes
from bookkit.paths import BOOK
from bookkit.publish import libraries

# more variables of the kernels that a thread starts
ENVIRONMENT: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("ENVIRONMENT")
_template: concurrent.futures.Executor
_exit_status: dict[int, Callable[[], int | None]] = {}  # of the template: how each of its kernels ended


@contextlib.contextmanager
def available(environment: Mapping[str, str]) -> Iterator[concurrent.futures.Executor]:
    """Have kernels in the surroundings of these variables; yield the process that they are forked from."""
    global _template
    environment = {**environment, "JUPYTER_DEFAULT_PROVISIONER_NAME": "bookkit"}
    with processes.environment(environment), processes.pool(1, {}) as _template:
        _template.submit(_import_libraries)  # it begins while it is found out what has to be done
        try:
            yield _template
        finally:
            processes.kill_children()  # where nothing has changed it still imports, for nothing


def _import_libraries() -> None:
    os.chdir(BOOK)  # where no settings of a user's lie
    # this process has its parent's path; what a new interpreter finds is the kernels'
    fresh = [sys.executable, "-c", "import sys; print(*sys.path, sep='\\n')"]
    sys.path[:] = subprocess.check_output(fresh, encoding="utf-8").splitlines()
    libraries.load(libraries.OTHERS)


def expect_kernels() -> None:
    """Import TensorFlow, too, before any kernel starts: a site that is built without them need not wait."""
    _template.submit(libraries.load, libraries.TENSORFLOW)


class Provisioner(LocalProvisioner):
    """Starts kernels so: an entry point of jupyter_client."""

    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel of a command line; see `jupyter_client.provisioning.KernelProvisionerBase`."""
        self.process = _Process(cmd, {**kwargs["env"], **ENVIRONMENT.get()}, kwargs["cwd"])
        self.pid = self.process.pid
        return self.connection_info


class _Process:
    """What `LocalProvisioner` uses of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, command: list[str], environment: dict[str, str], folder: str) -> None:
        self.pid = _template.submit(_start, command, environment, folder).result()

    def poll(self) -> int | None:
        try:
            return _template.submit(_poll, self.pid).result()
        except concurrent.futures.BrokenExecutor:  # kernels end with the process that started them
            return -signal.SIGKILL

    def wait(self) -> int | None:
        while (status := self.poll()) is None:
            time.sleep(0.1)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _start(command: list[str], environment: dict[str, str], folder: str) -> int:
    """Start the kernel of a command line, in the template; return its process id."""
    command = [*command, f"--IPKernelApp.parent_handle={os.getpid()}"]
    if sys.platform == "linux":
        arguments = command[command.index("-f") :], environment, folder
        forked = multiprocessing.get_context("fork").Process(target=_run_kernel, args=arguments)
        forked.start()
        assert forked.pid
        _exit_status[forked.pid] = lambda: forked.exitcode
        return forked.pid
    started = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True)
    _exit_status[started.pid] = started.poll
    return started.pid


def _poll(pid: int) -> int | None:
    return _exit_status[pid]()


def _run_kernel(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be the kernel that `python -m ipykernel_launcher` would be with these variables in that folder."""
    processes.end_with_parent()
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

    kernelapp.launch_new_instance(arguments)
