"""Pictures: of images, and of a hidden layer that sees one."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.axes
import numpy as np
import pandas as pd

from bookkit.figures.style import INK, MUTED, WIDTH, Figure, subplots

SMALL, LARGE, GAP = 10.0, 22.0, 2.0  # panels of `coins`, in units of its axes
SIDE = 1.0  # of a layer in `firing`


def square(pixels: np.ndarray) -> np.ndarray:
    """Return pixels [..., D] as pictures [..., side, side], with zeros added if D is no square number."""
    side = int(np.ceil(pixels.shape[-1] ** 0.5))
    missing = side**2 - pixels.shape[-1]
    padded = np.pad(pixels, [(0, 0)] * (pixels.ndim - 1) + [(0, missing)])
    return padded.reshape(*pixels.shape[:-1], side, side)


def coins(image: np.ndarray, samples: np.ndarray, shown: int = 4) -> Figure:
    """Draw an image, the first samples of a hidden layer that sees it, and each unit's firing rate.

    A layer is a square of coins, filled for 1 and empty for 0. The rate, over all samples, is a grey level.

    Args:
        image: [side, side], from 0 to 1.
        samples: [n, H], zeros and ones. Pass a few hundred for a smooth rate.
        shown: number of samples to draw, in two rows.
    """
    image, samples = np.asarray(image, float), np.asarray(samples, float)
    rates, shown = samples.mean(0), min(shown, len(samples))
    columns = -(-shown // 2)
    right = LARGE + 3 * GAP + columns * (SMALL + GAP) + GAP  # where the rates begin
    size = (right + LARGE, LARGE + 2.6)
    figure, axis = subplots(height=WIDTH * size[1] / size[0])
    figure.set_layout_engine("none")
    axis.set_position((0, 0, 1, 1))
    axis.set(xlim=(0, size[0]), ylim=(LARGE, LARGE - size[1]))
    axis.set_axis_off()
    unit = WIDTH * 72 / size[0]  # points

    _image(axis, image.ravel(), 0, 0, LARGE, unit)
    for i, sample in enumerate(samples[:shown]):
        row, column = divmod(i, columns)
        left, top = LARGE + 2 * GAP + column * (SMALL + GAP), row * (SMALL + GAP)
        _coins(axis, left, top, SMALL, sample, unit)
    _coins(axis, right, 0, LARGE, rates, unit)
    count = f"{shown} samples" if shown > 1 else "One sample"
    titles = {0: "Image", LARGE + 2 * GAP: f"{count} of {len(rates)} units", right: "Firing rates"}
    for left, title in titles.items():
        axis.text(left, -0.9, title, fontsize=10)

    data = pd.DataFrame(samples[:shown].T.astype(int)).rename(columns=lambda i: f"sample {i + 1}")
    data = data.rename_axis("unit").assign(rate=rates).reset_index()
    text = f"An image, {count.lower()} of {len(rates)} units that see it, and how often each unit fires."
    return Figure(figure, text, data)


def firing(image: np.ndarray, samples: Mapping[str, np.ndarray], shown: int = 3) -> Figure:
    """Draw an image and, per net, some samples of the hidden layer that sees it and its firing rates.

    Layers are drawn as in `coins`; the rates are over all samples.

    Args:
        image: [D], from 0 to 1.
        samples: a row's title -> [n, H], zeros and ones.
        shown: number of samples to draw per row.
    """
    words, gap = 0.3 * SIDE, 0.14 * SIDE  # above a row; between layers
    left = SIDE + words
    width = left + (shown + 1) * SIDE + shown * gap
    height = len(samples) * (SIDE + words)
    figure, axis = subplots(height=WIDTH * height / width)
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axis.set_axis_off()
    unit = WIDTH * 72 / width
    middle = (height + words - SIDE) / 2
    _image(axis, image, 0, middle, SIDE, unit)
    above: dict[str, Any] = dict(va="bottom", fontsize=9.5)
    axis.text(0, middle - 0.08 * SIDE, "Image", **above)
    frames = []
    for i, (title, drawn) in enumerate(samples.items()):
        top, rates = i * (SIDE + words) + words, drawn.mean(0)
        for j, levels in enumerate([*drawn[:shown], rates]):
            _coins(axis, left + j * (SIDE + gap), top, SIDE, levels, unit)
        axis.text(left, top - 0.08 * SIDE, title, **above)
        axis.text(width - SIDE, top - 0.08 * SIDE, "Firing rate", **above)
        columns = {f"sample {j}": values.astype(int) for j, values in enumerate(drawn[:shown], 1)}
        frames.append(pd.DataFrame({"net": title, "unit": range(len(rates)), "rate": rates, **columns}))
    text = f"An image and, per net, {shown} samples of the hidden layer that sees it and its firing rates."
    return Figure(figure, text, pd.concat(frames))


def _image(
    axis: matplotlib.axes.Axes, pixels: np.ndarray, left: float, top: float, width: float, unit: float
) -> None:
    """Draw pixels from 0 to 1 as a square of dots whose area is the intensity; dark ones stay small."""
    side = int(np.ceil(len(pixels) ** 0.5))
    x, y = _cells(len(pixels), left, top, width)
    pitch = width / side
    levels = np.ceil(8 * pixels / max(pixels.max(), 1e-9)) / 8  # few sizes make a small file
    for level in np.unique(levels[levels > 0.2]):
        at = levels == level
        axis.scatter(x[at], y[at], s=(pitch * unit) ** 2 * level, color=INK, linewidths=0, clip_on=False)
    dots: dict[str, Any] = dict(color=MUTED, linewidth=0.7, dash_capstyle="round", zorder=0)
    for height in top + (np.arange(side) + 0.5) * pitch:  # the rest: a row of points is a dotted line
        ends = left + pitch / 2, left + width - pitch / 2
        axis.plot(ends, [height] * 2, linestyle=(0, (0.001, pitch * unit / 0.7)), **dots)


def _cells(count: int, left: float, top: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of a square's cells, row by row."""
    side = int(np.ceil(np.sqrt(count)))
    rows, columns = np.divmod(np.arange(count), side)
    return left + (columns + 0.5) * width / side, top + (rows + 0.5) * width / side


