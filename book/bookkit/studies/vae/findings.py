"""What follows from trained VAEs: final bounds, a ranking, and verdicts on published orderings."""

import numpy as np
import pandas as pd

from bookkit import statistics
from bookkit.paths import TABLES
from bsn.estimators import ESTIMATORS

LAST = 1000  # steps over which a training bound is the mean
MEASURES = {"train": "training bound", "test": "test bound"}


def published():
    """Orderings that papers report, `first` above `second`, with their numbers where they are known."""
    return pd.read_csv(TABLES / "vae_published.csv")


def training_bound(nets, step=None):
    """Mean ELBO over the `LAST` steps before a step, or over all where they are fewer: a value a net."""
    ends = nets.steps if step is None else np.full(len(nets), step)
    return pd.Series(
        [
            curve[max(0, end - LAST) // every : end // every].mean()
            for curve, end, every in zip(nets.curve, ends, nets.every)
        ],
        nets.index,
    )


def bounds(nets, measure, step=None):
    """A table of one architecture's bounds, a row a seed and a column an estimator."""
    values = nets.test_bound if measure == "test" else training_bound(nets, step)
    return nets.assign(value=values).pivot(index="seed", columns="estimator", values="value")


def ranking(nets, level=statistics.LEVEL):
    """One architecture's estimators, the best training bound first.

    Columns: `train` and `test`, means over the seeds; `behind`, `low`, `high`: by how much the
    training bound is below the first's, seed by seed, with an interval; all intervals hold together.
    """
    train, test = bounds(nets, "train"), bounds(nets, "test")
    order = train.mean().sort_values(ascending=False).index
    each = 1 - (1 - level) / (len(order) - 1)
    rows = []
    for name in order:
        behind = train[order[0]] - train[name]
        low, high = (np.nan, np.nan) if name == order[0] else statistics.mean_interval(behind, each)
        rows.append((train[name].mean(), test[name].mean(), behind.mean(), low, high))
    return pd.DataFrame(rows, index=order, columns=["train", "test", "behind", "low", "high"])


def show_ranking(table):
    """A `ranking` for a page."""
    shown = pd.DataFrame(index=table.index.rename(None))
    shown["training bound"] = table.train.map("{:.2f}".format)
    shown["100-sample test bound"] = table.test.map("{:.2f}".format)
    shown["behind the first"] = table.behind.map("{:.2f}".format).where(table.low.notna(), "–")
    shown["interval"] = _intervals(table).where(table.low.notna(), "–")
    shown["bias"] = [ESTIMATORS[name].bias.split(",")[0] for name in table.index]
    return shown.style.set_properties(["interval"], **{"white-space": "nowrap"})


def _intervals(table):
    texts = [f"{low:+.2f} to {high:+.2f}" for low, high in zip(table.low, table.high)]
    return pd.Series(texts, table.index)


def orderings(nets, step=None, level=statistics.LEVEL):
    """The published orderings that these nets can be held against, each with a verdict.

    Args:
        nets: one row per net, as from `bookkit.studies.vae.runs.frame`.
        step: of the training bound, the last by default.
            At a step that is named the orderings of the test bound are left out, though counted: intervals
            of one width at all steps.

    Returns:
        The rows of `published` with `effect`, the mean over seeds of the first's bound less the
        second's, its interval `low` to `high`, `seeds` and `verdict`. All intervals hold together.
    """
    tables = {
        (one, measure): bounds(part, measure, step)
        for one, part in nets.groupby("architecture")
        for measure in MEASURES
    }
    rows = []
    for row in published().to_dict("records"):
        table = tables.get((row["architecture"], row["measure"]))
        if table is not None and {row["first"], row["second"]} <= set(table) and len(table) > 1:
            rows.append((row, (table[row["first"]] - table[row["second"]]).to_numpy()))
    each = 1 - (1 - level) / max(1, len(rows))
    found = []
    for row, effects in rows:
        if step is not None and row["measure"] != "train":
            continue
        low, high = statistics.mean_interval(effects, each)
        found.append(row | {"effect": effects.mean(), "low": low, "high": high, "seeds": len(effects)})
        found[-1]["verdict"] = statistics.region_verdict(low, high, 0, np.inf)
    return pd.DataFrame(found)


def show_orderings(table):
    """`orderings` for a page."""
    shown = pd.DataFrame()
    shown["claim"] = [f"{a} > {b}" for a, b in zip(table["first"], table["second"])]
    shown["net"] = table.architecture.to_numpy()
    shown["bound"] = table.measure.to_numpy()
    published = (table.first_bound - table.second_bound).map("{:+.2f}".format)
    shown["published"] = published.where(table.first_bound.notna(), "order only").to_numpy()
    shown["here"] = table.effect.map("{:+.2f}".format).to_numpy()
    shown["interval"] = _intervals(table).to_numpy()
    shown["verdict"] = table.verdict.to_numpy()
    return shown.style.hide(axis="index").set_properties(["interval"], **{"white-space": "nowrap"})


def along(nets, steps):
    """Verdicts on the orderings of the training bound after each of some numbers of steps, a column each."""
    columns = {}
    for step in steps:
        table = orderings(nets, step)
        names = [f"{row.first} > {row.second}, {row.architecture}" for row in table.itertuples()]
        columns[f"{step:,} steps"] = pd.Series(
            [f"{effect:+.2f}: {verdict}" for effect, verdict in zip(table.effect, table.verdict)], names
        )
    return pd.DataFrame(columns)


def slope(nets):
    """Nats that the training bound gained in the last `LAST` steps, the mean over the nets."""
    last, before = training_bound(nets), training_bound(nets, int(nets.steps.iloc[0]) - LAST)
    return float((last - before).mean())
