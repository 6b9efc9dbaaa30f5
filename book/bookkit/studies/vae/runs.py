"""Train nets, several at once, and record of each the curve of its bound and its test bound."""

import concurrent.futures
import hashlib
import json
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from bookkit import data, engines, processes, record
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bookkit.studies.vae import ESTIMATORS
from bsn.spec import BATCH_SIZE, RECORD_EVERY

if TYPE_CHECKING:
    from bookkit.studies.vae.model import Net

COMPUTED_WITH = ["bsn", "keras", "numpy", "tensorflow"]
VERSION = 1  # raise it when a change gives the same settings other results
SAMPLES = 100  # of the test bound
BINARISATION_SEED, TEST_SEED = 20, 21  # the same for all nets
DISARMS = ("leave-one-out", "relax", "arm", "disarm")  # estimators that its paper compares

SCHEMA = pa.schema(
    [("key", pa.string()), ("version", pa.int64()), ("data", pa.string()), ("dataset", pa.string())]
    + [("architecture", pa.string()), ("estimator", pa.string())]
    + [(name, pa.int64()) for name in ("seed", "steps", "every")]
    + [("curve", pa.list_(pa.float64())), ("test_bound", pa.float64()), ("seconds", pa.float64())]
    + [(name, pa.string()) for name in ("date", "machine", "versions", "digest")]
)


class Run(NamedTuple):
    """What determines a net, besides its data."""

    architecture: str
    estimator: str
    seed: int
    steps: int


BOOK_RUNS = [
    Run(architecture, name, seed, 40_000)
    for architecture, names in (("linear", ESTIMATORS), ("nonlinear", DISARMS))
    for seed in (1, 2, 3, 4, 5)
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


def fit(run: Run, train: np.ndarray) -> tuple["Net", list[float]]:
    """Train a net on images [N, D] of zeros and ones.

    Returns:
        The net, and its learning curve: the mean ELBO over every `RECORD_EVERY` steps.
    """
    from bookkit.studies.vae.model import LATENTS, initial_net
    from bookkit.studies.vae.training import Trainer
    from bsn.backend import tf

    net = initial_net(run.seed, run.architecture, train.mean(0))
    trainer = Trainer(run.estimator, net, run.seed)
    images, order, state = tf.constant(train), batches(run.seed, len(train), run.steps), tf.zeros([])
    streams = [np.random.default_rng([run.seed, 3, plane]) for plane in range(trainer.planes)]
    curve = []
    for completed in range(0, run.steps, RECORD_EVERY):
        chosen = order[completed : completed + RECORD_EVERY]
        noise = np.stack([rng.random([*chosen.shape, LATENTS], np.float32) for rng in streams], 1)
        arguments = images, tf.constant(chosen), tf.constant(noise), state
        # not called as it is: of the fifth net's TensorFlow would say that it was traced again
        state, elbo = trainer.train.get_concrete_function(*arguments)(*arguments)
        curve.append(float(elbo))
    return net, curve


def measure(run: Run, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Train a net, and evaluate it on the test images, [N, D] of zeros and ones.

    Returns:
        The `curve` of `fit`, the `test_bound`, and the `seconds` of a core.
    """
    from bookkit.studies.vae.model import bound

    started = time.process_time()
    net, curve = fit(run, train)
    test_bound = float(bound(net, test, SAMPLES, TEST_SEED).mean())
    return {"curve": curve, "test_bound": test_bound, "seconds": time.process_time() - started}


def key(checksum: str, run: Run) -> str:
    """Return the name in the record of a net trained on the data of that checksum."""
    text = json.dumps([VERSION, checksum, *run])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def train(runs: Sequence[Run], source: data.Data, settings: Settings) -> tuple[pd.DataFrame, int]:
    """Train the nets that this build's record lacks, each by one thread.

    Returns:
        All of them in their order, one row each as from `read`, and how many were trained now.

    Raises:
        InputError: a record that cannot be read or written; what came before is recorded.
    """
    keys = {run: key(source.checksum, run) for run in runs}
    folder = settings.record / "vae" if settings.record else None

    def trained(lacking: list[Run]) -> Iterator[record.Row]:
        with training_progress(sum(run.steps for run in lacking)) as advance:
            for run, measured in _measured(lacking, binarised(source), settings.threads):
                fields = {"version": VERSION, **run._asdict(), "every": RECORD_EVERY}
                yield record.signed(keys[run], source, {**fields, **measured}, COMPUTED_WITH)
                advance(run.steps)

    rows, count = record.completed(keys, folder, settings.fresh, trained, SCHEMA)
    return pd.DataFrame(rows, columns=SCHEMA.names), count


def _measured(
    runs: Sequence[Run], images: Mapping[str, np.ndarray], processors: int
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Yield each run and what `measure` says of it, as they are done."""
    train, test = images["train"], images["test"]
    workers = min(processors, len(runs))
    if workers == 1:  # no process of its own: it would first import TensorFlow
        yield from ((run, measure(run, train, test)) for run in runs)
        return
    with processes.pool(workers, engines.ONE_THREAD) as pool:
        tasks = {pool.submit(measure, run, train, test): run for run in runs}
        for task in concurrent.futures.as_completed(tasks):
            yield tasks[task], task.result()


def read(path: pathlib.Path) -> pd.DataFrame:
    """Return the nets of a file, one row each; see `bookkit.record.read` for what is refused."""
    return pd.DataFrame(record.read(path, SCHEMA))
