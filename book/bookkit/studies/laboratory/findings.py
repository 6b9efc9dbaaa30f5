"""What follows from the measurements: errors and a ranking."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import statistics
from bookkit.figures import style
from bookkit.figures.style import INK, SERIES, Figure, Style, intervals, shared_legend, styled
from bsn.estimators import ESTIMATORS

ROUNDING = 1e-9
ZERO = 1e-6  # relative: what is below is drawn at the left edge, as 0


def catalogue() -> pd.DataFrame:
    """Tabulate the registry of `bsn.estimators`, one row per estimator."""
    columns = ["kind", "bias", "evaluations", "derivative", "noise", "state", "reference"]
    table = pd.DataFrame(map(vars, ESTIMATORS.values()), index=list(ESTIMATORS))
    return table[columns].replace("", "–")


def bias(frame: pd.DataFrame) -> pd.Series:
    """Return the relative bias: 0 if known to be unbiased, else minus what sampling adds to it."""
    squared: pd.Series = frame.bias**2 - frame.bias_error**2
    known = frame.estimator.map(lambda name: ESTIMATORS[name].bias == "unbiased")
    return (squared.clip(lower=0) ** 0.5).mask(known, 0.0)


def error(frame: pd.DataFrame) -> pd.Series:
    """Return the relative mean squared error per evaluation of f."""
    return bias(frame) ** 2 + frame.deviation**2 * frame.evaluations


def _geometric_mean(values: pd.Series, repeats: Any, level: float) -> tuple[float, float, float]:
    """Return the geometric mean over each repeat's points, then over repeats, and Student's interval."""
    if (values <= ROUNDING**2).all():
        return 0.0, 0.0, 0.0
    logs = np.log(values).groupby(repeats).mean()
    low, high = statistics.mean_interval(logs, level)
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))


def ranking(frame: pd.DataFrame, repeat: str) -> pd.DataFrame:
    """Rank estimators, from `measuring.measure_all`, by their error per evaluation, the best first.

    The errors' intervals, `low` to `high`, have a joint coverage of 95 %; `repeat` is the column of
    independent repetitions.
    """
    measured = frame.assign(bias=bias(frame), error=error(frame)).groupby("estimator", sort=False)
    table = measured[["bias", "deviation", "cosine", "evaluations"]].mean()
    level = 1 - (1 - statistics.LEVEL) / len(table)  # Bonferroni
    rows = [_geometric_mean(part.error, part[repeat], level) for _, part in measured]
    errors = pd.DataFrame(rows, table.index, ["error", "low", "high"])
    return errors.join(table).sort_values("error", kind="stable")


def show_ranking(table: pd.DataFrame) -> Styler:
    """Format a `ranking`."""
    shown = table.rename(columns={"error": "error per evaluation", "evaluations": "evaluations of f"})
    shown = shown.drop(columns=["low", "high"])
    digits = dict.fromkeys(["bias", "deviation", "cosine"], "{:.3f}")
    digits |= {"error per evaluation": "{:.3g}", "evaluations of f": "{:.0f}"}
    shown.insert(1, "95 % interval", intervals(table.low, table.high, ".3g"))
    return styled(shown, digits, hide_index=False)


def profile(frame: pd.DataFrame, by: str, title: str) -> Figure:
    """Draw each estimator's median bias and deviation, one panel per value of the column `by`."""
    names, settings = list(frame.estimator.unique()), list(frame[by].unique())
    measured = frame.assign(bias=bias(frame)).groupby([by, "estimator"], sort=False)
    medians = measured[["bias", "deviation"]].median()
    values = medians.to_numpy()
    lowest = values[values > ZERO].min() / 4
    figure, axes = style.panels(settings, len(settings), 0.235 * len(names), 1.3)
    for axis, setting in zip(axes, settings):
        part = medians.where(medians > ZERO, lowest).loc[setting]
        for column, colour, marker, size in (("deviation", SERIES[0], "o", 40), ("bias", SERIES[3], "D", 30)):
            mark: Style = dict(marker=marker, s=size, color=colour, label=column, clip_on=False)
            axis.scatter(part[column], range(len(names)), **mark)
        axis.axvline(1, color=INK, linewidth=1)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:,g}")
    style.name_rows(axes[0], names, downwards=True)
    axes[0].set_xlim(lowest / 1.5, None)
    figure.suptitle(f"{title}\n(times the exact gradient; at the left edge: 0)")
    shared_legend(figure, ncols=2)
    text = f"{title}: bias and standard deviation of each estimator, in lengths of the exact gradient."
    return Figure(figure, text, medians.reset_index())
