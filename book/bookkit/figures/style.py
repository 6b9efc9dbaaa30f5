"""The look of every figure and table of the pages.

A figure is drawn once, in the light theme's colours. In its SVG each of them becomes a CSS variable, so
that the page's theme, light or dark, decides; without a style sheet the light colours hold.
"""

import base64
import hashlib
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import matplotlib.axes
import matplotlib.figure
import matplotlib.pyplot as plt
import matplotlib.text
import matplotlib.transforms
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
from pandas.io.formats.style import Styler

from bookkit.figures.theme import THEMES

WIDTH = 5.3  # inches: text of 9.5 points is legible on a phone, and as large as the page's on a wide screen
INK, MUTED, GRID, *SERIES = [light for light, _ in THEMES.values()]
LINES = ("-", "--", ":", "-.")
Style = dict[str, Any]  # of a Matplotlib artist
PUBLISHED: Style = dict(marker="D", facecolors="none", edgecolors=INK, linewidths=1.4, s=44, zorder=5)
BELOW: Final = "outside lower center"
LINE_HEIGHT = 0.175  # inches, of a line of text
NAME_WIDTH = 22  # characters of a line's name; longer names are wrapped
TYPEFACE = "Arial, Liberation Sans, Helvetica, sans-serif"  # where a drawing stands alone
ONE_LINE, WIDE = 20, 40  # characters of a table's text that is never wrapped, and that has room


def subplots(
    rows: int = 1, columns: int = 1, height: float = 3.4, **options: Any
) -> tuple[matplotlib.figure.Figure, Any]:
    """Call Matplotlib's `subplots` in the book's style, `WIDTH` wide and `height` inches high."""
    sns.set_theme(context="paper", style="whitegrid", palette=SERIES)
    plt.rcParams.update({
        "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5, "legend.fontsize": 9.5, "figure.titlesize": 11, "svg.fonttype": "none",
        "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.edgecolor": MUTED, "grid.color": GRID, "axes.facecolor": "none", "figure.facecolor": "none",
        "svg.hashsalt": "bsn", "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
        "patch.edgecolor": "none", "figure.autolayout": False, "figure.constrained_layout.use": False,
    })  # fmt: skip
    return plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained", **options)


