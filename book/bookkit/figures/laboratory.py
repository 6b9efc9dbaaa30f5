"""Bias, spread and direction of every estimator, and what a budget of evaluations buys."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.ticker
import numpy as np
import pandas as pd

from bookkit.figures import style
from bookkit.figures.style import INK, LINES, SERIES, Figure, Style, name_rows, panels, shared_legend
from bookkit.studies.laboratory import findings

PLAIN = matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}")
ZERO = 1e-6  # relative: what is below is drawn at the left edge, as 0
DEVIATION, BIAS = ("deviation", SERIES[0]), ("bias", SERIES[3])


def profile(frame: pd.DataFrame, by: str, title: str) -> Figure:
    """Draw each estimator's bias and deviation, one panel per value of the column `by`.

    Args:
        frame: from `bookkit.studies.laboratory.measuring.measure_all`; medians over the points of each panel
            are drawn.
    """
    frame = frame.assign(bias=findings.bias(frame))
    names = list(frame.estimator.unique())
    medians = frame.groupby([by, "estimator"], sort=False)[["bias", "deviation"]].median().reset_index()
    values = medians[["bias", "deviation"]].to_numpy()
    lowest = values[values > ZERO].min() / 4
    settings = list(frame[by].unique())
    figure, axes = panels(settings, len(settings), 0.235 * len(names), 1.3)
    for axis, setting in zip(axes, settings):
        part = medians[medians[by] == setting].set_index("estimator").loc[names]
        for (column, colour), marker, size in ((DEVIATION, "o", 40), (BIAS, "D", 30)):
            value = part[column].where(part[column] > ZERO, lowest)
            mark: Style = dict(marker=marker, s=size, color=colour, label=column, clip_on=False)
            axis.scatter(value, range(len(names)), **mark)
        axis.axvline(1, color=INK, linewidth=1)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(PLAIN)
    name_rows(axes[0], names, downwards=True)
    axes[0].set_xlim(lowest / 1.5, None)
    figure.suptitle(f"{title}\n(times the exact gradient; at the left edge: 0)")
    shared_legend(figure, ncols=2)
    text = f"{title}: bias and standard deviation of each estimator, in lengths of the exact gradient."
    return Figure(figure, text, medians)


def budgets(frame: pd.DataFrame, names: Sequence[str], title: str, largest: int = 10_000) -> Figure:
    """Draw the root mean squared error by evaluations of f, from the first budget that pays an estimate."""
    budget = pd.Series(np.geomspace(1, largest, 41), name="budget")
    grid = frame[frame.estimator.isin(names)].merge(budget, how="cross").query("budget >= evaluations")
    squared = grid.assign(error=findings.error(grid, grid.budget)).groupby(["estimator", "budget"]).error
    errors = np.sqrt(squared.mean())
    figure, axes = style.subplots(height=4.6)
    for i, name in enumerate(names):
        line: Style = dict(color=SERIES[i % len(SERIES)], linestyle=LINES[i % len(LINES)])
        axes.plot(errors[name], linewidth=1.9, label=name, **line)
    axes.axhline(1, color=style.MUTED, linewidth=0.9)
    axes.set(xscale="log", yscale="log", xlabel="Evaluations of f for an example", title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PLAIN)
    axes.set_ylabel("Root mean squared error\n(times the exact gradient)")
    shared_legend(figure, ncols=2, handlelength=3)
    text = f"{title}: root mean squared error by evaluations of f, one curve per estimator."
    return Figure(figure, text, errors.reset_index())
