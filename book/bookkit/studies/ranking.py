"""Which estimator trains the post's classifier best: a learning rate tuned for each, then ranks over seeds.

For every estimator and depth the same learning rates are tried, once each, and the one with the best final
validation accuracy is taken, its only tuning. Nets at other seeds are then trained with it and
judged on the test part.
"""

import itertools

import pandas as pd

from bookkit import record, runs, statistics
from bookkit.parameters import ESTIMATORS as TRAINED
from bookkit.paths import RANKING, ROOT
from bsn.errors import InputError
from bsn.estimators import ESTIMATORS
from bsn.spec import Spec

SHARED = dict(stable_loss=True, epochs=10)  # of the record's nets
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DEPTHS, WIDTH = (1, 2, 3, 4), 100
BEGUN = 0.2  # accuracy above which a net has begun to train: twice what guessing one of ten classes does
TUNING_SEED, SEEDS = 100, range(1, 11)
# said of which estimator against which other, by whom (a key of book/references.bib)
ORDERINGS = [
    ("ReinMax above sigmoid-adjusted", "liu2023", "reinmax", "sigmoid-adjusted"),
    ("Gumbel-Rao above ST-Gumbel", "paulus2021", "gumbel-rao", "st-gumbel"),
    ("DisARM above ARM", "dong2020", "disarm", "arm"),
    ("DisARM above leave-one-out", "dong2020", "disarm", "leave-one-out"),
    ("REBAR above MuProp", "tucker2017", "rebar", "muprop"),
]


def tuning(estimators, depths, width, learning_rates):
    """Label -> fields of `bsn.Spec`: each estimator at each depth and learning rate."""
    return {
        f"{estimator}, {layers(depth)}, {rate:g}": dict(
            estimator=estimator, hidden=[width] * depth, learning_rate=rate
        )
        for estimator, depth in itertools.product(estimators, depths)
        for rate in learning_rates
    }


def judged(rates, width):
    """Label -> fields of `bsn.Spec`: what `best_rates` has chosen, judged on the test part."""
    return {
        f"{row.estimator}, {layers(row.depth)}": dict(
            estimator=row.estimator,
            hidden=[width] * row.depth,
            learning_rate=row.learning_rate,
            evaluate_on="test",
        )
        for row in rates.itertuples()
    }


def layers(depth):
    """A depth in words."""
    return f"{depth} layer{'s' * int(depth > 1)}"


def finals(curves):
    """`runs.final_accuracies` with the column `depth`, the number of hidden layers."""
    found = runs.final_accuracies(curves)
    return found.assign(depth=found.hidden.astype(str).str.count(r"\d+"))


def best_rates(tuned):
    """The learning rate of each estimator and depth: that with the best final accuracy, of equals the least.

    Args:
        tuned: `finals` of the nets of `tuning`.

    Returns:
        A DataFrame: `estimator`, `depth`, `learning_rate`, `final`, `edge`: whether it is the least or
        the greatest that was tried.
    """
    ordered = tuned.sort_values(["final", "learning_rate"], ascending=[False, True], kind="stable")
    best = ordered.drop_duplicates(["estimator", "depth"]).copy()
    best["edge"] = best.learning_rate.isin([tuned.learning_rate.min(), tuned.learning_rate.max()])
    by_name = {name: place for place, name in enumerate(TRAINED)}
    best = best.sort_values(["depth", "estimator"], key=lambda column: column.replace(by_name))
    return best[["estimator", "depth", "learning_rate", "final", "edge"]].reset_index(drop=True)


def differences(accuracies, level=statistics.LEVEL):
    """Every estimator's accuracy less every other's at the same depth, paired by seed.

    Args:
        accuracies: `finals` of the nets of `judged`, at two seeds or more.
        level: with which all intervals hold together (Bonferroni).

    Returns:
        A DataFrame, a row an ordered pair and depth: `depth`, `first`, `second`, `effect`, `low`, `high`.
    """
    tables = {
        depth: part.pivot(index="seed", columns="estimator", values="final")
        for depth, part in accuracies.groupby("depth")
    }
    pairs = [(depth, *pair) for depth, table in tables.items() for pair in itertools.permutations(table, 2)]
    each = 1 - (1 - level) / max(1, len(pairs) / 2)  # a pair and its reverse have one interval
    rows = []
    for depth, first, second in pairs:
        effects = (tables[depth][first] - tables[depth][second]).dropna()
        rows.append((depth, first, second, effects.mean(), *statistics.mean_interval(effects, each)))
    return pd.DataFrame(rows, columns=["depth", "first", "second", "effect", "low", "high"])


def ranks(accuracies, level=statistics.LEVEL):
    """Each estimator's rank at each depth, as far as the seeds tell.

    An estimator is surely better than another where the interval of their difference lies above 0. Its
    rank is at least 1 + the number of those surely better, and at most the number of all less those
    surely worse. All these intervals, and those of the means, hold together.

    Returns:
        A DataFrame, the best mean first within a depth: `depth`, `estimator`, `learning_rate`, `mean`, `low`,
        `high` (interval of the mean), `first`, `last` (of the rank), and numbers of nets: `seeds`, `begun`,
        `diverged`.
    """
    # half of what may go wrong is left to the differences, half to the means
    half = 1 - (1 - level) / 2
    compared = differences(accuracies, half)
    by_setting = accuracies.groupby(["depth", "estimator"])
    each = 1 - (1 - half) / by_setting.ngroups
    rows = []
    for (depth, name), nets in by_setting:
        own = compared[(compared.depth == depth) & (compared["first"] == name)]
        low, high = statistics.mean_interval(nets.final, each)
        rows.append(
            {"depth": depth, "estimator": name, "learning_rate": nets.learning_rate.iloc[0]}
            | {"mean": nets.final.mean(), "low": max(low, 0.0), "high": min(high, 1.0)}
            | {"first": 1 + int((own.high < 0).sum()), "last": 1 + len(own) - int((own.low > 0).sum())}
            | {"seeds": len(nets), "begun": int((nets.final > BEGUN).sum())}
            | {"diverged": int((nets.diverged_step >= 0).sum())}
        )
    return pd.DataFrame(rows).sort_values(["depth", "mean"], ascending=[True, False], ignore_index=True)


