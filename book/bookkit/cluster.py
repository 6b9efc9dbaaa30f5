"""Training on other machines: the workers of a Dask cluster in place of this machine's threads.

Dask brings each batch of nets to a worker that is free, and to another one if that worker is lost. The
results come back here, so that the workers need no disk in common; they need the same version of `bsn`
and of what it computes with. Whoever can reach a scheduler can run any code on its workers and on its
clients: give only the address of one you trust.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import pickle
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import threadpoolctl

from bookkit import engines, environment, record
from bookkit.compiled import jit
from bookkit.data import Data
from bsn.errors import InputError
from bsn.spec import Spec

if TYPE_CHECKING:
    import distributed

Submit = Callable[[list[Spec], str], "concurrent.futures.Future[list[record.Row]]"]

CHAPTERS = 6  # at once: they only wait for their nets, but each keeps a kernel of half a GiB in memory
CONNECT_SECONDS = 10

# as imported, not as edited since
_SOURCE = environment.source_digest(
    [*jit.SOURCES, jit.SOURCES[0].with_name("nets.py")], record.trainer_digest()
)


@contextlib.contextmanager
def connect(address: str) -> Iterator[distributed.Client]:
    """Connect to the scheduler at an address, and check its workers' installations.

    Raises:
        InputError: no scheduler answers, or a worker would compute something else; in the block, too,
            if the scheduler or worker after worker is lost.
    """
    import distributed

    for name in ("client", "comm", "core", "batched"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)  # errors are reported here
    _greet(address)
    with warnings.catch_warnings(action="ignore"):  # of other versions: see `_check`
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    try:
        _check(client, address)
        yield client
    except (concurrent.futures.CancelledError, distributed.CancelledError, OSError):  # a lost connection
        raise InputError(
            f"scheduler {address}: the connection was lost; the nets trained until then are recorded: run "
            "again to train the others"
        ) from None
    except distributed.KilledWorker as error:
        raise InputError(
            f"scheduler {address}: {error.allowed_failures + 1} workers died training the same nets, the "
            f"last one {error.last_worker.address}; their logs say why: often too little memory"
        ) from None
    finally:
        client.close(timeout=1)


def _greet(address: str) -> None:
    """Make sure that a scheduler answers: a `Client` that gets no answer leaves threads and messages."""
    import distributed

    async def identity() -> str:
        arguments = distributed.Security().get_connection_args("client")
        async with distributed.rpc(address, connection_args=arguments, timeout=CONNECT_SECONDS) as scheduler:
            return (await asyncio.wait_for(scheduler.identity(), CONNECT_SECONDS))["type"]

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:  # a notebook has a loop in this thread
            kind = pool.submit(asyncio.run, identity()).result()
        if kind != "Scheduler":
            raise ValueError(f"a {kind} answers")
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise InputError(
            f"scheduler {address}: no Dask scheduler answers ({str(error) or 'not in time'}); expected the "
            "address of one that runs, like tcp://192.0.2.1:8786"
        ) from None


@contextlib.contextmanager
def submitter(address: str, data: Data) -> Iterator[tuple[Submit, int]]:
    """Yield a function that submits a batch of nets to the workers, and how many threads they have."""
    with connect(address) as client:
        client.wait_for_workers(1)
        # The data are the result of a task with a name of their own: Dask brings them to each worker that
        # needs them, once, and computes them again if a lost worker had the only copy
        with warnings.catch_warnings(action="ignore"):  # Dask advises against so large a task
            unpacked = client.submit(_unpack, _packed(data), key=f"bsn-data-{data.checksum}-{data.name}")
        pool = client.get_executor(pure=False)
        yield (
            lambda batch, engine: pool.submit(_work, batch, unpacked, engine, expected=fingerprint()),
            sum(client.nthreads().values()),
        )


def announce(address: str) -> None:
    """Say in a line on stderr where the training will be; see `connect` for what goes wrong."""
    with connect(address) as client:
        threads = client.nthreads().values()
    workers = f"{len(threads)} workers ({sum(threads)} threads)" if threads else "workers, none there yet,"
    print(f"bsn: training on {workers} of the scheduler at {address}", file=sys.stderr)


def fingerprint() -> dict[str, str]:
    """Return what a net's result depends on besides its spec, its data and the processor: name -> version."""
    packages = environment.versions(record.COMPUTED_WITH)
    del packages["python"]
    return packages | {"training semantics": str(record.SEMANTICS), "source code": _SOURCE}


def _check(client: distributed.Client, address: str) -> None:
    """Refuse workers, and a scheduler, that lack something or have another version of it."""

    def ask() -> dict[str, str]:  # pickled by value, as all inside functions are: a worker may lack bookkit
        try:
            from bookkit import cluster

            return cluster.fingerprint()
        except ImportError as error:
            return {"bsn": f"cannot be imported ({error})"}

    _compare(client.run_on_scheduler(ask), f"scheduler {address}: it", fingerprint())  # unpickles tasks, too
    for worker, answer in client.run(ask, on_error="return").items():
        if isinstance(answer, dict):  # or it was lost meanwhile
            _compare(answer, f"scheduler {address}: worker {worker}", fingerprint())


def _compare(actual: dict[str, str], name: str, expected: dict[str, str]) -> None:
    different = [part for part in expected if actual.get(part) != expected[part]]
    if different:
        pairs = (f"{part} {actual.get(part, 'missing')}, here {expected[part]}" for part in different)
        raise InputError(f"{name} has another installation: {'; '.join(pairs)}; expected the same as here")


@functools.lru_cache(maxsize=2)
def _packed(data: Data) -> bytes:
    """Return the data as they go to a worker; MNIST's 220 MB become a tenth."""
    return zlib.compress(pickle.dumps(data, protocol=5), level=1)


def _unpack(packed: bytes) -> Data:
    return pickle.loads(zlib.decompress(packed))


def _work(specs: list[Spec], data: Data, engine: str, expected: dict[str, str]) -> list[record.Row]:
    """Train a batch in one thread of a worker."""
    import distributed
    from distributed.worker import thread_state

    worker, key = distributed.get_worker(), thread_state.key
    _compare(fingerprint(), f"scheduler: worker {worker.address}", expected)
    threadpoolctl.threadpool_limits(1, "blas")  # for good: restored, it would disturb the other threads

    def advance(steps: int) -> None:
        task = worker.state.tasks.get(key)  # nobody waits for it any more: the driver stopped, or the worker
        if task is None or task.state == "cancelled" or worker.status.name in ("closing", "closed", "failed"):
            raise RuntimeError("cancelled")

    return engines.train_together(specs, data, engine, advance)
