"""The estimators' test errors by depth, and what a step of each costs."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit.figures.style import INK, MUTED, SERIES, Figure, Style, note, styled, subplots
from bookkit.studies.ranking import layers
from bsn.estimators import ESTIMATORS

GROUPS = {True: ("uses f′", SERIES[3], "D"), False: ("uses f alone", SERIES[0], "o")}


def errors(ranked: pd.DataFrame, own: pd.DataFrame) -> Figure:
    """Draw test errors on a logarithmic axis: a row per estimator, a panel per depth.

    Filled marks and intervals: `bookkit.studies.ranking.ranks` of the record, with how many nets began, if
    not all. Triangles: this build's `finals`.
    """
    order = ranked.groupby("estimator").accuracy.max().sort_values(ascending=False).index
    groups = {
        takes: [name for name in order if bool(ESTIMATORS[name].derivative) == takes] for takes in GROUPS
    }
    rows: dict[str, float] = {}
    place = 0.0
    for names in groups.values():
        rows |= {name: place + 1 + i for i, name in enumerate(names)}
        place += len(names) + 1.3
    depths = sorted(ranked.depth.unique())
    figure, axes = subplots(1, len(depths), height=0.2 * place + 0.9, sharex=True, sharey=True, squeeze=False)
    for depth, axis in zip(depths, axes.flat):
        part, drawn = (table[(table.depth == depth) & table.estimator.isin(rows)] for table in (ranked, own))
        for takes, (_, colour, marker) in GROUPS.items():
            nets = part[part.estimator.isin(groups[takes])]
            at = nets.estimator.map(rows)
            axis.hlines(at, 100 * (1 - nets.high), 100 * (1 - nets.low), color=colour, linewidth=3, alpha=0.5)
            axis.scatter(100 * (1 - nets.accuracy), at, color=colour, marker=marker, s=20, zorder=3)
        some = part[part.begun < part.seeds]
        for name, begun, seeds, low in zip(some.estimator, some.begun, some.seeds, some.low.fillna(0.987)):
            note(axis, f"{begun} of {seeds}", (100 * (1 - low), rows[name]), (5, 0), color=MUTED, va="center")
        triangle: Style = dict(marker="^", facecolors="none", edgecolors=INK, linewidths=1.1, s=30, zorder=4)
        axis.scatter(100 * (1 - drawn.final), drawn.estimator.map(rows), **triangle)
        axis.set_title(layers(depth), loc="left")
        axis.set(xscale="log", xlim=(1, 100), ylim=(place - 0.5, -0.6))
        axis.set_xticks([2, 5, 20, 50], ["2", "5", "20", "50"])
        axis.set_xticks([], minor=True)
        axis.grid(axis="y", visible=False)
    axes.flat[0].set_yticks(list(rows.values()), list(rows))
    for takes, (title, colour, _) in GROUPS.items():
        if groups[takes]:
            top = rows[groups[takes][0]] - 1
            name = note(
                axes.flat[0],
                title,
                (0, top),
                (4, 0),
                xycoords=("axes fraction", "data"),
                va="center",
                color=colour,
                annotation_clip=False,
            )
            name.set_in_layout(False)  # it may reach into the next panel
    figure.supxlabel("Test error, %", fontsize=10)
    text = (
        "Test error by estimator and depth: the record's accuracy with its interval, and this build's nets."
    )
    nets = own[["depth", "estimator", "seed", "final"]].astype({"seed": "Int64"})
    return Figure(figure, text, pd.concat([ranked, nets.rename(columns={"final": "this build"})]))


def recommendations(answer: pd.DataFrame) -> Styler:
    """Format `bookkit.studies.ranking.short_answer`."""
    pairs = zip(answer.begun, answer.seeds)
    begun = [None if np.isnan(begun) else f"{begun:.0f} of {seeds:.0f}" for begun, seeds in pairs]
    columns: dict[str, Any] = {
        "loss": answer.loss,
        "layers": answer.depth,
        "use": answer.use,
    }
    known = [ESTIMATORS.get(name) for name in answer.use]  # no estimator is called "none"
    columns |= {"evaluations of f": [str(entry.evaluations) if entry else None for entry in known]}
    columns |= {
        "accuracy": answer.accuracy,
        "best accuracy": answer.highest,
        "nets that begin to train": begun,
    }
    return styled(pd.DataFrame(columns), {"accuracy": "{:.4f}", "best accuracy": "{:.4f}"})


def costs(milliseconds: pd.DataFrame) -> Styler:
    """Format `bookkit.studies.ranking.book_milliseconds`, with the evaluations of f, the cheapest first."""
    table = milliseconds.sort_values(milliseconds.columns[0]).rename(
        columns=lambda depth: f"{layers(depth)}, ms"
    )
    forms = dict.fromkeys(table.columns, "{:.2f}")
    table.insert(0, "evaluations of f", [str(ESTIMATORS[name].evaluations) for name in table.index])
    return styled(table, forms, hide_index=False)


def settings(best: pd.DataFrame) -> Styler:
    """Format `bookkit.studies.ranking.best_settings`: a row per estimator, a column per depth."""
    cells = [
        f"{rate:g}" + f" (τ = {temperature:g})" * ("temperature" in ESTIMATORS[name].options)
        if begins
        else "none"
        for name, rate, temperature, begins in zip(
            best.estimator, best.learning_rate, best.temperature, best.begins
        )
    ]
    table = best.assign(cell=np.array(cells)).pivot(index="estimator", columns="depth", values="cell")
    return styled(table.rename(columns=layers), hide_index=False)


def accuracies(ranked: pd.DataFrame) -> Styler:
    """Format `bookkit.studies.ranking.ranks`: a row per estimator, the best first, a column per depth."""
    cells, form = [], "{accuracy:.4f} ± {half:.4f}"
    for row in ranked.to_dict("records"):
        begun = f" ({row['begun']} of {row['seeds']})" if row["begun"] < row["seeds"] else ""
        half = (row["high"] - row["low"]) / 2
        cells.append((form.format_map(row | {"half": half}) if row["begun"] > 1 else "–") + begun)
    table = ranked.assign(cell=cells).pivot(index="estimator", columns="depth", values="cell")
    order = ranked.groupby("estimator").accuracy.max().sort_values(ascending=False).index
    return styled(table.loc[order].rename(columns=layers), hide_index=False)
