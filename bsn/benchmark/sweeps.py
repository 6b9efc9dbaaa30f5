"""How the cost of `bsn.run` grows, where its time goes, and how soon it starts."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from bsn import network, sparse, training, units
from bsn.benchmark.contest import SEED, peak_memory
from bsn.benchmark.peers import LEARNING_RATE
from bsn.data import load
from bsn.record import FOLDER_VARIABLE
from bsn.spec import BATCH, RECORD_EVERY, Spec
from bsn.threads import VARIABLE, thread_count

NETS = 8
PROFILED_NETS = 3  # what one of two threads has of a chapter's six

FIRST_RESULT = """
import contextlib, os, sys, bsn

@contextlib.contextmanager
def progress(total):
    yield lambda steps: os._exit(0)

bsn.run([bsn.Spec(estimator="sigmoid-adjusted", learning_rate=0.3, dataset=sys.argv[1])], progress)
"""


def _specs(dataset, nets, hidden, steps):
    return [
        Spec(
            estimator="sigmoid-adjusted", learning_rate=LEARNING_RATE * (1 + i / 256), hidden=hidden,
            seed=SEED, dataset=dataset, epochs=1, steps_per_epoch=steps,
        )
        for i in range(nets)
    ]  # fmt: skip


def growth(dataset, steps, say):
    """The cost of one call of `run` as one thing grows at a time.

    Returns:
        A list of dicts: what grows, value, seconds (median of three calls), microseconds (a net-step's
        share of them), memory (the process's peak so far, MiB).
    """
    threads = thread_count()
    cases = [("nets", n, (n, (100,), steps, threads)) for n in (1, 2, 4, 8, 16, 32, 64, 128)]
    cases += [("steps", n * steps, (NETS, (100,), n * steps, threads)) for n in (1, 2, 4, 8)]
    cases += [("width", n, (NETS, (n,), steps, threads)) for n in (25, 50, 100, 200, 400, 800)]
    cases += [("depth", n, (NETS, (200,) * n, steps, threads)) for n in (1, 2, 3, 4)]
    cases += [("threads", n, (NETS * threads, (100,), steps, n)) for n in range(1, threads + 1)]
    rows, kept = [], os.environ.get(VARIABLE)
    try:
        for name, value, (nets, hidden, length, used) in cases:
            say(f"{name}: {value}")
            os.environ[VARIABLE] = str(used)
            specs = _specs(dataset, nets, hidden, length)
            seconds = statistics.median(_seconds(_train, specs) for _ in range(3))
            share = seconds / nets / length * 1e6
            rows.append({"grows": name, "value": value, "seconds": seconds, "microseconds": share})
            rows[-1]["memory"] = peak_memory()
    finally:
        os.environ.pop(VARIABLE)
        if kept is not None:
            os.environ[VARIABLE] = kept
    return rows


def _train(specs):
    return list(training.train(specs, lambda total: contextlib.nullcontext(lambda steps: None)))


def profile(dataset, steps):
    """Where the time of one thread goes: part -> microseconds a net-step, for three nets together."""
    data, evaluated = (training.load_part(load(dataset), part) for part in ("train", "validation"))
    widths = np.array([100, data.source.classes])
    net = network.initial_parameters(SEED, [data.pixels, *widths])
    first, upper = network.side_by_side([net] * PROFILED_NETS)
    order = training.shuffled_batches(SEED, len(data.labels), steps)
    noise = np.random.default_rng(SEED).random((steps, BATCH, widths[0]), np.float32)
    whole_noise = noise.reshape(-1, widths[0])
    while len(whole_noise) < len(evaluated.labels):
        whole_noise = np.concatenate([whole_noise, whole_noise])
    settings = np.ones(PROFILED_NETS, np.float32), np.full(PROFILED_NETS, True)  # slope 1, stochastic
    rate, diverged = np.full(PROFILED_NETS, LEARNING_RATE, np.float32), np.full(PROFILED_NETS, -1)
    moments, code = network.initial_moments(PROFILED_NETS, 100), units.CODES["sigmoid-adjusted"]
    out = np.empty((BATCH, first.shape[1]), np.float32)
    delta = np.zeros_like(out)
    columns = sparse.columns(order[0], data.images, data.pixels)
    everything = np.arange(len(evaluated.labels))
    whole_out = np.empty((len(everything), first.shape[1]), np.float32)

    def each(call):
        return lambda: [call(rows) for rows in order]

    parts = {
        "steps": lambda: network.train(
            first, upper, moments, diverged, data.images, data.labels, order, noise, *settings, rate, code,
            False, widths, 0,
        ),
        "first product": each(lambda rows: sparse.product(rows, data.images, first, out)),
        "mini-batch to columns": each(lambda rows: sparse.columns(rows, data.images, data.pixels)),
        "first gradient and step": each(lambda _: sparse.add_transposed_product(columns, delta, first)),
        "evaluation": lambda: network.accuracy(
            first, upper, evaluated.images, evaluated.labels, whole_noise[: len(everything)], *settings,
            code, widths,
        ),
        "evaluation: first product": lambda: sparse.product(everything, evaluated.images, first, whole_out),
        "noise": lambda: [
            training.uniform_noise(SEED, i, 0, noise[:RECORD_EVERY]) for i in range(0, steps, RECORD_EVERY)
        ],
        "evaluation: noise": lambda: training.uniform_noise(SEED, 0, 1, whole_noise[: len(everything)]),
    }  # fmt: skip
    shares = {}
    for name, call in parts.items():
        seconds = statistics.median(_seconds(call) for _ in range(4))  # the first may compile
        shares[name] = (
            seconds / PROFILED_NETS / (RECORD_EVERY if name.startswith("evaluation") else steps) * 1e6
        )
    shares["the other layers, loss, samples"] = shares.pop("steps") - sum(
        shares[name] for name in ("first product", "mini-batch to columns", "first gradient and step")
    )
    shares["evaluation: the other layers"] = shares.pop("evaluation") - shares["evaluation: first product"]
    return shares


def start(dataset):
    """Seconds from the start of a new process to its first recorded accuracies, by state of the cache."""

    def seconds(**environment):
        command = [sys.executable, "-c", FIRST_RESULT, dataset]
        environment = {**os.environ, FOLDER_VARIABLE: "", **environment}
        return _seconds(subprocess.run, command, check=True, env=environment)

    with tempfile.TemporaryDirectory() as empty:
        return {"kernels to compile": seconds(NUMBA_CACHE_DIR=empty), "kernels compiled before": seconds()}


def product_limit(data):
    """The machine's best rate of dense float32 products, FLOP/s, and what it allows, net-steps/s."""
    rng = np.random.default_rng(0)
    best = 0.0
    for size in (512, 1024, 2048):
        a = rng.random((size, size), np.float32)
        best = max(best, *(2 * size**3 / _seconds(np.matmul, a, a) for _ in range(5)))
    images, _ = data.parts["validation"]
    first, second = images.shape[1] * 100, 100 * data.classes  # products of one image
    step = 2 * BATCH * (2 * first + 3 * second)
    evaluation = 2 * len(images) * (first + second) / RECORD_EVERY
    return best, best / (step + evaluation)


def _seconds(call, *arguments, **named):
    started = time.perf_counter()
    call(*arguments, **named)
    return time.perf_counter() - started
