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


def along_the_path(frame: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """Draw bias and deviation of some estimators at each step of a descent, one panel per estimator."""
    frame = frame[frame.estimator.isin(names)].assign(bias=findings.bias)
    figure, axes = panels(names, 2, 1.35, 0.9)
    for axis, name in zip(axes, names):
        part = frame[frame.estimator == name]
        for (column, colour), line in zip((DEVIATION, BIAS), LINES):
            value = part[column].where(part[column] > ZERO)
            axis.plot(part.step, value, line, color=colour, linewidth=1.8, label=column)
        axis.axhline(1, color=INK, linewidth=0.9)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(PLAIN)
    figure.supxlabel("Steps of the descent", fontsize=10)
    figure.suptitle(f"{title}\n(times the exact gradient)")
    shared_legend(figure, ncols=2)
    columns = ["target", "step", "logit", "estimator", "bias", "deviation"]
    text = f"{title}: bias and standard deviation of each estimator by step of the descent."
    return Figure(figure, text, frame[columns])


def budgets(frame: pd.DataFrame, names: Sequence[str], title: str, largest: int = 10_000) -> Figure:
    """Draw the root mean squared error by evaluations of f, from the first budget that pays an estimate."""
    figure, axes = style.subplots(height=4.6)
    parts = []
    for i, name in enumerate(names):
        part = frame[frame.estimator == name]
        budget = np.geomspace(1, largest, 41)
        budget = budget[budget >= part.evaluations.iloc[0]]
        error = [np.sqrt(findings.error(part, evaluations).mean()) for evaluations in budget]
        line: Style = dict(color=SERIES[i % len(SERIES)], linestyle=LINES[i % len(LINES)])
        axes.plot(budget, error, linewidth=1.9, label=name, **line)
        parts.append(pd.DataFrame({"estimator": name, "evaluations": budget, "error": error}))
    axes.axhline(1, color=style.MUTED, linewidth=0.9)
    axes.set(xscale="log", yscale="log", xlabel="Evaluations of f for an example", title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PLAIN)
    axes.set_ylabel("Root mean squared error\n(times the exact gradient)")
    shared_legend(figure, ncols=2, handlelength=3)
    text = f"{title}: root mean squared error by evaluations of f, one curve per estimator."
    return Figure(figure, text, pd.concat(parts))


def cosines(frame: pd.DataFrame, by: str, title: str) -> Figure:
    """Draw each estimator's mean cosine to the exact gradient, one mark per value of the column `by`."""
    names, settings = list(frame.estimator.unique()), list(frame[by].unique())
    means = frame.groupby([by, "estimator"], sort=False)[["cosine", "cosine_error"]].mean().reset_index()
    figure, axes = style.subplots(height=0.235 * len(names) + 1.3)
    for i, setting in enumerate(settings):
        part = means[means[by] == setting].set_index("estimator").loc[names]
        mark: Style = dict(marker="osD^vP*X"[i % 8], s=38, color=SERIES[i % len(SERIES)], clip_on=False)
        axes.scatter(part.cosine, range(len(names)), label=setting, **mark)
    for border in (0, 1):
        axes.axvline(border, color=INK, linewidth=1)
    name_rows(axes, names, downwards=True)
    axes.set(xlabel="Mean cosine of one estimate to the exact gradient")
    figure.suptitle(title)
    shared_legend(figure, ncols=min(3, len(settings)))
    return Figure(figure, f"{title}: mean cosine of each estimator to the exact gradient.", means)
