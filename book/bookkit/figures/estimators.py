"""Figures of the binary unit: its sample, its derivatives and its gradient estimates."""

from collections.abc import Sequence
from typing import Any

import matplotlib.axes
import numpy as np
import pandas as pd

from bookkit.figures.style import GRID, INK, LINES, MUTED, SERIES, Figure, minus, note, panels, subplots
from bsn.backend import tf
from bsn.estimators.registry import ESTIMATORS

RAO = 100  # noises of Gumbel-Rao in `passes`


def step(noise: float = 0.3) -> Figure:
    """Draw a unit's output at one noise value and its probability, by logit, and the derivatives of both."""
    frame = _curves(noise)
    jump = np.log(noise / (1 - noise))
    figure, (above, below) = subplots(2, height=3.6, sharex=True, height_ratios=(1.5, 1))
    _draw_step(above, jump)
    above.plot(frame.logit, frame.probability, "--", color=SERIES[0])
    above.set(ylim=(-0.12, 1.12), yticks=[0, 0.5, 1], ylabel="Output")
    above.text(3.1, 0.82, "probability p", color=SERIES[0], va="top", fontsize=9.5)
    side = "left" if jump < 1 else "right"
    above.text(
        jump + (0.2 if side == "left" else -0.2), 0.12, f"sample b, with u = {noise:g}",
        color=INK, ha=side, fontsize=9.5,
    )  # fmt: skip
    below.plot(frame.logit, frame.derivative, "--", color=SERIES[0])
    below.axhline(0, color=INK, linewidth=1.8)
    below.plot([jump], [0], "o", color=INK, markerfacecolor=GRID, markersize=5)
    below.text(1.6, 0.17, "of p: p(1 − p)", color=SERIES[0], fontsize=9.5)
    below.text(-5.8, 0.03, "of b: 0", color=INK, va="bottom", fontsize=9.5)
    below.set(ylim=(-0.06, 0.3), yticks=[0, 0.25], ylabel="Derivative", xlabel="Logit a", xlim=(-6, 6))
    text = "A unit's sample is a step function of the logit, with derivative 0; its probability is smooth."
    return Figure(figure, text, frame)


def _curves(noise: float) -> pd.DataFrame:
    """Return a unit's sample and probability by logit, with the derivative of the latter."""
    logits = np.linspace(-6, 6, 241)
    p = 1 / (1 + np.exp(-logits))
    return pd.DataFrame(
        {"logit": logits, "sample": (noise < p) * 1, "probability": p, "derivative": p * (1 - p)}
    )


def _draw_step(axis: matplotlib.axes.Axes, jump: float) -> None:
    """Draw the unit's output, 0 up to the logit `jump` and 1 beyond."""
    axis.plot([-6, jump], [0, 0], color=INK, linewidth=1.8)
    axis.plot([jump, 6], [1, 1], color=INK, linewidth=1.8)
    axis.plot([jump, jump], [0, 1], ":", color=INK, linewidth=1)


def averages(frame: pd.DataFrame, exact: pd.DataFrame) -> Figure:
    """Draw the loss by logit, averaged over more and more noise values: a panel per number of them.

    Args:
        frame: columns `count`, `logit` and `loss`.
        exact: columns `logit` and `loss`, the expected loss.
    """
    counts = frame["count"].unique().tolist()
    titles = [f"{count:,} noise value{'s' * (count > 1)}" for count in counts]
    figure, axes = panels(titles, len(titles), 1.7, 0.45)
    for axis, count in zip(axes, counts):
        part = frame[frame["count"] == count]
        axis.plot(exact.logit, exact.loss, "--", color=SERIES[0], linewidth=1.4)
        axis.step(part.logit, part.loss, where="mid", color=INK, linewidth=1.3)
    axes[0].set_ylabel("Loss")
    note(axes[-1], "expected loss", (0.96, 0.05), xycoords="axes fraction", ha="right", color=SERIES[0])
    figure.supxlabel("Logit a", fontsize=10)
    text = "The loss by logit, averaged over more noise values per panel, beside the expected loss."
    data = pd.concat([frame, exact.assign(count="expected")])
    return Figure(figure, text, data)