def _coins(
    axis: matplotlib.axes.Axes, left: float, top: float, width: float, levels: np.ndarray, unit: float
) -> None:
    """Draw a layer as a square of coins, each as dark as its level from 0 to 1."""
    x, y = _cells(len(levels), left, top, width)
    diameter = 0.76 * width / np.ceil(np.sqrt(len(levels))) * unit  # points
    style: dict[str, Any] = dict(s=diameter**2, clip_on=False)
    axis.scatter(x, y, facecolors="none", edgecolors=MUTED, linewidths=0.6, **style)
    opacities = np.round(levels, 1)  # few levels make a small file
    for opacity in np.unique(opacities[opacities > 0]):
        at = opacities == opacity
        axis.scatter(x[at], y[at], color=INK, alpha=float(opacity), linewidths=0, **style)


def grid(images: np.ndarray, columns: int, names: Sequence[str] = ()) -> Figure:
    """Draw images in rows, as ink on the page's ground.

    Args:
        images: [n, side, side], from 0 to 1, row by row.
        columns: images per row.
        names: one for each row, or none.
    """
    images = np.clip(np.asarray(images, float), 0, 1)
    count, side, _ = images.shape
    rows, pitch = -(-count // columns), side + max(1, side // 8)
    ink = np.zeros([rows * pitch - pitch + side, columns * pitch - pitch + side, 4])  # black, transparent
    for i, picture in enumerate(images):
        top, left = i // columns * pitch, i % columns * pitch
        ink[top : top + side, left : left + side, 3] = picture
    margin = 1.0 if names else 0.0  # inches
    figure, axis = subplots(height=(WIDTH - margin) * ink.shape[0] / ink.shape[1] + 0.3 * (not names))
    figure.set_dpi(240)
    axis.imshow(ink, interpolation="none")  # the browser enlarges the pixels
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.set_xticks([])
    axis.set_yticks([i * pitch + side / 2 - 0.5 for i, _ in enumerate(names)], list(names))
    axis.tick_params(length=0)
    pixels = f"{side} × {side} pixels"
    if not names:
        axis.set_xlabel(f"{count} images of {pixels}" if count > 1 else f"An image of {pixels}", loc="left")
    text = f"Images of {pixels}, {columns} per row: {', '.join(names).lower() or f'{count} in all'}."
    data = pd.DataFrame(images.reshape(count, -1)).rename_axis("image").reset_index()
    return Figure(figure, text, data)
