"""Child processes that end when their parent ends, however that ends."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping

import psutil


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
        for process in multiprocessing.active_children():
            _kill(process.pid)
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _prepare(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    for output in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "only a pool's processes have this thread"
    parent.join()
    _kill(os.getpid())


def _kill(pid: int | None) -> None:
    """Kill a process, after all processes that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for started in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                started.kill()
