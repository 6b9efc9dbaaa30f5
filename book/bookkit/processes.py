"""Child processes that end when their parent ends, however that ends."""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Iterator, Mapping

import psutil

from bookkit.paths import BOOK, BUILD, ROOT


@contextlib.contextmanager
def pool(workers: int, environment: Mapping[str, str]) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Yield a pool of silent processes with more environment variables; an error in the block kills them."""
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_prepare, initargs=(dict(environment),)
    )
    try:
        yield executor
    except BaseException:
        kill_children()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these variables, too, in this process's environment."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def surroundings(scratch: pathlib.Path) -> dict[str, str]:
    """Return the variables of a build's processes, so that none of a user's own settings reach its results.

    Args:
        scratch: folder of this build, for what programs write on the side; a killed one cleans up nothing.
    """
    folders = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "KERAS_HOME", "TMPDIR")
    own = dict.fromkeys(folders, scratch)
    own["MPLCONFIGDIR"] = BUILD / "matplotlib"  # its list of fonts stays, which takes seconds to make
    own["MATPLOTLIBRC"] = BUILD / "matplotlib" / "none"
    if "TFDS_DATA_DIR" in os.environ:  # kernels run in another folder
        own["TFDS_DATA_DIR"] = pathlib.Path(os.environ["TFDS_DATA_DIR"]).expanduser().absolute()
    switches = dict.fromkeys(
        ("PYTHONUTF8", "PYTHONSAFEPATH", "PYDEVD_DISABLE_FILE_VALIDATION", "NO_COLOR"), "1"
    )
    modules = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, BOOK))), "PYTHONWARNINGS": ""}
    backends = {"KERAS_BACKEND": "tensorflow", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    programs = json.dumps(str(scratch / "programs"), ensure_ascii=False)  # that XLA compiled, for all to use
    tensorflow = {
        "TF_CPP_MIN_LOG_LEVEL": "3", "TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={programs}"
    }  # fmt: skip
    return {name: str(path) for name, path in own.items()} | switches | modules | backends | tensorflow


def _prepare(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    for output in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    end_with_parent()


def end_with_parent() -> None:
    """End this process, and all that it started, when the process that started it ends."""
    parent = multiprocessing.parent_process()
    assert parent, "only a child process has one"

    def wait() -> None:
        parent.join()
        _kill(os.getpid())

    threading.Thread(target=wait, daemon=True).start()


def kill_children() -> None:
    """Kill the processes that this one started by `multiprocessing`, and all that those started."""
    for process in multiprocessing.active_children():
        _kill(process.pid)


def _kill(pid: int | None) -> None:
    """Kill a process, after all processes that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for started in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                started.kill()
