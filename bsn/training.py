"""Training many nets at once: `run(specs)`."""

import collections
import concurrent.futures
import dataclasses
import functools
import os
import threading
import time
import typing

import numpy as np
import threadpoolctl

from bsn import cluster, network, record, sparse, steps, units
from bsn import data as datasets
from bsn.errors import InputError
from bsn.progress import training_progress
from bsn.spec import BATCH, RECORD_EVERY, SEVERAL_PASSES
from bsn.threads import thread_count

SIDE_BY_SIDE = 16  # nets; more are no faster, and fewer could not keep every core busy

# Philox streams under a net's seed from here on; those below are the layers' initial values
SHUFFLING = 1 << 32
TRAINING, RECORD, EPOCH, SECOND = range(4)  # uses of noise; the last is of another sample


def run(specs, progress=training_progress):
    """Train the nets that this build's record lacks, and return the learning curves of all.

    Nets that agree in all but learning rate, slopes and modes, and share a seed, see the same
    mini-batches and the same noise, so that settings are compared in pairs. A net's result depends on
    its own spec alone, to the last bit. Each core trains on its own; BSN_THREADS says on how many.
    Where `bsn.cluster.address` names a scheduler, its workers train instead.

    Args:
        specs: a list of `bsn.Spec`, without repeats.
        progress: called with the total number of steps; see `bsn.progress`.

    Returns:
        A tidy DataFrame: `net` (position in `specs`), every field of the spec, `after_epoch`
        (epochs completed), `step` (mini-batches trained on so far), `metric`, `value`,
        `diverged_step`, `seconds`. The
        metrics, all accuracies, are those of the post: "training", the sum of the batch
        accuracies since the last record divided by 100 (an epoch's first sum holds 101 of them);
        "validation", at the same points; "epoch", before the first epoch and after each, with the
        slope after its increase: the last of these is the final number. `diverged_step` is the
        step whose loss was first not finite, -1 where none was; such a net answers class 0 from
        then on. `seconds` is the net's share of a core's time. In its `attrs`, `trained` says how many
        nets the record lacked.

    Raises:
        InputError: no specs, or the same one twice, data that cannot be had, a record that cannot be
            read or written, or a cluster that does not answer or is lost; what came before is recorded.
    """
    specs = list(specs)
    if not specs:
        raise InputError("run: no specs; allowed: at least one")
    if len(set(specs)) < len(specs):
        raise InputError("run: the same spec twice; allowed: different ones")
    where = record.folder()
    keys = {spec: record.key(spec, datasets.load(spec.dataset).checksum) for spec in specs}
    found = record.look_up(where, keys.values()) if where else {}
    if os.environ.get(record.FRESH_VARIABLE):
        found = {}
    lacking = [spec for spec in specs if keys[spec] not in found]
    for made in train(lacking, progress):
        if where:
            record.add(where, made)
        found[made["key"]] = made
    curves = record.curves([found[keys[spec]] for spec in specs])
    curves.attrs["trained"] = len(lacking)
    return curves


def train(specs, progress=training_progress):
    """Train nets, whatever the record has; yields a `bsn.record.row` a net, as it is done.

    On the Dask cluster that `bsn.cluster.address` names, or else on every core of this machine.
    """
    if not specs:
        return
    where = cluster.address()
    with progress(sum(spec.epochs * spec.steps_per_epoch for spec in specs)) as show:
        yield from _train_on_cluster(specs, show, where) if where else _train_here(specs, show)


def _train_on_cluster(specs, show, where):
    with cluster.connect(where) as client:
        groups = side_by_side(specs, cluster.thread_count(client))
        batches = [[specs[net] for net in nets] for nets in groups]
        sent = [(batch, datasets.load(batch[0].dataset)) for batch in batches]
        for rows in cluster.results(client, train_together, sent):
            show(sum(made["epochs"] * made["steps_per_epoch"] for made in rows))
            yield from rows


