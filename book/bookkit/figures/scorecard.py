"""The post's numbers and claims with their verdicts.

``python -m bookkit.figures.scorecard`` draws the README's figure from the book's record.
"""

import textwrap

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bookkit import statistics
from bookkit.figures.style import BELOW, INK, PUBLISHED, SERIES, Figure, name_rows, note, subplots
from bookkit.figures.theme import variables
from bookkit.paths import ROOT

README = ROOT / ".github" / "at_a_glance.svg"
# colour and marker of a verdict: the marker differs too, for readers who cannot tell the colours
GOOD, OPEN, BAD = (SERIES[0], "o"), (SERIES[6], "s"), (SERIES[3], "X")
MARKS = {statistics.AGREES: GOOD, statistics.HOLDS: GOOD, statistics.CLOSE: OPEN}
MARKS |= {statistics.DIFFERS: BAD, statistics.FAILS: BAD}
SIGNS = ((GOOD, "agrees, holds"), (OPEN, "too close to call"), (BAD, "differs, does not hold"))


def at_a_glance(numbers: pd.DataFrame, claims: pd.DataFrame, titles: dict[int, str]) -> Figure:
    """Draw one mark per published number and one per reading of each claim, by `statistics.scorecard`."""
    texts = {claim: textwrap.fill(f"{claim}. {title}", 47).split("\n") for claim, title in titles.items()}
    height = sum(len(lines) + 0.45 for lines in texts.values()) + 4.6
    figure, axes = subplots(height=0.175 * height)
    axes.set(xlim=(0, 1), ylim=(height, 0))
    axes.set_axis_off()
    agree = (numbers.verdict == statistics.AGREES).sum()
    agreement = f"{agree} of the {len(numbers)} published numbers agree"
    axes.text(0, 0.7, agreement, weight="bold")
    x = np.linspace(0.012, 0.985, len(numbers))
    _mark(axes, x, np.full(len(x), 1.8), numbers.verdict)
    hold = (claims.verdict == statistics.HOLDS).sum()
    line = f"The {len(texts)} claims, one mark per reading: {hold} of {len(claims)} hold"
    axes.text(0, 3.6, line, weight="bold")
    row = 4.9
    for claim, lines in texts.items():
        readings = claims[claims.claim == claim]
        axes.text(0, row - 0.45, "\n".join(lines), va="top", linespacing=1.15)
        columns = 0.74 + 0.031 * np.arange(len(readings))
        _mark(axes, columns, np.full(len(columns), row), readings.verdict)
        row += len(lines) + 0.45
    _legend(figure)
    text = f"{agreement}; {hold} of {len(claims)} readings of the {len(texts)} claims hold."
    return Figure(figure, text, pd.concat([numbers, claims]))


def numbers(numbers: pd.DataFrame, level: float) -> Figure:
    """Draw the published numbers as diamonds, and where runs fall with probability `level` as bars."""
    centre = (numbers.low + numbers.high) / 2
    figure, axes = subplots(height=0.27 * len(numbers) + 1.1)
    rows = np.arange(len(numbers))
    low, high, published = (numbers[name] - centre for name in ("low", "high", "published"))
    colours = [MARKS[verdict][0] for verdict in numbers.verdict]
    axes.hlines(rows, low, high, colors=colours, linewidth=7, alpha=0.45)
    axes.scatter(published, rows, **PUBLISHED)
    for row, verdict, x in zip(rows, numbers.verdict, np.maximum(high, published)):
        if verdict == statistics.DIFFERS:
            note(axes, verdict, (x, row), (8, 0), va="center", color=BAD[0])
    _difference_axis(axes)
    axes.set_xlabel("Accuracy minus the middle of the bar")
    name_rows(axes, list(numbers.experiment + ": " + numbers.label), downwards=True)
    axes.grid(axis="y", visible=False)
    text = f"Each published number with the interval in which {100 * level:g} % of the record's runs fall."
    return Figure(figure, text, numbers)


