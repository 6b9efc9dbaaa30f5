"""The statistics on data with a known answer, against implementations by other means, and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from bookkit import confirmatory, statistics
from bookkit.statistics import AGREES, CLOSE, DIFFERS, FAILS, HOLDS, Runs
from bsn import InputError

RULE = confirmatory.registered()
ALPHA = RULE["error"] / len(RULE["readings"])  # of a verdict, one-sided
DELTA = RULE["difference"]


def runs(a, b=0.0, failed_a=False, failed_b=False):
    """Pairs of runs; a number stands for as many equal ones."""
    columns = np.broadcast_arrays(np.asarray(a, float), b, failed_a, failed_b)
    return Runs(*(np.array(column) for column in columns))


def judge(kind, *given, margin=None):
    reading = {"kind": kind} | ({} if margin is None else {"margin": margin})
    return statistics.judge(reading, runs(*given), RULE)


def test_intervals_against_values_from_a_table():
    """Student's t is 4.3027 for 2 degrees of freedom and 95 %, 9.9248 for 99 %, and 2.2622 for 9 and 95 %."""
    half = 0.43027 * np.sqrt(4 / 3)
    interval = statistics.prediction_interval([0.4, 0.5, 0.6])
    assert interval == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)
    assert statistics.prediction_interval([0.1, 0.5, 0.9]) == (0, 1)  # accuracies end there
    for quantile, values, level in (
        (4.3027, [1, 2, 3], 0.95),
        (9.9248, [1, 2, 3], 0.99),
        (2.2622, range(10), 0.95),
    ):
        half = quantile * np.std(values, ddof=1) / np.sqrt(len(values))
        expected = np.mean(values) - half, np.mean(values) + half
        assert statistics.mean_interval(values, level) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(InputError, match="1 seeds; expected at least 2"):
        statistics.prediction_interval([0.9])


@pytest.mark.parametrize("mean", [-0.02, -0.004, -0.0022, -0.001, 0.0, 0.0007, 0.0018, 0.003, 0.012, 0.03])
@pytest.mark.parametrize("spread", [0.0003, 0.002, 0.006])
def test_verdicts_on_differences_against_p_values(mean, spread):
    """By one-sided t tests in place of intervals: what is refuted at the level of one verdict."""
    d = np.random.default_rng(0).normal(size=40)
    d = mean + spread * (d - d.mean()) / d.std()

    def above(border):  # whether "at most border" is refuted
        return stats.ttest_1samp(d, border, alternative="greater").pvalue < ALPHA

    def below(border):
        return stats.ttest_1samp(d, border, alternative="less").pvalue < ALPHA

    alike = above(-DELTA) and below(DELTA)
    beats = FAILS if alike else HOLDS if above(0) else FAILS if below(DELTA) else CLOSE
    answer = judge("greater", d)
    assert answer["verdict"] == beats and answer["effect"] == pytest.approx(mean)
    if beats == FAILS:
        opposite = "the opposite is true" if below(0) else ""
        assert answer["remark"] == ("no difference that matters" if alike else opposite)
    assert judge("not greater", d)["verdict"] == {HOLDS: FAILS, FAILS: HOLDS, CLOSE: CLOSE}[beats]
    for margin in (0.0022, 0.01):
        alike = above(-margin) and below(margin)
        expected = HOLDS if alike else FAILS if above(margin) or below(-margin) else CLOSE
        assert judge("alike", d, margin=margin)["verdict"] == expected
        for signed in (margin, -margin):
            expected = HOLDS if above(signed) else FAILS if below(signed) else CLOSE
            assert judge("margin", d, margin=signed)["verdict"] == expected


@given(st.integers(1, 40), st.integers(0, 40))
def test_shares_against_binomial_sums(count, failing):
    """Clopper and Pearson's ends: where as many or more, as many or fewer, have the level's probability."""
    failing = min(failing, count)
    answer = judge("fails", np.zeros(count), 0.0, np.arange(count) < failing)

    def tail(p, ks):
        return sum(math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in ks)

    low = failing and optimize.brentq(lambda p: tail(p, range(failing, count + 1)) - ALPHA, 0, 1)
    high = 1.0
    if failing < count:
        high = optimize.brentq(lambda p: tail(p, range(failing + 1)) - ALPHA, 0, 1)
    assert (answer["low"], answer["high"]) == pytest.approx((low, high), abs=1e-6)
    assert answer["share"] and answer["effect"] == failing / count
    assert answer["verdict"] == (HOLDS if low > 0.5 else FAILS if high < 0.5 else CLOSE)
    begins = judge("begins", np.zeros(count), 0.0, np.arange(count) >= failing)
    assert begins == answer


