"""Nets trained, two at once, and what is kept of each: the curve of its bound and its test bound."""

import concurrent.futures
import functools
import hashlib
import json
import multiprocessing
import os
import platform
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa

from bookkit import data, record
from bookkit.environment import processor, versions
from bookkit.parameters import VAE_ESTIMATORS
from bookkit.paths import VAE
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bsn.spec import BATCH_SIZE, RECORD_EVERY

VERSION = 1  # raise it when a change gives the same settings other results
SAMPLES = 100  # of the test bound
BINARISING, TESTING = 20, 21  # seeds, the same for all nets
BOOK_RECORD = VAE
BOOK_STEPS = 40_000
BOOK_RUNS = {  # architecture -> estimators and seeds of the book's record
    "linear": (VAE_ESTIMATORS, (1, 2, 3)),
    "nonlinear": (("leave-one-out", "relax", "arm", "disarm"), (1, 2, 3)),  # DisARM's
}
SETTINGS = ("architecture", "estimator", "seed", "steps")

SCHEMA = pa.schema(
    [("key", pa.string()), ("version", pa.int64()), ("data", pa.string()), ("dataset", pa.string())]
    + [("architecture", pa.string()), ("estimator", pa.string())]
    + [(name, pa.int64()) for name in ("seed", "steps", "every")]
    + [("curve", pa.list_(pa.float64())), ("test_bound", pa.float64())]
    + [("seconds", pa.float64()), ("date", pa.string()), ("machine", pa.string()), ("versions", pa.string())]
    + [("digest", pa.string())],
    metadata={"bsn_vae_format": "1"},
)


@functools.lru_cache(maxsize=1)
def binarised(source):
    """Part -> images [N, D] of zeros and ones, uint8: each pixel drawn once, by its intensity."""
    rng = np.random.default_rng(BINARISING)
    parts = source.parts
    return {part: (rng.random(parts[part][0].shape) < parts[part][0]).astype(np.uint8) for part in data.PARTS}


def batches(seed, images, steps):
    """Which images each step takes, [steps, BATCH_SIZE]: every one once before any comes again."""
    rng = np.random.default_rng([seed, 1])
    order = [rng.permutation(images) for _ in range(-(-steps * BATCH_SIZE // images))]
    return np.concatenate(order)[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE).astype(np.int32)


def train_one(source, architecture, estimator, seed, steps):
    """Train a net, and evaluate it on the test part; returns a row of `SCHEMA`."""
    from bookkit.studies.vae import model
    from bookkit.studies.vae import steps as training
    from bsn.backend import tf

    started, parts = time.process_time(), binarised(source)
    net = model.initial_net(seed, architecture, parts["train"].mean(0))
    state = training.initial_state(estimator, net, seed)
    images, order = tf.constant(parts["train"]), batches(seed, len(parts["train"]), steps)
    streams = [np.random.default_rng([seed, 3, plane]) for plane in range(training.planes(estimator))]
    curve = []
    for done in range(0, steps, RECORD_EVERY):
        chosen = order[done : done + RECORD_EVERY]
        noise = np.stack([rng.random([*chosen.shape, model.LATENTS], np.float32) for rng in streams], 1)
        state, elbo = training.train(
            estimator, state, images, tf.constant(chosen), tf.constant(noise), tf.constant(float(done))
        )
        curve.append(float(elbo))
    tested = model.bound(state.net, parts["test"], SAMPLES, TESTING)
    made = {
        "key": key(source.checksum, architecture, estimator, seed, steps),
        "version": VERSION,
        "data": source.checksum,
        "dataset": source.name,
        "architecture": architecture,
        "estimator": estimator,
        "seed": seed,
        "steps": steps,
        "every": RECORD_EVERY,
        "curve": curve,
        "test_bound": float(tested.mean()),
        "seconds": time.process_time() - started,
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{processor()}, {platform.system()}",
        "versions": json.dumps(versions(["bsn", "numpy", "tensorflow"])),
    }
    return {**made, "digest": record.digest(made)}


def key(checksum, *settings):
    """The name of a net: of its `SETTINGS`, and data with that checksum."""
    text = json.dumps([VERSION, checksum, *settings])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def train(source, settings, environment):
    """The rows of some nets, in their order, trained unless this build's record has them.

    Each has a process with one thread to itself, `environment.threads` at once; one that is done is kept
    at once.

    Args:
        source: a `bookkit.data.Data`; settings: a list of (architecture, estimator, seed, steps).
        environment: a `bookkit.settings.Settings`.

    Returns:
        The rows, and how many were trained now.
    """
    checksum = source.checksum
    where = environment.record and environment.record / "vae"
    paths = {one: where and os.path.join(where, key(checksum, *one) + ".parquet") for one in settings}
    found = {} if environment.fresh else {one: _kept(path) for one, path in paths.items()}
    wanted = [one for one in settings if not found.get(one)]
    if wanted:
        with (
            training_progress(sum(one[-1] for one in wanted)) as advance,
            concurrent.futures.ProcessPoolExecutor(
                min(environment.threads, len(wanted)),
                multiprocessing.get_context("spawn"),
                _prepare,
                [source],
            ) as pool,
        ):
            running = {pool.submit(_train_prepared, *one): one for one in wanted}
            for future in concurrent.futures.as_completed(running):
                one = running[future]
                found[one] = future.result()
                if where:
                    record.write(paths[one], [found[one]], SCHEMA)
                advance(one[-1])
    return [found[one] for one in settings], len(wanted)


def write_book_record():
    """Train what the book's record holds, and write it; returns how many nets that is."""
    settings = [
        (architecture, name, seed, BOOK_STEPS)
        for architecture, (names, seeds) in BOOK_RUNS.items()
        for seed in seeds
        for name in names
    ]
    environment = Settings.from_environment()
    rows, _ = train(data.load("mnist", environment.mnist_dir), settings, environment)
    record.write(BOOK_RECORD, rows, SCHEMA)
    return len(rows)


_source = None  # of a process of `train`


def _prepare(source):
    """Set up a process of `train`: its data, one thread, and an end when its parent ends."""
    global _source
    _source = source
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from bsn.backend import tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _train_prepared(*settings):
    return train_one(_source, *settings)


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _kept(path):
    try:
        return read(path)[0] if path else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def read(path):
    """The rows of a file, each one checked.

    Raises:
        InputError: the file is cut short, damaged, edited or of another version.
    """
    schema, rows = record.read_table(path)
    if not schema.equals(SCHEMA):
        raise record.refused(path, "is not a record of trained VAEs")
    for made in rows:
        if made["digest"] != record.digest(made):
            raise record.refused(path, f"was changed after it was written (net {made['key']})")
        if made["version"] != VERSION:
            raise record.refused(path, f"is of version {made['version']}, this is {VERSION}")
    return rows


def frame(rows):
    """Rows as a DataFrame, a row a net; `curve` an array of the mean ELBO over every 100 steps."""
    made = pd.DataFrame(rows, columns=SCHEMA.names)
    return made.assign(curve=[np.array(curve) for curve in made.curve])
