"""The look of every figure, in one place."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib_inline.backend_inline import set_matplotlib_formats

from bsn.paths import PUBLISHED

PUBLISHED_STYLE = dict(marker="D", facecolors="none", edgecolors="black", linewidths=1.4, s=52, zorder=5)


def use_style():
    """Seaborn's white grid, its colour-blind safe palette, and vector output in notebooks."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 100, "savefig.bbox": "tight", "svg.fonttype": "none", "font.size": 12})
    set_matplotlib_formats("svg")


def learning_curves(curves, table, title, lowest=0.0):
    """Validation (solid) and training (dotted) accuracy by step, and the final numbers beside.

    Args:
        curves: from `bsn.results.train`; several seeds are drawn as their mean and range.
        table: from `bsn.results.against_published`; open diamonds mark the published numbers.
        title: of the figure; the data set and the seeds are added.
        lowest: accuracy where the axis begins.
    """
    use_style()
    labels = list(table.index)
    colours = dict(zip(labels, sns.color_palette("colorblind", len(labels))))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 4.6), width_ratios=[2.2, 1], sharey=True, layout="constrained"
    )
    for metric, line, width in (("validation", "-", 1.8), ("training", ":", 1.1)):
        sns.lineplot(
            curves[curves.metric == metric], x="step", y="value", hue="label", hue_order=labels,
            palette=colours, linestyle=line, linewidth=width, errorbar=("pi", 100),
            legend=metric == "validation", ax=left,
        )  # fmt: skip
    held_out = curves.evaluate_on.iloc[0]
    left.set(
        xlabel="Training steps",
        ylabel="Accuracy",
        title=f"{held_out.capitalize()} (solid), training (dotted)",
    )
    left.set_ylim(lowest, 1.005)
    left.legend(title=None, loc="lower right", fontsize="x-small", ncols=1 + (len(labels) > 4))
    final = curves[(curves.metric == "epoch") & (curves.step == curves.groupby("net").step.transform("max"))]
    sns.stripplot(
        final, x="label", y="value", hue="label", order=labels, hue_order=labels, palette=colours,
        legend=False, jitter=False, size=7, ax=right,
    )  # fmt: skip
    if (curves.dataset == "mnist").all():
        right.scatter(range(len(labels)), table.published, label="published", **PUBLISHED_STYLE)
        right.legend(loc="lower right", fontsize="x-small")
    right.set(xlabel=None, title="After the last epoch")
    right.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    seeds = curves.seed.nunique()
    figure.suptitle(f"{title} ({_name(curves.dataset.iloc[0])}, {seeds} seed{'s' * (seeds > 1)})")
    return figure


def _name(dataset):
    return {"mnist": "MNIST", "digits": "scikit-learn digits"}.get(dataset, dataset)


def published_numbers():
    """Every final number of the post, by experiment."""
    use_style()
    numbers = pd.read_csv(PUBLISHED, dtype={"experiment": str})
    rows = numbers.experiment + "  " + numbers.label
    figure, axes = plt.subplots(figsize=(8, 6.4), layout="constrained")
    axes.scatter(
        numbers.published, np.arange(len(rows)), c=numbers.experiment.str[0].astype(int), cmap="viridis", s=45
    )
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="Published accuracy after the last epoch", title="What the post published")
    return figure


def examples(data, rows=2, columns=10):
    """The first images of the validation part, in order, with their labels."""
    use_style()
    images, labels = data.parts["validation"]
    side = int(np.sqrt(images.shape[1]))
    figure, axes = plt.subplots(rows, columns, figsize=(9, 2.3), layout="constrained")
    for axis, image, label in zip(axes.flat, images, labels):
        axis.imshow(image[: side * side].reshape(side, side), cmap="gray_r")
        axis.set_axis_off()
        axis.set_title(int(label), fontsize=9)
    figure.suptitle(f"The first validation images ({_name(data.name)})")
    return figure


def gradient_comparison(frame):
    """Each estimator's expected gradient, and its spread over samples, against the logit.

    Args:
        frame: columns `logit`, `estimator`, `mean`, `deviation`, `exact`.
    """
    use_style()
    grid = sns.FacetGrid(frame, col="estimator", col_wrap=3, height=2.6, aspect=1.25, sharey=True)
    for name, axes in grid.axes_dict.items():
        part = frame[frame.estimator == name]
        axes.fill_between(
            part.logit, part["mean"] - part.deviation, part["mean"] + part.deviation, alpha=0.25
        )
        axes.plot(part.logit, part["mean"], label="estimate: mean and deviation")
        axes.plot(part.logit, part.exact, "k--", linewidth=1.3, label="exact gradient")
    grid.set_axis_labels("Logit a", "Gradient").set_titles("{col_name}")
    handles, labels = axes.get_legend_handles_labels()
    grid.figure.legend(handles, labels, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.06))
    return grid.figure


def surrogate_derivatives(frame):
    """The factor each straight-through estimator puts in place of the step's derivative.

    Args:
        frame: columns `logit`, `curve`, `value`.
    """
    use_style()
    figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
    sns.lineplot(frame, x="logit", y="value", hue="curve", style="curve", ax=axes)
    axes.set(xlabel="Logit a", ylabel="Factor on the gradient")
    axes.legend(title=None, fontsize="small")
    return figure
