"""Statistics: could a published number be one more run, and does a claim hold?

Two rules, the same for all. A number *agrees* if it lies in the 95 % prediction interval for one more
run. A claim says in which region an effect lies; it *holds* if the interval for the mean
effect over seeds lies in that region, *does not hold* if the interval lies outside, and is *undecided*
if it straddles the border. The intervals of all claims have a joint coverage of 95 % (Bonferroni).
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bookkit import experiments
from bookkit.paths import CLAIMS
from bsn.errors import InputError

LEVEL = 0.95
AGREES, DIFFERS = "agrees", "differs"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


def prediction_interval(values: npt.ArrayLike, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return where one more normal accuracy lies with probability `level`: mean ± t s sqrt(1 + 1 / n).

    Clipped to [0, 1]; arguments and results as in `mean_interval`.
    """
    low, high = mean_interval(values, level)
    centre, half = (low + high) / 2, (high - low) / 2 * np.sqrt(len(np.asarray(values)) + 1)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def mean_interval(values: npt.ArrayLike, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends [...] of Student's interval for the mean of values [n, ...]: mean ± t s / sqrt(n).

    Raises:
        InputError: n is less than 2.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        raise InputError(f"verdicts: {len(values)} seeds; expected at least 2")
    # as scipy.stats.ttest_1samp has it, without its warning if all values are equal
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return values.mean(axis=0) - half, values.mean(axis=0) + half


def number_verdict(published: float, values: npt.ArrayLike, level: float = LEVEL) -> Any:
    """Tell whether an accuracy of four digits lies in the prediction interval of values [seeds, ...]."""
    low, high = prediction_interval(values, level)
    return np.where((low - 5e-5 <= published) & (published <= high + 5e-5), AGREES, DIFFERS)[()]


def region_verdict(low: npt.ArrayLike, high: npt.ArrayLike, border_low: float, border_high: float) -> Any:
    """Tell whether an interval, or each of an array of them, lies in the region between two borders."""
    low, high = np.asarray(low), np.asarray(high)
    holds = (border_low < low) & (high < border_high)
    fails = (high <= border_low) | (border_high <= low)
    return np.select([holds, fails], [HOLDS, FAILS], UNDECIDED)[()]


def numbers(measures: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Compare the post's numbers with `bookkit.experiments.measures`: one row per number.

    Its columns: `experiment`, `label`, `published`, `mean`, `seeds`, `diverged` (how many nets), `low` and
    `high` (the prediction interval), `verdict`.
    """
    rows = []
    published = measures[measures.published.notna()]
    for (experiment, label), nets in published.groupby(["experiment", "label"], sort=False):
        row = {"experiment": experiment, "label": label, "published": nets.published.iloc[0]}
        row |= {"mean": nets.final.mean(), "seeds": len(nets), "diverged": int(nets.diverged.sum())}
        row["low"], row["high"] = prediction_interval(nets.final, level)
        rows.append(row | {"verdict": number_verdict(row["published"], nets.final, level)})
    return pd.DataFrame(rows)


def claims(measures: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Compare the post's claims with `bookkit.experiments.measures`: one row per reading of a claim.

    It has the columns of `claims.csv`, the region from `border_low` to `border_high`; `effect` (mean over
    seeds), `low` and `high` (its interval, of joint coverage `level`), `seeds`, `verdict`.
    """
    table = pd.read_csv(CLAIMS).fillna({"low": -np.inf, "high": np.inf})
    table = table.rename(columns={"low": "border_low", "high": "border_high"})
    rows = []
    for claim in table.T.to_dict().values():
        effects = _effects(measures, claim)
        low, high = mean_interval(effects, 1 - (1 - level) / len(table))
        row = claim | {"effect": effects.mean(), "low": low, "high": high, "seeds": len(effects)}
        rows.append(row | {"verdict": region_verdict(low, high, claim["border_low"], claim["border_high"])})
    return pd.DataFrame(rows)


def _effects(measures: pd.DataFrame, claim: dict[str, Any]) -> pd.Series:
    """A claim's measure of net a minus that of b by seed, for the seeds that both have; b may be a number."""
    sides: list[Any] = []
    for name in (claim["a"], str(claim["b"])):
        experiment, colon, label = name.partition(": ")
        nets = measures[(measures.experiment == experiment) & (measures.label == label)]
        if colon and nets.empty:
            raise InputError(f"verdicts: the record has no net {name!r}")
        sides.append(nets.set_index("seed")[claim["measure"]] if colon else float(name))
    return (sides[0] - sides[1]).dropna()


@functools.cache
def book_measures() -> pd.DataFrame:
    """Return `bookkit.experiments.measures` of the book's record."""
    return experiments.measures(experiments.book_rows())


def scorecard(level: float = LEVEL) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `numbers` and `claims` of the book's record."""
    measures = book_measures()
    return numbers(measures, level), claims(measures, level)


def claim_titles() -> dict[int, str]:
    """Read what each claim says in a line: claim's number -> title."""
    return dict(pd.read_csv(CLAIMS.with_name("claim_titles.csv")).itertuples(index=False))
