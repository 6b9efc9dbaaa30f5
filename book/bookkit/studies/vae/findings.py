"""What follows from trained VAEs: final bounds, a ranking, and verdicts on published orderings.

Nets are one row each, as from `bookkit.studies.vae.runs.read`.
"""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import statistics
from bookkit.figures.style import LINES, SERIES, Figure, intervals, panels, shared_legend, styled
from bookkit.paths import TABLES
from bsn.estimators import ESTIMATORS

POINTS = 10  # of a curve that is drawn
TAIL = 1000  # steps over which a training bound is the mean


def published() -> pd.DataFrame:
    """Read orderings that papers report, `first` above `second`, with their bounds if they are known."""
    return pd.read_csv(TABLES / "vae_published.csv")


def training_bound(nets: pd.DataFrame) -> pd.Series:
    """Return each net's mean ELBO over its last `TAIL` steps, or all if they are fewer."""
    bounds = [np.mean(curve[-TAIL // every :]) for curve, every in zip(nets.curve, nets.every)]
    return pd.Series(bounds, nets.index, float)


def bounds(nets: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return one architecture's bounds, one row per seed and one column per estimator."""
    values = nets.test_bound if measure == "test" else training_bound(nets)
    return nets.assign(value=values).pivot(index="seed", columns="estimator", values="value")


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
    columns = ["training bound", "100-sample test bound", "behind the first"]
    page = table[["train", "test", "behind"]].set_axis(columns, axis=1)
    page.iloc[0, 2] = np.nan
    page["interval"] = intervals(table.low, table.high, "+.2f")
    page["bias"] = [ESTIMATORS[name].bias.split(",")[0] for name in table.index]
    return styled(page.reset_index(), dict.fromkeys(columns, "{:.2f}"))


def curves(nets: pd.DataFrame, title: str, reference: str | None = None) -> Figure:
    """Draw the training bound by step, its mean over seeds, one panel per architecture.

    All nets have one length and equal seeds. The bound of an estimator `reference` is subtracted.
    """
    every, points = nets.every.iloc[0], len(nets.curve.iloc[0])
    width = every * max(1, points // POINTS)
    table = nets[["architecture", "estimator", "curve"]].explode("curve").astype({"curve": float})
    table["step"] = -(np.tile(np.arange(1, points + 1), len(nets)) * every // -width) * width
    means = table.groupby(["architecture", "step", "estimator"], sort=False).curve.mean().unstack()
    means = means[nets.estimator.unique()].sub(means[reference] if reference else 0, axis=0)
    lines = [divmod(i, len(SERIES)) for i in range(means.shape[1])]
    styles, colours = [LINES[line] for line, _ in lines], [SERIES[colour] for _, colour in lines]
    architectures = list(nets.architecture.unique())
    figure, axes = panels(architectures, 1, 2.6, 1.1, sharey=False)
    for architecture, axis in zip(architectures, axes):
        means.loc[architecture].plot(ax=axis, style=styles, color=colours, linewidth=1.8, legend=False)
        axis.set_ylabel("Nats" if reference else "Training bound, nats")
    axes[-1].set_xlabel("Steps")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(title)
    shared_legend(figure, ncols=3, handlelength=2.4)
    data = means.stack().dropna().reset_index().rename(columns={0: "bound"})
    return Figure(figure, f"{title}, in nats, one curve per estimator.", data)


def orderings(nets: pd.DataFrame) -> pd.DataFrame:
    """Judge the published orderings that these nets, of equal seeds for all estimators, can be compared with.

    Returns:
        The rows of `published` with `claim`; `effect`, the mean over seeds of the first's bound minus the
        second's; its interval `low` to `high`, of joint coverage 95 %; `verdict`.
    """
    rows, effects = [], []
    for row in published().to_dict("records"):
        table = bounds(nets[nets.architecture == row["architecture"]], row["measure"])
        if {row["first"], row["second"]} <= set(table):
            rows.append(row | {"claim": f"{row['first']} > {row['second']}"})
            effects.append(table[row["first"]] - table[row["second"]])
    low, high = statistics.mean_interval(np.transpose(effects), 1 - (1 - statistics.LEVEL) / len(rows))
    verdict = pd.Series([statistics.decide("margin", *ends, 0, 0)[0] for ends in zip(low, high)])
    verdict = verdict.replace(statistics.FAILS, statistics.NOT_REPRODUCED)
    return pd.DataFrame(rows).assign(effect=np.mean(effects, 1), low=low, high=high, verdict=verdict)


def show_orderings(table: pd.DataFrame) -> Styler:
    """Format `orderings` for a page."""
    gaps = (table.first_bound - table.second_bound).map("{:+.2f}".format)
    gaps = gaps.where(table.first_bound.notna(), "order only")
    page = table.assign(published=gaps)
    page["interval"] = intervals(table.low, table.high, "+.2f")
    page = page.rename(columns={"architecture": "net", "measure": "bound", "effect": "here"})
    columns = ["claim", "net", "bound", "published", "here", "interval", "verdict"]
    return styled(page[columns], {"here": "{:+.2f}"})
