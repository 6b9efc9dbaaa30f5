"""Statistics: could a published number be one more run, and does a claim hold?

Two rules, the same for all. A number *agrees* when it lies in the 95 % prediction interval for one more
run. A claim says in which region an effect lies; it *holds* when the interval for the mean
effect over seeds lies in that region, *does not hold* when the interval lies outside, and is *undecided*
when it straddles the border. All claims' intervals hold together with 95 % (Bonferroni).
"""

import numpy as np
import pandas as pd
from scipy import stats

from bsn import experiments
from bsn.errors import InputError
from bsn.paths import BOOK

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
        raise InputError(f"verdicts: {len(values)} seeds; allowed: at least 2")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(axis=0, ddof=1) * factor
    return values.mean(axis=0) - half, values.mean(axis=0) + half


def number_verdict(published, values, level=LEVEL):
    """Whether a published accuracy, of four digits, lies in the prediction interval of our runs."""
    low, high = prediction_interval(values, level)
    return AGREES if low - 5e-5 <= published <= high + 5e-5 else DIFFERS


def claim_verdict(effects, low, high, level):
    """Whether the mean of `effects`, one a seed, lies in the region from `low` to `high`."""
    at_least, at_most = mean_interval(effects, level)
    if low < at_least and at_most < high:
        return HOLDS
    if at_most <= low or high <= at_least:
        return FAILS
    return UNDECIDED


def numbers(found, level=LEVEL):
    """The post's numbers against `bsn.experiments.measures`: with intervals and verdicts."""
    rows = []
    for (experiment, label), nets in found[found.published.notna()].groupby(
        ["experiment", "label"], sort=False
    ):
        published = nets.published.iloc[0]
        low, high = prediction_interval(nets.final, level)
        rows.append(
            {"experiment": experiment, "label": label, "published": published, "mean": nets.final.mean()}
            | {"low": low, "high": high, "seeds": len(nets), "diverged": int(nets.diverged.sum())}
            | {"verdict": number_verdict(published, nets.final, level)}
        )
    return pd.DataFrame(rows)


def claims(found, level=LEVEL):
    """The post's claims, from `book/claims.csv`, against `bsn.experiments.measures`: a row a reading.

    Columns: `claim` (its number), `reading`, `effect` (mean over seeds), `low` and `high` (its interval, for
    all readings together), `border_low`, `border_high` (between which the claim says
    it lies), `seeds`, `verdict`.
    """
    table = pd.read_csv(BOOK / "claims.csv").fillna({"low": -np.inf, "high": np.inf})
    each = 1 - (1 - level) / len(table)
    rows = []
    for claim in table.itertuples():
        effects = _values(found, claim.a, claim.measure) - _values(found, claim.b, claim.measure)
        effects = effects.dropna()  # seeds that only one of the two has
        low, high = mean_interval(effects, each)
        row = {name: getattr(claim, name) for name in ("claim", "reading", "measure", "a", "b")}
        row |= {"effect": effects.mean(), "low": low, "high": high}
        row |= {"border_low": claim.low, "border_high": claim.high, "seeds": len(effects)}
        rows.append(row | {"verdict": claim_verdict(effects, claim.low, claim.high, each)})
    return pd.DataFrame(rows)


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
    """`bsn.experiments.measures` of the book's record."""
    kept = experiments.book_rows()
    if not kept:
        raise InputError(
            "verdicts: the book has no record (book/record.parquet); bsn record --adopt makes one"
        )
    return experiments.measures(kept)
