"""A net's learning curve, REINFORCE by its baseline, and the descent of one logit."""

from collections.abc import Mapping, Sequence

import matplotlib.axes
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bookkit.figures.style import INK, MUTED, SERIES, Figure, minus, note, panels, subplots


def error_by_epoch(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the error by epoch from the `history` of a Keras model with the metric "accuracy"."""
    names = {"accuracy": "training", "val_accuracy": "validation"}
    errors = pd.DataFrame({name: 100 * (1 - np.array(history[key])) for key, name in names.items()})
    errors.insert(0, "epoch", range(1, len(errors) + 1))
    figure, axis = subplots(height=2.3)
    for name, colour, line in zip(names.values(), SERIES, ("--", "-")):
        axis.plot(errors.epoch, errors[name], line, color=colour, marker="o", markersize=4, linewidth=1.8)
    last = errors.iloc[-1]
    upper = "training" if last.training > last.validation else "validation"
    for name, colour in zip(names.values(), SERIES):
        offset, side = (4, "bottom") if name == upper else (-4, "top")
        note(axis, name, (last.epoch, last[name]), (7, offset), va=side, color=colour, annotation_clip=False)
    axis.set_ylim(0, 1.08 * max(errors.training.max(), errors.validation.max(), 1))
    axis.set_xlim(0, 1.02 * last.epoch)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axis.set_xlabel("Epoch")
    axis.set_ylabel("Error, %")
    return Figure(figure, "Training and validation error by epoch.", errors)


def baseline_band(frame: pd.DataFrame, best: float) -> Figure:
    """Draw the mean of REINFORCE and a band of one standard deviation by the constant subtracted.

    Args:
        frame: columns `constant`, `mean` and `deviation`.
        best: the constant of least variance.
    """
    figure, axis = subplots(height=2.7)
    x, low, high = frame.constant, frame["mean"] - frame.deviation, frame["mean"] + frame.deviation
    axis.fill_between(x, low, high, color=SERIES[0], alpha=0.2, linewidth=0)
    axis.plot(x, frame["mean"], color=INK, linewidth=1.8)
    axis.axvline(best, color=MUTED, linewidth=1, linestyle=":")
    axis.axvline(0, color=MUTED, linewidth=1, linestyle=":")
    top = high.max()
    axis.set_ylim(low.min(), top + 0.2 * (top - low.min()))
    end = axis.get_ylim()[1]
    note(axis, "no baseline", (0, end), (-5, 0), ha="right", va="top", color=MUTED)
    note(axis, "best baseline", (best, end), (5, 0), ha="left", va="top", color=MUTED)
    right = x.iloc[-1]
    note(axis, "mean", (right, frame["mean"].iloc[-1]), (5, 0), va="center", color=INK, annotation_clip=False)
    note(axis, "mean ± deviation", (right, high.iloc[-1]), (0, 3), ha="right", va="bottom", color=SERIES[0])
    axis.set_xlim(x.iloc[0], right)
    axis.set_xlabel("Constant c subtracted from the loss")
    axis.set_ylabel("g = (b − p) (f(b) − c)")
    _real_minus(axis)
    return Figure(figure, "Mean of REINFORCE and a band of one standard deviation by the constant.", frame)


def descents(paths: Mapping[str, np.ndarray], exact: np.ndarray, target: float) -> Figure:
    """Draw descents of one logit, a panel per estimator, beside the descent by the exact gradient.

    Args:
        paths: estimator's title -> logits [steps, n].
        exact: logits [steps].
        target: t; where p = t, the expectation of the straight-through gradient of (b - t)^2 is 0.
    """
    figure, axes = panels(list(paths), 2, 1.85, 0.35)
    steps = np.arange(0, len(exact), max(1, len(exact) // 250))
    paths, exact = {name: drawn[steps] for name, drawn in paths.items()}, exact[steps]
    level = np.log(target / (1 - target))
    for axis, (colour, drawn) in zip(axes, zip(SERIES, paths.values())):
        axis.axhline(level, color=INK, linewidth=1, linestyle=":", zorder=3)
        axis.plot(steps, drawn, color=colour, linewidth=0.6, alpha=0.6)
        axis.plot(steps, exact, color=INK, linewidth=2.4, linestyle="--")
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _real_minus(axis)
    first = axes[0]
    note(first, "exact", (steps[-1], exact[-1]), (0, 6), ha="right", va="bottom", color=INK)
    last = axes[-1]
    note(last, "p = t", (steps[-1], level), (0, 3), ha="right", va="bottom", color=INK)
    figure.supxlabel("Step", fontsize=10)
    figure.supylabel("Logit a", fontsize=10)
    frames = [pd.DataFrame({"estimator": "exact", "path": 0, "step": steps, "logit": exact})]
    for name, drawn in paths.items():
        for i, logits in enumerate(drawn.T):
            frames.append(pd.DataFrame({"estimator": name, "path": i, "step": steps, "logit": logits}))
    text = "Logit by step, for several descents by each estimator and for the exact gradient."
    return Figure(figure, text, pd.concat(frames))


def _real_minus(axis: matplotlib.axes.Axes) -> None:
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(FuncFormatter(lambda value, _: minus(f"{value:g}")))