def _train_here(specs, show):
    for spec in specs:
        for part in (spec.train_on, spec.evaluate_on):
            load_part(datasets.load(spec.dataset), part)  # before the threads, so that none does it twice
    stopped = threading.Event()
    lock = threading.Lock()
    threads = thread_count()
    with (
        threadpoolctl.threadpool_limits(1, "blas"),
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
    ):

        def advance(steps):
            if stopped.is_set():
                raise concurrent.futures.CancelledError
            with lock:
                show(steps)

        batches = [[specs[net] for net in nets] for nets in side_by_side(specs, threads)]
        tasks = [
            pool.submit(train_together, batch, datasets.load(batch[0].dataset), advance) for batch in batches
        ]
        try:
            for task in concurrent.futures.as_completed(tasks):
                yield from task.result()
        except BaseException:  # Ctrl-C too: the threads notice at their next record
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def side_by_side(specs, threads):
    """Positions of the specs trained in one go by one thread, the longest work first."""
    alike = collections.defaultdict(list)
    for net, spec in enumerate(specs):
        alike[_batch_key(spec)].append(net)
    most = min(SIDE_BY_SIDE, -(-len(specs) // threads))
    groups = []
    for nets in alike.values():
        parts = -(-len(nets) // most)
        groups += [list(map(int, part)) for part in np.array_split(nets, parts)]
    return sorted(groups, key=lambda nets: -len(nets) * specs[nets[0]].epochs * sum(specs[nets[0]].hidden))


def final_accuracies(curves):
    """One row a net: the accuracy after its last epoch, as `final`, with the other columns kept."""
    ends = curves[curves.metric == "epoch"]
    last = ends.loc[ends.groupby("net").step.idxmax()]
    return last.rename(columns={"value": "final"}).drop(columns="metric").reset_index(drop=True)


def _batch_key(spec):
    """What nets trained side by side have in common."""
    return dataclasses.replace(
        spec,
        learning_rate=1.0,
        slope_rate=1.0,
        slope_in_training=False,
        slope_in_evaluation=True,
        train_mode="stochastic",
        eval_mode="stochastic",
    )


class Part(typing.NamedTuple):
    images: sparse.Rows
    labels: np.ndarray
    pixels: int
    source: datasets.Data


@functools.lru_cache(maxsize=6)
def load_part(data, part):
    images, labels = data.parts[part]
    return Part(sparse.rows(images), labels, images.shape[1], data)


def train_together(specs, data, advance):
    """Train nets of one batch key, side by side, in this thread.

    Args:
        specs: the nets'; data: their `bsn.data.Data`.
        advance: called with each number of net-steps just done; what it raises ends the training.

    Returns:
        A `bsn.record.row` for each.
    """
    started = time.perf_counter()
    points, diverged = _learning_curves(specs, data, advance)
    seconds = (time.perf_counter() - started) / len(specs)
    return [
        record.row(spec, data, [(*point, values[i]) for *point, values in points], diverged[i], seconds)
        for i, spec in enumerate(specs)
    ]


def _learning_curves(specs, data, advance):
    """The points of nets of one batch key, (epochs completed, steps, metric, values [R]); diverged [R]."""
    common, nets = specs[0], len(specs)
    trained, evaluated = (load_part(data, part) for part in (common.train_on, common.evaluate_on))
    widths = np.array([*common.hidden, data.classes])
    first, upper = network.side_by_side(
        [network.initial_parameters(common.seed, [trained.pixels, *widths], common.zero_biases)] * nets
    )
    moments = network.initial_moments(nets, sum(common.hidden))
    diverged = np.full(nets, -1)
    order = shuffled_batches(common.seed, len(trained.labels), common.epochs * common.steps_per_epoch)
    estimator = units.CODES[common.estimator]
    learning_rate = np.array([spec.learning_rate for spec in specs], np.float32)
    train_stochastic = np.array([spec.train_mode == "stochastic" for spec in specs])
    eval_stochastic = np.array([spec.eval_mode == "stochastic" for spec in specs])
    rates = np.array([spec.slope_rate for spec in specs])
    in_training = np.array([spec.slope_in_training for spec in specs])
    in_evaluation = np.array([spec.slope_in_evaluation for spec in specs])
    points = []

    # reused: memory asked for and given back at each record slows down both threads
    hidden = sum(common.hidden)
    noise = np.empty([RECORD_EVERY + 1, BATCH, hidden], np.float32)
    second = np.empty_like(noise if common.estimator == "leave-one-out" else noise[:0])
    eval_noise = np.empty([len(evaluated.labels), hidden], np.float32)

    def train(start, end, epoch):
        slope = np.where(in_training, rates**epoch, 1).astype(np.float32)
        drawn = uniform_noise(common.seed, start, TRAINING, noise[: end - start])
        if common.estimator in SEVERAL_PASSES:
            other = uniform_noise(common.seed, start, SECOND, second[: end - start])
            summed = steps.train(
                first, upper, diverged, trained.images, trained.labels, order[start:end], drawn, other,
                learning_rate, estimator, common.stable_loss, widths, start,
            )  # fmt: skip
        else:
            summed = network.train(
                first, upper, moments, diverged, trained.images, trained.labels, order[start:end], drawn,
                slope, train_stochastic, learning_rate, estimator, common.stable_loss, widths, start,
            )  # fmt: skip
        advance(nets * (end - start))
        return summed

    def evaluate(epoch, step, kind):
        slope = np.where(in_evaluation, rates**epoch, 1).astype(np.float32)
        drawn = uniform_noise(common.seed, step, kind, eval_noise)
        return network.accuracy(
            first, upper, evaluated.images, evaluated.labels, drawn, slope, eval_stochastic, estimator, widths
        )

    points.append((0, 0, "epoch", evaluate(0, 0, EPOCH)))
    step = 0
    for epoch in range(common.epochs):
        end = step + common.steps_per_epoch
        # the post records after the batches numbered 100, 200, ..., counting from 0
        for recorded in range(step + RECORD_EVERY + 1, end + 1, RECORD_EVERY):
            points.append((epoch, recorded, "training", train(step, recorded, epoch) / RECORD_EVERY))
            points.append((epoch, recorded, "validation", evaluate(epoch, recorded, RECORD)))
            step = recorded
        if step < end:
            train(step, end, epoch)
        step = end
        points.append((epoch + 1, step, "epoch", evaluate(epoch + 1, step, EPOCH)))
    return points, diverged


def shuffled_batches(seed, examples, steps):
    """Indices [steps, 50]: the data shuffled, walked through once, shuffled again, and so on.

    A batch may straddle two passes, as in the reader of the old TensorFlow tutorial.
    """
    passes = -(-steps * BATCH // examples)
    order = np.concatenate([_random(seed, SHUFFLING + i).permutation(examples) for i in range(passes)])
    return order[: steps * BATCH].reshape(steps, BATCH).astype(np.int32)


def uniform_noise(seed, step, kind, out):
    """Fill `out` with noise, uniform on [0, 1): that of a seed, of a step, and of what it is for."""
    bits = np.random.SFC64(np.random.SeedSequence([seed, step, kind]))  # the fastest there is
    return np.random.Generator(bits).random(out=out, dtype=np.float32)


def _random(seed, stream):
    return np.random.Generator(np.random.Philox(key=[seed, stream]))
