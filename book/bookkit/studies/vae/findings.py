"""What follows from trained VAEs: final bounds, a ranking, and verdicts on published orderings.

Nets are one row each, as from `bookkit.studies.vae.runs.read`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import statistics
from bookkit.figures.style import (
    INK,
    LINES,
    MUTED,
    SERIES,
    Figure,
    Style,
    intervals,
    name_rows,
    note,
    panels,
    styled,
    subplots,
)
from bookkit.paths import TABLES
from bsn.estimators import ESTIMATORS

POINTS_DRAWN = 60  # of each curve on a logarithmic axis
POINTS = 20  # of a curve that is drawn over the whole training
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
        One row per estimator: `train` and `test`, means over the seeds; `behind`, `low`, `high`: the leader's
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


def show_ranking(ranked: Mapping[str, pd.DataFrame]) -> Styler:
    """Format the `ranking` of each architecture for a page, one below the other."""
    parts = []
    for architecture, table in ranked.items():
        part = table.rename_axis("estimator").reset_index()
        part.loc[0, "behind"] = np.nan
        part["interval"] = intervals(table.low, table.high, ".2f")
        parts.append(part.assign(net=architecture, bias=[_bias(name) for name in table.index]))
    page = pd.concat(parts)
    page["estimator"] = page.estimator.map(title)
    names = {"train": "training bound", "test": "test bound", "behind": "behind the leader"}
    columns = ["net", "estimator", *names, "interval", "bias"]
    page = page[columns].rename(columns=names).reset_index(drop=True)
    return styled(page, dict.fromkeys(names.values(), "{:.2f}"))


def title(name: str) -> str:
    """Return an estimator's name for a legend or a table."""
    return ESTIMATORS[name].title


def prose(name: str) -> str:
    """Return an estimator's name for within a sentence."""
    text = title(name)
    return text.lower() if "-" in text and text[1:].islower() else text


def _bias(name: str) -> str:
    return ESTIMATORS[name].bias.split(",")[0]


