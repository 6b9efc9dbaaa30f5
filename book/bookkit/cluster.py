"""Training on other machines: the workers of a Dask cluster in place of this machine's threads.

Dask brings each batch of nets to a worker that is free, and to another one if that worker is lost. The
results come back here, so that the workers need no disk in common; they need the same version of `bsn`
and of what it computes with. Whoever can reach a scheduler can run any code on its workers and on its
clients: give only the address of one you trust.
"""

import asyncio
import concurrent.futures
import contextlib
import copy
import logging
import platform
import sys
import warnings
from collections.abc import Iterator

import distributed
import threadpoolctl

from bookkit import engines, environment, record
from bookkit.compiled import jit
from bookkit.data import Data
from bsn.errors import InputError
from bsn.spec import Spec

SECONDS = 10  # for a connection

# as imported, not as edited since
_SOURCE = environment.source_digest(
    [*jit.SOURCES, jit.SOURCES[0].with_name("nets.py")], record.trainer_digest()
)

_LOGGERS = ("distributed.client", "distributed.comm", "distributed.core", "distributed.batched")
for _name in (*_LOGGERS, "asyncio", "tornado.application"):  # errors are reported here
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def connect(address: str) -> Iterator[distributed.Client]:
    """Connect to the scheduler at an address, and check its workers' installations.

    Raises:
        InputError: no scheduler answers, or a worker would compute something else; in the block, too,
            if the scheduler or worker after worker is lost.
    """
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:  # a notebook has a loop in this thread
            kind = pool.submit(asyncio.run, _server(address)).result()
    except (OSError, ValueError, TypeError, ImportError) as error:
        kind = str(error) or "not in time"
    if kind != "Scheduler":
        raise InputError(
            f"scheduler {address}: no Dask scheduler answers ({kind}); expected the address of one that "
            "runs, like tcp://192.0.2.1:8786"
        )
    with warnings.catch_warnings(action="ignore"):  # of other versions: see `_check`
        client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    try:
        client.run_on_scheduler(_check, installation())  # it unpickles tasks, too
        for worker, answer in client.run(_check, installation(), on_error="return").items():
            if answer and not isinstance(answer, OSError):  # that worker was lost meanwhile
                raise InputError(f"scheduler {address}: worker {worker}: {answer}")
        yield client
    except (concurrent.futures.CancelledError, distributed.CancelledError, OSError):
        raise InputError(
            f"scheduler {address}: the connection was lost; the nets trained until then are recorded: run "
            "again to train the others"
        ) from None
    except (distributed.KilledWorker, ImportError) as error:  # there
        raise InputError(f"scheduler {address}: {error}") from None
    finally:
        client.close(timeout=1)


async def _server(address: str) -> str:
    """Ask what is at an address: a `Client` that gets no answer waits for ever."""
    arguments = distributed.Security().get_connection_args("client")
    async with distributed.rpc(address, connection_args=arguments, timeout=SECONDS) as server:
        return (await asyncio.wait_for(server.identity(), SECONDS))["type"]


@contextlib.contextmanager
def submitter(address: str, data: Data) -> Iterator[tuple[engines.Submit, int]]:
    """Yield a function that submits a batch of nets to the workers, and how many threads they have."""
    with connect(address) as client:
        client.wait_for_workers(1)
        # as a task's result, Dask brings the data to each worker once, and again if the only copy is lost
        with warnings.catch_warnings(action="ignore"):  # Dask advises against so large a task
            copied = client.submit(copy.copy, data, key=f"bsn-data-{data.checksum}-{data.name}")
        pool = client.get_executor(pure=False)
        yield (
            lambda batch, *how: pool.submit(_work, batch, copied, *how, installation()),
            sum(client.nthreads().values()),
        )


def announce(address: str) -> None:
    """Say in a line on stderr where the training will be; see `connect` for what goes wrong."""
    with connect(address) as client:
        threads = sum(client.nthreads().values())
    print(f"bsn: training on the scheduler at {address} (its workers' threads: {threads})", file=sys.stderr)


def installation() -> dict[str, str]:
    """Return what a net's result depends on besides its spec, its data and the processor: name -> version."""
    packages = environment.versions(record.COMPUTED_WITH)
    del packages["python"]
    return packages | {"training semantics": str(record.SEMANTICS), "source code": _SOURCE}


def _check(expected: dict[str, str]) -> None:
    """Refuse to work for a client whose installation lacks something or has another version of it."""
    own = {part: installation().get(part, "missing") for part in expected}
    if own != expected:
        pairs = (f"{part} {own[part]}, here {expected[part]}" for part in own if own[part] != expected[part])
        raise InputError(
            f"{sys.executable} on {platform.node()} has another installation: {'; '.join(pairs)}; expected "
            "the same as here"
        )


def _work(
    specs: list[Spec], data: Data, engine: str, all_ways: bool, expected: dict[str, str]
) -> list[record.Row]:
    """Train a batch in one thread of a worker."""
    _check(expected)
    threadpoolctl.threadpool_limits(1, "blas")  # for good: restored, it would disturb the other threads
    worker = distributed.get_worker()
    key = worker.get_current_task()

    def advance(steps: int) -> None:
        if worker.state.tasks[key].state != "executing":  # nobody waits for it any more
            raise RuntimeError("cancelled")

    return engines.train_together(specs, data, engine, all_ways, advance)
