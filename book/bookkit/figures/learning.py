"""A binary net while it learns: its hidden layer, its learning curve; and the descent of one logit."""

from collections.abc import Mapping, Sequence

import matplotlib.axes
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bookkit.figures.style import INK, MUTED, SERIES, WIDTH, Figure, minus, panels, subplots

CELL = 1.0  # width of a grid of units, in the unit of `firing`'s axis
GAP, MARGIN = 0.14, 0.3  # between grids; beside the image, and above a row for its words
FAINTEST = 0.04  # pixel that is drawn


def firing(image: np.ndarray, samples: Mapping[str, np.ndarray], shown: int = 3) -> Figure:
    """Draw an image and, per net, some samples of the hidden layer that sees it and its firing rates.

    Each square is a unit, filled if it outputs 1. In the last column its darkness is the rate over all
    samples.

    Args:
        image: [D], from 0 to 1.
        samples: a row's title -> [n, H], zeros and ones.
        shown: number of samples to draw per row.
    """
    columns = shown + 1
    left = CELL + MARGIN
    width, height = left + columns * CELL + (columns - 1) * GAP, len(samples) * (CELL + MARGIN)
    figure, axis = subplots(height=WIDTH * height / width)
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axis.set_axis_off()
    inches = WIDTH / width
    middle = MARGIN + (height - MARGIN - CELL) / 2
    _squares(axis, image / max(image.max(), FAINTEST), 0, middle, inches, full=1.0)
    axis.text(0, middle - 0.08, "Image", va="bottom", fontsize=9.5)
    rows = []
    for i, (title, drawn) in enumerate(samples.items()):
        top = i * (CELL + MARGIN) + MARGIN
        rates = drawn.mean(0)
        grids = [*drawn[:shown], rates]
        for j, values in enumerate(grids):
            _squares(axis, values, left + j * (CELL + GAP), top, inches)
        axis.text(left, top - 0.08, title, va="bottom", fontsize=9.5)
        axis.text(width - CELL, top - 0.08, "Firing rate", va="bottom", fontsize=9.5)
        rows.append(pd.DataFrame({"net": title, "unit": range(len(rates)), "rate": rates}))
        for j, values in enumerate(drawn[:shown], 1):
            rows[-1][f"sample {j}"] = values.astype(int)
    text = f"An image and, per net, {shown} samples of the hidden layer that sees it and its firing rates."
    return Figure(figure, text, pd.concat(rows))


def _squares(
    axis: matplotlib.axes.Axes, values: np.ndarray, left: float, top: float, inches: float, full: float = 0.8
) -> None:
    """Draw values from 0 to 1 as a square of grey squares; `full` is their width in that of their place."""
    side = int(np.ceil(len(values) ** 0.5))
    pitch = CELL / side
    y, x = np.divmod(np.arange(len(values)), side)
    place = left + (x + 0.5) * pitch, top + (y + 0.5) * pitch
    size = (72 * inches * pitch * full) ** 2
    faint = values < FAINTEST
    if full < 1:  # units that are silent show their place
        dots = place[0][faint], place[1][faint]
        axis.scatter(*dots, s=(72 * inches * pitch * 0.16) ** 2, marker="s", color=MUTED, linewidths=0)
    colours = [to_rgba(INK, value) for value in values[~faint]]
    axis.scatter(place[0][~faint], place[1][~faint], s=size, marker="s", c=colours, linewidths=0)


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
        axis.annotate(
            name, (last.epoch, last[name]), xytext=(7, offset), textcoords="offset points", va=side,
            color=colour, fontsize=9.5, annotation_clip=False,
        )  # fmt: skip
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
    style = dict(textcoords="offset points", va="top", fontsize=9.5)
    end = axis.get_ylim()[1]
    axis.annotate("no baseline", (0, end), xytext=(-5, 0), ha="right", color=MUTED, **style)
    axis.annotate("best baseline", (best, end), xytext=(5, 0), ha="left", color=MUTED, **style)
    right = x.iloc[-1]
    axis.annotate(
        "mean", (right, frame["mean"].iloc[-1]), xytext=(5, 0), textcoords="offset points", va="center",
        color=INK, fontsize=9.5, annotation_clip=False,
    )  # fmt: skip
    axis.annotate(
        "mean ± deviation", (right, high.iloc[-1]), xytext=(0, 3), textcoords="offset points", ha="right",
        va="bottom", color=SERIES[0], fontsize=9.5,
    )  # fmt: skip
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
    steps = np.arange(len(exact))
    level = np.log(target / (1 - target))
    for axis, (colour, drawn) in zip(axes, zip(SERIES, paths.values())):
        axis.axhline(level, color=INK, linewidth=1, linestyle=":", zorder=3)
        axis.plot(steps, drawn, color=colour, linewidth=0.6, alpha=0.6)
        axis.plot(steps, exact, color=INK, linewidth=2.4, linestyle="--")
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _real_minus(axis)
    first = axes[0]
    first.annotate(
        "exact", (steps[-1], exact[-1]), xytext=(0, 6), textcoords="offset points", ha="right", va="bottom",
        color=INK, fontsize=9.5,
    )  # fmt: skip
    last = axes[-1]
    last.annotate(
        "p = t", (steps[-1], level), xytext=(0, 3), textcoords="offset points", ha="right", va="bottom",
        color=INK, fontsize=9.5,
    )  # fmt: skip
    figure.supxlabel("Step", fontsize=10)
    figure.supylabel("Logit a", fontsize=10)
    frames = [pd.DataFrame({"estimator": "exact", "path": 0, "step": steps, "logit": exact})]
    for name, drawn in paths.items():
        for i, logits in enumerate(drawn.T):
            frames.append(pd.DataFrame({"estimator": name, "path": i, "step": steps, "logit": logits}))
    data = pd.concat(frames)
    text = "Logit by step, for several descents by each estimator and for the exact gradient."
    return Figure(figure, text, data[data.step % max(1, len(steps) // 200) == 0])


def _real_minus(axis: matplotlib.axes.Axes) -> None:
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(FuncFormatter(lambda value, _: minus(f"{value:g}")))
