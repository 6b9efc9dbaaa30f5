"""Contestants in processes of their own, one at work at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from bookkit.bench.peers import LEARNING_RATE
from bookkit.data import Data
from bookkit.settings import Settings
from bsn.errors import InputError
from bsn.spec import Spec

SEED = 1
ROUND_SECONDS = 1.5

# name -> (what it needs installed, what trains it, numbers of nets)
PEERS = {
    "TF1-style session loop": ("tensorflow", "session_loop", [1]),
    "JAX jit(vmap(scan))": ("jax", "jax_vmap_scan", [1, 8, 32]),
}
ENGINE = {
    "compiled: one net": lambda: _nets(1),
    "compiled: a chapter, 2 estimators x 3 rates": lambda: _nets(3) + _nets(3, estimator="pass-through"),
    "compiled: 3 rates x 10 seeds": lambda: [net for seed in range(1, 11) for net in _nets(3, seed=seed)],
    "compiled: 32 rates": lambda: _nets(32),
}


Fields = dict[str, Any]  # of a Spec


def _nets(count: int, **fields: Any) -> list[Fields]:
    common = {"estimator": "sigmoid-adjusted", "seed": SEED, **fields}
    return [dict(common, learning_rate=LEARNING_RATE * (1 + i / 64)) for i in range(count)]


def contestants() -> tuple[list[tuple[str, str, Any]], list[str]]:
    """Return (name, function, what to train) of all that can take part here, and the names of the others."""
    present: list[tuple[str, str, Any]] = []
    absent = []
    for name, (package, function, counts) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            absent.append(name)
            continue
        for nets in counts:
            label = name if counts == [1] else f"{name}, {nets} net{'s' * (nets > 1)}"
            present.append((label, function, nets))
    present += [(name, "engine", settings()) for name, settings in ENGINE.items()]
    return present, absent


def contest(
    data: Data, rounds: int, steps: int, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure every contestant's rate, in turns.

    Args:
        rounds: how many turns.
        steps: mini-batches in the first, uncounted turn, and at least as many in each.
        say: called with a line on what is running.

    Returns:
        A list of dicts: name, nets, rates (net-steps per second, one per round), rate (their median),
        accuracy (of the first net, after `steps`), memory (peak, MiB); and the names of peers that
        are not installed.
    """
    present, absent = contestants()
    results, workers = [], []
    with contextlib.ExitStack() as stack:
        for number, (name, function, task) in enumerate(present, 1):
            say(f"warming up {number}/{len(present)}: {name}")
            worker = stack.enter_context(_process(_serve, function, task, data))
            accuracy, _ = worker(steps)
            long = steps * max(1, round(ROUND_SECONDS / worker(steps)[1]))
            worker(long)  # JAX compiles for each length
            nets = len(task) if function == "engine" else task
            results.append({"name": name, "nets": nets, "accuracy": accuracy, "rates": []})
            workers.append((worker, long))
        for turn in range(1, rounds + 1):
            say(f"round {turn}/{rounds}")
            for result, (worker, long) in zip(results, workers):
                result["rates"].append(long * result["nets"] / worker(long)[1])
        for result, (worker, _) in zip(results, workers):
            result["rate"], result["memory"] = statistics.median(result["rates"]), worker(None)
    return results, absent


@contextlib.contextmanager
def _process(target: Callable[..., None], *arguments: Any) -> Iterator[Callable[[int | None], Any]]:
    """Yield what sends a message to a process of its own, which ends with the block, and gets the reply."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=target, args=(there, *arguments), daemon=True
    )
    process.start()
    there.close()

    def ask(message: int | None) -> Any:
        here.send(message)
        return here.recv()

    try:
        yield ask
    except EOFError:
        raise InputError("bench: a contestant's process ended; its message is above") from None
    finally:
        here.close()
        process.join(5)
        process.kill()


def _serve(pipe: Connection, function: str, task: Any, data: Data) -> None:
    """Answer a number of steps with (the first net's accuracy, seconds), and None with the peak memory."""
    if function == "engine":
        train = engine(task, data)
    else:
        from bookkit.bench import peers

        parts = data.parts
        train = getattr(peers, function)((parts["train"], parts["validation"]), task, SEED)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            steps = pipe.recv()
            if steps is None:
                pipe.send(peak_memory())
                continue
            started = time.perf_counter()
            accuracies = train(steps)
            pipe.send((float(accuracies[0]), time.perf_counter() - started))


def engine(fields: list[Fields], data: Data) -> Callable[[int], list[float]]:
    """Return `bookkit.runs.run` in the form of a peer, except that it starts again each time."""
    from bookkit.runs import final_accuracies, run

    settings = dataclasses.replace(Settings.from_environment(), record=None, scheduler=None)

    def train(steps: int) -> list[float]:
        specs = [Spec(**each, epochs=1, steps_per_epoch=steps) for each in fields]
        return list(final_accuracies(run(specs, data, settings)).final)

    return train


def peak_memory() -> float:
    """Return the most memory that this process has used so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
