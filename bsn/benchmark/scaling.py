"""How training scales over the workers of a Dask cluster, and what a sweep costs besides the training."""

import contextlib
import logging
import os
import pickle
import platform
import statistics
import tempfile
import time

from bsn import cluster, environment, experiments, record, threads, training
from bsn.benchmark.peers import LEARNING_RATE
from bsn.benchmark.report import say
from bsn.data import load, resolve
from bsn.spec import Spec

WORKERS = 4
BATCHES, TOGETHER = 12, 8  # a number of batches that 1 to 4 workers share out evenly
VERSIONS = ["distributed", *record.COMPUTED_WITH]

# One task's, besides its line in the graph: what goes to and from the scheduler until its result is here
# (distributed's scheduler.py and client.py; `gather` and `get_data` are a question and an answer each)
MESSAGES = (
    "compute-task", "task-finished", "key-in-memory", "gather", "gather's answer", "get_data",
    "get_data's answer", "client-releases-keys", "free-keys",
)  # fmt: skip
TASK_SECONDS = 1e-3  # of the scheduler, at most (Dask's documentation, "Best practices")


def measure(dataset, rounds, steps):
    """The same nets on threads of this machine, and on 1 to 4 workers of one thread each on it.

    Args:
        dataset: as for `bsn.Spec`; rounds: how often; steps: mini-batches for each net.

    Returns:
        A dict: date, machine, versions, dataset, rounds, nets, batches, steps, and `runs`, a list of dicts:
        on ("threads" or "workers"), count, seconds (one a round), efficiency (of the medians: one worker's
        seconds, or thread's, over `count` times those of `count`).
    """
    import distributed

    dataset = resolve(dataset)
    specs = [
        Spec(
            estimator="sigmoid-adjusted", learning_rate=LEARNING_RATE * (1 + i / 64), seed=seed,
            dataset=dataset, epochs=1, steps_per_epoch=steps,
        )
        for seed in range(1, BATCHES + 1)
        for i in range(TOGETHER)
    ]  # fmt: skip
    cores = threads.thread_count()
    runs = []

    def add(where, count):
        say(f"{where}: {count}")
        seconds = [_seconds(specs) for _ in range(rounds + 1)][1:]  # the first loads and compiles
        first = next((run for run in runs if run["on"] == where), {"seconds": seconds})
        gain = statistics.median(first["seconds"]) / statistics.median(seconds)
        runs.append({"on": where, "count": count, "seconds": seconds, "efficiency": gain / count})

    os.environ[cluster.VARIABLE] = ""
    for count in range(1, cores + 1):
        os.environ[threads.VARIABLE] = str(count)
        add("threads", count)
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as local:  # fmt: skip
        os.environ[cluster.VARIABLE] = local.scheduler_address
        for count in range(1, WORKERS + 1):
            local.scale(count)
            local.wait_for_workers(count)
            add("workers", count)
    system = {"processor": environment.processor(), "cores": cores, "system": platform.platform()}
    return {
        "date": time.strftime("%Y-%m-%d"), "machine": system, "versions": environment.versions(VERSIONS),
        "dataset": dataset, "rounds": rounds, "nets": len(specs), "batches": BATCHES, "steps": steps,
        "runs": runs,
    }  # fmt: skip


def _seconds(specs):
    started = time.perf_counter()
    for _ in training.train(specs, lambda total: contextlib.nullcontext(lambda done: None)):
        pass
    return time.perf_counter() - started


def table(report):
    """The report for a reader at a terminal."""
    lines = ["  seconds  efficiency"]
    for run in report["runs"]:
        seconds = statistics.median(run["seconds"])
        lines.append(f"{seconds:9.2f}  {run['efficiency']:10.2f}  {run['count']} {run['on']}")
    return "\n".join(lines)


def costs(dataset, count):
    """What nets cost besides their training, measured on nets of the book's record.

    Args:
        dataset: as for `bsn.Spec`, whose bytes on their way to a worker are counted.
        count: how many nets to write and read; at most as many as the record has.

    Returns:
        A dict: nets (how many were measured), points (of a net's curves); bytes: data, task (of one batch),
        result, file, frame (of one net, the last in the DataFrame of `bsn.run`); seconds of one net: add,
        look_up, read_all.
    """
    rows = [row for row in experiments.book_rows() if row["epochs"] == 20][:count]
    together = training.SIDE_BY_SIDE
    batch = [Spec(estimator="sigmoid", learning_rate=1 + i) for i in range(together)]
    with tempfile.TemporaryDirectory(prefix="bsn-") as folder:
        started = time.perf_counter()
        for row in rows:
            record.add(folder, row)
        added = time.perf_counter()
        record.look_up(folder, [row["key"] for row in rows])
        looked_up = time.perf_counter()
        record.read_all(folder)
        read = time.perf_counter()
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
    return {
        "nets": len(rows),
        "points": len(rows[0]["value"]),
        "data": len(cluster.packed(load(resolve(dataset)))),
        "task": len(pickle.dumps((batch, cluster.fingerprint()))),
        "result": len(pickle.dumps(rows[:together])) / len(rows[:together]),
        "file": size / len(rows),
        "frame": int(record.curves(rows).memory_usage().sum()) / len(rows),
        "add": (added - started) / len(rows),
        "look_up": (looked_up - added) / len(rows),
        "read_all": (read - looked_up) / len(rows),
    }
