"""The book's records: which nets each of them holds."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bookkit import confirmatory, data, experiments, paths, record, runs
from bookkit.data import Data
from bookkit.settings import Settings
from bookkit.studies import ranking, repeatability
from bookkit.studies.vae import runs as vae

SEEDS = range(1, 11)


def _experiments(source: Data, settings: Settings, engine: str) -> list[record.Row]:
    return runs.rows(experiments.specs(SEEDS, engine == "tensorflow"), source, settings, engine)[0]


Train = Callable[[Data, Settings], list[Any]]
BOOK: dict[str, tuple[Train, Any, Any]] = {
    "confirmatory": (confirmatory.train, paths.CONFIRMATORY, confirmatory.SCHEMA),
    "experiments": (partial(_experiments, engine="compiled"), paths.RECORD, record.SCHEMA),
    "tensorflow": (partial(_experiments, engine="tensorflow"), paths.TENSORFLOW, record.SCHEMA),
    "ranking": (ranking.train, paths.RANKING, record.SCHEMA),
    "costs": (ranking.time_steps, paths.COSTS, ranking.COSTS_SCHEMA),
    "repeatability": (repeatability.train, paths.REPEATABILITY, repeatability.SCHEMA),
    "vae": (lambda *given: vae.train(vae.BOOK_RUNS, *given)[0].to_dict("records"), paths.VAE, vae.SCHEMA),
}


def adopt(name: str, settings: Settings) -> str:
    """Make one of the book's records from this build's, which trains what it lacks; return what it is.

    Raises:
        InputError: MNIST cannot be had, or a record that cannot be read or written: none is written over.
    """
    train, path, schema = BOOK[name]
    if path.exists():
        record.read(path, schema)
    rows = train(data.load("mnist", settings.mnist_dir), settings)
    record.write(path, rows, schema)
    return f"{len(rows)} nets, {path.stat().st_size / 2**20:.1f} MiB, in {path}"


def inventory() -> pd.DataFrame:
    """Return a row for each record of the book: its name, `file`, `rows`, `hours` of one core, `date`."""
    lines = []
    for name, (_, path, schema) in BOOK.items():
        rows = pd.DataFrame(record.read(path, schema))
        hours = rows.seconds.sum() / 3600 if "seconds" in rows else np.nan
        line = {"record": name, "file": f"book/record/{path.name}", "rows": len(rows), "hours": hours}
        lines.append(line | {"date": rows.date.max()})
    return pd.DataFrame(lines)
