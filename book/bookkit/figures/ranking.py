"""Every estimator tuned and trained: test errors by depth."""

from __future__ import annotations

import matplotlib.axes
import matplotlib.ticker
import numpy as np
import pandas as pd

from bookkit.figures.style import INK, MUTED, SERIES, Figure, Style, name_rows, panels, shared_legend
from bookkit.studies.ranking import by_mean, layers
from bsn.estimators.registry import ESTIMATORS


def test_errors(ranked: pd.DataFrame, reference: dict[int, float], own: pd.DataFrame) -> Figure:
    """Draw test errors by estimator: one panel per depth, the record's mean and interval, this build's nets.

    Args:
        ranked: from `bookkit.studies.ranking.ranks`.
        reference: depth -> mean accuracy of the sigmoid net, which is not binary.
        own: `bookkit.studies.ranking.finals` of this build.
    """
    names, depths = by_mean(ranked), sorted(ranked.depth.unique())
    own = own[own.estimator.isin(names)]
    figure, axes = panels([layers(depth) for depth in depths], 2, 0.22 * len(names) + 0.55, 0.9)
    for depth, axis in zip(depths, axes):
        part = ranked[ranked.depth == depth].set_index("estimator").reindex(names)
        _intervals(axis, part)
        drawn = own[own.depth == depth]
        rows = [names.index(name) for name in drawn.estimator]
        triangle: Style = dict(marker="^", facecolors="none", edgecolors=INK, linewidths=1.1, s=34, zorder=4)
        axis.scatter(100 * (1 - drawn.final), rows, label="this build", **triangle)
        if depth in reference:
            dashed: Style = dict(color=MUTED, linewidth=1.2, linestyle="--")
            axis.axvline(100 * (1 - reference[depth]), label="sigmoid units, not binary", **dashed)
    name_rows(axes[0], names, downwards=True)
    axes[0].set(xscale="log", xlim=(1, 110))
    axes[0].xaxis.set_major_locator(matplotlib.ticker.FixedLocator([1, 3, 10, 30, 100]))
    axes[0].xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes[0].xaxis.set_major_formatter("{x:g}")
    figure.supxlabel("Test error, %", fontsize=10)
    shared_legend(figure, ncols=2)
    text = "Test errors by estimator and depth: the record's mean and interval, and this build's nets."
    sigmoid = pd.DataFrame({"depth": reference.keys(), "mean": reference.values(), "estimator": "sigmoid"})
    nets = own[["depth", "estimator", "seed", "final"]].astype({"seed": "Int64"})
    return Figure(figure, text, pd.concat([ranked, sigmoid, nets.rename(columns={"final": "this build"})]))


def _intervals(axis: matplotlib.axes.Axes, table: pd.DataFrame) -> None:
    """Draw means and intervals of test errors, in one colour if the estimator needs the loss's derivative."""
    values_only = np.array([not ESTIMATORS[name].derivative for name in table.index])
    for chosen, label, colour, marker in (
        (values_only, "takes the loss alone", SERIES[0], "o"),
        (~values_only, "takes the loss's derivative", SERIES[3], "D"),
    ):
        rows, nets = np.flatnonzero(chosen), table[chosen]
        ends = np.maximum([100 * (1 - nets.high), 100 * (1 - nets.low)], 0.01)
        axis.hlines(rows, *ends, color=colour, linewidth=3, alpha=0.5)
        mark: Style = dict(color=colour, marker=marker, s=26, zorder=3)
        axis.scatter(100 * (1 - nets["mean"]), rows, label=label, **mark)
