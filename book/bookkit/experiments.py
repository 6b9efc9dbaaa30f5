"""Every experiment's settings, and what the records have of them."""

import functools
import os

import numpy as np
import pandas as pd

from bookkit import record
from bookkit.paths import EXPERIMENTS, RECORD, ROOT
from bsn.errors import InputError
from bsn.spec import Spec

SETTINGS = [
    "estimator", "learning_rate", "hidden", "slope_rate", "slope_in_training", "slope_in_evaluation",
    "train_mode", "eval_mode", "stable_loss", "zero_biases", "train_on", "evaluate_on", "epochs",
]  # fmt: skip
STEPS_PER_EPOCH = 1001  # the post
EARLY = 3  # epochs that tell how fast a net learns
LEAST_SEEDS = 10  # of the book's record
CSV = [
    "experiment", "label", "estimator", "hidden", "learning_rate", "slope_rate", "slope_in_training",
    "train_mode", "eval_mode", "stable_loss", "dataset", "seed", "epochs", "final_validation_accuracy",
    "final_training_accuracy", "diverged", "seconds",
]  # fmt: skip


def table():
    """A row a setting: `experiment`, `label`, `published` (NaN where the post has no number), `SETTINGS`.

    From `book/experiments.csv`: the post's settings, and those that question them.
    """
    return pd.read_csv(EXPERIMENTS, dtype={"experiment": str, "hidden": str})


def specs(seeds):
    """The specs of all experiments at these seeds, each once."""
    rows = table()[SETTINGS].drop_duplicates().to_dict("records")
    for row in rows:
        row["hidden"] = [int(width) for width in row["hidden"].split("-")]
    return [Spec(**row, seed=seed) for seed in seeds for row in rows]


@functools.cache
def book_rows():
    """The book's record, as rows of `bookkit.record`; none where there is no record."""
    return record.read(RECORD) if RECORD.exists() else []


def measures(kept):
    """What is compared of recorded nets, given as rows of `bookkit.record`.

    Returns:
        A DataFrame, a row a net and experiment it belongs to, in the order of the experiments:
        `experiment`, `label`, `published`, `SETTINGS`, `dataset`, `seed`, `final` (accuracy after the last
        epoch), `training` (at the last record), `early` (mean validation accuracy over the first
        three epochs), `early training` (the same of the training accuracy), `gap` (training less
        validation accuracy at the last record), `diverged`, `seconds`.
    """
    apart = []
    for made in kept:
        after, metric, value = (np.array(made[name]) for name in ("after_epoch", "metric", "value"))
        chosen = {name: metric == name for name in ("training", "validation", "epoch")}
        soon = {name: value[of & (after < EARLY)].mean() for name, of in chosen.items()}
        last = {name: value[of][-1] for name, of in chosen.items()}
        fields = (*SETTINGS, "steps_per_epoch", "dataset", "seed", "seconds")
        apart.append(
            {name: made[name] for name in fields}
            | {"final": last["epoch"], "training": last["training"], "early": soon["validation"]}
            | {"early training": soon["training"], "gap": last["training"] - last["validation"]}
            | {"diverged": made["diverged_step"] >= 0}
        )
    found = pd.DataFrame(apart)
    found = found[found.steps_per_epoch == STEPS_PER_EPOCH].drop(columns="steps_per_epoch")
    found = found.merge(table().reset_index(names="order"), on=SETTINGS)
    return found.sort_values(["order", "dataset", "seed"], ignore_index=True).drop(columns="order")


def nets(rows):
    """A row a net and experiment it belongs to, with the columns `CSV`, in the order of the experiments."""
    if not rows:
        return pd.DataFrame(columns=CSV)
    names = {"final": "final_validation_accuracy", "training": "final_training_accuracy"}
    found = measures(rows).rename(columns=names)
    found["experiment"] = found.experiment.str[0]
    for name in ("slope_in_training", "stable_loss", "diverged"):
        found[name] = found[name].map({True: "true", False: "false"})
    return found[CSV]


def summary(name, rows):
    """A record in a few lines."""
    if not rows:
        return f"{name}: no nets"
    frame = pd.DataFrame(rows)
    broken = (frame.diverged_step >= 0).sum()
    lines = [f"{name}: {len(rows)} nets, {broken} of them with a loss that stopped being finite"]
    lines.append(f"core-hours: {frame.seconds.sum() / 3600:.2f}")
    for column in ("dataset", "semantics", "machine", "versions", "date"):
        lines.append(f"{column}: " + "; ".join(map(str, sorted(frame[column].unique()))))
    seeds = nets(rows).groupby(["dataset", "experiment", "label"], sort=False).seed.nunique()
    lines += [
        f"{dataset}  {number}  {label}: {count} seeds" for (dataset, number, label), count in seeds.items()
    ]
    return "\n".join(lines)


def complete(rows):
    """Seed -> this build's nets of the experiments on MNIST, for the seeds that every setting has."""
    kept = {made["key"]: made for made in rows if made["dataset"] == "mnist"}
    found = {}
    for seed, data in sorted({(made["seed"], made["data"]) for made in kept.values()}):
        keys = [record.key(spec, data) for spec in specs([seed])]
        if all(name in kept for name in keys):
            found[seed] = [kept[name] for name in keys]
    return found


def enough(found, purpose):
    """Raise `InputError` unless `complete` has found at least `LEAST_SEEDS`."""
    if len(found) < LEAST_SEEDS:
        raise InputError(
            f"record: this build's record has every setting of the experiments on MNIST at {len(found)} "
            f"seeds that serve; expected at least {LEAST_SEEDS} to {purpose} (see bsn build --profile full)"
        )


def adopt(rows):
    """Make this build's nets of the experiments, on MNIST, the book's record.

    It takes the seeds that every setting has; there must be at least `LEAST_SEEDS`.

    Raises:
        InputError: too few seeds, or a record that cannot be read or written.
    """
    if RECORD.exists():
        record.read(RECORD)  # one that cannot be read is not overwritten
    found = complete(rows)
    enough(found, "adopt")
    record.write(RECORD, [made for nets in found.values() for made in nets])
    size = os.path.getsize(RECORD) / 2**20
    count = sum(map(len, found.values()))
    return f"{count} nets, {len(found)} seeds a setting, {size:.1f} MiB, in {RECORD.relative_to(ROOT)}"
