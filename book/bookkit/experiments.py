"""Every experiment's settings, and what the records have of them."""

import functools
from collections.abc import Iterable, Sequence

import pandas as pd

from bookkit import record
from bookkit.paths import EXPERIMENTS, RECORD
from bsn.spec import Spec

SETTINGS = [
    "estimator", "learning_rate", "hidden", "slope_rate", "slope_in_training", "slope_in_evaluation",
    "train_mode", "eval_mode", "stable_loss", "zero_biases", "train_on", "evaluate_on", "epochs",
]  # fmt: skip
STEPS_PER_EPOCH = 1001  # the post
EARLY = 3  # epochs that tell how fast a net learns
CSV = [
    "experiment", "label", "engine", "estimator", "hidden", "learning_rate", "slope_rate",
    "slope_in_training", "train_mode", "eval_mode", "stable_loss", "dataset", "seed", "epochs",
    "final_validation_accuracy", "final_training_accuracy", "diverged", "seconds",
]  # fmt: skip


def table() -> pd.DataFrame:
    """Read the post's settings, and those that question them; `published` is NaN if there is no number."""
    return pd.read_csv(EXPERIMENTS, dtype={"experiment": str, "hidden": str})


def specs(seeds: Iterable[int], published: bool = False) -> list[Spec]:
    """Return the specs of all experiments, or of those with a published number, at these seeds, each once."""
    chosen = table().dropna(subset="published") if published else table()
    rows = chosen[SETTINGS].drop_duplicates().to_dict("records")
    settings = [{str(name): value for name, value in row.items()} for row in rows]
    for row in settings:
        row["hidden"] = [int(width) for width in row["hidden"].split("-")]
    return [Spec(**row, seed=seed) for seed in seeds for row in settings]


@functools.cache
def book_rows() -> list[record.Row]:
    """Return the book's record."""
    return record.read(RECORD)


def measures(rows: Iterable[record.Row]) -> pd.DataFrame:
    """Return what is compared of recorded nets.

    Returns:
        One row per net and experiment it belongs to, in the order of the experiments: `experiment`, `label`,
        `published`, `SETTINGS`, `engine`, `dataset`, `seed`, `final` (accuracy after the last epoch),
        `training` (at the last record), `early` (mean validation accuracy over the first `EARLY` epochs),
        `early training`, `gap` (training less validation accuracy at the last record), `diverged`, `seconds`.
    """
    curves = record.curves(list(rows))
    curves = curves[curves.steps_per_epoch == STEPS_PER_EPOCH]
    metrics = ["epoch", "training", "validation"]  # columns even if no net is as long as the post's
    last = curves.pivot_table("value", "net", "metric", aggfunc="last").reindex(columns=metrics)
    early = curves[curves.after_epoch < EARLY].pivot_table("value", "net", "metric").reindex(columns=metrics)
    frame = curves.drop_duplicates("net").set_index("net")
    frame = frame[[*SETTINGS, "engine", "dataset", "seed", "seconds"]].assign(
        final=last.epoch, training=last.training, early=early.validation,
        gap=last.training - last.validation, diverged=frame.diverged_step >= 0,
    )  # fmt: skip
    frame["early training"] = early.training
    frame = frame.merge(table().reset_index(names="order"), on=SETTINGS)
    return frame.sort_values(["order", "dataset", "seed"], ignore_index=True).drop(columns="order")


def nets(rows: Sequence[record.Row]) -> pd.DataFrame:
    """Return one row per net and experiment it belongs to, with the columns `CSV`."""
    if not rows:
        return pd.DataFrame(columns=CSV)
    names = {"final": "final_validation_accuracy", "training": "final_training_accuracy"}
    frame = measures(rows).rename(columns=names)
    frame["experiment"] = frame.experiment.astype(str).str[0]
    for name in ("slope_in_training", "stable_loss", "diverged"):
        frame[name] = frame[name].map({True: "true", False: "false"})
    return frame[CSV]


def summary(name: str, rows: Sequence[record.Row]) -> str:
    """Describe a record in a few lines."""
    if not rows:
        return f"{name}: no nets"
    frame = pd.DataFrame(rows)
    lines = [f"{name}: nets trained: {len(rows)}; core-hours: {frame.seconds.sum() / 3600:.2f}"]
    for column in ("dataset", "semantics", "machine", "versions", "date"):
        lines.append(f"{column}: " + "; ".join(map(str, sorted(frame[column].unique()))))
    counts = nets(rows).groupby(["dataset", "experiment", "label"], sort=False).seed.agg(seeds="nunique")
    return "\n".join([*lines, counts.reset_index().to_string(index=False)])
