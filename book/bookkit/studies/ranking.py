"""Which estimator trains the post's classifier best: a learning rate tuned for each, then ranks over seeds.

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

from bookkit import engines, record, runs, statistics
from bookkit.figures import style
from bookkit.figures.style import INK, MUTED, SERIES, Figure, Style, intervals, styled
from bookkit.paths import RANKING
from bsn.errors import InputError
from bsn.estimators.registry import ESTIMATORS
from bsn.spec import Spec

RANKED = (  # in the book's record
    "sigmoid pass-through sigmoid-adjusted fires-only reinmax concrete st-gumbel gumbel-rao reinforce "
    "variance-adjusted moving-average leave-one-out muprop rebar arm disarm local-expectation"
).split()
SHARED: dict[str, Any] = dict(stable_loss=True, epochs=10)  # of the record's nets
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DEPTHS, WIDTH = (1, 2, 3, 4), 100
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


def differences(accuracies: pd.DataFrame, level: float = statistics.LEVEL) -> pd.DataFrame:
    """Compare all estimators of a depth in pairs, at the seeds that all nets have.

    From `finals` of the nets of `judged`: one row per ordered pair and depth, with `effect` (accuracy of the
    first minus the second's, mean over seeds) and its interval; all have a joint coverage of `level`
    (Bonferroni).
    """
    table = accuracies.pivot(index="seed", columns=["depth", "estimator"], values="final")
    table = table.dropna().sort_index(axis="columns")
    pairs = [(one, other) for one, other in itertools.permutations(table.columns, 2) if one[0] == other[0]]
    first, second = (list(nets) for nets in zip(*pairs))
    effects = table[first].to_numpy() - table[second].to_numpy()
    # a pair and its reverse have one interval
    low, high = statistics.mean_interval(effects, 1 - (1 - level) / (len(pairs) / 2))
    compared = pd.DataFrame(first, columns=["depth", "first"]).assign(second=[name for _, name in second])
    return compared.assign(effect=effects.mean(0), low=low, high=high)


def ranks(accuracies: pd.DataFrame, level: float = statistics.LEVEL) -> pd.DataFrame:
    """Rank the estimators at each depth, as far as the seeds tell.

    An estimator is surely better than another if the interval of their difference lies above 0. Its
    rank is at least 1 + the number of those surely better, and at most the number of all minus those
    surely worse. These intervals and those of the means have a joint coverage of `level`.

    Returns:
        One row per depth and estimator, the best mean first: `learning_rate`, `mean`, `low`, `high` (its
        interval), `first`, `last` (possible rank), and numbers of nets: `seeds`, `begun`, `diverged`.
    """
    half = (1 - level) / 2  # of what may go wrong is left to the differences, half to the means
    nets = accuracies.assign(begun=accuracies.final > BEGUN, diverged=accuracies.diverged_step >= 0)
    by_setting = nets.groupby(["depth", "estimator"])
    table = by_setting.agg(
        learning_rate=("learning_rate", "first"),
        mean=("final", "mean"),
        seeds=("final", "size"),
        begun=("begun", "sum"),
        diverged=("diverged", "sum"),
    )
    ends = [statistics.mean_interval(values, 1 - half / len(table)) for _, values in by_setting.final]
    table["low"], table["high"] = np.clip(np.transpose(ends), 0, 1)
    pairs = differences(accuracies, 1 - half)
    others = pairs.assign(better=pairs.high < 0, worse=pairs.low > 0).groupby(["depth", "first"])
    table["first"] = 1 + others.better.sum()
    table["last"] = table.groupby("depth")["mean"].transform("size") - others.worse.sum()
    return table.reset_index().sort_values(["depth", "mean"], ascending=[True, False], ignore_index=True)


def orderings(accuracies: pd.DataFrame, level: float = statistics.LEVEL) -> pd.DataFrame:
    """Compare the published orderings with trained nets: verdicts by the intervals of `differences`."""
    table = statistics.orderings("ranking").merge(differences(accuracies, level), on=["first", "second"])
    table["verdict"] = statistics.region_verdict(table.low, table.high, 0, np.inf)
    return table[["claim", "source", "depth", "effect", "low", "high", "verdict"]]


def leaders(ranked: pd.DataFrame) -> pd.Series:
    """Depth -> the estimators that may rank first, the best mean first, in words."""
    return ranked[ranked["first"] == 1].groupby("depth").estimator.agg(", ".join)


def by_mean(ranked: pd.DataFrame) -> list[str]:
    """Order the estimators of `ranks` by their mean over the depths, the best first."""
    return list(ranked.groupby("estimator")["mean"].mean().sort_values(ascending=False).index)


def show_rates(rates: pd.DataFrame) -> Styler:
    """Format the learning rates of `best_rates`: one row per estimator, one column per depth."""
    table = rates.pivot(index="estimator", columns="depth", values="learning_rate").rename(columns=layers)
    return styled(table, dict.fromkeys(table.columns, "{:g}"), hide_index=False)


def show(ranked: pd.DataFrame) -> Styler:
    """Format `ranks`: one row per estimator, one column per depth: accuracy, rank, nets begun if not all."""
    cells = []
    for row in ranked.to_dict("records"):
        begun = f", {row['begun']} of {row['seeds']}" if row["begun"] < row["seeds"] else ""
        cells.append(f"{row['mean']:.4f} ({row['first']} to {row['last']})" + begun)
    table = ranked.assign(cell=cells).pivot(index="estimator", columns="depth", values="cell")
    return styled(table.loc[by_mean(ranked)].rename(columns=layers), hide_index=False)


def show_orderings(table: pd.DataFrame) -> Styler:
    """Format `orderings`."""
    shown = table[["claim", "depth", "effect"]].copy()
    shown["interval"], shown["verdict"] = intervals(table.low, table.high, "+.4f"), table.verdict
    return styled(shown, {"effect": "{:+.4f}"})


def error_figure(ranked: pd.DataFrame, reference: dict[int, float], own: pd.DataFrame) -> Figure:
    """Draw test errors, a panel per depth: the record's mean and interval by `ranks`, this build's `finals`.

    `reference` has the mean accuracy of the sigmoid net, which is not binary, by depth.
    """
    names, depths = by_mean(ranked), sorted(ranked.depth.unique())
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
            axis.scatter(100 * (1 - nets["mean"]), rows, label=label, **mark)
        triangle: Style = dict(marker="^", facecolors="none", edgecolors=INK, linewidths=1.1, s=34, zorder=4)
        axis.scatter(
            100 * (1 - drawn.final), drawn.estimator.map(names.index), label="this build", **triangle
        )
        if depth in reference:
            dashed: Style = dict(color=MUTED, linewidth=1.2, linestyle="--")
            axis.axvline(100 * (1 - reference[depth]), label="sigmoid units, not binary", **dashed)
    style.name_rows(axes[0], names, downwards=True)
    axes[0].set(xscale="log", xlim=(1, 110))
    axes[0].set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes[0].set_xticks([], minor=True)
    figure.suptitle("Test error, %")
    style.shared_legend(figure, ncols=2)
    text = "Test errors by estimator and depth: the record's mean and interval, and this build's nets."
    sigmoid = pd.DataFrame({"depth": reference.keys(), "mean": reference.values(), "estimator": "sigmoid"})
    nets = own[["depth", "estimator", "seed", "final"]].astype({"seed": "Int64"})
    return Figure(figure, text, pd.concat([ranked, sigmoid, nets.rename(columns={"final": "this build"})]))


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
    if not RANKING.exists():
        raise InputError(f"ranking: the book has no {RANKING.name}; bsn record --adopt ranking makes one")
    accuracies = finals(record.curves(record.read(RANKING)))
    return accuracies[accuracies.evaluate_on == "validation"], accuracies[accuracies.evaluate_on == "test"]


def adopt(rows: Iterable[record.Row]) -> str:
    """Make this build's nets of the ranking, on MNIST, the book's; raise an `InputError` if it lacks some."""
    by_key = {row["key"]: row for row in rows if row["dataset"] == "mnist"}
    checksums = {row["data"] for row in by_key.values()}

    def chosen(settings: dict[str, dict[str, Any]], seeds: Sequence[int], use: str) -> list[record.Row]:
        specs = [Spec(**fields, **SHARED, seed=seed) for fields in settings.values() for seed in seeds]
        keys = [record.key(spec, data, engines.of(spec, "compiled")) for spec in specs for data in checksums]
        nets = [by_key[key] for key in keys if key in by_key]
        if len(nets) != len(specs):
            raise InputError(
                f"record: this build's record has {len(nets)} of {len(specs)} nets that the ranking {use} on "
                "MNIST; expected all of them (see bsn build --profile full --chapter ranking)"
            )
        return nets

    tuned = chosen(tuning(RANKED, DEPTHS, WIDTH, LEARNING_RATES), [TUNING_SEED], "tunes with")
    rates = best_rates(finals(record.curves(tuned)))
    return record.adopt(RANKING, tuned + chosen(judged(rates, WIDTH), SEEDS, "judges"))