def orderings(accuracies, level=statistics.LEVEL):
    """The published `ORDERINGS`, held against trained nets: verdicts by the intervals of `differences`."""
    found = differences(accuracies, level).set_index(["first", "second", "depth"])
    rows = []
    for claim, source, first, second in ORDERINGS:
        for depth in sorted(accuracies.depth.unique()):
            if (first, second, depth) not in found.index:
                continue
            row = found.loc[first, second, depth]
            verdict = (
                statistics.HOLDS
                if row.low > 0
                else statistics.FAILS
                if row.high < 0
                else statistics.UNDECIDED
            )
            rows.append((claim, source, depth, row.effect, row.low, row.high, verdict))
    return pd.DataFrame(rows, columns=["claim", "source", "depth", "effect", "low", "high", "verdict"])


def leaders(ranked):
    """Depth -> the estimators that may rank first, the best mean first, in words."""
    able = ranked[ranked["first"] == 1]
    return able.groupby("depth").estimator.agg(", ".join).to_dict()


def by_mean(ranked):
    """Estimators of `ranks`, the best first, by their mean over the depths."""
    means = ranked.pivot(index="estimator", columns="depth", values="mean").mean(axis=1)
    return list(means.sort_values(ascending=False).index)


def show(ranked):
    """`ranks` for a page: a row an estimator, a column a depth: accuracy, rank, nets begun if not all."""
    order = by_mean(ranked)
    shown = pd.DataFrame(index=order)
    for depth, part in ranked.groupby("depth"):
        said = {
            row.estimator: f"{row.mean:.4f} ({row.first} to {row.last})"
            + (f", {row.begun} of {row.seeds}" if row.begun < row.seeds else "")
            for row in part.itertuples(index=False)
        }
        shown[layers(depth)] = pd.Series(said)
    shown["evaluations of f"] = [ESTIMATORS[name].evaluations for name in order]
    shown["derivative at"] = [ESTIMATORS[name].derivative or "–" for name in order]
    return shown.style.set_properties(shown.columns[:-2], **{"white-space": "nowrap"})


def show_orderings(table):
    """`orderings` for a page."""
    shown = table[["claim", "depth", "effect"]].copy()
    shown["interval"] = [f"{low:+.4f} to {high:+.4f}" for low, high in zip(table.low, table.high)]
    shown["verdict"] = table.verdict
    return shown.style.hide(axis="index").format({"effect": "{:+.4f}"})


def without_derivative(name):
    """Whether an estimator asks of the loss nothing but its value at 0 and 1."""
    return not ESTIMATORS[name].derivative


def book_rates(estimators, depths):
    """`best_rates` of the book's record, for some estimators and depths.

    Raises:
        InputError: a depth, or an estimator at a depth, that the record did not tune.
    """
    rates = best_rates(book_finals()[0])
    tuned = set(zip(rates.estimator, rates.depth))
    for pair in itertools.product(estimators, depths):
        if pair not in tuned:
            raise InputError(
                f"ranking: the record has no learning rate of {pair[0]} with {layers(pair[1])}; expected "
                f"depths {', '.join(map(str, sorted(set(rates.depth))))}, or tune true"
            )
    return rates[rates.estimator.isin(estimators) & rates.depth.isin(depths)]


def book_finals():
    """`finals` of the book's record: of the nets that tuned, and of those judged.

    Raises:
        InputError: no record, or one that cannot be read.
    """
    try:
        kept = finals(record.curves(record.read(RANKING)))
    except FileNotFoundError:
        raise InputError(
            f"ranking: the book has no {RANKING.name}; bsn record --adopt ranking makes one"
        ) from None
    return kept[kept.evaluate_on == "validation"], kept[kept.evaluate_on == "test"]


def adopt(rows):
    """Make this build's nets of the ranking, on MNIST, the book's record of it.

    Raises:
        InputError: this build's record lacks some, or a record cannot be read or written.
    """
    if RANKING.exists():
        record.read(RANKING)  # one that cannot be read is not overwritten
    kept = {made["key"]: made for made in rows if made["dataset"] == "mnist"}
    checksums = {made["data"] for made in kept.values()}

    def found(wanted, seeds):
        specs = [Spec(**fields, **SHARED, seed=seed) for fields in wanted.values() for seed in seeds]
        keys = {record.key(spec, data) for spec in specs for data in checksums} & set(kept)
        if len(keys) != len(specs):
            raise InputError(
                f"record: this build's record has {len(keys)} of {len(specs)} nets that the ranking "
                f"{'tunes with' if len(seeds) == 1 else 'judges'} on MNIST; expected all of them (see "
                "bsn build --profile full --chapter ranking)"
            )
        return [kept[name] for name in sorted(keys)]

    tuned = found(tuning(TRAINED, DEPTHS, WIDTH, LEARNING_RATES), [TUNING_SEED])
    rates = best_rates(finals(record.curves(tuned)))
    nets = tuned + found(judged(rates, WIDTH), SEEDS)
    record.write(RANKING, nets)
    return f"{len(nets)} nets in {RANKING.relative_to(ROOT)}"