def passes(names: Sequence[str], noise: float = 0.3, slope: float = 1.0, temperature: float = 0.5) -> Figure:
    """Draw what each sampler computes forward and backward: a row of two panels each.

    Args:
        names: estimators of `bsn.estimators.ESTIMATORS` of the kind "sampler".
        noise: u, the same for every logit.
        slope: s.
        temperature: of the relaxed ones.
    """
    logits = np.linspace(-6, 6, 121)
    figure, cells = subplots(len(names), 2, height=1.35 * len(names) + 0.75, sharex=True, squeeze=False)
    frames, labelled = [], False
    for (forward, backward), name in zip(cells, names):
        entry = ESTIMATORS[name]
        options = {"slope": slope, "temperature": temperature}
        options = {key: options[key] for key in entry.options}
        output, derivative = _passes(name, logits, noise, **options)
        frames.append(
            pd.DataFrame({"estimator": name, "logit": logits, "output": output, "derivative": derivative})
        )
        peak = derivative.max()
        if np.isin(output, [0, 1]).all():
            _draw_step(forward, np.log(noise / (1 - noise)) / slope)
            backward.axhline(0, color=INK, linewidth=1.4, linestyle="--")
            if not labelled:
                backward.text(-5.7, -0.07 * peak, "true: 0", color=INK, va="top", fontsize=9.5)
                backward.text(
                    5.7, 1.2 * peak, "substituted", color=SERIES[3], ha="right", va="top", fontsize=9.5
                )
            labelled = True
        else:
            forward.plot(logits, output, color=INK, linewidth=1.8)
        forward.set(ylim=(-0.15, 1.25), yticks=[0, 1], ylabel=entry.title, xlim=(-6, 6))
        backward.fill_between(logits, 0, derivative, color=SERIES[3], alpha=0.15, linewidth=0)
        backward.plot(logits, derivative, color=SERIES[3])
        backward.set(ylim=(-0.32 * peak, 1.25 * peak), xticks=[-5, 0, 5], yticks=[0, peak])
        backward.set_yticklabels(["0", f"{peak:.2g}"])
    cells[0, 0].set_title("Forward: the output")
    cells[0, 1].set_title("Backward: its derivative")
    figure.supxlabel("Logit a", fontsize=10)
    text = f"Forward and backward pass by logit: {', '.join(ESTIMATORS[name].title for name in names)}."
    return Figure(figure, text, pd.concat(frames))


