"""Train nets, several at once, and record of each the curve of its bound and its test bound."""

import concurrent.futures
import hashlib
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bookkit import data, processes, record
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bookkit.studies.vae import ESTIMATORS
from bsn.spec import BATCH_SIZE, RECORD_EVERY

COMPUTED_WITH = ["bsn", "numpy", "tensorflow"]
VERSION = 1  # raise it when a change gives the same settings other results
SAMPLES = 100  # of the test bound
BINARISATION_SEED, TEST_SEED = 20, 21  # the same for all nets
DISARMS = ("leave-one-out", "relax", "arm", "disarm")  # estimators that its paper compares
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # per process


class Run(NamedTuple):
    """What determines a net, besides its data."""

    architecture: str
    estimator: str
    seed: int
    steps: int


BOOK_RUNS = [
    Run(architecture, name, seed, 40_000)
    for architecture, names in (("linear", ESTIMATORS), ("nonlinear", DISARMS))
    for seed in (1, 2, 3)
    for name in names
]


def binarised(source: data.Data) -> dict[str, np.ndarray]:
    """Return part -> images [N, D] of zeros and ones, uint8: each pixel drawn once, by its intensity."""
    rng = np.random.default_rng(BINARISATION_SEED)
    images = {part: source.parts[part][0] for part in data.PARTS}
    return {part: (rng.random(array.shape) < array).astype(np.uint8) for part, array in images.items()}


def batches(seed: int, images: int, steps: int) -> np.ndarray:
    """Draw which images each step takes, [steps, BATCH_SIZE]: every one once before any comes again."""
    rng = np.random.default_rng([seed, 1])
    order = [rng.permutation(images) for _ in range(-(-steps * BATCH_SIZE // images))]
    return np.concatenate(order)[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE).astype(np.int32)


def measure(run: Run, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Train a net on images [N, D], and evaluate it on the test images.

    Returns:
        `curve` (the mean ELBO over every `RECORD_EVERY` steps), `test_bound` and `seconds` of a core.
    """
    from bookkit.studies.vae import model, steps
    from bsn.backend import tf

    started = time.process_time()
    state = steps.initial_state(
        run.estimator, model.initial_net(run.seed, run.architecture, train.mean(0)), run.seed
    )
    images, order = tf.constant(train), batches(run.seed, len(train), run.steps)
    streams = [np.random.default_rng([run.seed, 3, plane]) for plane in range(steps.planes(run.estimator))]
    curve = []
    for completed in range(0, run.steps, RECORD_EVERY):
        chosen = order[completed : completed + RECORD_EVERY]
        noise = np.stack([rng.random([*chosen.shape, model.LATENTS], np.float32) for rng in streams], 1)
        chunk = tf.constant(chosen), tf.constant(noise), tf.constant(float(completed))
        state, elbo = steps.train(run.estimator, state, images, *chunk)
        curve.append(float(elbo))
    test_bound = float(model.bound(state.net, test, SAMPLES, TEST_SEED).mean())
    return {"curve": curve, "test_bound": test_bound, "seconds": time.process_time() - started}


def key(checksum: str, run: Run) -> str:
    """Return the name in the record of a net trained on the data of that checksum."""
    text = json.dumps([VERSION, checksum, *run])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def train(runs: Sequence[Run], source: data.Data, settings: Settings) -> tuple[pd.DataFrame, int]:
    """Train the nets that this build's record lacks, each in a process of one thread.

    Returns:
        `frame` of all of them in their order, and how many were trained now.

    Raises:
        InputError: a record that cannot be read or written; what came before is recorded.
    """
    names = {run: f"vae/{key(source.checksum, run)}.parquet" for run in runs}
    paths = {run: settings.record / name for run, name in names.items()} if settings.record else {}
    rows = {run: read(path)[0] for run, path in paths.items() if path.exists() and not settings.fresh}
    lacking = [run for run in runs if run not in rows]
    if lacking:
        images = binarised(source)
        with (
            training_progress(sum(run.steps for run in lacking)) as advance,
            processes.pool(min(settings.threads, len(lacking)), ONE_THREAD) as pool,
        ):
            tasks = {pool.submit(measure, run, images["train"], images["test"]): run for run in lacking}
            for task in concurrent.futures.as_completed(tasks):
                run = tasks[task]
                fields = {"version": VERSION, **run._asdict(), "every": RECORD_EVERY, **task.result()}
                rows[run] = record.signed(key(source.checksum, run), source, fields, COMPUTED_WITH)
                if settings.record:
                    record.write(paths[run], [rows[run]], None)
                advance(run.steps)
    return frame([rows[run] for run in runs]), len(lacking)


def read(path: pathlib.Path) -> list[record.Row]:
    """Read the rows of a file, and check each.

    Raises:
        InputError: the file is cut short, damaged, edited or another record.
    """
    _, rows = record.read_table(path)
    if not all("test_bound" in net for net in rows):
        raise record.refused(path, "is not a record of trained VAEs")
    return record.unchanged(path, rows)


def frame(rows: Sequence[record.Row]) -> pd.DataFrame:
    """Return one row per net; `curve` is an array of the mean ELBO over every `RECORD_EVERY` steps."""
    nets = pd.DataFrame(rows)
    return nets.assign(curve=nets.curve.map(np.array))
