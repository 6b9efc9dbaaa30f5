"""Statistics: could a published number be one more run, and does a claim hold?

Two rules, the same for all. A number *agrees* when it lies in the 95 % prediction interval for one more
run. A claim says in which region an effect lies; it *holds* when the interval for the mean
effect over seeds lies in that region, *does not hold* when the interval lies outside, and is *undecided*
when it straddles the border. All claims' intervals hold together with 95 % (Bonferroni). Either is
*undecided* where a second set of seeds gives another verdict.
"""

import functools

import numpy as np
import pandas as pd
from scipy import stats

from bookkit import experiments, files
from bookkit.paths import CLAIMS, ROOT, SECOND_SEEDS
from bsn.errors import InputError

LEVEL = 0.95
AGREES, DIFFERS = "agrees", "differs"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


def prediction_interval(values, level=LEVEL):
    """Where one more accuracy falls with probability `level`, if they are normally distributed.

    mean ± t s sqrt(1 + 1 / n), with Student's t of n - 1 degrees of freedom, cut off at 0 and 1; n at
    least 2.
    """
    low, high = _interval(values, level, np.sqrt(1 + 1 / len(values)))
    return np.maximum(low, 0), np.minimum(high, 1)


def mean_interval(values, level=LEVEL):
    """Student's interval for the mean: mean ± t s / sqrt(n); n at least 2."""
    return _interval(values, level, np.sqrt(1 / len(values)))


def _interval(values, level, factor):
    values = np.asarray(values, float)  # seeds first
    if len(values) < 2:
        raise InputError(f"verdicts: {len(values)} seeds; expected at least 2")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(axis=0, ddof=1) * factor
    return values.mean(axis=0) - half, values.mean(axis=0) + half


def number_verdict(published, values, level=LEVEL):
    """Whether a published accuracy, of four digits, lies in the prediction interval of our runs.

    `values`, seeds first, may have more axes, as many as the verdict then has.
    """
    low, high = prediction_interval(values, level)
    return np.where((low - 5e-5 <= published) & (published <= high + 5e-5), AGREES, DIFFERS)[()]


def claim_verdict(effects, low, high, level):
    """Whether the mean of `effects`, one a seed, lies in the region from `low` to `high`.

    `effects`, seeds first, may have more axes, as many as the verdict then has.
    """
    at_least, at_most = mean_interval(effects, level)
    holds = (low < at_least) & (at_most < high)
    fails = (at_most <= low) | (high <= at_least)
    return np.select([holds, fails], [HOLDS, FAILS], UNDECIDED)[()]


def numbers(found, level=LEVEL):
    """The post's numbers against `bookkit.experiments.measures`: with intervals and verdicts."""
    rows = []
    for (experiment, label), nets in _published(found):
        published = nets.published.iloc[0]
        low, high = prediction_interval(nets.final, level)
        rows.append(
            {"experiment": experiment, "label": label, "published": published, "mean": nets.final.mean()}
            | {"low": low, "high": high, "seeds": len(nets), "diverged": int(nets.diverged.sum())}
            | {"verdict": number_verdict(published, nets.final, level)}
        )
    return pd.DataFrame(rows)


def claims(found, level=LEVEL):
    """The post's claims, from `book/claims.csv`, against `bookkit.experiments.measures`: a row a reading.

    Columns: `claim` (its number), `reading`, `effect` (mean over seeds), `low` and `high` (its interval, for
    all readings together), `border_low`, `border_high` (between which the claim says
    it lies), `seeds`, `verdict`.
    """
    table, each = _claims(level)
    rows = []
    for claim in table.itertuples():
        effects = _effects(found, claim)
        low, high = mean_interval(effects, each)
        row = {name: getattr(claim, name) for name in ("claim", "reading", "measure", "a", "b")}
        row |= {"effect": effects.mean(), "low": low, "high": high}
        row |= {"border_low": claim.low, "border_high": claim.high, "seeds": len(effects)}
        rows.append(row | {"verdict": claim_verdict(effects, claim.low, claim.high, each)})
    return pd.DataFrame(rows)


def repeatability(found, seeds, level=LEVEL, draws=500):
    """How often two new sets of seeds would come to the same verdict, on average over numbers and claims.

    Estimated by the bootstrap: both sets are drawn, with replacement, from the seeds that there are.

    Args:
        found: `bookkit.experiments.measures` of the nets to draw from.
        seeds: of each set.
        level: of the intervals.
        draws: how many pairs of sets.
    """
    rng, same = np.random.default_rng(seeds), []
    for _, nets in _published(found):
        first, second = rng.choice(nets.final, (2, seeds, draws))
        published = nets.published.iloc[0]
        same += [number_verdict(published, first, level) == number_verdict(published, second, level)]
    table, each = _claims(level)
    for claim in table.itertuples():
        first, second = rng.choice(_effects(found, claim), (2, seeds, draws))
        region = claim.low, claim.high, each
        same += [claim_verdict(first, *region) == claim_verdict(second, *region)]
    return np.mean(same)


def _published(found):
    return found[found.published.notna()].groupby(["experiment", "label"], sort=False)


