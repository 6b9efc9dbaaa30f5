"""Portraits of the estimators, in one form for all, and a table of their requirements."""

import matplotlib.axes
import pandas as pd

from bookkit.figures.style import INK, SERIES, Figure, minus, note, panels
from bsn.estimators import ESTIMATORS

HEIGHT = 2.1  # inches of a row of panels
LIMIT = 30  # of the axis of the gradients, in multiples of the largest exact gradient
TICKS = (-10, -1, 0, 1, 10)


def portraits(frame: pd.DataFrame) -> Figure:
    """Draw each estimator's gradient by logit: mean, band of one standard deviation, exact gradient.

    The scale is the same in every figure: multiples of the largest exact gradient, linear between -1 and 1,
    logarithmic beyond.

    Args:
        frame: columns `estimator` (a name of the registry), `logit`, `mean`, `deviation` and `exact`.
    """
    names = list(dict.fromkeys(frame.estimator))
    titles = [ESTIMATORS[name].title for name in names]
    figure, axes = panels(titles, len(titles), HEIGHT, 0.35)
    unit = frame.exact.abs().max()
    for axis, name in zip(axes, names):
        part = frame[frame.estimator == name]
        mean, deviation, exact = (part[column] / unit for column in ("mean", "deviation", "exact"))
        axis.set_yscale("symlog", linthresh=1)
        axis.fill_between(
            part.logit, mean - deviation, mean + deviation, color=SERIES[0], alpha=0.22, linewidth=0
        )
        axis.plot(part.logit, mean, color=SERIES[0], linewidth=2)
        axis.plot(part.logit, exact, "--", color=INK, linewidth=1.4)
        axis.set_ylim(-LIMIT, LIMIT)
        axis.set_yticks(TICKS, [minus(str(tick)) for tick in TICKS])
        axis.set_yticks([], minor=True)
        axis.set_xticks([-4, 0, 4], ["−4", "0", "4"])
    _label(axes[0], frame[frame.estimator == names[0]], unit)
    figure.supxlabel("Logit a", fontsize=10)
    figure.supylabel("Gradient / largest exact", fontsize=10)
    text = f"Mean and standard deviation of g by logit, with the exact gradient: {', '.join(titles)}."
    return Figure(figure, text, frame)


def _label(axis: matplotlib.axes.Axes, part: pd.DataFrame, unit: float) -> None:
    """Name both lines, as one if they coincide, and the band of a panel, each in its colour."""
    distance = (part["mean"] - part.exact).abs()
    upper, lower = part["mean"] + part.deviation, part["mean"] - part.deviation
    if distance.max() > 0.5 * unit:
        apart, left = part.iloc[int(distance.argmax())], part.iloc[len(part) // 8]
        side = 1 if apart["mean"] > apart.exact else -1
        labels = [
            ("mean", apart.logit, apart["mean"], side, SERIES[0]),
            ("exact", left.logit, left.exact, 1, INK),
        ]
    else:
        peak = int(part.exact.abs().argmax())
        above = upper.iloc[peak] if upper.iloc[peak] < 5 * unit else part.exact.iloc[peak]
        labels = [("mean = exact", part.logit.iloc[peak], above, 1, INK)]
    labels += [("± deviation", 0, lower.min(), -1, SERIES[0])]
    for name, logit, value, side, colour in labels:
        note(
            axis,
            name,
            (logit, value / unit),
            (0, 3 * side),
            ha="center",
            va="bottom" if side > 0 else "top",
            color=colour,
        )


def requirements() -> pd.DataFrame:
    """Tabulate from the registry which estimator needs what, one row per estimator."""
    rows = []
    for entry in ESTIMATORS.values():
        bias = entry.bias.partition(":")[0].replace(", except where", " unless")
        row = {
            "estimator": entry.title,
            "evaluations of f": str(entry.evaluations),
            "f′ at": entry.derivative.replace("y~", "ỹ") or "–",
            "uniforms per unit": str(entry.noise),
            "learned or tracked": entry.state.removesuffix(", its caller's") or "–",
            "bias": bias.removesuffix(" in each unit"),
        }
        rows.append(row)
    return pd.DataFrame(rows)
