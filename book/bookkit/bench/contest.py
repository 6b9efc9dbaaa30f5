"""`bsn bench`: rates of both engines and of their peers, in turns, each in a process of its own."""

import concurrent.futures
import contextlib
import functools
import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from bookkit import processes
from bookkit.bench import peers
from bookkit.bench.reports import Report, header, say
from bookkit.data import Data, load
from bookkit.settings import Settings
from bsn.errors import InputError

ROUND_SECONDS = 1.5
VERSIONS = ("numpy", "numba", "scipy", "tensorflow", "jax")
LOOP, JAX = "TF1-style session loop", "JAX jit(vmap(scan))"
CHAPTER = "TensorFlow: a chapter, 2 estimators x 3 rates"
COMPILED_CHAPTER = CHAPTER.replace("TensorFlow", "compiled")

Start = Callable[[Data], peers.Train]
_trainers: list[peers.Train] = []  # of a contestant's process


def contestants() -> dict[str, tuple[int, Start]]:
    """Return those that can take part here: name -> number of nets, and what begins their training."""
    present: dict[str, tuple[int, Start]] = {LOOP: (1, peers.session_loop)}
    if importlib.util.find_spec("jax"):
        for nets in (1, 8, 32):
            name = f"{JAX}, {nets} net{'s' * (nets > 1)}"
            present[name] = nets, functools.partial(peers.jax_vmap_scan, nets=nets)
    six = peers.rates(3) + peers.rates(3, estimator="pass-through")
    for name, (engine, fields) in {
        "TensorFlow: one net": ("tensorflow", peers.rates(1)),
        CHAPTER: ("tensorflow", six),
        "TensorFlow: 32 rates": ("tensorflow", peers.rates(32)),
        "compiled: one net": ("compiled", peers.rates(1)),
        COMPILED_CHAPTER: ("compiled", six),
        "compiled: 32 rates": ("compiled", peers.rates(32)),
    }.items():
        present[name] = len(fields), functools.partial(peers.ours, nets=fields, engine=engine)
    return present


def measure(dataset: str, rounds: int, steps: int, settings: Settings) -> Report:
    """Measure the rate of every contestant; lines on stderr tell what is running.

    Args:
        rounds: how many turns each has.
        steps: mini-batches in the first, uncounted turn, and at least as many in each.

    Returns:
        `header`; contestants, dicts of name, nets, rates (net-steps per second, one per round), rate (their
        median), accuracy (of the first net, after `steps`), memory (peak, MiB); not_installed; and ratios.

    Raises:
        InputError: data that cannot be had, or that have not ten classes; or a contestant's process died.
    """
    data = load(dataset, settings.mnist_dir)
    if data.classes != 10:
        raise InputError(
            f"bench: {data.name} has {data.classes} classes; expected data of 10, as the peers have"
        )
    present, turns = contestants(), {}
    results: dict[str, dict[str, Any]] = {}
    try:
        with contextlib.ExitStack() as stack:
            for number, (name, (nets, start)) in enumerate(present.items(), 1):
                say(f"warming up {number}/{len(present)}: {name}")
                pool = stack.enter_context(processes.pool(1, {}))
                pool.submit(_begin, start, data).result()
                accuracy, _ = pool.submit(_timed, steps).result()
                length = steps * max(1, round(ROUND_SECONDS / pool.submit(_timed, steps).result()[1]))
                pool.submit(_timed, length).result()  # JAX compiles for each length
                results[name] = {"name": name, "nets": nets, "accuracy": accuracy, "rates": []}
                turns[name] = pool, length
            for turn in range(1, rounds + 1):
                say(f"round {turn}/{rounds}")
                for name, (pool, length) in turns.items():
                    seconds = pool.submit(_timed, length).result()[1]
                    results[name]["rates"].append(length * results[name]["nets"] / seconds)
            for name, (pool, _) in turns.items():
                results[name]["memory"] = pool.submit(_peak_memory).result()
    except concurrent.futures.BrokenExecutor:
        raise InputError(f"bench: the process of {name} died; often of too little memory") from None
    rates = {name: statistics.median(result["rates"]) for name, result in results.items()}
    ratios = {LOOP: rates[CHAPTER] / rates[LOOP]}
    jax = [rate for name, rate in rates.items() if name.startswith(JAX)]
    if jax:
        ratios["best JAX figure"] = rates[CHAPTER] / max(jax)
    entries = [result | {"rate": rates[name]} for name, result in results.items()]
    measured = {"contestants": entries, "not_installed": [] if jax else [JAX], "ratios": ratios}
    return header(data, rounds, steps, settings, VERSIONS) | measured


def _begin(start: Start, data: Data) -> None:
    _trainers.append(start(data))


def _timed(steps: int) -> tuple[float, float]:
    """Train for some steps; return the first net's accuracy, and the seconds."""
    started = time.perf_counter()
    accuracies = _trainers[0](steps)
    return float(accuracies[0]), time.perf_counter() - started


def _peak_memory() -> float:
    """Return the most memory that this process has used so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def table(report: Report) -> str:
    """Format the report for a reader at a terminal."""
    columns = {"rate": "net-steps/s", "accuracy": "accuracy", "memory": "MiB", "name": "contestant"}
    ranked = pd.DataFrame(report["contestants"]).sort_values("rate")[list(columns)].rename(columns=columns)
    lines = [ranked.to_string(index=False, float_format="{:,.4g}".format)]
    for name, ratio in report["ratios"].items():
        lines.append(f"a chapter's six nets: {ratio:.1f} times the {name}")
    lines += [f"not installed, so not measured: {name}" for name in report["not_installed"]]
    return "\n".join(lines)


def chart(report: Report) -> Any:
    """Draw net-steps per second of every contestant: its median round, and its slowest and fastest."""
    from bookkit.figures import style  # late: its first import on a machine prints a line

    ranked = sorted(report["contestants"], key=lambda contestant: contestant["rate"])
    figure, axes = style.subplots(height=0.4 * len(ranked) + 1)
    ours, peers = style.SERIES[:2]
    for row, contestant in enumerate(ranked):
        colour = ours if contestant["name"].startswith(("TensorFlow", "compiled")) else peers
        axes.barh(row, contestant["rate"], color=colour, height=0.7)
        slowest, fastest = min(contestant["rates"]), max(contestant["rates"])
        axes.plot([slowest, fastest], [row, row], color=style.INK, linewidth=1.5)
    style.name_rows(axes, [contestant["name"].replace(": ", ":\n") for contestant in ranked])
    axes.set(xlabel="Net-steps per second (line: slowest to fastest)")
    axes.grid(axis="y", visible=False)
    text = f"Bars of net-steps per second; the fastest of {len(ranked)} is {ranked[-1]['name']}."
    data = pd.DataFrame(ranked[::-1])[["name", "rate", "accuracy", "memory"]]
    return style.Figure(figure, text, data)