def ranking_chart(ranked: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how far each estimator is behind the leader, with its interval: one panel per architecture."""
    counts = [len(table) for table in ranked.values()]
    figure, axes = subplots(
        len(counts), height=0.27 * sum(counts) + 0.4 * len(counts) + 0.6, sharex=True, squeeze=False,
        height_ratios=counts,
    )  # fmt: skip
    for axis, (architecture, table) in zip(axes.flat, ranked.items()):
        unbiased = np.array([_bias(name) == "unbiased" for name in table.index])
        rows = np.arange(len(table))
        axis.hlines(rows, table.low, table.high, color=MUTED, linewidth=1.6)
        axis.scatter(table.behind[unbiased], rows[unbiased], s=30, color=SERIES[0], zorder=3)
        open_dot: Style = dict(s=30, facecolors="none", edgecolors=SERIES[3], linewidths=1.6, zorder=3)
        axis.scatter(table.behind[~unbiased], rows[~unbiased], **open_dot)
        name_rows(axis, [title(name) for name in table.index], downwards=True)
        axis.grid(axis="y", visible=False)
        axis.set_ylim(len(table) - 0.4, -0.6)
        axis.set_title(f"{architecture.capitalize()} net", loc="left")
    axes.flat[-1].set_xlabel("Training bound, nats behind the leader")
    for line, (word, colour) in enumerate((("filled: unbiased", SERIES[0]), ("open: biased", SERIES[3]))):
        corner: Style = dict(xycoords="axes fraction", ha="right", va="top", fontsize=10)
        note(axes.flat[0], word, (1, 1), (-2, -4 - 14 * line), color=colour, **corner)
    data = pd.concat([table.assign(net=name) for name, table in ranked.items()])
    text = "How many nats each estimator's training bound is behind the highest, with intervals, by net."
    return Figure(figure, text, data.rename_axis("estimator").reset_index())


def learning_curves(nets: pd.DataFrame, points: int | None = None) -> pd.DataFrame:
    """Return the training bound by step, in long form.

    Args:
        points: if given, the number of stretches of steps over which each curve is averaged.

    Returns:
        One row per net and point: `architecture`, `estimator`, `seed`, `step`, `bound`.
    """
    columns = ["architecture", "estimator", "seed"]
    table = nets[[*columns, "curve", "every"]].explode("curve").astype({"curve": float})
    table["step"] = (table.groupby(columns).cumcount() + 1) * table.every
    if points:
        width = -(-table.step.max() // points)
        table["step"] = -(table.step // -width) * width
    return table.groupby([*columns, "step"], sort=False).curve.mean().rename("bound").reset_index()


def leads(nets: pd.DataFrame, reference: str) -> Figure:
    """Draw how far each estimator's training bound is above the reference's: one panel per estimator.

    Thick: the mean over seeds. Thin: each seed. All nets have one length and equal seeds.
    """
    table = learning_curves(nets, POINTS).set_index(["architecture", "seed", "step"])
    base = table[table.estimator == reference].bound
    table["bound"] -= base.reindex(table.index)
    table = table[table.estimator != reference].reset_index()
    last = table[table.step == table.step.max()].groupby("estimator").bound.mean()
    order = list(last.sort_values(ascending=False).index)
    figure, axes = panels([title(name) for name in order], 2, 1.05, 0.5)
    unlabelled = dict(zip(nets.architecture.unique(), SERIES))
    styles = dict(zip(unlabelled, zip(SERIES, LINES)))
    for axis, name in zip(axes, order):
        axis.axhline(0, color=INK, linewidth=1)
        chosen = table[table.estimator == name]
        for architecture, part in chosen.groupby("architecture"):
            colour, line = styles[architecture]
            for _, seed in part.groupby("seed"):
                axis.plot(seed.step / 1000, seed.bound, color=colour, linewidth=0.6, alpha=0.6)
            mean = part.groupby("step").bound.mean()
            axis.plot(mean.index / 1000, mean, line, color=colour, linewidth=2)
        if chosen.architecture.nunique() == len(unlabelled):  # the first panel that shows all nets names them
            for place, (architecture, colour) in enumerate(unlabelled.items()):
                axis.text(0.97, 0.04 + 0.2 * place, architecture, color=colour, transform=axis.transAxes,
                          ha="right")  # fmt: skip
            unlabelled = {}
    figure.supylabel(f"Nats above {prose(reference)}", fontsize=10)
    figure.supxlabel("Training steps, in thousands", fontsize=10)
    text = f"Training bound minus that of {prose(reference)} by step, one panel per estimator."
    return Figure(figure, text, table)


def beside_record(now: pd.DataFrame, nets: pd.DataFrame) -> Figure:
    """Draw the training bound by step of these nets, thick, and of the record's, thin.

    Args:
        now: nets of this build.
        nets: those of the record, or none of them.
    """
    pairs = list(now[["architecture", "estimator"]].drop_duplicates().itertuples(index=False, name=None))
    several = now.architecture.nunique() > 1
    titles = [title(name) + f", {architecture}" * several for architecture, name in pairs]
    figure, axes = panels(titles, 2, 1.7, 0.4)
    drawn, below, beside = [], Style(offset=(0, -8), ha="right"), Style(offset=(4, -4), ha="left")
    for source, some, colour, width, place in (
        ("record", nets, MUTED, 0.9, below),
        ("this build", now, SERIES[0], 2.4, beside),
    ):
        if not len(some):
            continue
        curves = learning_curves(some).assign(source=source)
        for axis, (architecture, name) in zip(axes, pairs):
            part = curves[(curves.architecture == architecture) & (curves.estimator == name)]
            spaced = np.round(np.geomspace(1, max(1, part.step.nunique()), POINTS_DRAWN))
            part = part[(part.groupby("seed").cumcount() + 1).isin(spaced)]
            for _, seed in part.groupby("seed"):
                axis.plot(seed.step, seed.bound, color=colour, linewidth=width)
            drawn.append(part)
            if axis is axes[0] and len(part):
                end = part[part.step == part.step.max()].iloc[0]
                note(axis, source, (end.step, end.bound), **place, va="top", color=colour)
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:,.0f}")
            axis.xaxis.set_minor_formatter("")
    figure.supylabel("Training bound, nats", fontsize=10)
    figure.supxlabel("Training steps", fontsize=10)
    shown = "Training bound by step of the nets of this build and of the record, one panel per estimator."
    return Figure(figure, shown, pd.concat(drawn))


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
            rows.append(row | {"claim": f"{title(row['first'])} > {title(row['second'])}"})
            effects.append(table[row["first"]] - table[row["second"]])
    low, high = statistics.mean_interval(np.transpose(effects), 1 - (1 - statistics.LEVEL) / len(rows))
    verdict = pd.Series([statistics.decide("margin", *ends, 0, 0)[0] for ends in zip(low, high)])
    verdict = verdict.replace(statistics.FAILS, statistics.NOT_REPRODUCED)
    return pd.DataFrame(rows).assign(effect=np.mean(effects, 1), low=low, high=high, verdict=verdict)


def show_orderings(table: pd.DataFrame, steps: int) -> Styler:
    """Format `orderings`, of nets trained for so many steps, for a page."""
    gaps = (table.first_bound - table.second_bound).map("{:+.2f}".format)
    gaps = gaps.where(table.first_bound.notna(), "order only")
    page = table.assign(published=gaps, bound=table.measure.replace("train", "training"))
    page["interval"] = intervals(table.low, table.high, "+.2f")
    verdict = f"at {steps:,} steps"
    names = {"claim": "ordering", "architecture": "net", "effect": "here", "verdict": verdict}
    columns = ["ordering", "net", "bound", "published", "here", "interval", verdict]
    return styled(page.rename(columns=names)[columns], {"here": "{:+.2f}"})
