"""Every estimator tuned and trained: accuracy by learning rate, and test errors by depth."""

import matplotlib.ticker
import numpy as np

from bookkit.figures.style import INK, MUTED, SERIES, Figure, name_rows, subplots
from bookkit.studies.ranking import by_mean, layers, without_derivative

PERCENT = matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}")


def learning_rates(tuned, rates):
    """Final validation accuracy by learning rate, a panel an estimator, a line a depth, the best marked.

    Args:
        tuned, rates: of `bookkit.studies.ranking.finals` and `.best_rates`.
    """
    names, depths = list(rates.estimator.unique()), sorted(rates.depth.unique())
    rows = -(-len(names) // 3)
    figure, axes = subplots(rows, 3, height=1.12 * rows + 1.0, sharex=True, sharey=True, squeeze=False)
    for name, place in zip(names, axes.flat):
        for number, depth in enumerate(depths):
            part = tuned[(tuned.estimator == name) & (tuned.depth == depth)].sort_values("learning_rate")
            colour, line = SERIES[number % len(SERIES)], ("-", "--", "-.", ":")[number % 4]
            place.plot(part.learning_rate, part.final, line, color=colour, linewidth=1.6, label=layers(depth))
            best = rates[(rates.estimator == name) & (rates.depth == depth)]
            place.plot(best.learning_rate, best.final, "o", color=colour, markersize=4.5)
        place.set_title(name)
    for place in axes.flat[len(names) :]:
        place.set_axis_off()
    axes[0, 0].set(xscale="log", ylim=(0, 1))
    axes[0, 0].xaxis.set_major_locator(matplotlib.ticker.LogLocator(numticks=3))
    axes[0, 0].xaxis.set_major_formatter(PERCENT)
    figure.supxlabel("Learning rate", fontsize=10)
    figure.supylabel("Validation accuracy", fontsize=10)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    said = "; ".join(
        f"{row.estimator}, depth {row.depth}: {row.final:.4f} at {row.learning_rate:g}"
        for row in rates.itertuples()
    )
    columns = ["estimator", "depth", "learning_rate", "seed", "final"]
    return Figure(figure, f"Final validation accuracy by learning rate. The best: {said}.", tuned[columns])


def test_errors(ranked, reference, own):
    """Test error by estimator, a panel a depth: the record's mean and interval, and this build's nets.

    Args:
        ranked: from `bookkit.studies.ranking.ranks`.
        reference: depth -> mean accuracy of the sigmoid net, which is not binary.
        own: `bookkit.studies.ranking.finals` of this build.
    """
    names, depths = by_mean(ranked), sorted(ranked.depth.unique())
    rows = -(-len(depths) // 2)
    figure, axes = subplots(
        rows, 2, height=(0.22 * len(names) + 0.55) * rows + 0.9, sharex=True, sharey=True, squeeze=False
    )
    for depth, place in zip(depths, axes.flat):
        part = ranked[ranked.depth == depth].set_index("estimator").reindex(names)
        for asks, colour, marker in ((False, SERIES[0], "o"), (True, SERIES[3], "D")):
            chosen = np.array([without_derivative(name) != asks for name in names])
            at = np.flatnonzero(chosen)
            nets = part[chosen]
            ends = [100 * (1 - nets.high), 100 * (1 - nets.low)]
            place.hlines(at, *np.maximum(ends, 0.01), color=colour, linewidth=3, alpha=0.5)
            label = "takes the loss's derivative" if asks else "takes the loss alone"
            place.scatter(
                100 * (1 - nets["mean"]), at, color=colour, marker=marker, s=26, label=label, zorder=3
            )
        drawn = own[(own.depth == depth) & own.estimator.isin(names)]
        at = [names.index(name) for name in drawn.estimator]
        place.scatter(
            100 * (1 - drawn.final), at, marker="^", facecolors="none", edgecolors=INK, linewidths=1.1, s=34,
            label="this build", zorder=4,
        )  # fmt: skip
        if depth in reference:
            error = 100 * (1 - reference[depth])
            place.axvline(
                error, color=MUTED, linewidth=1.2, linestyle="--", label="sigmoid units, not binary"
            )
        place.set_title(layers(depth))
    for place in axes.flat[len(depths) :]:
        place.set_axis_off()
    name_rows(axes[0, 0], names)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set(xscale="log", xlim=(1, 110))
    axes[0, 0].xaxis.set_major_locator(matplotlib.ticker.FixedLocator([1, 3, 10, 30, 100]))
    axes[0, 0].xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes[0, 0].xaxis.set_major_formatter(PERCENT)
    for place in axes[-1]:
        place.set_xlabel("Test error, %")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    said = "; ".join(
        f"{layers(row.depth)}, {row.estimator}: {100 * (1 - row.mean):.2f} % "
        f"({100 * (1 - row.high):.2f} to {100 * (1 - row.low):.2f})"
        for row in ranked.itertuples()
    )
    return Figure(figure, f"Test errors after tuning, with intervals. {said}.", ranked)
