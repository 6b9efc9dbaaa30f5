"""The binary VAE's bounds: during training, and at its end."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from bookkit import statistics
from bookkit.figures.style import LINES, SERIES, Figure, Style, name_rows, panels, shared_legend
from bookkit.studies.vae import findings

MARKS = (("train", "o", SERIES[0], -0.13), ("test", "D", SERIES[3], 0.13))
POINTS = 10  # of a curve


def curves(nets: pd.DataFrame, title: str, reference: str | None = None) -> Figure:
    """Draw the training bound by step, its mean over seeds, one panel per architecture.

    Args:
        nets: one row per net, as from `bookkit.studies.vae.runs.frame`, all of one length.
        reference: an estimator whose bound is subtracted, seed by seed; None for the bound itself.
    """
    table = pd.concat([_points(part, reference) for _, part in nets.groupby("architecture", sort=False)])
    architectures = list(nets.architecture.unique())
    figure, axes = panels(architectures, 1, 2.6, 1.1, sharey=False)
    for axis, architecture in zip(axes, architectures):
        for i, name in enumerate(nets.estimator.unique()):
            part = table[(table.architecture == architecture) & (table.estimator == name)]
            style: Style = dict(color=SERIES[i % len(SERIES)], linestyle=LINES[i // len(SERIES) % len(LINES)])
            axis.plot(part.step, part.bound, linewidth=1.8, label=name, **style)
        axis.set_ylabel("Nats" if reference else "Training bound, nats")
    axes[-1].set_xlabel("Steps")
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.suptitle(title)
    shared_legend(figure, ncols=3, handlelength=2.4)
    return Figure(figure, f"{title}, in nats, one curve per estimator.", table)


def _points(nets: pd.DataFrame, reference: str | None) -> pd.DataFrame:
    """Return one architecture's curves, means over parts of them: architecture, estimator, step, bound."""
    every, total = nets.every.iloc[0], nets.steps.iloc[0]
    width = max(1, total // every // POINTS)
    curve = nets.set_index(["estimator", "seed"]).curve
    parts = []
    for name in nets.estimator.unique():
        bounds = (curve[name] - curve[reference]) if reference else curve[name]
        mean = np.mean(list(bounds), 0)[: total // every // width * width].reshape(-1, width).mean(1)
        steps = width * every * np.arange(1, len(mean) + 1)
        parts.append(pd.DataFrame({"estimator": name, "step": steps, "bound": mean}))
    return pd.concat(parts).assign(architecture=nets.architecture.iloc[0])


def finals(nets: pd.DataFrame, title: str, level: float = statistics.LEVEL) -> Figure:
    """Draw both bounds at the end with intervals over the seeds, which hold jointly in each panel."""
    parts = {str(name): part for name, part in nets.groupby("architecture", sort=False)}
    means = {name: findings.bounds(part, "train").mean() for name, part in parts.items()}
    counts = [len(mean) for mean in means.values()]
    height = 0.27 * sum(counts) / len(counts) + 0.75
    shared: Style = dict(sharex=False, sharey=False, gridspec_kw={"height_ratios": counts})
    figure, axes = panels(list(parts), 1, height, 0.9, **shared)
    tables = []
    for axis, (architecture, part) in zip(axes, parts.items()):
        names = list(means[architecture].sort_values(ascending=False).index)
        for measure, marker, colour, shift in MARKS:
            bounds = findings.bounds(part, measure)[names]
            low, high = statistics.mean_interval(bounds, 1 - (1 - level) / len(names))
            mean, rows = bounds.mean().to_numpy(), np.arange(len(names)) + shift
            style: Style = dict(color=colour, markersize=5, elinewidth=1.4, capsize=2.5)
            label = findings.MEASURES[measure]
            axis.errorbar(mean, rows, xerr=[mean - low, high - mean], fmt=marker, label=label, **style)
            ends = {"mean": mean, "low": low, "high": high}
            table = pd.DataFrame({"estimator": names, "measure": measure} | ends)
            tables.append(table.assign(architecture=architecture))
        name_rows(axis, names, downwards=True)
    axes[-1].set_xlabel("Bound, nats")
    figure.suptitle(title)
    shared_legend(figure, ncols=2)
    text = f"{title}, in nats, with intervals over the seeds, by estimator."
    return Figure(figure, text, pd.concat(tables))
