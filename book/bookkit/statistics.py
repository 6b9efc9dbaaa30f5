"""Statistics: could a published number have come from one more run, and does a claim hold?

The rules are those of the pre-registration, `book/tables/preregistration.yml`.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bookkit import confirmatory, experiments, paths
from bsn.errors import InputError

LEVEL = 0.95
POWER = 0.8  # probability with which a difference is detected
AGREES, DIFFERS = "agrees", "differs"
HOLDS, FAILS, CLOSE = "holds", "does not hold", "too close to call"
NOT_REPRODUCED = "not reproduced"  # within fewer steps than the claim is about
OPPOSITE = {HOLDS: FAILS, FAILS: HOLDS, CLOSE: CLOSE}


class Runs(NamedTuple):
    """Two nets at the same n seeds; for a share, both are the same net.

    Attributes:
        a, b: the values to compare, [n].
        failed_a, failed_b: whether a run failed, [n].
    """

    a: np.ndarray
    b: np.ndarray
    failed_a: np.ndarray
    failed_b: np.ndarray


def prediction_interval(values: npt.ArrayLike, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval for one more accuracy, assumed normal: mean ± t s sqrt(1 + 1 / n).

    It is clipped to [0, 1]; arguments and results as in `mean_interval`.
    """
    low, high = mean_interval(values, level)
    centre, half = (low + high) / 2, (high - low) / 2 * np.sqrt(len(np.asarray(values)) + 1)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def mean_interval(values: npt.ArrayLike, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends [...] of Student's t interval for the mean of values [n, ...]: mean ± t s / sqrt(n).

    Raises:
        InputError: n is less than 2.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        raise InputError(f"verdicts: {len(values)} seeds; expected at least 2")
    # as scipy.stats.ttest_1samp has it, without its warning if all values are equal
    half = _t(level, len(values)) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return values.mean(axis=0) - half, values.mean(axis=0) + half


@functools.cache  # this and the next are asked for the same few counts, where seeds are resampled
def _t(level: float, count: int) -> float:
    return float(stats.t.ppf((1 + level) / 2, count - 1))


@functools.cache
def share_interval(count: int, total: int, level: float) -> tuple[float, float]:
    """Return the ends of Clopper and Pearson's interval for a share."""
    interval = stats.binomtest(count, total).proportion_ci(level, "exact")
    return interval.low, interval.high


def number_p(published: float, finals: np.ndarray, failed: np.ndarray, chance: float) -> float:
    """Return the p-value of a published number: could it have come from one more of these runs?

    The pre-registration defines it. If the post's run failed, it is (k + 1) / (n + 1), where k of our n runs
    failed; otherwise it is that of Student's t for one more run among those that did not fail.

    Args:
        published: the post's accuracy, rounded to four digits.
        finals, failed: accuracies of our runs and whether they failed, [n].
    """
    others = finals[~failed]
    if published <= chance or len(others) < 2:
        same = int(failed.sum()) if published <= chance else len(others)
        return (same + 1) / (len(finals) + 1)
    distance = max(0.0, abs(published - others.mean()) - 5e-5)  # rounding of the published number
    spread = others.std(ddof=1) * np.sqrt(1 + 1 / len(others))
    return float(2 * stats.t.sf(distance / spread, len(others) - 1)) if spread else float(distance == 0)


def numbers(labelled: pd.DataFrame, rule: Mapping[str, Any], level: float = LEVEL) -> pd.DataFrame:
    """Compare the post's numbers with `bookkit.experiments.labelled` runs: one row per number.

    Its columns: `experiment`, `label`, `published`, `mean`, `seeds`, `failed` (how many runs), `low` and
    `high` (where a run that does not fail lies, with probability `level`), `p`, `seen` (the smallest
    difference that is detected with probability `POWER`), `verdict`. Its `attrs` have `omnibus`, Fisher's p
    for all.
    """
    published = labelled[labelled.published.notna()]
    groups = list(published.groupby(["experiment", "label"], sort=False))
    corrected = 1 - rule["error"] / len(groups)
    rows = []
    for (experiment, label), runs in groups:
        number, finals, failed = runs.published.iloc[0], runs.final.to_numpy(), runs.failed.to_numpy()
        row = {"experiment": experiment, "label": label, "published": number, "mean": finals.mean()}
        row |= {"seeds": len(runs), "failed": int(failed.sum())}
        p = number_p(number, finals, failed, rule["chance"])
        others = finals[~failed]
        if len(others) > 1:
            row["low"], row["high"] = prediction_interval(others, level)
            t = stats.t.ppf((1 + corrected) / 2, len(others) - 1) + stats.norm.ppf(POWER)
            row["seen"] = t * others.std(ddof=1) * np.sqrt(1 + 1 / len(others))
        rows.append(row | {"p": p, "verdict": DIFFERS if p * len(groups) < rule["error"] else AGREES})
    table = pd.DataFrame(rows)
    table.attrs["omnibus"] = float(stats.combine_pvalues(table.p).pvalue)
    return table


def nets(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Map the name of each net in `bookkit.confirmatory.evaluations`, as readings have it, to its runs.

    Runs of the seeds that tuned are left out.
    """
    judged = runs[~runs.seed.isin(confirmatory.registered()["tuning_seeds"])].set_index("seed")
    own = {str(net): of_net for net, of_net in judged[judged.own].groupby("net")}
    return own | {f"{net} / {way}": of_way for (net, way), of_way in judged.groupby(["net", "way"])}


def runs_of(reading: Mapping[str, Any], nets: Mapping[str, pd.DataFrame]) -> Runs | None:
    """Return what a reading compares, of what `nets` returned; None if that lacks one of them."""
    names = reading["a"], reading.get("b", reading["a"])
    if any(name not in nets for name in names):
        return None
    a, b = (nets[name] for name in names)
    measure = reading.get("measure", "final")
    columns = {"a": a[measure], "b": b[measure], "failed_a": a.failed, "failed_b": b.failed}
    both = pd.DataFrame(columns).dropna()  # by seed
    return Runs(*(both[name].to_numpy() for name in columns)) if len(both) > 1 else None


def judge(reading: Mapping[str, Any], runs: Runs, rule: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a reading by the rule of the pre-registration.

    Returns:
        `effect`, `low`, `high`; `share`, whether these describe a share of runs rather than a mean
        difference; `count` of runs or pairs; `verdict`, and a `remark` on it or "".
    """
    kind, margin = reading["kind"], reading.get("margin", 0)
    alive = ~(runs.failed_a | runs.failed_b).astype(bool)
    level = 1 - 2 * rule["error"] / len(rule["readings"])
    better = None
    if kind in ("fails", "begins"):
        better = runs.failed_a == (kind == "fails")
    elif kind != "alike" and alive.sum() < rule["pairs"]:
        ahead = runs.a > runs.b + margin
        better = ~runs.failed_a.astype(bool) & (runs.failed_b.astype(bool) | ahead)
    if better is not None:
        low, high = share_interval(int(better.sum()), len(better), level)
        verdict = HOLDS if low > 1 / 2 else FAILS if high < 1 / 2 else CLOSE
        answer = {"effect": better.mean(), "share": True, "count": len(better), "remark": ""}
    else:
        differences = (runs.a - runs.b)[alive]
        low, high = map(float, mean_interval(differences, level))
        verdict, remark = decide(kind, low, high, margin, rule["difference"])
        answer = {"effect": differences.mean(), "share": False, "count": len(differences), "remark": remark}
    if kind == "not greater":
        verdict, answer["remark"] = OPPOSITE[verdict], ""
    return answer | {"low": low, "high": high, "verdict": verdict}


def decide(kind: str, low: float, high: float, margin: float, difference: float) -> tuple[str, str]:
    """Return the verdict given the interval for a mean difference, and a remark.

    The kind "not greater" takes the same interval as "greater"; `judge` then gives the opposite verdict.
    """
    if kind == "margin":
        return (HOLDS if low > margin else FAILS if high < margin else CLOSE), ""
    if kind == "alike":
        apart = low > margin or high < -margin
        return (HOLDS if -margin < low and high < margin else FAILS if apart else CLOSE), ""
    if -difference < low and high < difference:
        return FAILS, "no difference that matters"
    if low > 0:
        return HOLDS, ""
    if high < difference:
        return FAILS, "the opposite is true" if high < 0 else ""
    return CLOSE, ""


def claims(runs: pd.DataFrame, rule: Mapping[str, Any]) -> pd.DataFrame:
    """Judge the readings whose nets `bookkit.confirmatory.evaluations` has: one row per reading, by `judge`.

    A row also has the reading's fields in the pre-registration, its position there, `number`, and `failed_a`
    and `failed_b`, how many runs failed.
    """
    rows, by_name = [], nets(runs)
    for number, reading in enumerate(rule["readings"]):
        both = runs_of(reading, by_name)
        if both:
            failed = {"failed_a": int(both.failed_a.sum()), "failed_b": int(both.failed_b.sum())}
            rows.append({"number": number, **reading, **failed, **judge(reading, both, rule)})
    return pd.DataFrame(rows)


def readings(claims: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `claims` for a page, its numbers as texts."""
    rows = []
    for claim in claims.to_dict("records"):
        ends = [_number(claim[name], claim["share"]) for name in ("low", "high")]
        row = {"claim": claim["claim"], "reading": claim["text"]}
        if claim["share"]:
            times, count = round(claim["effect"] * claim["count"]), claim["count"]
            of = "runs" if claim["kind"] in ("fails", "begins") else "pairs"
            share = "none of" if times == 0 else "all" if times == count else f"{times} of"
            row |= {"effect": f"{share} {count} {of}"}
        else:
            row |= {"effect": _number(claim["effect"])}
        verdict = claim["verdict"] + (claim["remark"] and f": {claim['remark']}")
        rows.append(row | {"interval": " to ".join(ends), "n": claim["count"], "verdict": verdict})
    return pd.DataFrame(rows)


def _number(value: float, share: bool = False) -> str:
    """Return a signed difference, "0" if it rounds to zero, or a share in per cent."""
    if share:
        return f"{100 * value:.0f} %"
    rounded = round(value, 4)
    return f"{rounded:+.4f}".replace("-", "−") if rounded else "0"


def agreement(runs: pd.DataFrame, rule: Mapping[str, Any], times: int = 100) -> float:
    """Return the share of verdicts on which two records of this size agree, by resampling the seeds."""
    rng = np.random.default_rng(0)
    same, by_name = [], nets(runs)
    for reading in rule["readings"]:
        both = runs_of(reading, by_name)
        assert both
        for _ in range(times):
            pair = [rng.integers(0, len(both.a), len(both.a)) for _ in range(2)]
            verdicts = {judge(reading, Runs(*(column[i] for column in both)), rule)["verdict"] for i in pair}
            same.append(len(verdicts) == 1)
    return float(np.mean(same))


@functools.cache
def book_runs() -> pd.DataFrame:
    """Return `bookkit.confirmatory.evaluations` of the book's record, without the seeds that tuned."""
    runs = confirmatory.evaluations(confirmatory.book_rows())
    return runs[~runs.seed.isin(confirmatory.registered()["tuning_seeds"])]


def book_finals(labels: pd.DataFrame) -> pd.DataFrame:
    """Return the book's nets of the given settings, which have a label: one row per seed.

    Settings that the confirmatory record lacks come from the exploratory seeds.

    Args:
        labels: `bookkit.experiments.SETTINGS`, `label`.

    Returns:
        The columns of `labels`, `seed` and `final`, the accuracy evaluated in the way of these settings.
    """
    finals = _finals(labels, book_runs())
    others = experiments.exploratory(labels[~labels.label.isin(finals.label)])
    if len(others):
        finals = pd.concat([finals, _finals(others, _exploratory())], ignore_index=True)
    return finals


@functools.cache
def _exploratory() -> pd.DataFrame:
    return experiments.measures(experiments.book_rows())


def _finals(labels: pd.DataFrame, nets: pd.DataFrame) -> pd.DataFrame:
    return labels.merge(nets[[*experiments.SETTINGS, "seed", "final"]].drop_duplicates())


@functools.cache
def scorecard(level: float = LEVEL) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `numbers` and `claims` of the book's record."""
    rule = confirmatory.registered()
    return numbers(experiments.labelled(book_runs()), rule, level), claims(book_runs(), rule)


def confirmed() -> tuple[int, int]:
    """Return how many verdicts of the exploratory seeds the record confirms, of how many that they decide."""
    rule = confirmatory.registered()
    before = claims(confirmatory.exploratory(_exploratory()), rule).set_index("number").verdict
    decided = before[before != CLOSE]
    now = scorecard()[1].set_index("number").verdict
    return int((now.reindex(decided.index) == decided).sum()), len(decided)


def answers(claims: pd.DataFrame) -> pd.DataFrame:
    """Answer each claim in a sentence of `book/tables/claims.yml`, whose numbers are the readings' effects.

    Args:
        claims: result of `claims` for the whole record.

    Returns:
        One row per claim: `claim`, `says`, `answer`.

    Raises:
        InputError: a sentence was written for other verdicts than these.
    """
    rows = []
    for claim in paths.table("claims"):
        own = claims[claims.claim == claim["claim"]]
        if list(own.verdict) != claim["verdicts"]:
            raise InputError(
                f"claims.yml: the answer to claim {claim['claim']} is for {', '.join(claim['verdicts'])}; "
                f"the record says {', '.join(own.verdict)}: expected an answer that says so"
            )
        effects = [row["effect"].removeprefix("+") for row in readings(own).to_dict("records")]
        sizes = {f"size{i}": effect.removeprefix("−") for i, effect in enumerate(effects)}
        rows.append(claim | {"answer": claim["answer"].format(*effects, **sizes)})
    return pd.DataFrame(rows)[["claim", "says", "answer"]]


def claim_titles() -> dict[int, str]:
    """Map each claim's number to what it says, in a line."""
    return {claim["claim"]: claim["says"] for claim in paths.table("claims")}