def claims(claims: pd.DataFrame) -> Figure:
    """Draw the effects of readings that compare nets, with their intervals and the claims' margins."""
    compared = claims[~claims.share.astype(bool)]
    figure, axes, rows = _intervals(compared)
    _difference_axis(axes)
    for kind, margin, row in zip(compared.kind, compared.margin.fillna(0), rows):
        axes.vlines(
            [-margin, margin] if kind == "alike" else margin, row - 0.4, row + 0.4, color=INK, linewidth=1.2
        )
    _mark(axes, compared.effect.to_numpy(), rows, compared.verdict)
    axes.set(xlabel="Mean difference of accuracies")
    text = "Each comparison's effect with its interval, and where the claim begins to hold."
    return Figure(figure, text, compared)


def shares(claims: pd.DataFrame) -> Figure:
    """Draw the shares of runs, or of pairs, with their intervals."""
    asked = claims[claims.share.astype(bool)]
    figure, axes, rows = _intervals(asked)
    axes.vlines([0.5] * len(rows), rows - 0.4, rows + 0.4, color=INK, linewidth=1.2)
    _mark(axes, asked.effect.to_numpy(), rows, asked.verdict)
    axes.set(xlim=(0, 1), xlabel="Share of runs, or of pairs")
    return Figure(figure, "Each share of runs or pairs with its interval, and the line at one half.", asked)


def _difference_axis(axes: Axes) -> None:
    """Make the x axis linear up to 0.01 and logarithmic beyond, with plain numbers as tick labels."""
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xticks([-1, -0.1, -0.01, 0, 0.01, 0.1, 1], ["−1", "−0.1", "−0.01", "0", "0.01", "0.1", "1"])


def _intervals(table: pd.DataFrame) -> tuple[matplotlib.figure.Figure, Axes, np.ndarray]:
    """Draw the intervals of readings as bars, each under its name; return also the rows, from the top."""
    names = [textwrap.fill(f"{claim}. {text}", 74) for claim, text in zip(table.claim, table.text)]
    lines = np.array([name.count("\n") + 2.1 for name in names])
    rows = np.cumsum(lines) - 0.45
    figure, axes = subplots(height=0.175 * lines.sum() + 1.1)
    for row, name in zip(rows, names):
        text = axes.text(0.005, row - 0.55, name, transform=axes.get_yaxis_transform(), va="bottom")
        text.set_in_layout(False)  # it may be as wide as the figure
    colours = [MARKS[verdict][0] for verdict in table.verdict]
    axes.hlines(rows, table.low, table.high, colors=colours, linewidth=5, alpha=0.7, capstyle="butt")
    axes.set(ylim=(rows[-1] + 1, -0.3), yticks=[])
    axes.grid(visible=False)  # names stand on the axes
    _legend(figure)
    return figure, axes, rows


def _mark(axes: Axes, x: np.ndarray, y: np.ndarray, verdicts: pd.Series) -> None:
    for verdict in verdicts.unique():
        colour, marker = MARKS[verdict]
        chosen = (verdicts == verdict).to_numpy()
        axes.scatter(x[chosen], y[chosen], color=colour, marker=marker, s=42, clip_on=False)


def _legend(figure: matplotlib.figure.Figure) -> None:
    for (colour, marker), name in SIGNS:
        figure.axes[0].scatter([], [], color=colour, marker=marker, s=42, label=name)
    figure.legend(loc=BELOW, ncols=3, handletextpad=0.2, columnspacing=1.2)


def for_the_readme() -> str:
    """Return `at_a_glance` of the record as SVG, in the reader's theme, which no style sheet sets there."""
    svg = at_a_glance(*statistics.scorecard(), statistics.claim_titles()).svg
    dark = f"@media(prefers-color-scheme:dark){{svg{{{variables(1)}}}}}"
    style = f"svg{{{variables(0)}font-family:sans-serif}}{dark}"
    end = svg.index(">") + 1
    return f"{svg[:end]}<style>{style}</style>{svg[end:]}"


if __name__ == "__main__":
    README.write_text(for_the_readme(), encoding="utf-8")
    print(f"bsn: drew {README}")
