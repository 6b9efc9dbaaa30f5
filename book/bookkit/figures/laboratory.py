"""Bias, spread and direction of every estimator, and what a budget of evaluations buys."""

import matplotlib.ticker
import numpy as np
import pandas as pd

from bookkit.figures.style import INK, MUTED, SERIES, Figure, name_rows, subplots
from bookkit.studies.laboratory import findings

PLAIN = matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}")
SEEN = 1e-6  # relative: what is below is drawn at the left edge, as 0


def profile(frame, by, title):
    """Each estimator's bias and deviation, a panel for each value of the column `by`.

    Args:
        frame: from `bookkit.studies.laboratory.measuring.measure_all`; the median over a panel's points is drawn.
    """
    frame = frame.assign(bias=findings.bias(frame))
    names, panels = list(frame.estimator.unique()), list(frame[by].unique())
    figure, axes = subplots(
        1, len(panels), height=0.235 * len(names) + 1.3, sharey=True, sharex=True, squeeze=False
    )
    drawn = frame.groupby([by, "estimator"], sort=False)[["bias", "deviation"]].median().reset_index()
    values = drawn[["bias", "deviation"]].to_numpy()
    lowest = values[values > SEEN].min() / 4
    for panel, place in zip(panels, axes[0]):
        part = drawn[drawn[by] == panel].set_index("estimator").loc[names]
        for column, marker, colour, size in (
            ("deviation", "o", SERIES[0], 40),
            ("bias", "D", SERIES[3], 30),
        ):
            shown = part[column].where(part[column] > SEEN, lowest)
            place.scatter(
                shown, range(len(names)), marker=marker, s=size, color=colour, label=column, clip_on=False
            )
        place.axvline(1, color=INK, linewidth=1)
        place.set_xscale("log")
        place.xaxis.set_major_formatter(PLAIN)
        place.set_title(panel)
    name_rows(axes[0, 0], names)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlim(lowest / 1.5, None)
    figure.suptitle(f"{title}\n(times the exact gradient; at the left edge: 0)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    said = "; ".join(
        f"{panel}: "
        + ", ".join(f"{row.estimator} {row.bias:.3g} and {row.deviation:.3g}" for row in part.itertuples())
        for panel, part in drawn.groupby(by, sort=False)
    )
    return Figure(
        figure, f"{title}: bias and standard deviation, in exact gradients' lengths. {said}.", drawn
    )


def along_the_path(frame, names, title):
    """Bias and deviation of some estimators at each step of a descent, a panel an estimator."""
    frame = frame[frame.estimator.isin(names)].assign(bias=findings.bias)
    rows = -(-len(names) // 2)
    figure, axes = subplots(rows, 2, height=1.35 * rows + 0.9, sharex=True, sharey=True)
    for name, place in zip(names, axes.flat):
        part = frame[frame.estimator == name]
        for column, line, colour in (("deviation", "-", SERIES[0]), ("bias", "--", SERIES[3])):
            place.plot(
                part.step, part[column].where(part[column] > SEEN), line, color=colour, linewidth=1.8,
                label=column,
            )  # fmt: skip
        place.axhline(1, color=INK, linewidth=0.9)
        place.set_yscale("log")
        place.yaxis.set_major_formatter(PLAIN)
        place.set_title(name)
    for place in axes.flat[len(names) :]:
        place.set_axis_off()
    for place in axes[-1]:
        place.set_xlabel("Steps of the descent")
    figure.suptitle(f"{title}\n(times the exact gradient)")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    ends = frame.groupby("estimator", sort=False)[["bias", "deviation"]].agg(["first", "last"])
    said = "; ".join(
        f"{name} bias {row['bias', 'first']:.3g} to {row['bias', 'last']:.3g}, deviation "
        f"{row['deviation', 'first']:.3g} to {row['deviation', 'last']:.3g}"
        for name, row in ends.iterrows()
    )
    columns = ["target", "step", "logit", "estimator", "bias", "deviation"]
    return Figure(figure, f"{title}, from the first step to the last: {said}.", frame[columns])


def budgets(frame, names, title, most=10_000):
    """Root mean squared error by evaluations of f spent, from the first number that pays for an estimate."""
    figure, axes = subplots(height=4.6)
    budget, rows = np.geomspace(1, most, 41), []
    lines = ("-", "--", ":", "-.")
    for place, name in enumerate(names):
        part = frame[frame.estimator == name]
        spent = budget[budget >= part.evaluations.iloc[0]]
        values = [np.sqrt(findings.error(part, one).mean()) for one in spent]
        axes.plot(
            spent, values, lines[place % 4], color=SERIES[place % len(SERIES)], linewidth=1.9, label=name
        )
        rows += [(name, one, value) for one, value in zip(spent, values)]
    axes.axhline(1, color=MUTED, linewidth=0.9)
    axes.set(xscale="log", yscale="log", xlabel="Evaluations of f for an example", title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PLAIN)
    axes.set_ylabel("Root mean squared error\n(times the exact gradient)")
    figure.legend(loc="outside lower center", ncols=2, handlelength=3)
    table = pd.DataFrame(rows, columns=["estimator", "evaluations", "error"])
    said = "; ".join(
        f"{name} {part.error.iloc[0]:.3g} to {part.error.iloc[-1]:.3g}"
        for name, part in table.groupby("estimator", sort=False)
    )
    return Figure(figure, f"{title}, from the first evaluations to {most:,}: {said}.", table)


def cosines(frame, by, title):
    """Each estimator's mean cosine to the exact gradient, a mark for each value of the column `by`."""
    names, kinds = list(frame.estimator.unique()), list(frame[by].unique())
    drawn = frame.groupby([by, "estimator"], sort=False)[["cosine", "cosine_error"]].mean().reset_index()
    figure, axes = subplots(height=0.235 * len(names) + 1.3)
    for place, (kind, marker) in enumerate(zip(kinds, "osD^vP*X" * len(kinds))):
        part = drawn[drawn[by] == kind].set_index("estimator").loc[names]
        axes.scatter(
            part.cosine, range(len(names)), marker=marker, s=38, color=SERIES[place % len(SERIES)],
            label=kind, clip_on=False,
        )  # fmt: skip
    axes.axvline(1, color=INK, linewidth=1)
    axes.axvline(0, color=INK, linewidth=1)
    name_rows(axes, names)
    axes.invert_yaxis()
    axes.set(xlabel="Mean cosine of one estimate to the exact gradient")
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=min(3, len(kinds)))
    said = "; ".join(
        f"{kind}: " + ", ".join(f"{row.estimator} {row.cosine:.2f}" for row in part.itertuples())
        for kind, part in drawn.groupby(by, sort=False)
    )
    return Figure(figure, f"{title}: mean cosine to the exact gradient. {said}.", drawn)
