"""Learning curves and outcomes of nets, beside the book's record and the post."""

import textwrap
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import MaxNLocator

from bookkit import chapter, experiments, runs, statistics
from bookkit.data import dataset_title
from bookkit.figures.style import (
    INK,
    LINES,
    MUTED,
    PUBLISHED,
    SERIES,
    Figure,
    label_lines,
    name_rows,
    note,
    subplots,
)
from bsn.spec import RECORD_EVERY

SEEDS_DRAWN = 10  # of the record, per setting
POINTS_DRAWN = 20  # per thin line
ERRORS = [0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100]  # per cent, ticks
FINE_ERRORS = [*np.arange(1, 3, 0.2).round(1), *np.arange(3, 5, 0.5), *range(5, 10), *range(10, 101, 10)]
HEIGHTS = {1: 2.6, 2: 1.9, 3: 1.75}  # inches of a panel, by how many there are
LOWEST = 1.4  # of more
LEAST = {"validation": 0.8, "training": 0.2}  # error, in per cent, where the axis of curves may begin
MARKERS = "osD^vP"


def learning_curves(
    curves: pd.DataFrame,
    panel: str = "{}",
    highest: float = 100.0,
    metric: Literal["validation", "training"] = "validation",
) -> Figure:
    """Draw errors by training step on a logarithmic axis, one panel per setting that is compared.

    A label of `curves` is "LINE, PANEL": what stands before its first comma is named at the line, the rest
    is the panel's title. Thick: these nets, one line per seed. Thin: seeds of the book's record. The error of
    a net that diverged is that of predicting class 0.

    Args:
        curves: from `bookkit.chapter.train`.
        panel: form of the panels' titles.
        highest: error, in per cent, where the axis ends, or higher to show where all these nets end.
        metric: "validation", on the images held out, or "training", on each mini-batch.
    """
    own = _errors(curves, metric).assign(source="this build")
    recorded = _thinned(_errors(chapter.recorded(curves), metric)).assign(source="record")
    lines = list(dict.fromkeys(own.line))
    titles = list(dict.fromkeys(own.panel))
    colours = dict(zip(lines, SERIES * (1 + len(lines) // len(SERIES))))
    highest = max(highest, min(100, 1.2 * own.error[own.step == own.step.max()].max()))
    lowest = min(own.error.min(), recorded.error.min() if len(recorded) else np.inf)
    height = HEIGHTS.get(len(titles), LOWEST)
    figure, grid = subplots(
        len(titles), height=height * len(titles) + 0.5, sharex=True, sharey=True, squeeze=False
    )
    for axis, title in zip(grid.flat, titles):
        axis.set_yscale("log")
        for frame, style in (
            (recorded, dict(linewidth=0.5, alpha=0.45)),
            (own, dict(linewidth=1.8)),
        ):
            part = frame[frame.panel == title]
            for (line, _), seed in part.groupby(["line", "seed"], sort=False):
                marker = "o" if len(seed) == 1 else None
                axis.plot(seed.step / 1000, seed.error, color=colours[line], marker=marker, **style)
        _percent_axis(axis.yaxis, max(LEAST[metric], 0.9 * lowest), highest)
        axis.set_title(panel.format(title[:1].upper() + title[1:]) if title else "", loc="left")
        ends = (
            own[(own.panel == title) & (own.step == own.step.max())].groupby("line", sort=False).error.mean()
        )
        label_lines(axis, own.step.max() / 1000, ends.clip(upper=0.97 * highest), colours, height)
    grid.flat[-1].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    grid.flat[-1].set_xlabel("Training steps, in thousands")
    images = "Training" if metric == "training" else curves.evaluate_on.iloc[0].capitalize()
    figure.supylabel(f"{images} error, %", fontsize=10)
    text = f"{images} error by training step, one line per net, on {_source(curves)}."
    columns = ["source", "label", "seed", "step", "error"]
    return Figure(figure, text, pd.concat([own, recorded])[columns])


def outcomes(curves: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw the error after the last epoch, one row per setting.

    Bar: where 95 % of the record's runs lie, with a tick at their mean; if runs of the record diverge, one
    tick per run, and how many diverge. Diamond: the published number. Dots: these nets.

    Args:
        curves: from `bookkit.chapter.train`; labels that `table` lacks are not drawn.
        table: from `bookkit.chapter.against_published`.
    """
    curves = curves[curves.label.isin(table.index)]
    finals = runs.final_accuracies(curves)
    recorded = _recorded_finals(curves)
    names = [textwrap.fill(str(label), 27) for label in table.index]
    row = 0.38 if any("\n" in name for name in names) else 0.27  # inches
    figure, axis = subplots(height=row * len(table) + 0.9)
    axis.set_xscale("log")
    rows = np.arange(len(table))
    low, high, mean, published = (_per_cent(table[name]) for name in ("high", "low", "recorded", "published"))
    diverged = recorded.groupby("label").diverged.sum().reindex(table.index).fillna(0).to_numpy()
    low, high, mean = (np.where(diverged, np.nan, values) for values in (low, high, mean))
    axis.hlines(rows, low, high, color=SERIES[0], linewidth=7, alpha=0.35)
    axis.scatter(mean, rows, marker="|", s=90, color=SERIES[0], zorder=3)
    some = recorded[recorded.label.isin(table.index[diverged > 0])]
    places = some.label.map(list(table.index).index).astype(float)
    axis.scatter(
        _per_cent(some.final), places, marker="|", s=70, linewidths=0.8, color=SERIES[0], alpha=0.6, zorder=2
    )
    for row, label in enumerate(table.index):
        if diverged[row]:
            note(
                axis,
                f"{diverged[row]:.0f} of {(recorded.label == label).sum()}\ndiverge",
                (1, row),
                (6, 0),
                xycoords=axis.get_yaxis_transform(),
                va="center",
                color=MUTED,
                linespacing=1.0,
                annotation_clip=False,
            )
    dots = finals.label.map(list(table.index).index) + 0.0
    axis.scatter(_per_cent(finals.final), dots, s=16, color=INK, zorder=4)
    axis.scatter(published, rows, **PUBLISHED)
    drawn = np.concatenate([low, high, published, _per_cent(finals.final), _per_cent(some.final)])
    _percent_axis(axis.xaxis, np.nanmin(drawn) * 0.85, np.nanmax(drawn) * 1.15)
    name_rows(axis, names, downwards=True)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(f"{curves.evaluate_on.iloc[0].capitalize()} error after the last epoch, %")
    text = f"Error after the last epoch by setting, on {_source(curves)}, with the record and the post."
    own = finals[["label", "seed", "final"]].rename(columns={"final": "this build"})
    expected = table[["published", "recorded", "low", "high"]].rename_axis("label").reset_index()
    return Figure(figure, text, pd.concat([own.astype({"seed": "Int64"}), expected]))


def outcomes_by(
    curves: pd.DataFrame,
    table: pd.DataFrame,
    along: Literal["learning_rate", "depth"],
    panel: str | None = None,
) -> Figure:
    """Draw the error after the last epoch along a setting, one line per estimator.

    Line: the mean of the record, with bars where 95 % of its runs lie. Dots: these nets; without a record,
    the line is their mean. A line's name stands before the first comma of its label.

    Args:
        curves: from `bookkit.chapter.train`.
        table: from `bookkit.chapter.against_published`.
        along: the horizontal axis.
        panel: form of the panels' titles if there is one per learning rate; None draws all in one.
    """
    finals = runs.final_accuracies(curves)
    finals = finals.assign(
        line=finals.label.str.split(",").str[0],
        x=finals.hidden.str.count("-") + 1 if along == "depth" else finals.learning_rate,
        panel=finals.learning_rate if panel else 0.0,
        error=_per_cent(finals.final),
    )
    points = finals.drop_duplicates("label").set_index("label")[["line", "panel", "x"]].join(table)
    points = points.assign(
        mean=_per_cent(points.recorded.fillna(points.measured)),
        least=_per_cent(points.high),
        most=_per_cent(points.low),
    ).sort_values("x", kind="stable")
    lines, titles = list(dict.fromkeys(finals.line)), sorted(set(points.panel), reverse=True)
    values = list(dict.fromkeys(points.x))
    positions = pd.Series(np.log(values) if along == "learning_rate" else values, values, dtype=float)
    width = positions.max() - positions.min() or 1.0
    errors = [*points["mean"], *points.least.dropna(), *points.most.dropna(), *finals.error]
    height = HEIGHTS.get(len(titles), LOWEST)
    figure, grid = subplots(len(titles), height=height * len(titles) + 0.4, sharex=True, squeeze=False)
    for axis, title in zip(grid.flat, titles):
        axis.set_yscale("log")
        _percent_axis(axis.yaxis, 0.85 * min(errors), 1.15 * max(errors))
        axis.set_xlim(positions.min() - 0.06 * width, positions.max() + 0.06 * width)
        axis.set_xticks(positions, [f"{value:g}" for value in values])
        axis.set_title(panel.format(f"{title:g}") if panel else "", loc="left")
        ends, colours = {}, dict(zip(lines, SERIES))
        for i, line in enumerate(lines):
            part = points[(points.panel == title) & (points.line == line)]
            if part.empty:
                continue
            shift = 0.015 * width * (i - (len(lines) - 1) / 2)  # so that equal errors do not hide one another
            x = part.x.map(positions) + shift
            axis.vlines(x, part.least, part.most, color=colours[line], linewidth=5, alpha=0.3)
            axis.plot(x, part["mean"], color=colours[line], linestyle=LINES[i % 4], marker=MARKERS[i % 6])
            own = finals[(finals.panel == title) & (finals.line == line)]
            axis.scatter(own.x.map(positions) + shift, own.error, s=12, color=INK, zorder=4)
            ends[line] = (positions[part.x.iloc[-1]], part["mean"].iloc[-1])
        frame = pd.DataFrame(ends, ["x", "error"]).T
        for _, group in frame.groupby("x"):  # lines that end together
            label_lines(axis, group.x.max() + 0.015 * width, group.error, colours, height)
    name = "Hidden layers" if along == "depth" else "Learning rate"
    grid.flat[-1].set_xlabel(name)
    figure.supylabel(f"{curves.evaluate_on.iloc[0].capitalize()} error after the last epoch, %", fontsize=10)
    text = f"{name} and error after the last epoch, one line per estimator, on {_source(curves)}."
    columns = ["label", "line", "x", "recorded", "low", "high", "measured"]
    return Figure(figure, text, points.rename_axis("label").reset_index()[columns])


def _per_cent(accuracies: pd.Series) -> np.ndarray:
    return 100 * (1 - accuracies.to_numpy(float))


def _errors(curves: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the points of curves: `line`, `panel`, `label`, `seed`, `step`, `error` in %."""
    points = curves[curves.metric == metric]
    points = points.drop_duplicates(["label", "seed", "step"]).reset_index(drop=True)  # one net, two names
    parts = points.label.str.split(", ", n=1, expand=True).reindex(columns=[0, 1])
    points = points.assign(line=parts[0], panel=parts[1].fillna(""), error=_per_cent(points.value))
    if (
        metric == "training"
    ):  # an epoch's first point sums one mini-batch more than it is divided by (the post)
        first = points.step - points.after_epoch * points.steps_per_epoch == RECORD_EVERY + 1
        value = points.value.where(~first, points.value * RECORD_EVERY / (RECORD_EVERY + 1))
        points = points.assign(error=np.maximum(_per_cent(value), 1.02 * LEAST[metric]))
    place = points.groupby("label").seed.rank("dense")
    return points[place <= SEEDS_DRAWN]


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    """Return every so many points of each curve, `POINTS_DRAWN` or fewer, and its last."""
    by_net = points.groupby(["label", "seed"]).step
    place, count = by_net.rank("first", ascending=False) - 1, by_net.transform("size")
    return points[place % np.ceil(count / POINTS_DRAWN) == 0]


def _recorded_finals(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the record's nets of the settings in `curves`: `label`, `seed`, `final`, `diverged`."""
    settings = experiments.SETTINGS
    whole = curves[curves.steps_per_epoch == experiments.STEPS_PER_EPOCH]
    labels = whole.drop_duplicates("label")[[*settings, "label"]]
    diverged = statistics.book_runs()[[*settings, "seed", "diverged"]].drop_duplicates()
    finals = statistics.book_finals(labels).merge(diverged, "left")
    return finals.assign(diverged=finals.diverged.eq(True))[["label", "seed", "final", "diverged"]]


def _percent_axis(axis: XAxis | YAxis, lowest: float, highest: float) -> None:
    """Give a logarithmic axis of errors ticks that read as per cent."""
    ratio = highest / lowest
    ticks = FINE_ERRORS if ratio < 2.5 else ERRORS[::2] if ratio > 12 else ERRORS
    inside = [error for error in ticks if lowest <= error <= highest]
    axis.set_ticks(inside, [f"{error:g}" for error in inside])
    axis.set_ticks([], minor=True)
    set_limits = axis.axes.set_ylim if axis.axis_name == "y" else axis.axes.set_xlim
    set_limits(lowest, highest)


def _source(curves: pd.DataFrame) -> str:
    seeds = curves.seed.nunique()
    return f"{dataset_title(curves.dataset.iloc[0])}, {seeds} seed{'s' * (seeds > 1)}"
