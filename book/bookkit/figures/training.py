"""Learning curves and final accuracies, beside the book's record and the post."""

import textwrap

import pandas as pd
import seaborn as sns

from bookkit import chapter, runs, statistics
from bookkit.data import dataset_title
from bookkit.figures.style import PUBLISHED, SERIES, Figure, name_rows, ranges, subplots


def learning_curves(curves, table, title, lowest=0.0):
    """Validation (solid) and training (dotted) accuracy by step, and the final numbers below.

    Bands are where the book's record, if it has the setting, expects 95 % of runs.

    Args:
        curves: from `bookkit.chapter.train`; several seeds are drawn as their mean and range.
        table: from `bookkit.chapter.against_published`; open diamonds mark the published numbers.
        title: of the figure; the data set and the seeds are added.
        lowest: accuracy where the axis begins.
    """
    labels = list(table.index)
    colours = dict(zip(labels, SERIES * (1 + len(labels) // len(SERIES))))
    wrapped = [textwrap.fill(label, 24) for label in labels]
    lines = len(labels) * (max(label.count("\n") for label in wrapped) + 1.35)
    figure, (above, below) = subplots(2, height=3.9 + 0.19 * lines, height_ratios=[2.9, 0.5 + 0.19 * lines])
    bands = _bands(curves)
    for label, band in bands.groupby("label"):
        above.fill_between(band.step, band.low, band.high, color=colours[label], alpha=0.2, linewidth=0)
    for metric, line, width in (("validation", "-", 1.6), ("training", ":", 1.1)):
        sns.lineplot(
            curves[curves.metric == metric], x="step", y="value", hue="label", hue_order=labels,
            palette=colours, linestyle=line, linewidth=width, errorbar=("pi", 100), legend=False, ax=above,
        )  # fmt: skip
    held_out = curves.evaluate_on.iloc[0]
    legend = f"Solid: {held_out}; dotted: training"
    if len(bands):
        legend += "\nBand: 95 % of runs, by the book's record (MNIST)"
    above.set(xlabel="Training steps", ylabel="Accuracy", title=legend)
    above.set_ylim(lowest, 1.01)
    finals = runs.final_accuracies(curves)
    sns.stripplot(
        finals, x="final", y="label", hue="label", order=labels,
        hue_order=labels, palette=colours, legend=False, jitter=False, size=7, ax=below,
    )  # fmt: skip
    for row, (low, high) in enumerate(zip(table.low, table.high)):
        if low == low:  # the record has this setting
            below.barh(row, high - low, left=low, height=0.6, color=colours[labels[row]], alpha=0.2)
    if table.published.notna().any():
        below.scatter(table.published, range(len(labels)), label="published", **PUBLISHED)
        below.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.1)
    name_rows(below, wrapped)
    below.set(xlabel=f"{held_out.capitalize()} accuracy after the last epoch", ylabel=None)
    below.margins(y=0.12)
    below.ticklabel_format(axis="x", useOffset=False)
    left, right = below.get_xlim()
    missing = max(0.0, 0.02 - (right - left)) / 2  # so that a small difference does not look large
    below.set_xlim(left - missing, right + missing)
    below.grid(axis="x")
    seeds = curves.seed.nunique()
    made_on = f"{dataset_title(curves.dataset.iloc[0])}, {seeds} seed{'s' * (seeds > 1)}"
    figure.suptitle(f"{textwrap.fill(title, 52)}\n({made_on})")
    text = f"{title} ({made_on}): learning curves over {curves.step.max():,} steps. " + _in_words(
        table, held_out
    )
    drawn = curves[curves.metric.isin(["training", "validation", "epoch"])]
    drawn = drawn[["label", "seed", "metric", "step", "value"]]
    for end in ("low", "high"):
        part = bands.rename(columns={end: "value"}).assign(metric=f"recorded, {end} end of 95 %")
        drawn = pd.concat([drawn, part[["label", "metric", "step", "value"]]])
    return Figure(figure, text, drawn.astype({"seed": "Int64"}))


def _bands(curves):
    """The record's prediction interval at each point of the validation curve: label, step, low, high."""
    kept = chapter.recorded(curves).query("metric == 'validation'")
    parts = []
    for label, nets in kept.groupby("label"):
        points = nets.pivot(index="step", columns="seed", values="value")
        low, high = statistics.prediction_interval(points.T)
        parts.append(pd.DataFrame({"label": label, "step": points.index, "low": low, "high": high}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["label", "step", "low", "high"])


def _in_words(table, held_out):
    sentences = []
    for label, row in table.iterrows():
        parts = [f"{label}: {row.measured:.4f}"]
        if row.low == row.low:
            parts.append(f"recorded {row.recorded:.4f}, 95 % of runs {ranges(row.low, row.high)}")
        if row.published == row.published:
            parts.append(f"published {row.published:.4f}")
        sentences.append(", ".join(parts))
    return f"{held_out.capitalize()} accuracy after the last epoch: " + "; ".join(sentences) + "."
