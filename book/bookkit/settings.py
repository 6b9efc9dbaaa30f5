"""Where data and records are kept, and where nets train: read from the environment here and nowhere else."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from bookkit.paths import BUILD
from bsn.errors import InputError, shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user sets once for all chapters."""

    mnist_dir: pathlib.Path | None = None  # folder with MNIST's four original files; None: TFDS's own cache
    record: pathlib.Path | None = BUILD / "record"  # folder of this build's record; None keeps nothing
    fresh: bool = False  # whether to retrain what the record has
    scheduler: str | None = None  # address of a Dask scheduler whose workers train; None: this machine
    threads: int = 1  # that train on this machine

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read BSN_MNIST_DIR, BSN_RECORD, BSN_FRESH, BSN_SCHEDULER and BSN_THREADS.

        An empty BSN_RECORD means no record; an empty BSN_SCHEDULER means this machine. If BSN_SCHEDULER is
        not set, Dask's own configuration (scheduler-address) applies.

        Raises:
            InputError: BSN_THREADS is not an integer from 1 to 9999, or BSN_RECORD is not a separate folder.
        """
        import dask  # late: it takes its time

        folder, record = environment.get("BSN_MNIST_DIR"), environment.get("BSN_RECORD")
        return cls(
            mnist_dir=pathlib.Path(folder).absolute() if folder else None,
            record=cls.record if record is None else _record(record),
            fresh=bool(environment.get("BSN_FRESH")),
            scheduler=environment.get("BSN_SCHEDULER", dask.config.get("scheduler-address", None)) or None,
            threads=_threads(environment.get("BSN_THREADS")),
        )

    def environment(self) -> dict[str, str]:
        """The variables from which another process reads the same settings."""
        return {f"BSN_{name.upper()}": str(value or "") for name, value in vars(self).items()}


def _record(given: str) -> pathlib.Path | None:
    if not given:
        return None
    folder = pathlib.Path(given).absolute()
    if folder.exists() and (not folder.is_dir() or folder.resolve() in (BUILD, *BUILD.parents)):
        raise InputError(f"BSN_RECORD is {shown(given)}; expected a folder of its own, which may be missing")
    return folder


def _threads(given: str | None) -> int:
    if given is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (given.isdecimal() and len(given) < 5 and int(given)):
        raise InputError(f"BSN_THREADS is {shown(given)}; expected a whole number from 1 to 9999")
    return int(given)
