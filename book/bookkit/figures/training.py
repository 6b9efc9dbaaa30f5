"""Learning curves and final accuracies, beside the book's record and the post."""

import textwrap

import matplotlib.axes
import pandas as pd
import seaborn as sns

from bookkit import chapter, runs, statistics
from bookkit.data import dataset_title
from bookkit.figures.style import PUBLISHED, SERIES, Figure, Style, name_rows, subplots


def learning_curves(curves: pd.DataFrame, table: pd.DataFrame, title: str, lowest: float = 0.0) -> Figure:
    """Draw validation (solid) and training (dotted) accuracy by step, and the final numbers below.

    Bands are where the book's record, if it has the setting, expects 95 % of runs.

    Args:
        curves: from `bookkit.chapter.train`; several seeds are drawn as their mean and range.
        table: from `bookkit.chapter.against_published`; open diamonds mark the published numbers.
        lowest: accuracy where the axis begins.
    """
    labels = list(table.index)
    colours = dict(zip(labels, SERIES * (1 + len(labels) // len(SERIES))))
    names = [textwrap.fill(label, 24) for label in labels]
    lines = len(labels) * (max(name.count("\n") for name in names) + 1.35)
    figure, (above, below) = subplots(2, height=3.9 + 0.19 * lines, height_ratios=[2.9, 0.5 + 0.19 * lines])
    bands = _bands(curves)
    for label, band in bands.groupby("label"):
        above.fill_between(band.step, band.low, band.high, color=colours[label], alpha=0.2, linewidth=0)
    hues: Style = dict(hue="label", hue_order=labels, palette=colours, legend=False)
    for metric, line, width in (("validation", "-", 1.6), ("training", ":", 1.1)):
        part = curves[curves.metric == metric]
        style: Style = dict(linestyle=line, linewidth=width, errorbar=("pi", 100))
        sns.lineplot(part, x="step", y="value", ax=above, **style, **hues)
    held_out = curves.evaluate_on.iloc[0]
    legend = f"Solid: {held_out}; dotted: training"
    if len(bands):
        legend += "\nBand: 95 % of runs, by the book's record (MNIST)"
    above.set(xlabel="Training steps", ylabel="Accuracy", title=legend)
    above.set_ylim(lowest, 1.01)
    finals = runs.final_accuracies(curves)
    sns.stripplot(finals, x="final", y="label", order=labels, jitter=False, size=7, ax=below, **hues)
    _expected(below, table, colours)
    name_rows(below, names)
    below.set(xlabel=f"{held_out.capitalize()} accuracy after the last epoch", ylabel=None)
    seeds = curves.seed.nunique()
    source = f"{dataset_title(curves.dataset.iloc[0])}, {seeds} seed{'s' * (seeds > 1)}"
    figure.suptitle(f"{textwrap.fill(title, 52)}\n({source})")
    text = f"{title} ({source}): accuracy by training step, and after the last epoch, per setting."
    return Figure(figure, text, _data(curves, bands, table))


def _expected(axes: matplotlib.axes.Axes, table: pd.DataFrame, colours: dict[str, str]) -> None:
    """Draw the published numbers, and where the record expects this run's."""
    for row, (label, low, high) in enumerate(zip(table.index, table.low, table.high)):
        if not pd.isna(low):  # the record has this setting
            axes.barh(row, high - low, left=low, height=0.6, color=colours[label], alpha=0.2)
    if table.published.notna().any():
        axes.scatter(table.published, range(len(table)), label="published", **PUBLISHED)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.1)
    axes.margins(y=0.12)
    axes.ticklabel_format(axis="x", useOffset=False)
    left, right = axes.get_xlim()
    missing = max(0.0, 0.02 - (right - left)) / 2  # so that a small difference does not look large
    axes.set_xlim(left - missing, right + missing)
    axes.grid(axis="x")


def _bands(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the record's prediction interval along the validation curve: label, step, low, high."""
    recorded = chapter.recorded(curves).query("metric == 'validation'")
    if recorded.empty:
        return pd.DataFrame(columns=["label", "step", "low", "high"])
    points = recorded.pivot(index="seed", columns=["label", "step"], values="value")
    low, high = statistics.prediction_interval(points)
    return points.columns.to_frame(index=False).assign(low=low, high=high)


def _data(curves: pd.DataFrame, bands: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return all that is drawn: points of this build's curves, and the ends of bands and bars."""
    points = curves[curves.metric.isin(["training", "validation", "epoch"])]
    finals = table[["low", "high", "published"]].rename_axis("label").reset_index()
    rows = pd.concat([points[["label", "seed", "metric", "step", "value"]], bands, finals])
    return rows.astype({"seed": "Int64", "step": "Int64"})
