"""The look of every figure, in one place: an SVG that follows the theme, with a text and its data.

A figure is drawn once, in the light theme's colours. In its SVG each of them becomes a CSS variable, so
that the page's theme, light or dark, decides; where nothing defines the variables the light colours hold.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from pandas.io.formats.style import Styler

from bookkit.figures.theme import THEMES

WIDTH = 4.75  # inches: on a phone, which shows it a little smaller, its text of 9.5 points is legible
INK, MUTED, GRID, *SERIES = [light for light, _ in THEMES.values()]
ONE_LINE = 40  # characters of a table's text that is never wrapped
PUBLISHED = dict(marker="D", facecolors="none", edgecolors=INK, linewidths=1.4, s=44, zorder=5)


def subplots(rows=1, columns=1, height=3.4, **options):
    """Matplotlib's `subplots` in the book's style, `WIDTH` wide."""
    sns.set_theme(context="paper", style="whitegrid", palette=SERIES)
    plt.rcParams.update({
        "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5, "legend.fontsize": 9.5, "figure.titlesize": 11, "svg.fonttype": "none",
        "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.edgecolor": MUTED, "grid.color": GRID, "axes.facecolor": "none", "figure.facecolor": "none",
        "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
        "patch.edgecolor": "none",
    })  # fmt: skip
    return plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained", **options)


def name_rows(axes, names):
    """Name the rows of a horizontal chart; names may have several lines."""
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_multialignment("right")


class Figure:
    """What a cell shows: a figure, a text that says the same, and the numbers drawn.

    Args:
        figure: of Matplotlib; it is closed.
        text: what the figure shows, with its numbers, for those who cannot see it.
        data: a DataFrame of what is drawn.
    """

    def __init__(self, figure, text, data):
        self.svg, self.text, self.data = _svg(figure), " ".join(text.split()), pd.DataFrame(data)
        plt.close(figure)

    def _repr_mimebundle_(self, include=None, exclude=None):
        label = html.escape(self.text, quote=True)
        opening = f'<svg role="img" aria-label="{label}" style="width: 100%; max-width: 36rem; height: auto"'
        shown = f'<figure class="bsn-figure">{self.svg.replace("<svg", opening, 1)}</figure>'
        return {
            "text/html": shown,
            "text/csv": self.data.to_csv(index=False, float_format="%.5g"),
            "text/plain": self.text,
        }


def _svg(figure):
    written = io.StringIO()
    figure.savefig(
        written,
        format="svg",
        transparent=True,
        bbox_inches="tight",
        pad_inches=0.04,
        metadata={"Date": None, "Creator": None},
    )
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    opening = svg[: svg.index(">")]
    svg = re.sub(r' (width|height)="[^"]*"', "", opening) + svg[len(opening) :]
    geometry = r' (?:d|x|y|points|transform)="[^"]*"'  # to a tenth of a point
    svg = re.sub(geometry, lambda found: re.sub(r"(\.\d)\d+", r"\1", found[0]), svg)
    svg = svg.replace("stroke: #ffffff", "stroke: none")  # seaborn's edges
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # the page's typeface
    names = {light: f"var(--bsn-{name}, {light})" for name, (light, _) in THEMES.items()}
    svg = re.sub("|".join(names), lambda match: names[match[0]], svg)
    # several figures share a page: each has ids of its own
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{own}-", svg)


def ranges(low, high):
    """An interval in words."""
    return f"{low:.4f} to {high:.4f}"


def intervals(low: Iterable[float], high: Iterable[float], form: str = ".4f") -> list[str | None]:
    """Format pairs of ends as "low to high", with None for a pair that is missing."""
    return [None if pd.isna(a) or pd.isna(b) else f"{a:{form}} to {b:{form}}" for a, b in zip(low, high)]


def styled(frame: pd.DataFrame, formats: dict[str, str] | None = None, hide_index: bool = True) -> Styler:
    """Format a table for a page: missing values become an en dash, short texts stay on one line.

    Args:
        frame: one row per line of the page; columns have unique names.
        formats: column -> how to write its numbers, such as "{:.4f}".
        hide_index: whether to leave out the row labels.
    """
    styler = frame.rename_axis(index=None, columns=None).style
    styler = styler.hide(axis="index") if hide_index else styler
    for name, column in frame.select_dtypes("object").items():
        wide = column.map(lambda value: len(str(value))).max() > ONE_LINE
        width = {"min-width": "16em"} if wide else {"white-space": "nowrap"}
        styler = styler.set_properties([name], **width)
    return styler.format({**(formats or {})}, na_rep="–")
