"""The binary VAE's bounds: along the training, and at its end."""

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from bookkit import statistics
from bookkit.figures.style import SERIES, Figure, name_rows, subplots
from bookkit.studies.vae import findings

LINES = ("-", "--", ":", "-.")
MARKS = (("train", "o", SERIES[0], -0.13), ("test", "D", SERIES[3], 0.13))
POINTS = 10  # of a curve


def curves(nets, title, reference=None):
    """The training bound by step, mean over seeds, a panel an architecture.

    Args:
        nets: a row a net, as from `bookkit.studies.vae.runs.frame`, all of one length.
        reference: an estimator whose bound is subtracted, seed by seed; None for the bound itself.
    """
    table = pd.concat([_points(part, reference) for _, part in nets.groupby("architecture", sort=False)])
    names, panels = list(nets.estimator.unique()), list(nets.architecture.unique())
    figure, axes = subplots(len(panels), height=2.6 * len(panels) + 1.1, sharex=True, squeeze=False)
    for panel, place in zip(panels, axes[:, 0]):
        for number, name in enumerate(names):
            part = table[(table.architecture == panel) & (table.estimator == name)]
            line = dict(color=SERIES[number % len(SERIES)], linewidth=1.8, label=name)
            place.plot(part.step, part.bound, LINES[number // len(SERIES) % len(LINES)], **line)
        place.set_title(panel)
        place.set_ylabel("Nats" if reference else "Training bound, nats")
    axes[-1, 0].set_xlabel("Steps")
    axes[-1, 0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.suptitle(title)
    legend = axes[0, 0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3, handlelength=2.4)
    said = "; ".join(
        f"{panel}, {name}: {part.bound.iloc[0]:.2f} to {part.bound.iloc[-1]:.2f}"
        for (panel, name), part in table.groupby(["architecture", "estimator"], sort=False)
    )
    return Figure(figure, f"{title}, nats, from the first point to the last. {said}.", table)


def _points(nets, reference):
    """One architecture's curves, means over parts of them: architecture, estimator, step, bound."""
    every, total = nets.every.iloc[0], nets.steps.iloc[0]
    wide = max(1, total // every // POINTS)
    curve = nets.set_index(["estimator", "seed"]).curve
    rows = []
    for name in nets.estimator.unique():
        both = (curve[name] - curve[reference]) if reference else curve[name]
        mean = np.mean(list(both), 0)[: total // every // wide * wide].reshape(-1, wide).mean(1)
        steps = wide * every * np.arange(1, len(mean) + 1)
        rows += [(nets.architecture.iloc[0], name, step, value) for step, value in zip(steps, mean)]
    return pd.DataFrame(rows, columns=["architecture", "estimator", "step", "bound"])


def finals(nets, title, level=statistics.LEVEL):
    """Both bounds at the end with intervals over the seeds, which hold together in each panel."""
    panels = list(nets.architecture.unique())
    orders = {one: findings.bounds(nets[nets.architecture == one], "train").mean() for one in panels}
    counts = [len(order) for order in orders.values()]
    figure, axes = subplots(
        len(panels), height=0.27 * sum(counts) + 0.75 * len(panels) + 0.9, squeeze=False,
        gridspec_kw={"height_ratios": counts},
    )  # fmt: skip
    rows = []
    for panel, place in zip(panels, axes[:, 0]):
        part = nets[nets.architecture == panel]
        names = list(orders[panel].sort_values(ascending=False).index)
        for measure, marker, colour, shift in MARKS:
            table = findings.bounds(part, measure)[names]
            low, high = statistics.mean_interval(table, 1 - (1 - level) / len(names))
            mean, at = table.mean().to_numpy(), np.arange(len(names)) + shift
            place.errorbar(
                mean, at, xerr=[mean - low, high - mean], fmt=marker, color=colour, markersize=5,
                elinewidth=1.4, capsize=2.5, label=findings.MEASURES[measure],
            )  # fmt: skip
            rows += [(panel, name, measure, *found) for name, *found in zip(names, mean, low, high)]
        name_rows(place, names)
        place.invert_yaxis()
        place.set_title(panel)
    axes[-1, 0].set_xlabel("Bound, nats")
    figure.suptitle(title)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    table = pd.DataFrame(rows, columns=["architecture", "estimator", "measure", "mean", "low", "high"])
    said = "; ".join(
        f"{row.architecture}, {row.estimator}, {row.measure} {row.mean:.2f} ({row.low:.2f} to {row.high:.2f})"
        for row in table.itertuples()
    )
    return Figure(figure, f"{title}, nats, with intervals over the seeds. {said}.", table)
