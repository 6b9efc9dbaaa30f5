"""Training on other machines: the workers of a Dask cluster in place of this machine's threads.

Dask brings each batch of nets to a worker that is free, and to another one if that worker is lost. The
results come back here, so that the workers need no disk in common; they need the same version of `bsn`
and of what it computes with. Whoever can reach a scheduler can run any code on its workers and on its
clients: give only the address of one you trust.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import pickle
import sys
import threading
import uuid
import warnings
import zlib

import threadpoolctl

from bookkit import environment, record
from bookkit.compiled import jit
from bookkit.data import Data
from bsn.errors import InputError

CHAPTERS = 6  # at once: they only wait for their nets, but each keeps a kernel of half a GiB in memory
CONNECT_SECONDS = 10

_SOURCE = environment.source_digest([*jit.SOURCES, jit.SOURCES[0].with_name("curves.py")])  # as imported, not as edited since


@contextlib.contextmanager
def connect(where):
    """A `distributed.Client` of the scheduler at an address, once its workers there were found fit.

    Raises:
        InputError: no scheduler answers, or a worker would compute something else; in the block, too,
            where the scheduler or worker after worker is lost.
    """
    import distributed

    for name in ("distributed.client", "distributed.comm", "distributed.core", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is wrong is said here, in a line
    _greet(where)
    with warnings.catch_warnings(action="ignore"):  # of other versions: see `_check`
        client = distributed.Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
    try:
        _check(client, where)
        yield client
    except (distributed.CancelledError, OSError):  # so are errors of the network
        raise InputError(
            f"scheduler {where}: the connection was lost; the nets trained until then are recorded: run "
            "again to train the others"
        ) from None
    except distributed.KilledWorker as error:
        raise InputError(
            f"scheduler {where}: {error.allowed_failures + 1} workers died training the same nets, the last "
            f"one {error.last_worker.address}; their logs say why: often too little memory"
        ) from None
    finally:
        client.close(timeout=1)


def _greet(where):
    """Make sure that a scheduler answers: a `Client` that gets no answer leaves threads and messages."""
    import distributed

    async def ask():
        arguments = distributed.Security().get_connection_args("client")
        async with distributed.rpc(where, connection_args=arguments, timeout=CONNECT_SECONDS) as one:
            return (await asyncio.wait_for(one.identity(), CONNECT_SECONDS))["type"]

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:  # a notebook has a loop in this thread
            kind = pool.submit(asyncio.run, ask()).result()
        if kind != "Scheduler":
            raise ValueError(f"a {kind} answers")
    except (OSError, ValueError, TypeError, ImportError) as error:
        reason = str(error) or "not in time"
        raise InputError(
            f"scheduler {where}: no Dask scheduler answers ({reason}); expected the address of one that "
            "runs, like tcp://192.0.2.1:8786"
        ) from None


def fingerprint():
    """What a net's result depends on besides its spec, its data and the processor: name -> version."""
    packages = environment.versions(record.COMPUTED_WITH)
    del packages["python"]
    return packages | {"training semantics": str(record.SEMANTICS), "source code": _SOURCE}


def _check(client, where):
    """Refuse workers, and a scheduler, that lack something or have another version of it."""

    def ask():  # pickled by value, as all inside functions are: a worker may lack bsn
        try:
            from bookkit import cluster

            return cluster.fingerprint()
        except ImportError as error:
            return {"bsn": f"cannot be imported ({error})"}

    _compare(client.run_on_scheduler(ask), fingerprint(), f"scheduler {where}: it")  # unpickles tasks, too
    for worker, found in client.run(ask, on_error="return").items():
        if isinstance(found, dict):  # or it was lost meanwhile
            _compare(found, fingerprint(), f"scheduler {where}: worker {worker}")


def _compare(found, wanted, who):
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        pairs = (f"{name} {found.get(name, 'missing')}, here {wanted[name]}" for name in other)
        raise InputError(f"{who} has another installation: {'; '.join(pairs)}; expected the same as here")


def announce(where):
    """Say in a line on stderr where the training will be.

    Raises:
        InputError: see `connect`.
    """
    with connect(where) as client:
        threads = client.nthreads().values()
    workers = f"{len(threads)} workers ({sum(threads)} threads)" if threads else "workers, none there yet,"
    print(f"bsn: training on {workers} of the scheduler at {where}", file=sys.stderr)


def thread_count(client):
    """How many threads the workers have, once there is a worker."""
    client.wait_for_workers(1)
    return sum(client.nthreads().values())


def results(client, train, batches, data):
    """What `train` returns of each batch, as the workers are done with them.

    Args:
        client: as from `connect`.
        train: a function of a module of `bsn`, called with (specs, data, advance); see
            `bookkit.runs.train_together`.
        batches: a list of lists of specs, the longest work first.
        data: their `bookkit.data.Data`.
    """
    import distributed

    # The data are the result of a task, with a name of their own: Dask brings them to each worker that
    # needs them, once, and computes them anew where a lost worker took the only copy along
    with warnings.catch_warnings(action="ignore"):  # Dask advises against so large a task
        sent = client.submit(bytes, packed(data), key=f"bsn-data-{data.checksum}-{data.name}")
    name = f"bsn-train-{uuid.uuid4().hex}"
    futures = client.map(
        _work,
        batches,
        [sent] * len(batches),
        key=[f"{name}-{i:06}" for i in range(len(batches))],
        train=train,
        expected=fingerprint(),
    )
    # no other reference to the futures, so that workers may forget what came
    futures = distributed.as_completed(futures, loop=client.loop)
    for future in futures:
        yield future.result()


@functools.lru_cache(maxsize=2)
def packed(data):
    """The data as they go to a worker; MNIST's 220 MB become a tenth."""
    return zlib.compress(pickle.dumps((data.name, data.parts, data.classes), protocol=5), level=1)


@functools.lru_cache(maxsize=2)
def _unpacked(sent):
    return Data(*pickle.loads(zlib.decompress(sent)))


_unpacking = threading.Lock()


def _work(specs, sent, train, expected):
    """On a worker: train a batch in one thread."""
    import distributed
    from distributed.worker import thread_state

    _compare(fingerprint(), expected, f"scheduler: worker {distributed.get_worker().address}")
    threadpoolctl.threadpool_limits(1, "blas")  # for good: restored, it would disturb the other threads
    with _unpacking:
        data = _unpacked(sent)
    worker, key = distributed.get_worker(), thread_state.key

    def advance(steps):
        task = worker.state.tasks.get(key)  # nobody waits for it any more: the driver stopped, or the worker
        if task is None or task.state == "cancelled" or worker.status.name in ("closing", "closed", "failed"):
            raise RuntimeError("cancelled")

    return train(specs, data, advance)
