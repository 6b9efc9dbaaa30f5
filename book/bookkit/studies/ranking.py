"""Which estimator trains the post's classifier best: a learning rate tuned for each, then fresh seeds.

For every estimator and depth the same learning rates are tried, once each, and the one with the best final
validation accuracy is taken, its only tuning. Nets at other seeds are then trained with it and
judged on the test part.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy import stats

from bookkit import record, runs
from bookkit.figures import style
from bookkit.figures.style import INK, SERIES, Figure, Style, styled
from bookkit.paths import RANKING
from bsn.errors import InputError
from bsn.estimators.registry import ESTIMATORS

RANKED = (  # in the book's record
    "sigmoid pass-through sigmoid-adjusted fires-only reinmax concrete st-gumbel gumbel-rao reinforce "
    "variance-adjusted moving-average leave-one-out muprop rebar arm disarm local-expectation"
).split()
SHARED: dict[str, Any] = dict(stable_loss=True, epochs=10)  # of the record's nets
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DEPTHS, WIDTH = (1, 2, 3, 4), 100
NEAR = 0.002  # accuracies this near to the best are as good
BEGUN = 0.2  # accuracy above which a net has begun to train: twice what guessing one of ten classes does
TUNING_SEED, SEEDS = 100, range(1, 11)
# whether an estimator takes the loss's derivative -> how it is drawn
KINDS = {
    False: ("takes the loss alone", SERIES[0], "o"),
    True: ("takes the loss's derivative", SERIES[3], "D"),
}


def tuning(
    estimators: Iterable[str], depths: Iterable[int], width: int, learning_rates: Iterable[float]
) -> dict[str, dict[str, Any]]:
    """Label -> fields of `bsn.Spec`: each estimator at each depth and learning rate."""
    return {
        f"{name}, {layers(depth)}, {rate:g}": dict(estimator=name, hidden=[width] * depth, learning_rate=rate)
        for name, depth, rate in itertools.product(estimators, depths, learning_rates)
    }


def judged(rates: pd.DataFrame, width: int) -> dict[str, dict[str, Any]]:
    """Label -> fields of `bsn.Spec`: each row of `best_rates`, to be judged on the test part."""
    settings: dict[str, dict[str, Any]] = {}
    for name, depth, rate in zip(rates.estimator, rates.depth, rates.learning_rate):
        settings |= tuning([name], [depth], width, [rate])
    return {label: fields | {"evaluate_on": "test"} for label, fields in settings.items()}


def layers(depth: int) -> str:
    """Write a depth in words."""
    return f"{depth} layer{'s' * bool(depth > 1)}"


def finals(curves: pd.DataFrame) -> pd.DataFrame:
    """Return `runs.final_accuracies` with the column `depth`, the number of hidden layers."""
    accuracies = runs.final_accuracies(curves)
    return accuracies.assign(depth=accuracies.hidden.str.count("-") + 1)


def best_rates(tuned: pd.DataFrame) -> pd.DataFrame:
    """Choose each estimator's learning rate at each depth by the best accuracy; of equals the smallest.

    From `finals` of the nets of `tuning`. The column `edge` says whether no smaller or no greater rate was
    tried.
    """
    columns = ["depth", "estimator", "final", "learning_rate"]
    ordered = tuned.sort_values(columns, ascending=[True, True, False, True])
    best = ordered.drop_duplicates(["depth", "estimator"], ignore_index=True)
    edge = best.learning_rate.isin([tuned.learning_rate.min(), tuned.learning_rate.max()])
    return best[columns].assign(edge=edge)


def ranks(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Summarise the estimators at each depth, from `finals` of the nets of `judged`.

    Returns:
        One row per depth and estimator, the best accuracy first: `learning_rate`; numbers of nets: `seeds`,
        `begun`, `diverged`; of those that began to train the interquartile mean `accuracy`, and its 95 %
        bootstrap interval `low` to `high`. NaN if fewer than two began.

    Reference: Agarwal et al. 2021, arXiv:2108.13264.
    """
    rows = []
    for (depth, name), nets in accuracies.groupby(["depth", "estimator"]):
        begun = nets.final[nets.final > BEGUN].to_numpy()
        row = {"depth": depth, "estimator": name, "learning_rate": nets.learning_rate.iloc[0]}
        row |= {"seeds": len(nets), "begun": len(begun), "diverged": int((nets.diverged_step >= 0).sum())}
        if len(begun) > 1:
            ends = stats.bootstrap(
                [begun], _interquartile_mean, method="percentile", rng=np.random.default_rng(0)
            ).confidence_interval
            row |= {"accuracy": _interquartile_mean(begun), "low": ends.low, "high": ends.high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["depth", "accuracy"], ascending=[True, False], ignore_index=True)


