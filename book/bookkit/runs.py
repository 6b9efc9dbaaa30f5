"""Training many nets at once: `run(specs, data, settings)`."""

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import threadpoolctl

from bookkit import engines, record
from bookkit.data import Data
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bsn.curves import alike
from bsn.errors import InputError
from bsn.spec import Spec

SIDE_BY_SIDE = 16  # nets; more are no faster, and fewer could not keep every core busy


def rows(
    specs: Sequence[Spec], data: Data, settings: Settings, engine: str = "tensorflow"
) -> tuple[list[record.Row], int]:
    """Train the nets that this build's record lacks; return the rows of all, and how many it lacked.

    Nets that agree in all but learning rate, slopes and modes, and share a seed, see the same
    mini-batches and the same noise, so that settings are compared in pairs. A net's result depends on
    its own spec and engine alone: down to the last bit if compiled, up to rounding in TensorFlow.

    Args:
        specs: without repeats.
        settings: the record's folder, and where to train: on threads here, or on a scheduler's workers.
        engine: "tensorflow", or "compiled" for those that it supports; see `bookkit.engines`.

    Raises:
        InputError: no specs, or the same one twice, a record that cannot be read or written, or a
            cluster that does not answer or is lost; what came before is recorded.
    """
    if not specs:
        raise InputError("run: no specs; expected at least one")
    if len(set(specs)) < len(specs):
        raise InputError("run: the same spec twice; expected different ones")
    keys = {spec: record.key(spec, data.checksum, engines.of(spec, engine)) for spec in specs}
    return record.completed(
        keys, settings.record, settings.fresh, lambda lacking: train(lacking, data, settings, engine)
    )


def run(specs: Sequence[Spec], data: Data, settings: Settings, engine: str = "tensorflow") -> pd.DataFrame:
    """Train nets as `rows` does, and return their learning curves.

    Returns:
        A tidy DataFrame: `net` (position in `specs`), every field of the spec, `engine`, `dataset`,
        `after_epoch` (epochs completed), `step` (mini-batches trained on so far), `metric`, `value`,
        `diverged_step`, `seconds`. See `bsn.curves.Curve`: the last point of the metric "epoch" is the final
        number, and a net that diverged predicts class 0 from then on. `seconds` is the net's share of a
        core's time. In its `attrs`, `trained` says how many nets the record lacked.
    """
    nets, trained = rows(specs, data, settings, engine)
    curves = record.curves(nets)
    curves.attrs["trained"] = trained
    return curves


def train(
    specs: Sequence[Spec],
    data: Data,
    settings: Settings,
    engine: str = "tensorflow",
    all_ways: bool = False,
) -> Iterator[record.Row]:
    """Train nets, whatever the record has; yield a `bookkit.record.row` per net, as it is done.

    With `all_ways` they are evaluated in all `bsn.curves.WAYS` after the last epoch.
    """
    with training_progress(sum(spec.epochs * spec.steps_per_epoch for spec in specs)) as advance:
        if settings.scheduler:
            from bookkit import cluster

            pool = cluster.submitter(settings.scheduler, data)
        else:
            pool = _threads(settings.threads, data, advance)
        with pool as (submit, threads):
            groups = side_by_side(specs, threads)
            tasks = [submit(group, engines.of(group[0], engine), all_ways) for group in groups]
            for task in concurrent.futures.as_completed(tasks):
                rows = task.result()
                if settings.scheduler:
                    advance(sum(row["epochs"] * row["steps_per_epoch"] for row in rows))
                yield from rows


@contextlib.contextmanager
def _threads(count: int, data: Data, show: Callable[[int], object]) -> Iterator[tuple[engines.Submit, int]]:
    """Yield a function that submits a batch of nets to threads of this machine, and their number."""
    stopped, lock = threading.Event(), threading.Lock()

    def advance(steps: int) -> None:
        if stopped.is_set():
            raise concurrent.futures.CancelledError
        with lock:
            show(steps)

    with threadpoolctl.threadpool_limits(1, "blas"), concurrent.futures.ThreadPoolExecutor(count) as pool:
        try:
            yield (
                lambda batch, engine, all_ways: pool.submit(
                    engines.train_together, batch, data, engine, all_ways, advance
                ),
                count,
            )
        except BaseException:  # Ctrl-C too: the threads notice at their next record
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def side_by_side(specs: Sequence[Spec], threads: int) -> list[list[Spec]]:
    """Return groups of specs, each trained together by one thread, the longest work first."""
    largest = min(SIDE_BY_SIDE, -(-len(specs) // threads))
    groups = [
        [specs[net] for net in part]
        for nets in alike(specs)
        for part in np.array_split(nets, -(-len(nets) // largest))
    ]
    return sorted(groups, key=lambda group: -len(group) * group[0].epochs * sum(group[0].hidden))


def final_accuracies(curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row per net: the accuracy after its last epoch, as `final`, with the other columns."""
    ends = curves[curves.metric == "epoch"]
    last = ends.loc[ends.groupby("net").step.idxmax()]
    return last.rename(columns={"value": "final"}).drop(columns="metric").reset_index(drop=True)