def test_where_runs_fail_the_others_are_compared_and_else_the_pairs_counted():
    d = np.random.default_rng(1).normal(0.1, 0.001, 40)
    some = np.arange(40) % 3 == 0
    assert judge("greater", np.where(some, -9, d), 0.0, some)["effect"] == pytest.approx(d[~some].mean())
    most = np.arange(40) > 8  # nine pairs are left
    for kind, margin in (("greater", None), ("margin", 0.02)):
        answer = judge(kind, d, 0.0, False, most, margin=margin)
        assert answer["share"] and answer["effect"] == 1 and answer["verdict"] == HOLDS
        assert judge(kind, d, 0.0, most, False, margin=margin)["effect"] == 9 / 40
        assert judge(kind, d, 0.0, most, most, margin=margin)["verdict"] == FAILS  # no better than another
    assert judge("margin", d, 0.0, False, most, margin=0.2)["effect"] == 31 / 40
    assert judge("not greater", d, 0.0, False, most)["verdict"] == FAILS


def test_all_verdicts_together_are_seldom_wrong():
    """Each reading's effect lies at a border, where it errs most; one in twenty books may have an error."""
    rng, books, wrong = np.random.default_rng(2), 300, 0
    for _ in range(books):
        errors = []
        for reading in RULE["readings"]:
            kind, margin = reading["kind"], reading.get("margin", 0)
            if kind in ("fails", "begins"):
                answer = statistics.judge(reading, runs(np.zeros(40), 0.0, rng.random(40) < 0.5), RULE)
            else:
                true = margin if kind in ("margin", "alike") else 0.0
                answer = statistics.judge(reading, runs(rng.normal(true, 0.003, 40)), RULE)
            errors.append(answer["verdict"] == (FAILS if kind == "not greater" else HOLDS))
        wrong += any(errors)
    assert wrong / books < RULE["error"] + 4 * np.sqrt(RULE["error"] / books)


def test_number_verdicts():
    finals = np.array([0.960, 0.962, 0.964, 0.966])
    fine = np.zeros(4, bool)
    centre, spread = finals.mean(), finals.std(ddof=1) * np.sqrt(1 + 1 / 4)
    for quantile in (0.8, 0.99, 0.9999):
        x = centre + spread * stats.t.ppf(quantile, 3) + 5e-5
        assert statistics.number_p(x, finals, fine, 0.2) == pytest.approx(2 * (1 - quantile))
        assert statistics.number_p(2 * centre - x, finals, fine, 0.2) == pytest.approx(2 * (1 - quantile))
    broken = np.array([True, True, True, False])
    assert statistics.number_p(0.0958, finals, broken, 0.2) == 4 / 5
    assert statistics.number_p(0.0958, finals, fine, 0.2) == 1 / 5
    assert statistics.number_p(0.96, finals, broken, 0.2) == 2 / 5
    assert statistics.number_p(0.96, np.full(4, 0.96), fine, 0.2) == 1
    assert statistics.number_p(0.97, np.full(4, 0.96), fine, 0.2) == 0


def test_the_numbers_are_corrected_for_their_number():
    rng = np.random.default_rng(3)
    rows = []
    for i in range(20):
        published = round(rng.normal(0.95, 0.003) if i else 0.98, 4)
        fields = {"experiment": "0", "label": str(i), "published": published, "failed": False}
        rows += [fields | {"final": final} for final in rng.normal(0.95, 0.003, 40)]
    table = statistics.numbers(pd.DataFrame(rows), RULE)
    assert list(table.verdict) == [DIFFERS] + [AGREES] * 19
    ours = statistics.numbers(pd.DataFrame([row for row in rows if row["label"] != "0"]), RULE)
    assert table.attrs["omnibus"] < 0.01 < ours.attrs["omnibus"] and table.seen.between(0.009, 0.02).all()


def test_an_answer_for_other_verdicts_is_refused():
    claims = statistics.scorecard()[1]
    table = statistics.answers(claims)
    assert list(table.claim) == list(range(2, 15)) and not table.answer.str.contains("{", regex=False).any()
    other = claims.assign(verdict=claims.verdict.where(claims.claim != 9, CLOSE))
    with pytest.raises(
        InputError, match="answer to claim 9 is for .*; the record says too close to call: exp"
    ):
        statistics.answers(other)


def test_two_records_would_agree_and_the_exploratory_verdicts_are_confirmed():
    assert statistics.agreement(statistics.book_runs(), RULE) >= 0.97
    confirmed, decided = statistics.confirmed()
    assert decided > 20 and confirmed >= 0.9 * decided
