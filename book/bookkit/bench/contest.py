"""`bsn bench`: rates of both engines and of their peers, in turns, each in a process of its own."""

import concurrent.futures
import contextlib
import functools
import importlib.util
import statistics
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

VERSIONS = ("numpy", "numba", "scipy", "tensorflow", "jax")
LOOP, JAX = "TF1-style session loop", "JAX jit(vmap(scan))"
CHAPTER = "TensorFlow: a chapter, 2 estimators x 3 rates"
LONGER = (2, 4)  # times the steps that a chapter's nets train in a further turn
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
    for engine, chapter in (("TensorFlow", CHAPTER), ("compiled", COMPILED_CHAPTER)):
        calls = {f"{engine}: one net": peers.rates(1), chapter: six, f"{engine}: 32 rates": peers.rates(32)}
        for name, specs in calls.items():
            present[name] = len(specs), functools.partial(peers.ours, nets=specs, engine=engine.lower())
    return present


def measure(dataset: str, rounds: int, steps: int, settings: Settings) -> Report:
    """Measure the rate of every contestant; lines on stderr tell what is running.

    Args:
        rounds: how many turns each has.
        steps: mini-batches in each turn, and in an uncounted first one.

    Returns:
        `header`; contestants, dicts of name, nets, rates (net-steps per second, one per round), rate (their
        median) and accuracy (of the first net, after `steps`); ratios; and longer, dicts of steps and seconds
        of a chapter's nets in TensorFlow.

    Raises:
        InputError: data that cannot be had, or that have not ten classes; or a contestant's process died.
    """
    data = load(dataset, settings.mnist_dir)
    if data.classes != 10:
        raise InputError(f"bench: {data.name} has {data.classes} classes; expected 10, as the peers have")
    results: dict[str, dict[str, Any]] = {}
    longer: dict[int, list[float]] = {times: [] for times in LONGER}
    pools = {}
    try:
        with contextlib.ExitStack() as stack:
            for name, (nets, start) in contestants().items():
                say(f"warming up: {name}")
                pools[name] = stack.enter_context(processes.pool(1, {}))
                accuracy = pools[name].submit(_begin, start, data, steps).result()
                results[name] = {"name": name, "nets": nets, "rates": [], "accuracy": accuracy}
            for turn in range(1, rounds + 1):
                say(f"round {turn}/{rounds}")
                for name, result in results.items():
                    seconds = pools[name].submit(_turn, steps).result()
                    result["rates"].append(steps * result["nets"] / seconds)
                for times, seconds_of in longer.items():
                    seconds_of.append(pools[CHAPTER].submit(_turn, times * steps).result())
    except concurrent.futures.BrokenExecutor:
        raise InputError(f"bench: the process of {name} died; often of too little memory") from None
    for result in results.values():
        result["rate"] = statistics.median(result["rates"])
    over = {LOOP: results[LOOP]["rate"]}
    if jax := [result["rate"] for name, result in results.items() if name.startswith(JAX)]:
        over["best JAX figure"] = max(jax)
    ratios = {name: results[CHAPTER]["rate"] / rate for name, rate in over.items()}
    steps_of = [{"steps": times * steps, "seconds": seconds_of} for times, seconds_of in longer.items()]
    measured = {"contestants": list(results.values()), "ratios": ratios, "longer": steps_of}
    return header(data, rounds, steps, settings, VERSIONS) | measured


def _begin(start: Start, data: Data, steps: int) -> float:
    """Train for some steps, compilation and all; return the first net's accuracy."""
    _trainers.append(start(data))
    return float(_trainers[0](steps)[0])


def _turn(steps: int) -> float:
    """Train for as many steps again; return the seconds."""
    started = time.perf_counter()
    _trainers[0](steps)
    return time.perf_counter() - started


def table(report: Report) -> str:
    """Format the report for a reader at a terminal."""
    columns = {"rate": "net-steps/s", "accuracy": "accuracy", "name": "contender"}
    ranked = pd.DataFrame(report["contestants"]).sort_values("rate")[list(columns)].rename(columns=columns)
    lines = [ranked.to_string(index=False, float_format="{:,.4g}".format)]
    lines += [
        f"a chapter's six nets: {ratio:.1f} times the {name}" for name, ratio in report["ratios"].items()
    ]
    return "\n".join(lines)


def growth(report: Report) -> pd.DataFrame:
    """Return how the time grows with nets and with steps, in TensorFlow.

    Returns:
        One row per number of nets, then per number of steps: `nets`, `steps`, `seconds` (the median round),
        `rate` (net-steps per second).
    """
    steps = report["steps"]
    ours = [one for one in report["contestants"] if one["name"].startswith("TensorFlow: ")]
    rows = [(one["nets"], steps, one["nets"] * steps / one["rate"]) for one in ours]
    nets = {one["name"]: one["nets"] for one in ours}.get(CHAPTER, 1)
    rows += [(nets, one["steps"], statistics.median(one["seconds"])) for one in report["longer"]]
    frame = pd.DataFrame(rows, columns=["nets", "steps", "seconds"])
    return frame.assign(rate=frame.nets * frame.steps / frame.seconds)


def chart(report: Report) -> Any:
    """Draw net-steps per second of every contestant: its median round, and its slowest and fastest."""
    from bookkit.figures import style  # late: its first import on a machine prints a line

    ranked = pd.DataFrame(report["contestants"]).sort_values("rate")
    ours = ranked.name.str.startswith(("TensorFlow", "compiled"))
    fastest = ranked.rates.map(max)
    spread = ranked.rate - ranked.rates.map(min), fastest - ranked.rate
    figure, axes = style.subplots(height=0.33 * len(ranked) + 0.7)
    colours = ours.map({True: style.SERIES[0], False: style.SERIES[1]})
    axes.barh(range(len(ranked)), ranked.rate, 0.62, color=colours, xerr=spread, ecolor=style.INK)
    for row, (rate, end) in enumerate(zip(ranked.rate, fastest)):
        style.note(axes, f"{rate:,.0f}", (end, row), (4, 0), va="center")
    style.name_rows(axes, list(ranked.name.str.replace("jit(vmap(scan))", "jit").map(_label)))
    axes.set(xlabel="Net-steps per second", xlim=(0, 1.14 * fastest.max()))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", visible=False)
    description = f"Bars of net-steps per second; the fastest of {len(ranked)} is {ranked.name.iloc[-1]}."
    return style.Figure(figure, description, ranked[::-1][["name", "rate", "accuracy"]])


def _label(name: str) -> str:
    """Return a contestant's name as short as an axis needs it."""
    names = {LOOP: "Session loop, 1 net", CHAPTER: "TensorFlow, 6 nets", COMPILED_CHAPTER: "Compiled, 6 nets"}
    for engine in ("TensorFlow", "compiled"):
        names[f"{engine}: one net"] = f"{engine[0].upper()}{engine[1:]}, 1 net"
        names[f"{engine}: 32 rates"] = f"{engine[0].upper()}{engine[1:]}, 32 nets"
    return names.get(name, name.replace("JAX jit, ", "JAX, "))
