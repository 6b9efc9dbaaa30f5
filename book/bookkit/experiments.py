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
    "slope_in_training", "slope_in_evaluation", "train_mode", "eval_mode", "stable_loss", "dataset", "seed",
    "epochs", "final_validation_accuracy", "final_training_accuracy", "diverged", "seconds",
]  # fmt: skip


def table() -> pd.DataFrame:
    """Read the post's settings, and those that question them.

    Returns:
        `published` is NaN if the post has no number, `exploratory` whether the exploratory record has it.
    """
    return pd.read_csv(EXPERIMENTS, dtype={"experiment": str, "hidden": str})


def specs(seeds: Iterable[int], published: bool = False) -> list[Spec]:
    """Return the specs of the exploratory nets, or of the published numbers, at these seeds, each once."""
    chosen = table().dropna(subset="published") if published else table().query("exploratory")
    rows = chosen[SETTINGS].drop_duplicates().to_dict("records")
    settings = [{str(name): value for name, value in row.items()} for row in rows]
    for row in settings:
        row["hidden"] = [int(width) for width in row["hidden"].split("-")]
    return [Spec(**row, seed=seed) for seed in seeds for row in settings]


def exploratory(settings: pd.DataFrame) -> pd.DataFrame:
    """Return those rows of `settings` whose nets the exploratory record has."""
    return settings.merge(table().query("exploratory")[SETTINGS].drop_duplicates())


@functools.cache
def book_rows() -> list[record.Row]:
    """Return the book's record of the exploratory nets."""
    return record.read(RECORD)


def measures(rows: Iterable[record.Row]) -> pd.DataFrame:
    """Return what is compared of recorded nets.

    Returns:
        One row per net: `SETTINGS`, `engine`, `dataset`, `seed`, `final` (accuracy after the last epoch),
        `training` (at the last record), `early` (mean validation accuracy over the first `EARLY` epochs),
        `early training`, `diverged`, `seconds`.
    """
    curves = record.curves(list(rows))
    curves = curves[curves.steps_per_epoch == STEPS_PER_EPOCH]
    metrics = ["epoch", "training", "validation"]  # columns even if no net is as long as the post's
    last = curves.pivot_table("value", "net", "metric", aggfunc="last").reindex(columns=metrics)
    early = curves[curves.after_epoch < EARLY].pivot_table("value", "net", "metric").reindex(columns=metrics)
    frame = curves.drop_duplicates("net").set_index("net")
    frame = frame[[*SETTINGS, "engine", "dataset", "seed", "seconds"]].assign(
        final=last.epoch, training=last.training, early=early.validation, diverged=frame.diverged_step >= 0
    )  # fmt: skip
    return frame.assign(**{"early training": early.training}).reset_index(drop=True)


def labelled(nets: pd.DataFrame) -> pd.DataFrame:
    """Return a row of `nets`, each once, for each experiment it belongs to, in the order of `table`.

    Args:
        nets: `measures`, or `bookkit.confirmatory.evaluations`; the columns of `table` are added.
    """
    distinct = nets.drop_duplicates([*SETTINGS, "dataset", "engine", "seed"])
    frame = distinct.merge(table().reset_index(names="order"), on=SETTINGS)
    return frame.sort_values(["order", "dataset", "seed"], ignore_index=True).drop(columns="order")


def nets(nets: pd.DataFrame) -> pd.DataFrame:
    """Return one row per net, evaluation and experiment it belongs to, with the columns `CSV`.

    Args:
        nets: as for `labelled`. A way of evaluation that no experiment has is added to the net's label, and a
            net that belongs to none has its registered name.
    """
    settings = table()
    known = labelled(nets)
    trained = [name for name in SETTINGS if name not in ("eval_mode", "slope_in_evaluation")]
    others = nets.merge(settings[SETTINGS].drop_duplicates(), "left", indicator=True).query(
        "_merge == 'left_only'"
    )
    labels = settings.drop_duplicates(trained)[[*trained, "experiment", "label"]]
    if "way" in others:
        others = others.merge(labels, "left", on=trained)
        others["label"] = others.label.fillna(others.net) + ", " + others.way
        known = pd.concat([known, others], ignore_index=True)
    names = {"final": "final_validation_accuracy", "training": "final_training_accuracy"}
    frame = known.rename(columns=names)
    frame["experiment"] = frame.experiment.fillna("").str[:1]
    for name in ("slope_in_training", "slope_in_evaluation", "stable_loss", "diverged"):
        frame[name] = frame[name].map({True: "true", False: "false"})
    return frame[CSV]


def summary(name: str, rows: Sequence[record.Row], measured: pd.DataFrame) -> str:
    """Describe a record, and what was measured of its nets, in a few lines."""
    if not rows:
        return f"{name}: no nets"
    frame = pd.DataFrame(rows)
    lines = [f"{name}: nets trained: {len(rows)}; core-hours: {frame.seconds.sum() / 3600:.2f}"]
    for column in ("dataset", "semantics", "machine", "versions", "date"):
        lines.append(f"{column}: " + "; ".join(map(str, sorted(frame[column].unique()))))
    counts = nets(measured).groupby(["dataset", "experiment", "label"], sort=False).seed.agg(seeds="nunique")
    return "\n".join([*lines, counts.reset_index().to_string(index=False)])
