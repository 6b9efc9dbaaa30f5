"""Training many nets at once: `run(specs, data)`."""

import collections
import concurrent.futures
import dataclasses
import threading

import numpy as np
import threadpoolctl

from bookkit import cluster, record
from bookkit.compiled.curves import load_part, train_together
from bookkit.progress import training_progress
from bsn.errors import InputError

SIDE_BY_SIDE = 16  # nets; more are no faster, and fewer could not keep every core busy


def run(specs, data, settings, progress=training_progress):
    """Train the nets that this build's record lacks, and return the learning curves of all.

    Nets that agree in all but learning rate, slopes and modes, and share a seed, see the same
    mini-batches and the same noise, so that settings are compared in pairs. A net's result depends on
    its own spec alone, to the last bit. Each thread trains on its own; where `settings` names a scheduler,
    its workers train instead.

    Args:
        specs: a list of `bsn.Spec`, without repeats.
        data: to train on, a `bookkit.data.Data`.
        settings: a `bookkit.settings.Settings`.
        progress: called with the total number of steps; see `bookkit.progress`.

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
        raise InputError("run: no specs; expected at least one")
    if len(set(specs)) < len(specs):
        raise InputError("run: the same spec twice; expected different ones")
    keys = {spec: record.key(spec, data.checksum) for spec in specs}
    found = record.look_up(settings.record, keys.values()) if settings.record and not settings.fresh else {}
    lacking = [spec for spec in specs if keys[spec] not in found]
    for made in train(lacking, data, settings, progress):
        if settings.record:
            record.add(settings.record, made)
        found[made["key"]] = made
    curves = record.curves([found[keys[spec]] for spec in specs])
    curves.attrs["trained"] = len(lacking)
    return curves


def train(specs, data, settings, progress=training_progress):
    """Train nets, whatever the record has; yields a `bookkit.record.row` a net, as it is done.

    On the workers of the Dask scheduler that `settings` names, or else on threads of this machine.
    """
    if not specs:
        return
    with progress(sum(spec.epochs * spec.steps_per_epoch for spec in specs)) as show:
        if settings.scheduler:
            yield from _train_on_cluster(specs, data, settings.scheduler, show)
        else:
            yield from _train_here(specs, data, settings.threads, show)


def _train_on_cluster(specs, data, scheduler, show):
    with cluster.connect(scheduler) as client:
        groups = side_by_side(specs, cluster.thread_count(client))
        batches = [[specs[net] for net in nets] for nets in groups]
        for rows in cluster.results(client, train_together, batches, data):
            show(sum(made["epochs"] * made["steps_per_epoch"] for made in rows))
            yield from rows


def _train_here(specs, data, threads, show):
    for part in {part for spec in specs for part in (spec.train_on, spec.evaluate_on)}:
        load_part(data, part)  # before the threads, so that none does it twice
    stopped = threading.Event()
    lock = threading.Lock()
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
        tasks = [pool.submit(train_together, batch, data, advance) for batch in batches]
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