def _claims(level):
    """The table of claims, and the level of each so that all intervals hold together with `level`."""
    table = pd.read_csv(CLAIMS).fillna({"low": -np.inf, "high": np.inf})
    return table, 1 - (1 - level) / len(table)


def _effects(found, claim):
    effects = _values(found, claim.a, claim.measure) - _values(found, claim.b, claim.measure)
    return effects.dropna()  # seeds that only one of the two has


def _values(found, name, measure):
    """A net's measure by seed, for a name like "3: Slope-annealed, 0.3"; or the number that the name is."""
    experiment, colon, label = str(name).partition(": ")
    if not colon:
        return float(name)
    nets = found[(found.experiment == experiment) & (found.label == label)]
    if nets.empty:
        raise InputError(f"verdicts: the record has no net {name!r}")
    return nets.set_index("seed")[measure]


def book_measures():
    """`bookkit.experiments.measures` of the book's record."""
    kept = experiments.book_rows()
    if not kept:
        raise InputError(
            "verdicts: the book has no record (book/record.parquet); bsn record --adopt makes one"
        )
    return experiments.measures(kept)


def scorecard(level=LEVEL, second=None):
    """The book's numbers and claims with the verdicts of both sets of seeds.

    Args:
        level: of the intervals.
        second: what came of the second set; by default what the book keeps, `second_seeds`.

    Returns:
        `numbers` and `claims` of the book's record, each with `record` and `second`, the verdicts of the
        record's own and of the second set of seeds at 95 %, and `flips`, whether these differ; `verdict` is
        then undecided.
    """
    found = book_measures()
    tables = numbers(found, level), claims(found, level)
    second = second_seeds() if second is None else second
    for table, own in zip(tables, (numbers(found), claims(found))):
        verdict = [_second_verdict(second, key) for key in _keys(own)]
        table["record"], table["second"], table["flips"] = own.verdict, verdict, own.verdict != verdict
        table.loc[table.flips, "verdict"] = UNDECIDED
    return tables


def second_seeds():
    """What `confirm` has kept: key, mean, low, high, seeds, verdict, first_seed, last_seed."""
    return pd.read_csv(SECOND_SEEDS)


@functools.cache
def flipped_numbers():
    """(experiment, label) of the published numbers whose verdict another set of seeds does not confirm."""
    table = scorecard()[0]
    return set(table[table.flips][["experiment", "label"]].itertuples(index=False, name=None))


def _keys(table):
    """What identifies a row of `numbers` or `claims` in the file of the second seeds."""
    if "claim" in table:
        regions = [f"{low:g} to {high:g}" for low, high in zip(table.border_low, table.border_high)]
        compared = [f"{row.measure} of {row.a} less {row.b}" for row in table.itertuples()]
        return [
            f"claim {claim}: {what} in {where}" for claim, what, where in zip(table.claim, compared, regions)
        ]
    return [f"number {row.experiment}: {row.label}" for row in table.itertuples()]


def _second_verdict(second, key):
    found = second.verdict[second.key == key]
    if len(found) != 1:
        raise InputError(f"verdicts: {SECOND_SEEDS.name} has no {key!r}; bsn record --confirm makes it anew")
    return found.iloc[0]


def confirm(rows):
    """Hold the book's verdicts against those of this build's nets at other seeds, and keep the outcome.

    Returns:
        Lines that say how many are the same, and which are not.

    Raises:
        InputError: fewer than `bookkit.experiments.LEAST_SEEDS` other seeds, or a record that cannot be read.
    """
    taken = {made["seed"] for made in experiments.book_rows()}
    other = {seed: nets for seed, nets in experiments.complete(rows).items() if seed not in taken}
    experiments.enough(other, "confirm")
    found = experiments.measures([made for nets in other.values() for made in nets])
    columns = ["key", "mean", "low", "high", "seeds", "verdict"]
    tables = [table.assign(key=_keys(table)) for table in (numbers(found), claims(found))]
    tables[1] = tables[1].rename(columns={"effect": "mean"})
    kept = pd.concat([table[columns] for table in tables])
    kept = kept.assign(first_seed=min(other), last_seed=max(other))
    both = pd.concat([table.assign(key=_keys(table)) for table in scorecard(second=kept)])
    try:
        with files.replaced(SECOND_SEEDS) as file:
            kept.to_csv(file, index=False, float_format="%.6f")
    except OSError as error:
        raise InputError(f"verdicts: cannot write {SECOND_SEEDS}: {error.strerror or error}") from None
    same = (~both.flips).sum()
    lines = [f"{same} of {len(both)} verdicts are the same at the seeds {min(other)} to {max(other)}"]
    lines += [f"not the same: {row.key}: {row.second}" for row in both[both.flips].itertuples()]
    return "\n".join([*lines, f"kept in {SECOND_SEEDS.relative_to(ROOT)}"])


def claim_titles():
    """Claim's number -> what it says, in a line."""
    return dict(pd.read_csv(CLAIMS.with_name("claim_titles.csv")).itertuples(index=False))
