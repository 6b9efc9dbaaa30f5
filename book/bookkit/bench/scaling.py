"""How training scales over the workers of a Dask cluster, and what a sweep costs besides the training."""

import contextlib
import dataclasses
import logging
import statistics
import time
from typing import Any

import pandas as pd

from bookkit import record
from bookkit.bench.peers import LEARNING_RATE
from bookkit.bench.reports import Report, header, say
from bookkit.data import Data, load
from bookkit.runs import train
from bookkit.settings import Settings
from bsn.spec import Spec

WORKERS = 4
BATCHES, TOGETHER = 12, 8  # a number of batches that 1 to 4 workers share out evenly
VERSIONS = ["distributed", *record.COMPUTED_WITH]


def measure(dataset: str, rounds: int, steps: int, settings: Settings) -> Report:
    """Train the same nets on threads of this machine, and on 1 to 4 workers of one thread each on it.

    Returns:
        `header`, nets, batches, and `runs`, a list of dicts: on ("threads" or "workers"), count, seconds (one
        per round), efficiency (of the medians: one worker's seconds, or thread's, over `count` times those
        of `count`).
    """
    import distributed

    data = load(dataset, settings.mnist_dir)
    specs = [
        Spec(
            estimator="sigmoid-adjusted", learning_rate=LEARNING_RATE * (1 + i / 64), seed=seed,
            epochs=1, steps_per_epoch=steps,
        )
        for seed in range(1, BATCHES + 1)
        for i in range(TOGETHER)
    ]  # fmt: skip
    runs: list[Report] = []

    def add(kind: str, count: int, scheduler: str | None = None) -> None:
        say(f"{kind}: {count}")
        seconds = [
            _seconds(specs, data, dataclasses.replace(settings, threads=count, scheduler=scheduler))
            for _ in range(rounds + 1)
        ][1:]  # the first loads and compiles
        first = next((run for run in runs if run["on"] == kind), {"seconds": seconds})
        gain = statistics.median(first["seconds"]) / statistics.median(seconds)
        runs.append({"on": kind, "count": count, "seconds": seconds, "efficiency": gain / count})

    for count in range(1, settings.threads + 1):
        add("threads", count)
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", silence_logs=logging.CRITICAL,
        dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},  # not 8787, if that is taken
    ) as local:  # fmt: skip
        for count in range(1, WORKERS + 1):
            local.scale(count)
            local.wait_for_workers(count)
            add("workers", count, local.scheduler_address)
    measured = {"nets": len(specs), "batches": BATCHES, "runs": runs}
    return header(data, rounds, steps, settings, VERSIONS) | measured


def _seconds(specs: list[Spec], data: Data, settings: Settings) -> float:
    started = time.perf_counter()
    for _ in train(
        specs, data, settings, "compiled", lambda total: contextlib.nullcontext(lambda done: None)
    ):
        pass
    return time.perf_counter() - started


def table(report: Report) -> str:
    """Format the report for a reader at a terminal."""
    return _runs(report).to_string(index=False, float_format="{:.2f}".format)


def _runs(report: Report) -> pd.DataFrame:
    frame = pd.DataFrame(report["runs"])
    return frame.assign(seconds=frame.seconds.map(statistics.median))


def chart(report: Report) -> Any:
    """Draw the efficiency of workers of one thread, and of threads of one process, by their number."""
    from bookkit.figures import style  # late: its first import on a machine prints a line

    figure, axes = style.subplots(height=2.8)
    frame = _runs(report)
    for (kind, part), colour in zip(frame.groupby("on", sort=False), style.SERIES):
        axes.plot(part["count"], part.efficiency, "o-", color=colour, label=str(kind))
    axes.axvline(report["machine"]["cores"], color=style.INK, linestyle="--", linewidth=1.2)
    axes.set(xlabel="Threads or workers (dashed: the machine's cores)", ylabel="Efficiency", ylim=(0, 1.1))
    axes.set_xticks(sorted(frame["count"].unique()))
    axes.legend()
    text = "Lines of the efficiency of threads and of workers by their number."
    return style.Figure(figure, text, frame)