def panels(
    titles: Sequence[str], columns: int, row_height: float, margin: float, **options: Any
) -> tuple[matplotlib.figure.Figure, list[matplotlib.axes.Axes]]:
    """Draw a grid of axes that share their scales, one per title; axes left over stay empty.

    A row is `row_height` inches high, the rest of the figure `margin`; options are Matplotlib's `subplots`'.
    """
    rows = -(-len(titles) // columns)
    options = {"sharex": True, "sharey": True} | options
    figure, grid = subplots(rows, columns, height=rows * row_height + margin, squeeze=False, **options)
    axes = list(grid.flat)
    for axis, title in zip(axes, titles):
        axis.set_title(title)
    for axis in axes[len(titles) :]:
        axis.set_axis_off()
    return figure, axes[: len(titles)]


def shared_legend(figure: matplotlib.figure.Figure, **options: Any) -> None:
    """Put one legend, that of the first axes, below all panels or at the `loc` given."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, **{"loc": BELOW} | options)


def label_lines(
    axis: matplotlib.axes.Axes, x: float, ends: pd.Series, colours: dict[str, str], height: float
) -> None:
    """Write each line's name to the right of its end; names that would overlap are moved apart.

    Args:
        axis: `height` inches high, with its title.
        x: where the lines end.
        ends: value per line, on the logarithmic axis.
        colours: of the lines.
    """
    low, high = np.log(axis.get_ylim())
    line = (high - low) * LINE_HEIGHT / (height - 0.4)  # of text
    order = np.log(ends).sort_values()
    names = [textwrap.fill(name, NAME_WIDTH, break_on_hyphens=False) for name in order.index]
    halves = np.array([line * (1 + name.count("\n")) / 2 for name in names])
    least = halves[1:] + halves[:-1]  # between the middles of neighbours
    up = np.concatenate([[0.0], np.cumsum(least)])  # from the lowest name's middle
    places = order.to_numpy().copy()
    for _ in range(100):
        for i in range(1, len(places)):
            gap = least[i - 1] - (places[i] - places[i - 1])
            if gap > 0:
                places[i] += gap / 2
                places[i - 1] -= gap / 2
        places = np.minimum(places, high - halves[-1] + line / 2 - (up[-1] - up))
        places = np.maximum(places, low + halves[0] - 0.1 * line + up)
    for line_name, name, place in zip(order.index, names, places):
        note(
            axis,
            name,
            (x, np.exp(place)),
            (5, 0),
            va="center",
            color=colours[line_name],
            linespacing=1.0,
            annotation_clip=False,
        )


def note(
    axis: matplotlib.axes.Axes, words: str, at: Any, offset: tuple[float, float] = (0, 0), **text: Any
) -> matplotlib.text.Annotation:
    """Write words beside the point `at`, moved by `offset` points; other arguments are Matplotlib's."""
    place: Style = dict(xytext=offset, textcoords="offset points", fontsize=9.5)
    return axis.annotate(words, at, **place | text)


def name_rows(axes: matplotlib.axes.Axes, names: Sequence[str], downwards: bool = False) -> None:
    """Name the rows 0, 1, ... of a horizontal chart, the first one on top if `downwards`."""
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_multialignment("right")
    if downwards:
        axes.invert_yaxis()


class Figure:
    """What a cell shows: a drawing, a sentence that says what it shows, and the data drawn.

    `numbered` gives it the name by which pages refer to it, and its caption.

    Args:
        figure: of Matplotlib; it is closed.
        text: one sentence, for those who cannot see the drawing; the numbers are in `data`.
        data: whatever makes a DataFrame of what is drawn; the page links it as CSV.
    """

    def __init__(self, figure: matplotlib.figure.Figure, text: str, data: Any) -> None:
        if layout := figure.get_layout_engine():  # once, for both formats, which draw on their own
            layout.execute(figure)
            figure.set_layout_engine(None)
        self.figure, self.box = figure, figure.get_tightbbox().padded(0.04)
        self.svg = _svg(figure, self.box)
        self.text, self.data = " ".join(text.split()), pd.DataFrame(data)
        plt.close(figure)
        self.place: dict[str, str] = {}

    def numbered(self, name: str, caption: str) -> "Figure":
        """Return the figure with its name, such as "fig-step", and the message that its caption says."""
        self.place = {"name": name, "caption": " ".join(caption.split())}
        return self

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        data = {
            "image/svg+xml": self.svg,  # pages inline it: `bookkit.publish.extension`
            "image/png": _png(self.figure, self.box),  # for notebooks that are not trusted
            "text/csv": self.data.to_csv(index=False, float_format="%.5g"),
            "text/plain": self.text,
        }
        return data, {"figure": {"text": self.text, **self.place}, "needs_background": "light"}


def _png(figure: matplotlib.figure.Figure, box: matplotlib.transforms.Bbox) -> str:
    """Return a drawing in base64, in 64 colours: as legible as in all, and a third of the size."""
    file, small = io.BytesIO(), io.BytesIO()
    uncompressed = {"compress_level": 0}
    figure.savefig(file, dpi=150, bbox_inches=box, facecolor="white", pil_kwargs=uncompressed)
    PIL.Image.open(file).convert("RGB").quantize(64).save(small, "PNG")
    return base64.b64encode(small.getvalue()).decode()


def _svg(figure: matplotlib.figure.Figure, box: matplotlib.transforms.Bbox) -> str:
    file, metadata = io.StringIO(), {"Date": None, "Creator": None}
    figure.savefig(file, format="svg", bbox_inches=box, transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg", f'<svg font-family="{TYPEFACE}"', 1)
    svg = re.sub(r'(?<= )(?:d|x|y|points|transform)="[^"]*"', _shorter, svg)
    svg = svg.replace("stroke: #ffffff", "stroke: none")  # seaborn's edges
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # the page's typeface
    svg = re.sub(r' font-family: [^;"]*;', "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    variables = {light: f"var(--bsn-{name}, {light})" for name, (light, _) in THEMES.items()}
    svg = re.sub("|".join(variables), lambda match: variables[match[0]], svg)
    return _compact(svg)


def _compact(svg: str) -> str:
    """Return the same drawing in fewer characters, with ids of its own: several figures share a page."""
    svg = re.sub(r">\s+<", "><", svg).replace("\n", " ")
    marks = r'<use [^>]* style="([^"]*)"/>(?:<use [^>]* style="\1"/>)+'  # all in one style
    svg = re.sub(marks, lambda run: f'<g style="{run[1]}">{_without_style(run[0])}</g>', svg)
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^")]*)', svg))
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    short = {name: f"{prefix}-{i}" for i, name in enumerate(used)}
    svg = re.sub(r' id="([^"]*)"', lambda match: f' id="{short[match[1]]}"' if match[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)([^")]*)', lambda match: match[1] + short[match[2]], svg)


def _shorter(geometry: re.Match[str]) -> str:
    """Return an attribute's coordinates to a tenth of a point, without spaces that say nothing."""
    tenths = re.sub(r"(\.[1-9])\d+|\.0\d*", r"\1", geometry[0])
    return re.sub(r"\s*([MLCQz])\s*", r"\1", tenths)


def _without_style(uses: str) -> str:
    return re.sub(r' style="[^"]*"', "", uses)


def intervals(low: Iterable[float], high: Iterable[float], form: str = ".4f") -> list[str | None]:
    """Format pairs of ends as "low to high", with None for a pair that is missing."""
    pairs = zip(low, high)
    return [None if pd.isna(a) or pd.isna(b) else minus(f"{a:{form}} to {b:{form}}") for a, b in pairs]


def minus(number: str) -> str:
    """Return a formatted number with minus signs in place of hyphens."""
    return number.replace("-", "−")


class Table(Styler):
    """A table of a page; its plain text is the table, not an address in memory."""

    def __repr__(self) -> str:
        return self.to_string()


def styled(frame: pd.DataFrame, formats: dict[str, str] | None = None, hide_index: bool = True) -> Styler:
    """Format a table for a page: missing values become an en dash, short texts stay on one line.

    Columns have unique names; `formats` says how to write their numbers, such as "{:.4f}".
    """
    name = hashlib.sha256(frame.to_csv().encode()).hexdigest()[:8]  # the same in every run
    styler: Styler = Table(frame.rename_axis(index=None, columns=None), uuid=name, cell_ids=False)
    styler = styler.hide(axis="index") if hide_index else styler
    for i, (_, column) in enumerate(frame.items()):
        if pd.api.types.is_numeric_dtype(column):
            cells = f"td.col{i}, th.col_heading.col{i}"
            styler.set_table_styles([{"selector": cells, "props": "text-align: right"}], overwrite=False)
        else:
            longest = column.map(lambda value: len(str(value))).max()
            width = "white-space: nowrap" if longest <= ONE_LINE else "min-width: 7em"
            width = "min-width: 14em" if longest > WIDE else width
            styler.set_table_styles([{"selector": f"td.col{i}", "props": width}], overwrite=False)
    signed: dict[Any, Any] = {name: partial(_written, form) for name, form in (formats or {}).items()}
    return styler.format(signed, na_rep="–")


def _written(form: str, value: Any) -> str:
    return minus(form.format(value))
