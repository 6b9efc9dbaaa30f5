"""How training scales over the workers of a Dask cluster, and what a sweep costs besides the training."""

import dataclasses
import logging
import statistics
import time
from typing import Any

import pandas as pd

from bookkit import record
from bookkit.bench import peers
from bookkit.bench.reports import Report, header, say
from bookkit.data import load
from bookkit.runs import run
from bookkit.settings import Settings

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
        spec
        for seed in range(1, BATCHES + 1)
        for spec in peers.rates(TOGETHER, seed=seed, steps_per_epoch=steps)
    ]
    runs: list[Report] = []

    def add(kind: str, count: int, scheduler: str | None) -> None:
        say(f"{kind}: {count}")
        there = dataclasses.replace(settings, threads=count, scheduler=scheduler, record=None)
        seconds = []
        for _ in range(rounds + 1):
            started = time.perf_counter()
            run(specs, data, there, "compiled")
            seconds.append(time.perf_counter() - started)
        runs.append({"on": kind, "count": count, "seconds": seconds[1:]})  # the first loads and compiles

    for count in range(1, settings.threads + 1):
        add("threads", count, None)
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", silence_logs=logging.CRITICAL,
        dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},  # not 8787, if that is taken
    ) as local:  # fmt: skip
        for count in range(1, WORKERS + 1):
            local.scale(count)
            local.wait_for_workers(count)
            add("workers", count, local.scheduler_address)
    frame = pd.DataFrame(runs)
    seconds = frame.seconds.map(statistics.median)
    frame["efficiency"] = seconds.groupby(frame.on).transform("first") / seconds / frame["count"]
    measured = {"nets": len(specs), "batches": BATCHES, "runs": frame.to_dict("records")}
    return header(data, rounds, steps, settings, VERSIONS) | measured


def _medians(report: Report) -> pd.DataFrame:
    frame = pd.DataFrame(report["runs"])
    return frame.assign(seconds=frame.seconds.map(statistics.median))


def table(report: Report) -> str:
    """Format the report for a reader at a terminal."""
    return _medians(report).to_string(index=False, float_format="{:.2f}".format)


def chart(report: Report) -> Any:
    """Draw the efficiency of workers of one thread, and of threads of one process, by their number."""
    import seaborn as sns

    from bookkit.figures import style  # late: its first import on a machine prints a line

    figure, axes = style.subplots(height=2.8)
    frame = _medians(report)
    sns.lineplot(frame, x="count", y="efficiency", hue="on", marker="o", ax=axes)
    axes.axvline(report["machine"]["cores"], color=style.INK, linestyle="--", linewidth=1.2)
    axes.set(xlabel="Threads or workers (dashed: the machine's cores)", ylabel="Efficiency", ylim=(0, 1.1))
    axes.set_xticks(sorted(frame["count"].unique()))
    axes.legend(title=None)
    text = "Lines of the efficiency of threads and of workers by their number."
    return style.Figure(figure, text, frame)
