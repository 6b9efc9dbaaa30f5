"""The look of every figure, in one place."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib_inline.backend_inline import set_matplotlib_formats

from bsn import results, training, verdicts

PUBLISHED_STYLE = dict(marker="D", facecolors="none", edgecolors="black", linewidths=1.4, s=52, zorder=5)


def use_style():
    """Seaborn's white grid, its colour-blind safe palette, and vector output in notebooks."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 100, "savefig.bbox": "tight", "svg.fonttype": "none", "font.size": 12})
    set_matplotlib_formats("svg")


def learning_curves(curves, table, title, lowest=0.0):
    """Validation (solid) and training (dotted) accuracy by step, and the final numbers below.

    Bands are where the book's record, if it has the setting, expects 95 % of runs.

    Args:
        curves: from `bsn.results.train`; several seeds are drawn as their mean and range.
        table: from `bsn.results.against_published`; open diamonds mark the published numbers.
        title: of the figure; the data set and the seeds are added.
        lowest: accuracy where the axis begins.
    """
    use_style()
    labels = list(table.index)
    colours = dict(zip(labels, sns.color_palette("colorblind", len(labels))))
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7.2, 4.9 + 0.32 * len(labels)), layout="constrained",
        height_ratios=[4, 0.7 + 0.32 * len(labels)],
    )  # fmt: skip
    for label, nets in results.recorded(curves).query("metric == 'validation'").groupby("label"):
        points = nets.pivot(index="step", columns="seed", values="value")
        low, high = verdicts.prediction_interval(points.T)
        above.fill_between(points.index, low, high, color=colours[label], alpha=0.2, linewidth=0)
    for metric, line, width in (("validation", "-", 1.8), ("training", ":", 1.1)):
        sns.lineplot(
            curves[curves.metric == metric], x="step", y="value", hue="label", hue_order=labels,
            palette=colours, linestyle=line, linewidth=width, errorbar=("pi", 100), legend=False, ax=above,
        )  # fmt: skip
    held_out = curves.evaluate_on.iloc[0]
    legend = f"Solid: {held_out}; dotted: training"
    if table.low.notna().any():
        legend += "\nBand: where the book's record (MNIST) expects 95 % of runs"
    above.set(xlabel="Training steps", ylabel="Accuracy", title=legend)
    above.set_ylim(lowest, 1.01)
    sns.stripplot(
        training.final_accuracies(curves), x="final", y="label", hue="label", order=labels,
        hue_order=labels, palette=colours, legend=False, jitter=False, size=8, ax=below,
    )  # fmt: skip
    for row, (low, high) in enumerate(zip(table.low, table.high)):
        if low != low:  # the record has no such setting
            continue
        below.barh(row, high - low, left=low, height=0.6, color=colours[labels[row]], alpha=0.2)
    if table.published.notna().any():
        below.scatter(table.published, range(len(labels)), label="published", **PUBLISHED_STYLE)
        below.legend(loc="best", fontsize="small")
    below.set(xlabel=f"{held_out.capitalize()} accuracy after the last epoch, a dot a seed", ylabel=None)
    below.margins(y=0.12)
    below.ticklabel_format(axis="x", useOffset=False)
    left, right = below.get_xlim()
    missing = max(0.0, 0.02 - (right - left)) / 2  # so that a small difference does not look large
    below.set_xlim(left - missing, right + missing)
    below.grid(axis="x")
    seeds = curves.seed.nunique()
    figure.suptitle(f"{title}\n({_name(curves.dataset.iloc[0])}, {seeds} seed{'s' * (seeds > 1)})")
    return figure


def _name(dataset):
    return {"mnist": "MNIST", "digits": "scikit-learn digits"}.get(dataset, dataset)


def published_numbers():
    """Every final number of the post, by experiment."""
    use_style()
    numbers = results.published_numbers()
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


def scorecard(numbers, claims, level):
    """All published numbers and claims, with the record's intervals, coloured by verdict.

    Args:
        numbers, claims: from `bsn.verdicts`, of intervals with probability `level`.
    """
    use_style()
    palette = sns.color_palette("colorblind")
    colours = {verdicts.AGREES: palette[0], verdicts.HOLDS: palette[0], verdicts.UNDECIDED: palette[7]}
    colours |= {verdicts.DIFFERS: palette[3], verdicts.FAILS: palette[3]}
    readings = [textwrap.fill(f"{claim.claim}  {claim.reading}", 48) for claim in claims.itertuples()]
    heights = [0.25 * len(numbers) + 0.8, 0.19 * sum(text.count("\n") + 1.5 for text in readings) + 0.8]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(8, sum(heights) + 0.6), layout="constrained", height_ratios=heights
    )
    for row, number in enumerate(numbers.itertuples()):
        ends = [number.low - number.mean, number.high - number.mean]
        above.plot(ends, [row, row], color=colours[number.verdict], linewidth=5, solid_capstyle="butt")
    above.scatter(numbers.published - numbers["mean"], range(len(numbers)), **PUBLISHED_STYLE)
    above.set_yticks(range(len(numbers)), numbers.experiment + "  " + numbers.label, fontsize="x-small")
    above.set(xlabel="Accuracy less the record's mean", title="The post's numbers (diamonds)\n")
    above.text(
        0.5, 1.01, f"bar: where {100 * level:g} % of runs fall", transform=above.transAxes, ha="center",
        fontsize="small",
    )  # fmt: skip
    for row, claim in enumerate(claims.itertuples()):
        ends = [claim.low, claim.high]
        below.plot(ends, [row, row], color=colours[claim.verdict], linewidth=5, solid_capstyle="butt")
        below.plot(claim.effect, row, "o", color=colours[claim.verdict])
        for border in (claim.border_low, claim.border_high):
            if np.isfinite(border):
                below.plot([border, border], [row - 0.4, row + 0.4], color="black", linewidth=1)
    below.set_yticks(range(len(claims)), readings, fontsize="x-small")
    below.set(xlabel="Effect", title="Its claims\n")
    below.text(
        0.5, 1.005, "bar: the effect's interval; tick: the border of what is claimed",
        transform=below.transAxes, ha="center", fontsize="small",
    )  # fmt: skip
    for axes in (above, below):
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set_xticks([-1, -0.1, -0.01, 0, 0.01, 0.1, 1], ["−1", "−0.1", "−0.01", "0", "0.01", "0.1", "1"])
        axes.margins(y=0.02)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    handles = [
        plt.Line2D([], [], color=colours[verdict], linewidth=4, label=f"{verdict}")
        for verdict in (verdicts.HOLDS, verdicts.UNDECIDED, verdicts.FAILS)
    ]
    handles[0].set_label("agrees, holds")
    handles[2].set_label("differs, does not hold")
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    return figure


def chapter_times(times):
    """Seconds that each chapter of a build took, from `bsn.results.chapter_times`."""
    use_style()
    ranked = times.sort_values("seconds")
    figure, axes = plt.subplots(figsize=(7.2, 0.32 * len(ranked) + 1), layout="constrained")
    axes.barh(ranked.chapter, ranked.seconds, color=sns.color_palette("colorblind")[0])
    for row, seconds in enumerate(ranked.seconds):
        axes.text(seconds, row, f" {seconds:.0f}", va="center", fontsize="small")
    axes.set(xlabel="Seconds")
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    return figure
