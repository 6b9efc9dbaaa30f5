"""What follows from trained VAEs: final bounds, a ranking, and verdicts on published orderings.

Nets are one row each, as from `bookkit.studies.vae.runs.frame`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import statistics
from bookkit.figures.style import LINES, SERIES, Figure, Style, intervals, panels, shared_legend, styled
from bookkit.paths import TABLES
from bsn.estimators import ESTIMATORS

POINTS = 10  # of a curve that is drawn
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


def spreads(nets: pd.DataFrame) -> tuple[float, float]:
    """Return within how many nats lie the published bounds, and the same estimators' mean training bounds."""
    known = published().dropna()
    here = bounds(nets, "train").mean()[np.union1d(known["first"], known["second"])]
    return known.first_bound.max() - known.second_bound.min(), here.max() - here.min()


def ranking(nets: pd.DataFrame) -> pd.DataFrame:
    """Rank one architecture's estimators, the best training bound first.

    Returns:
        One row per estimator: `train` and `test`, means over the seeds; `behind`, `low`, `high`: the first's
        training bound minus this one's, paired by seed, and its interval, of joint coverage 95 %.
    """
    train, test = bounds(nets, "train"), bounds(nets, "test")
    order = train.mean().sort_values(ascending=False).index
    behind = train[order].rsub(train[order[0]], axis=0)
    low, high = statistics.mean_interval(behind, 1 - (1 - statistics.LEVEL) / (len(order) - 1))
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


def curves(nets: pd.DataFrame, title: str, reference: str | None = None) -> Figure:
    """Draw the training bound by step, its mean over seeds, one panel per architecture.

    All nets have one length and equal seeds. The bound of an estimator `reference` is subtracted.
    """
    architectures, estimators = list(nets.architecture.unique()), list(nets.estimator.unique())
    figure, axes = panels(architectures, 1, 2.6, 1.1, sharey=False)
    panel, every = dict(zip(architectures, axes)), nets.every.iloc[0]
    width = max(1, len(nets.curve.iloc[0]) // POINTS)
    groups: Any = nets.groupby(["architecture", "estimator"], sort=False).curve
    means = {names: np.mean(list(seeds), 0) for names, seeds in groups}
    tables = []
    for (architecture, name), curve in means.items():
        bound = curve - means[architecture, reference] if reference else curve
        bound = bound[: len(bound) // width * width].reshape(-1, width).mean(1)
        step = width * every * np.arange(1, len(bound) + 1)
        line, colour = divmod(estimators.index(name), len(SERIES))
        style: Style = dict(color=SERIES[colour], linestyle=LINES[line % len(LINES)], linewidth=1.8)
        panel[architecture].plot(step, bound, label=name, **style)
        columns = {"architecture": architecture, "estimator": name, "step": step, "bound": bound}
        tables.append(pd.DataFrame(columns))
    for axis in axes:
        axis.set_ylabel("Nats" if reference else "Training bound, nats")
    axes[-1].set_xlabel("Steps")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(title)
    shared_legend(figure, ncols=3, handlelength=2.4)
    return Figure(figure, f"{title}, in nats, one curve per estimator.", pd.concat(tables))


def orderings(nets: pd.DataFrame, step: int | None = None) -> pd.DataFrame:
    """Judge the published orderings that these nets, of equal seeds for all estimators, can be compared with.

    At a `step` that is named the orderings of the test bound are left out, though counted: intervals have one
    width at all steps.

    Returns:
        The rows of `published` with `claim`; `effect`, the mean over seeds of the first's bound minus the
        second's; its interval `low` to `high`, of joint coverage 95 %; `verdict`.
    """
    tables = {
        (architecture, measure): bounds(part, measure, step)
        for architecture, part in nets.groupby("architecture")
        for measure in MEASURES
    }
    rows, effects = [], []
    for row in published().to_dict("records"):
        table = tables.get((row["architecture"], row["measure"]), pd.DataFrame())
        if {row["first"], row["second"]} <= set(table):
            rows.append(row | {"claim": f"{row['first']} > {row['second']}"})
            effects.append(table[row["first"]] - table[row["second"]])
    low, high = statistics.mean_interval(np.transpose(effects), 1 - (1 - statistics.LEVEL) / len(rows))
    verdict = statistics.region_verdict(low, high, 0, np.inf)
    judged = pd.DataFrame(rows).assign(effect=np.mean(effects, 1), low=low, high=high, verdict=verdict)
    return judged if step is None else judged[judged.measure == "train"]


def along(nets: pd.DataFrame, steps: Iterable[int]) -> pd.DataFrame:
    """Return the `orderings` after each of some numbers of steps, with a column `step`."""
    return pd.concat([orderings(nets, step).assign(step=step) for step in steps])


def show_orderings(table: pd.DataFrame) -> Styler:
    """Format `orderings` for a page."""
    gaps = (table.first_bound - table.second_bound).map("{:+.2f}".format)
    gaps = gaps.where(table.first_bound.notna(), "order only")
    page = table.assign(published=gaps)
    page["interval"] = intervals(table.low, table.high, "+.2f")
    page = page.rename(columns={"architecture": "net", "measure": "bound", "effect": "here"})
    columns = ["claim", "net", "bound", "published", "here", "interval", "verdict"]
    return styled(page[columns], {"here": "{:+.2f}"})
