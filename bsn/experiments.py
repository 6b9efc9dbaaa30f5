"""Every experiment's settings, and what the records have of them."""

import os

import pandas as pd

from bsn import record, training
from bsn.errors import InputError
from bsn.paths import EXPERIMENTS, RECORD, ROOT
from bsn.spec import Spec

SETTINGS = [
    "estimator", "learning_rate", "hidden", "slope_rate", "slope_in_training", "slope_in_evaluation",
    "train_mode", "eval_mode", "stable_loss", "train_on", "evaluate_on", "epochs",
]  # fmt: skip
STEPS_PER_EPOCH = 1001  # the post
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


def specs(seeds, dataset="mnist"):
    """The specs of all experiments at these seeds, each once."""
    rows = table()[SETTINGS].drop_duplicates().to_dict("records")
    for row in rows:
        row["hidden"] = [int(width) for width in row["hidden"].split("-")]
    return [Spec(**row, dataset=dataset, seed=seed) for seed in seeds for row in rows]


def rows(build=False):
    """The book's record, or this build's, as rows of `bsn.record`."""
    if build:
        return record.read_all(record.folder() or "")
    if not RECORD.exists():
        return []
    return record.read(RECORD)


def nets(build=False):
    """A row a net and experiment it belongs to, with the columns `CSV`, in the order of the experiments."""
    kept = rows(build)
    if not kept:
        return pd.DataFrame(columns=CSV)
    finals = training.final_accuracies(record.curves(kept)).rename(
        columns={"final": "final_validation_accuracy"}
    )
    finals["final_training_accuracy"] = [_last_training(made) for made in kept]
    finals["diverged"] = finals.diverged_step >= 0
    order = table().reset_index(names="order")
    finals = finals[finals.steps_per_epoch == STEPS_PER_EPOCH]
    found = finals.merge(order, on=SETTINGS).sort_values(["order", "dataset", "seed"])
    found["experiment"] = found.experiment.str[0]
    return found[CSV].replace({True: "true", False: "false"}).reset_index(drop=True)


def _last_training(made):
    return [value for metric, value in zip(made["metric"], made["value"]) if metric == "training"][-1]


def summary(build=False):
    """A record in a few lines."""
    kept = rows(build)
    name = "this build's record" if build else "the book's record"
    if not kept:
        return f"{name}: no nets"
    frame = pd.DataFrame(kept)
    broken = (frame.diverged_step >= 0).sum()
    lines = [f"{name}: {len(kept)} nets, {broken} of them with a loss that stopped being finite"]
    lines.append(f"core-hours: {frame.seconds.sum() / 3600:.2f}")
    for column in ("dataset", "semantics", "machine", "versions", "date"):
        lines.append(f"{column}: " + "; ".join(map(str, sorted(frame[column].unique()))))
    seeds = nets(build).groupby(["experiment", "label"], sort=False).seed.nunique()
    lines += [f"{experiment}  {label}: {count} seeds" for (experiment, label), count in seeds.items()]
    return "\n".join(lines)


def adopt():
    """Write the nets of this build's record that belong to the experiments, on MNIST, to the book's."""
    wanted = {record.key(spec, made["data"]): made for spec, made in _belonging()}
    if not wanted:
        raise InputError("record: this build's record has no net of the experiments on MNIST to adopt")
    record.write(RECORD, [made for _, made in sorted(wanted.items())])
    size = os.path.getsize(RECORD) / 2**20
    return f"{len(wanted)} nets, {size:.1f} MiB, in {RECORD.relative_to(ROOT)}"


def _belonging():
    kept = [made for made in rows(build=True) if made["dataset"] == "mnist"]
    seeds = sorted({made["seed"] for made in kept})
    by_key = {made["key"]: made for made in kept}
    for spec in specs(seeds):
        for data in {made["data"] for made in kept}:
            name = record.key(spec, data)
            if name in by_key:
                yield spec, by_key[name]
