"""The post's numbers and claims with their verdicts."""

import textwrap

import numpy as np
import pandas as pd

from bookkit import chapter, statistics
from bookkit.figures.style import INK, MUTED, PUBLISHED, SERIES, Figure, name_rows, ranges, subplots

# colour and sign of a verdict: nothing is said by colour alone
GOOD, OPEN, BAD = (SERIES[0], "o"), (SERIES[6], "s"), (SERIES[3], "X")
MARKS = {statistics.AGREES: GOOD, statistics.HOLDS: GOOD, statistics.UNDECIDED: OPEN}
MARKS |= {statistics.DIFFERS: BAD, statistics.FAILS: BAD}
SIGNS = ((GOOD, "agrees, holds"), (OPEN, "undecided"), (BAD, "differs, does not hold"))


def at_a_glance(numbers, claims, titles):
    """One mark a published number, and one a reading of each claim: the figure to share.

    Args:
        numbers, claims: from `bookkit.statistics.scorecard`.
        titles: claim's number -> what it says.
    """
    texts = {claim: textwrap.fill(f"{claim}. {title}", 47).split("\n") for claim, title in titles.items()}
    height = sum(len(lines) + 0.45 for lines in texts.values()) + 4.6
    figure, axes = subplots(height=0.175 * height)
    axes.set(xlim=(0, 1), ylim=(height, 0))
    axes.set_axis_off()
    agree = (numbers.verdict == statistics.AGREES).sum()
    axes.text(0, 0.7, f"{agree} of the {len(numbers)} published numbers agree", weight="bold")
    place = np.linspace(0.012, 0.985, len(numbers))
    _mark(axes, place, np.full(len(numbers), 1.8), numbers.verdict)
    hold = (claims.verdict == statistics.HOLDS).sum()
    line = f"The {len(texts)} claims, a mark a reading: {hold} of {len(claims)} hold"
    axes.text(0, 3.6, line, weight="bold")
    row = 4.9
    for claim, lines in texts.items():
        readings = claims[claims.claim == claim]
        axes.text(0, row - 0.45, "\n".join(lines), va="top", linespacing=1.15)
        _mark(axes, 0.76 + 0.045 * np.arange(len(readings)), np.full(len(readings), row), readings.verdict)
        row += len(lines) + 0.45
    _legend(figure)
    counted = claims.groupby("claim").verdict.agg(lambda found: ", ".join(found))
    said = "; ".join(f"claim {claim} ({titles[claim]}): {found}" for claim, found in counted.items())
    text = f"{agree} of {len(numbers)} published numbers agree. By reading: {said}."
    return Figure(figure, text, both(numbers, claims))


def both(numbers, claims):
    """Numbers and claims in one table."""
    parts = [
        numbers.rename(columns={"experiment": "of", "label": "name"}).assign(kind="number"),
        claims.rename(columns={"claim": "of", "reading": "name", "effect": "mean"}).assign(kind="claim"),
    ]
    return pd.concat(parts)[["kind", "of", "name", "published", "mean", "low", "high", "verdict", "second"]]


def numbers(numbers, level):
    """The published numbers as diamonds, where 95 % of runs fall as bars.

    Args:
        numbers: from `bookkit.statistics.scorecard`, at the probability `level`.
    """
    figure, axes = subplots(height=0.24 * len(numbers) + 1.2)
    for row, number in enumerate(numbers.itertuples()):
        colour, marker = MARKS[number.verdict]
        ends = [number.low - number.mean, number.high - number.mean]
        axes.plot(ends, [row, row], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.7)
    axes.scatter(numbers.published - numbers["mean"], range(len(numbers)), **PUBLISHED)
    name_rows(axes, [f"{row.experiment}  {row.label}" for row in numbers.itertuples()])
    axes.set(xlabel="Accuracy less the record's mean")
    _effects(axes)
    figure.suptitle(f"Diamond: published; bar: where {100 * level:g} % of runs fall")
    _legend(figure)
    said = "; ".join(
        f"{row.experiment} {row.label}: {row.published:.4f}, {ranges(row.low, row.high)}, {row.verdict}"
        for row in numbers.itertuples()
    )
    return Figure(figure, f"Each published number and where {100 * level:g} % of runs fall. {said}.", numbers)


def claims(claims):
    """Every reading's effect and its interval, with the border of what is claimed.

    Args:
        claims: from `bookkit.statistics.scorecard`.
    """
    readings = [textwrap.fill(f"{row.claim}. {row.reading}", 62) for row in claims.itertuples()]
    lines = np.array([text.count("\n") + 2.1 for text in readings])
    rows = np.cumsum(lines) - 0.45
    figure, axes = subplots(height=0.175 * lines.sum() + 1.1)
    for row, claim, reading in zip(rows, claims.itertuples(), readings):
        colour, marker = MARKS[claim.verdict]
        axes.text(0, row - 0.5, reading, transform=axes.get_yaxis_transform(), va="bottom")
        axes.plot(
            [claim.low, claim.high], [row, row], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.7
        )
        axes.plot(claim.effect, row, marker, color=colour, markersize=7)
        for border in (claim.border_low, claim.border_high):
            if np.isfinite(border):
                axes.plot([border, border], [row - 0.4, row + 0.4], color=INK, linewidth=1.2)
    axes.set_yticks([])
    axes.set(xlabel="Effect", ylim=(rows[-1] + 1, -0.3))
    _effects(axes, inverted=True)
    figure.suptitle("Bar: the effect's interval; tick: the border of the claim")
    _legend(figure)
    said = "; ".join(
        f"claim {row.claim}, {row.reading}: {row.effect:+.4f} ({ranges(row.low, row.high)}), {row.verdict}"
        for row in claims.itertuples()
    )
    return Figure(figure, f"Each claim's effect and interval. {said}.", claims)


def published_numbers():
    """Every final number of the post, by experiment."""
    numbers = chapter.published_numbers()
    figure, axes = subplots(height=0.24 * len(numbers) + 0.8)
    colours = [SERIES[int(name[0])] for name in numbers.experiment]
    axes.hlines(range(len(numbers)), 0, numbers.published, color=MUTED, linewidth=0.8)
    axes.scatter(numbers.published, range(len(numbers)), c=colours, s=40, zorder=3)
    name_rows(axes, numbers.experiment + "  " + numbers.label)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="Published accuracy after the last epoch")
    axes.grid(axis="y", visible=False)
    rows = zip(numbers.experiment, numbers.label, numbers.published)
    said = "; ".join(f"{experiment} {label} {value:.4f}" for experiment, label, value in rows)
    return Figure(figure, f"The post's numbers: {said}.", numbers[["experiment", "label", "published"]])


def _mark(axes, x, y, found):
    for verdict in found.unique():
        colour, marker = MARKS[verdict]
        chosen = (found == verdict).to_numpy()
        axes.scatter(x[chosen], y[chosen], color=colour, marker=marker, s=42, clip_on=False)


def _legend(figure):
    for (colour, marker), name in SIGNS:
        figure.axes[0].scatter([], [], color=colour, marker=marker, s=42, label=name)
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.2, columnspacing=1.2)


def _effects(axes, inverted=False):
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xticks([-1, -0.1, -0.01, 0, 0.01, 0.1, 1], ["−1", "−0.1", "−0.01", "0", "0.01", "0.1", "1"])
    axes.margins(y=0.02)
    if not inverted:
        axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