def _interquartile_mean(values: np.ndarray, axis: int = -1) -> Any:
    return stats.trim_mean(values, 0.25, axis=axis)


def leaders(ranked: pd.DataFrame) -> dict[Any, list[str]]:
    """Depth -> the estimators within `NEAR` of the best, of those that began to train at the most seeds."""
    sure = ranked[ranked.begun == ranked.groupby("depth").begun.transform("max")]
    near = sure[sure.accuracy >= sure.groupby("depth").accuracy.transform("max") - NEAR]
    return {depth: list(names) for depth, names in near.groupby("depth").estimator}


def by_accuracy(ranked: pd.DataFrame) -> list[str]:
    """Order the estimators of `ranks` by their accuracy, averaged over the depths, the best first."""
    return list(ranked.groupby("estimator").accuracy.mean().sort_values(ascending=False).index)


def show_rates(rates: pd.DataFrame) -> Styler:
    """Format the learning rates of `best_rates`: one row per estimator, one column per depth."""
    table = rates.pivot(index="estimator", columns="depth", values="learning_rate").rename(columns=layers)
    return styled(table, dict.fromkeys(table.columns, "{:g}"), hide_index=False)


def show(ranked: pd.DataFrame) -> Styler:
    """Format `ranks`: one row per estimator, one column per depth, with the nets begun if not all."""
    cells, form = [], "{accuracy:.4f} ({low:.4f} to {high:.4f})"
    for row in ranked.to_dict("records"):
        begun = f", {row['begun']} of {row['seeds']}" if row["begun"] < row["seeds"] else ""
        cells.append((form.format_map(row) if row["begun"] > 1 else "–") + begun)
    table = ranked.assign(cell=cells).pivot(index="estimator", columns="depth", values="cell")
    return styled(table.loc[by_accuracy(ranked)].rename(columns=layers), hide_index=False)


def error_figure(ranked: pd.DataFrame, own: pd.DataFrame) -> Figure:
    """Draw test errors, a panel per depth: the record by `ranks`, and this build's `finals`."""
    names, depths = by_accuracy(ranked), sorted(ranked.depth.unique())
    own = own[own.estimator.isin(names)]
    figure, axes = style.panels([layers(depth) for depth in depths], 2, 0.22 * len(names) + 0.55, 0.9)
    for depth, axis in zip(depths, axes):
        part, drawn = (table[table.depth == depth] for table in (ranked, own))
        derivative = part.estimator.map(lambda name: bool(ESTIMATORS[name].derivative))
        for takes, nets in part.groupby(derivative):
            label, colour, marker = KINDS[takes]
            rows = nets.estimator.map(names.index)
            ends = np.maximum([100 * (1 - nets.high), 100 * (1 - nets.low)], 0.01)
            axis.hlines(rows, *ends, color=colour, linewidth=3, alpha=0.5)
            mark: Style = dict(color=colour, marker=marker, s=26, zorder=3)
            axis.scatter(100 * (1 - nets.accuracy), rows, label=label, **mark)
        triangle: Style = dict(marker="^", facecolors="none", edgecolors=INK, linewidths=1.1, s=34, zorder=4)
        axis.scatter(
            100 * (1 - drawn.final), drawn.estimator.map(names.index), label="this build", **triangle
        )
    style.name_rows(axes[0], names, downwards=True)
    axes[0].set(xscale="log", xlim=(1, 110))
    axes[0].set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes[0].set_xticks([], minor=True)
    figure.suptitle("Test error, %")
    style.shared_legend(figure, ncols=2)
    text = "Test errors by estimator and depth: the record's accuracy and interval, and this build's nets."
    nets = own[["depth", "estimator", "seed", "final"]].astype({"seed": "Int64"})
    return Figure(figure, text, pd.concat([ranked, nets.rename(columns={"final": "this build"})]))


def book_rates(estimators: Sequence[str], depths: Sequence[int]) -> pd.DataFrame:
    """Return `best_rates` of the book's record; raise an `InputError` if it did not tune one of these."""
    rates = best_rates(book_finals()[0])
    for name, depth in itertools.product(estimators, depths):
        if not ((rates.estimator == name) & (rates.depth == depth)).any():
            raise InputError(
                f"ranking: the record has no learning rate of {name} with {layers(depth)}; expected "
                f"depths {', '.join(map(str, sorted(set(rates.depth))))}, or tune true"
            )
    return rates[rates.estimator.isin(estimators) & rates.depth.isin(depths)]


def book_finals() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `finals` of the book's record: of the nets that tuned, and of those judged."""
    accuracies = finals(record.curves(record.read(RANKING)))
    return accuracies[accuracies.evaluate_on == "validation"], accuracies[accuracies.evaluate_on == "test"]