def _passes(name: str, logits: np.ndarray, noise: float, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what a sampler of the package outputs by logit, and its derivative.

    Of several uniforms per unit the first is `noise`, the others are spread evenly.
    """
    entry = ESTIMATORS[name]
    others: Any = (np.arange(RAO) + 0.5) / RAO if isinstance(entry.noise, str) else []
    uniforms = np.repeat([[noise], *[[u] for u in others]], len(logits), axis=1)
    a = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(a)
        output = entry.function(a, tf.constant(uniforms if len(others) else uniforms[0]), **options)
    return output.numpy(), tape.gradient(output, a).numpy()


def chord_and_tangents(target: float = 0.45) -> Figure:
    """Draw the loss (b - t)^2 between b = 0 and b = 1, its chord, and its tangents at both ends.

    The exact gradient has the chord's slope, straight-through that of the tangent at the sample.
    """
    x = np.linspace(0, 1, 101)
    ends = np.array([0.0, 1.0])
    values, slopes = (ends - target) ** 2, 2 * (ends - target)
    figure, axis = subplots(height=2.9)
    axis.plot(x, (x - target) ** 2, color=INK, linewidth=1.8)
    axis.plot(ends, values, "--", color=SERIES[0], linewidth=1.6)
    reach = 0.3
    for end, value, slope, away in zip(ends, values, slopes, (1, -1)):
        along = np.array([end - 0.06 * away, end + reach * away])
        axis.plot(along, value + slope * (along - end), color=SERIES[3], linewidth=1.6)
        axis.text(
            end + 0.02 * away, value + slope * reach * away - 0.012,
            minus(f"tangent at {end:g}: slope {slope:.2f}"),
            color=SERIES[3], ha="left" if away > 0 else "right", va="top", fontsize=9.5,
        )  # fmt: skip
    axis.plot(ends, values, "o", color=INK, markersize=7, zorder=4)
    for end, value, away in zip(ends, values, (-1, 1)):
        note(axis, f"f({end:g})", (end, value), (9 * away, -4), ha="left" if away > 0 else "right")
    rise = values[1] - values[0]
    axis.text(
        0.5, values.mean() + 0.012 + 0.17 * abs(rise), minus(f"chord: slope {rise:.2f}"),
        color=SERIES[0], ha="center", va="bottom", fontsize=9.5,
    )  # fmt: skip
    low = min(0, (values - np.abs(slopes) * reach).min()) - 0.07
    axis.set(xlim=(-0.16, 1.16), ylim=(low, values.max() + 0.09), xticks=[0, target, 1])
    axis.set_xticklabels(["0", f"t = {target:g}", "1"])
    axis.set(xlabel="Output of the unit", ylabel="Loss f")
    data = pd.DataFrame({"b": ends, "loss": values, "tangent": slopes, "chord": rise})
    text = "A parabola with its values at 0 and at 1, the chord between them and the tangents there."
    return Figure(figure, text, data)


def means_by_logit(frame: pd.DataFrame) -> Figure:
    """Draw each estimator's expectation beside the exact gradient, a panel each; grey where the signs differ.

    Args:
        frame: columns `estimator`, `logit`, `mean` and `exact`.
    """
    names = list(frame.estimator.unique())
    figure, axes = panels(names, 2, 1.75, 0.45, sharey=False)
    for axis, name in zip(axes, names):
        part = frame[frame.estimator == name]
        wrong = (np.sign(part["mean"]) * np.sign(part.exact) < 0) & (part["mean"].abs() > 1e-9)
        axis.plot(part.logit, part["mean"], color=SERIES[3], linewidth=2.2)
        axis.plot(part.logit, part.exact, "--", color=INK, linewidth=1.4)
        low, high = axis.get_ylim()
        axis.fill_between(
            part.logit, low, high, where=wrong, color=MUTED, alpha=0.18, linewidth=0, step="mid"
        )
        axis.set(ylim=(low, high), xlim=(part.logit.min(), part.logit.max()))
        axis.locator_params(axis="y", nbins=4)
        if wrong.any() and axis is axes[0]:
            place = part.logit[wrong].mean(), high - 0.03 * (high - low)
            axis.text(*place, "wrong sign", color=MUTED, ha="center", va="top", fontsize=9.5)
    last = frame[frame.estimator == names[0]].iloc[-1]
    for value, label, colour, side in (
        (last["mean"], "expectation", SERIES[3], -1), (last.exact, "exact", INK, 1)
    ):  # fmt: skip
        note(
            axes[0],
            label,
            (last.logit, value),
            (-3, 5 if side > 0 else -20),
            color=colour,
            ha="right",
            va="bottom" if side > 0 else "top",
        )
    figure.supxlabel("Logit a", fontsize=10)
    figure.supylabel("Gradient", fontsize=10)
    text = "Expectation of each straight-through estimator by logit, beside the exact gradient."
    return Figure(figure, text, frame)


def surrogate_derivatives(slopes: Sequence[float]) -> Figure:
    """Draw what sigmoid-adjusted straight-through puts in place of the step's derivative, per slope."""
    logits = np.linspace(-6, 6, 481)
    figure, axis = subplots(height=2.8)
    frames = []
    axis.axhline(1, color=MUTED, linewidth=1.4, linestyle=":")
    axis.text(-5.9, 1.02, "pass-through: 1", color=MUTED, va="bottom", fontsize=9.5)
    for i, slope in enumerate(slopes):
        value = _passes("sigmoid-adjusted", logits, 0.5, slope=slope)[1]
        colour = SERIES[i % len(SERIES)]
        axis.plot(logits, value, LINES[i % len(LINES)], color=colour)
        height = 0.6 * slope / 4
        flank = logits[value >= height].max()
        axis.text(flank + 0.15, height, f"s = {slope:g}", color=colour, fontsize=9.5, va="bottom")
        frames.append(pd.DataFrame({"slope": slope, "logit": logits, "derivative": value}))
    top = max(1, max(slopes) / 4)
    axis.set(xlabel="Logit a", ylabel="Substituted derivative", xlim=(-6, 6), ylim=(0, 1.15 * top))
    text = "The substituted derivative s p (1 - p) by logit for several slopes, beside pass-through's 1."
    return Figure(figure, text, pd.concat(frames))
