"""Errors, rankings and figures from the measurements.

All lengths are multiples of the exact gradient's.
"""

import itertools
from collections.abc import Sequence

import matplotlib.axes
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import statistics
from bookkit.figures import style
from bookkit.figures.style import INK, LINES, SERIES, Figure, Style, intervals, note, styled, subplots
from bsn.estimators import ESTIMATORS

ROUNDING = 1e-9
ZERO = 1e-6  # relative: what is below is drawn at the left edge, as 0
BIAS, DEVIATION = SERIES[3], SERIES[0]
BUDGETS = np.geomspace(1, 1000, 61)  # evaluations of f


def bias(frame: pd.DataFrame) -> pd.Series:
    """Return the relative bias: 0 if known to be unbiased, else minus what sampling adds to it."""
    squared: pd.Series = frame.bias**2 - frame.bias_error**2
    known = frame.estimator.map(lambda name: ESTIMATORS[name].bias == "unbiased")
    return (squared.clip(lower=0) ** 0.5).mask(known, 0.0)


def error(frame: pd.DataFrame, budget: float = 1.0) -> pd.Series:
    """Return the relative root mean squared error of the average that a budget buys.

    Args:
        frame: from `measuring.measure_all`.
        budget: evaluations of f per example per step.
    """
    squared: pd.Series = bias(frame) ** 2 + frame.deviation**2 * frame.evaluations / budget
    return squared**0.5


def binary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the estimators for binary units: without the sigmoid unit and the exact gradient."""
    return frame[~frame.estimator.isin(["sigmoid", "exact"])]


def _geometric_mean(values: pd.Series, repeats: pd.Series, level: float) -> tuple[float, float, float]:
    """Return the geometric mean over each repeat's points, then over repeats, and Student's t interval."""
    if (values <= ROUNDING).all():
        return 0.0, 0.0, 0.0
    logs = np.log(values).groupby(repeats).mean()
    low, high = statistics.mean_interval(logs, level)
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))


def ranking(frame: pd.DataFrame, repeat: str) -> pd.DataFrame:
    """Rank the estimators for binary units by their error per evaluation, the best first.

    The errors' intervals, `low` to `high`, have a joint coverage of 95 %.

    Args:
        frame: from `measuring.measure_all`.
        repeat: the column of independent repetitions.
    """
    frame = binary(frame)
    measured = frame.assign(bias=bias(frame), error=error(frame)).groupby("estimator", sort=False)
    table = measured[["bias", "deviation", "cosine", "evaluations"]].mean()
    level = 1 - (1 - statistics.LEVEL) / len(table)  # Bonferroni
    rows = [_geometric_mean(part.error, part[repeat], level) for _, part in measured]
    errors = pd.DataFrame(rows, table.index, ["error", "low", "high"])
    return errors.join(table).sort_values("error", kind="stable")


def show_ranking(table: pd.DataFrame) -> Styler:
    """Format a `ranking` for a page."""
    shown = table.drop(columns=["low", "high"]).rename(columns={"evaluations": "evaluations of f"})
    shown.insert(0, "estimator", [ESTIMATORS[name].title for name in table.index])
    shown.insert(2, "95 % interval", intervals(table.low, table.high, ".2f"))
    digits = dict.fromkeys(["error", "bias", "deviation", "cosine"], "{:.2f}")
    return styled(shown, digits | {"evaluations of f": "{:.0f}"})


def profile(frame: pd.DataFrame, by: str) -> Figure:
    """Draw each estimator's median bias and deviation, one panel per value of a column.

    Args:
        frame: from `measuring.measure_all`.
        by: the column whose values name the panels.
    """
    frame = frame[frame.estimator != "exact"]
    names, settings = list(frame.estimator.unique()), list(frame[by].unique())
    measured = frame.assign(bias=bias(frame)).groupby([by, "estimator"], sort=False)
    medians = measured[["bias", "deviation"]].median()
    values = medians.to_numpy()
    edge = values[values > ZERO].min() / 4
    figure, axes = style.panels(settings, len(settings), 0.235 * len(names), 0.8)
    for axis, setting in zip(axes, settings):
        part = medians.where(medians > ZERO, edge).loc[setting]
        for column, colour, marker, size in (("deviation", DEVIATION, "o", 40), ("bias", BIAS, "D", 30)):
            mark: Style = dict(marker=marker, s=size, color=colour, clip_on=False, zorder=3)
            axis.scatter(part[column], range(len(names)), **mark)
        axis.axvline(1, color=INK, linewidth=1)
        axis.set_xscale("log")
    style.name_rows(axes[0], [ESTIMATORS[name].title for name in names], downwards=True)
    _ticks(axes[0], edge, values.max())
    row = names.index("reinforce")
    marks = medians.loc[settings[0]].loc["reinforce"].clip(lower=edge)
    share = np.log(marks.deviation / edge) / np.log(values.max() / edge)
    for column, colour, side in (("bias", BIAS, 1), ("deviation", DEVIATION, 1 if share < 0.6 else -1)):
        note(
            axes[0],
            column,
            (marks[column], row),
            (8 * side, 0),
            color=colour,
            ha="left" if side > 0 else "right",
            va="center",
        )
    figure.supxlabel("Multiples of the exact gradient’s length", fontsize=10)
    text = "Bias and standard deviation of each estimator, in lengths of the exact gradient."
    return Figure(figure, text, medians.reset_index())


def _ticks(axis: matplotlib.axes.Axes, edge: float, highest: float) -> None:
    """Give a logarithmic axis powers of ten as ticks, and a 0 at its left edge."""
    powers = np.arange(np.ceil(np.log10(edge) + 0.4), np.floor(np.log10(highest)) + 1)
    powers = powers[(powers % 2 == 0)] if len(powers) > 4 else powers
    labels = [f"{10**power:,g}" for power in powers]
    axis.set_xticks([edge, *10**powers], ["0", *labels])
    axis.set_xticks([], minor=True)
    axis.set_xlim(edge / 1.5, highest * 2)


def budgets(frame: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw the error of some estimators by the budget of evaluations.

    Args:
        frame: from `measuring.measure_all`; errors are geometric means over its points.
        names: the estimators to draw.
    """
    rows = []
    for name in names:
        part = frame[frame.estimator == name]
        for budget in BUDGETS[part.evaluations.iloc[0] <= BUDGETS]:
            mean = float(np.exp(np.log(error(part, budget).clip(lower=ROUNDING)).mean()))
            rows.append({"estimator": ESTIMATORS[name].title, "evaluations": budget, "error": mean})
    curves = pd.DataFrame(rows)
    figure, axis = subplots(height=3.2)
    titles = curves.estimator.unique()
    for title, line, colour in zip(titles, itertools.cycle(LINES), SERIES):
        part = curves[curves.estimator == title]
        axis.loglog(part.evaluations, part.error, line, color=colour, linewidth=2)
    ends = curves[curves.evaluations == BUDGETS[-1]].set_index("estimator").error
    style.label_lines(axis, BUDGETS[-1], ends, dict(zip(titles, SERIES)), 3.2)
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:,g}")
        ticks.set_ticks([], minor=True)
    axis.set(xlabel="Evaluations of f per example per step", ylabel="Relative error")
    text = "Relative error of some estimators by the number of evaluations, on logarithmic axes."
    return Figure(figure, text, curves)
