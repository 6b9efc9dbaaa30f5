"""The binary VAE's bounds during training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bookkit.figures.style import LINES, SERIES, Figure, Style, panels, shared_legend

POINTS = 10  # of a curve


def curves(nets: pd.DataFrame, title: str, reference: str | None = None) -> Figure:
    """Draw the training bound by step, its mean over seeds, one panel per architecture.

    Args:
        nets: one row per net, as from `bookkit.studies.vae.runs.frame`, all of one length and of equal seeds.
        reference: an estimator whose bound is subtracted; None for the bound itself.
    """
    architectures, estimators = list(nets.architecture.unique()), list(nets.estimator.unique())
    figure, axes = panels(architectures, 1, 2.6, 1.1, sharey=False)
    panel, every = dict(zip(architectures, axes)), nets.every.iloc[0]
    width = max(1, len(nets.curve.iloc[0]) // POINTS)
    groups: Any = nets.groupby(["architecture", "estimator"], sort=False).curve
    means = {names: np.mean(list(seeds), 0) for names, seeds in groups}
    tables = []
    for (architecture, name), curve in means.items():
        bound = curve - means[architecture, reference] if reference else curve
        bound = bound[: len(bound) // width * width].reshape(-1, width).mean(1)
        step = width * every * np.arange(1, len(bound) + 1)
        line, colour = divmod(estimators.index(name), len(SERIES))
        style: Style = dict(color=SERIES[colour], linestyle=LINES[line % len(LINES)], linewidth=1.8)
        panel[architecture].plot(step, bound, label=name, **style)
        columns = {"architecture": architecture, "estimator": name, "step": step, "bound": bound}
        tables.append(pd.DataFrame(columns))
    for axis in axes:
        axis.set_ylabel("Nats" if reference else "Training bound, nats")
    axes[-1].set_xlabel("Steps")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(title)
    shared_legend(figure, ncols=3, handlelength=2.4)
    return Figure(figure, f"{title}, in nats, one curve per estimator.", pd.concat(tables))
