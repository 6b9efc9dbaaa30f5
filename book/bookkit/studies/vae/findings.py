"""What follows from trained VAEs: final bounds, a ranking, and verdicts on published orderings.

Nets are one row each, as from `bookkit.studies.vae.runs.frame`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import statistics
from bookkit.figures.style import intervals, styled
from bookkit.paths import TABLES
from bsn.estimators import ESTIMATORS

TAIL = 1000  # steps over which a training bound is the mean
MEASURES = {"train": "training bound", "test": "test bound"}


def published() -> pd.DataFrame:
    """Read orderings that papers report, `first` above `second`, with their bounds if they are known."""
    return pd.read_csv(TABLES / "vae_published.csv")


def training_bound(nets: pd.DataFrame, step: int | None = None) -> pd.Series:
    """Return each net's mean ELBO over the `TAIL` steps, or fewer, before a step; the last by default."""
    ends = nets.steps if step is None else [step] * len(nets)
    bounds = [
        curve[max(0, end - TAIL) // every : end // every].mean()
        for curve, end, every in zip(nets.curve, ends, nets.every)
    ]
    return pd.Series(bounds, nets.index, float)


def gain(nets: pd.DataFrame) -> float:
    """Return by how many nats the training bound rose in the last `TAIL` steps, on average."""
    return float((training_bound(nets) - training_bound(nets, int(nets.steps.iloc[0]) - TAIL)).mean())


def bounds(nets: pd.DataFrame, measure: str, step: int | None = None) -> pd.DataFrame:
    """Return one architecture's bounds, one row per seed and one column per estimator."""
    values = nets.test_bound if measure == "test" else training_bound(nets, step)
    return nets.assign(value=values).pivot(index="seed", columns="estimator", values="value")


def ranking(nets: pd.DataFrame, level: float = statistics.LEVEL) -> pd.DataFrame:
    """Rank one architecture's estimators, the best training bound first.

    Returns:
        One row per estimator: `train` and `test`, means over the seeds; `behind`, `low`, `high`: the first's
        training bound minus this one's, paired by seed, and its interval, of joint coverage `level`.
    """
    train, test = bounds(nets, "train"), bounds(nets, "test")
    order = train.mean().sort_values(ascending=False).index
    behind = train[order].rsub(train[order[0]], axis=0)
    low, high = statistics.mean_interval(behind, 1 - (1 - level) / (len(order) - 1))
    columns = {"train": train.mean(), "test": test.mean(), "behind": behind.mean()}
    table = pd.DataFrame(columns).loc[order].assign(low=low, high=high)
    table.loc[order[0], ["low", "high"]] = np.nan
    return table


def show_ranking(table: pd.DataFrame) -> Styler:
    """Format a `ranking` for a page."""
    columns = {
        "training bound": table.train,
        "100-sample test bound": table.test,
        "behind the first": table.behind.where(table.low.notna()),
    }
    page = pd.DataFrame({"estimator": table.index, **columns}, table.index)
    page["interval"] = intervals(table.low, table.high, "+.2f")
    page["bias"] = [ESTIMATORS[name].bias.split(",")[0] for name in table.index]
    return styled(page, dict.fromkeys(columns, "{:.2f}"))


def orderings(nets: pd.DataFrame, step: int | None = None, level: float = statistics.LEVEL) -> pd.DataFrame:
    """Judge the published orderings that these nets can be compared with.

    Args:
        step: of the training bound, the last by default. At a step that is named the orderings of the test
            bound are left out, though counted: intervals have one width at all steps.

    Returns:
        The rows of `published` with `effect`, the mean over seeds of the first's bound minus the
        second's, its interval `low` to `high`, of joint coverage `level`, `seeds` and `verdict`.
    """
    tables = {
        (architecture, measure): bounds(part, measure, step)
        for architecture, part in nets.groupby("architecture")
        for measure in MEASURES
    }
    pairs = []
    for row in published().to_dict("records"):
        table = tables.get((row["architecture"], row["measure"]), pd.DataFrame())
        if {row["first"], row["second"]} <= set(table) and len(table) > 1:
            pairs.append((row, table[row["first"]] - table[row["second"]]))
    rows = []
    for row, effects in pairs:
        low, high = statistics.mean_interval(effects, 1 - (1 - level) / len(pairs))
        verdict = statistics.region_verdict(low, high, 0, np.inf)
        row |= {"effect": effects.mean(), "low": low, "high": high, "seeds": len(effects), "verdict": verdict}
        if step is None or row["measure"] == "train":
            rows.append(row)
    return pd.DataFrame(rows)


def along(nets: pd.DataFrame, steps: Iterable[int]) -> pd.DataFrame:
    """Return the `orderings` after each of some numbers of steps, with a column `step`."""
    return pd.concat([orderings(nets, step).assign(step=step) for step in steps])


def _claims(table: pd.DataFrame) -> pd.DataFrame:
    claims = [f"{first} > {second}" for first, second in zip(table["first"], table["second"])]
    return pd.DataFrame({"claim": claims, "net": table.architecture.to_numpy()}, table.index)


def show_orderings(table: pd.DataFrame) -> Styler:
    """Format `orderings` for a page."""
    gaps = (table.first_bound - table.second_bound).map("{:+.2f}".format)
    page = _claims(table)
    page["bound"], page["published"] = table.measure, gaps.where(table.first_bound.notna(), "order only")
    page["here"], page["interval"] = table.effect, intervals(table.low, table.high, "+.2f")
    page["verdict"] = table.verdict
    return styled(page, {"here": "{:+.2f}"})


def show_along(table: pd.DataFrame) -> Styler:
    """Format `along` for a page: one column per number of steps."""
    cells = [f"{effect:+.2f}: {verdict}" for effect, verdict in zip(table.effect, table.verdict)]
    page = _claims(table).assign(cell=cells, step=table.step.map("{:,} steps".format))
    page = page.pivot_table("cell", ["claim", "net"], "step", "first", sort=False)
    return styled(page.reset_index())
