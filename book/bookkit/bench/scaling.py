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
    """Draw the speed-up by the number of workers of one thread, and of threads of one process.

    A dotted line shows the ideal: as many times as fast as there are of them, up to the number of cores.
    """
    from bookkit.figures import style  # late: its first import on a machine prints a line

    figure, axes = style.subplots(height=2.9)
    frame = _medians(report)
    frame["speed-up"] = frame.efficiency * frame["count"]
    most, cores = int(frame["count"].max()), report["machine"]["cores"]
    counts = range(1, most + 1)
    ideal = [min(count, cores) for count in counts]
    axes.plot(counts, ideal, ":", color=style.INK, linewidth=1.4)
    style.note(axes, f"ideal on {cores} cores", (most, ideal[-1]), (0, 6), ha="right")
    places: dict[str, dict[str, Any]] = {
        "threads": dict(offset=(2, -18), ha="left"), "workers": dict(offset=(0, -16), ha="right"),
    }  # fmt: skip
    for (name, place), colour, line in zip(places.items(), style.SERIES, ("o-", "s--")):
        part = frame[frame.on == name]
        axes.plot(part["count"], part["speed-up"], line, color=colour, linewidth=1.8)
        style.note(axes, name, (part["count"].iloc[-1], part["speed-up"].iloc[-1]), color=colour, **place)
    axes.set(xlabel="Threads or workers", ylabel="Speed-up", xlim=(0.9, most + 0.15))
    axes.set_ylim(0, 1.2 * max(frame["speed-up"].max(), *ideal))
    axes.set_xticks(list(counts))
    description = "The speed-up by number of threads and by number of workers, compared with the ideal."
    return style.Figure(figure, description, frame)
