"""The statistics on data with a known answer, and the claims as they are written down."""

import numpy as np
import pandas as pd
import pytest

from bookkit import experiments, statistics
from bookkit.statistics import AGREES, DIFFERS, FAILS, HOLDS, UNDECIDED
from bsn import InputError

CLAIMS = pd.read_csv(statistics.CLAIMS)


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


def test_number_verdicts():
    runs = [0.960, 0.962, 0.964, 0.966]
    low, high = statistics.prediction_interval(runs)
    for step, verdict in ((-1e-4, AGREES), (1e-4, DIFFERS)):
        assert statistics.number_verdict(high + step, runs) == verdict
        assert statistics.number_verdict(low - step, runs) == verdict
    broken = [0.0958] * 10
    assert statistics.number_verdict(0.0958, broken) == AGREES
    assert statistics.number_verdict(0.0960, broken) == DIFFERS


@pytest.mark.parametrize(
    "effects, low, high, verdict",
    [
        ([0.010, 0.011, 0.012], 0, np.inf, HOLDS),
        ([-0.010, -0.011, -0.012], 0, np.inf, FAILS),
        ([-0.010, 0.001, 0.012], 0, np.inf, UNDECIDED),
        ([0.000, 0.0001, -0.0001], -0.005, 0.005, HOLDS),
        ([0.100, 0.1001, 0.0999], -0.005, 0.005, FAILS),
        ([0.004, 0.005, 0.006], -0.005, 0.005, UNDECIDED),
        ([-0.1] * 3, -np.inf, 0, HOLDS),
        ([0.0] * 3, 0, np.inf, FAILS),
    ],
)
def test_claim_verdicts(effects, low, high, verdict):
    assert statistics.region_verdict(*statistics.mean_interval(effects), low, high) == verdict


def test_all_claims_together_are_seldom_decided_wrongly():
    """Effects that lie on the border, all of them: any verdict is wrong, and one in 20 books may have one."""
    books, count = 400, len(CLAIMS)
    effects = np.random.default_rng(1).normal(0, 0.002, (10, books, count))
    interval = statistics.mean_interval(effects, 1 - (1 - statistics.LEVEL) / count)
    wrong = (statistics.region_verdict(*interval, 0, np.inf) != UNDECIDED).any(axis=1)
    assert wrong.mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / books)


def test_the_claims_file_names_nets_and_regions_that_exist():
    table = experiments.table()
    names = set(table.experiment + ": " + table.label)
    assert sorted(CLAIMS.claim.unique()) == list(range(1, 15))
    for claim in CLAIMS.itertuples():
        assert claim.a in names
        assert claim.b in names or 0 <= float(claim.b) <= 1
        assert claim.measure in ("final", "early", "early training", "gap")
        assert claim.low < claim.high or np.isnan(claim.low) != np.isnan(claim.high)


def test_the_rates_that_claims_call_best_are_the_best_recorded():
    """Of the three of a setting, by the record's means."""
    measures = statistics.book_measures()
    means = measures.groupby("label").final.mean()
    for best, name in (
        ("0.3", "Sigmoid-adjusted"),
        ("0.1", "Pass-through"),
        ("0.1", "Annealed in training too"),
    ):
        assert means[[f"{name}, {rate}" for rate in ("0.1", "0.3", "1.0")]].idxmax() == f"{name}, {best}"


def test_claims_are_paired_by_seed():
    """A difference that is the same at each seed counts, however much they differ; a lone seed doesn't."""
    accuracies = [("A", 1, 0.5), ("A", 2, 0.7), ("A", 3, 0.9), ("A", 4, 0.1)]
    accuracies += [("B", 3, 0.89), ("B", 2, 0.69), ("B", 1, 0.49)]
    measures = pd.DataFrame(accuracies, columns=["label", "seed", "final"]).assign(experiment="0")
    effects = statistics._effects(measures, {"measure": "final", "a": "0: A", "b": "0: B"})
    assert list(effects.index) == [1, 2, 3] and effects.to_numpy() == pytest.approx([0.01] * 3)
    effects = statistics._effects(measures, {"measure": "final", "a": "0: A", "b": 0.2})
    assert effects.to_numpy() == pytest.approx([0.3, 0.5, 0.7, -0.1])
    with pytest.raises(InputError, match="the record has no net '0: C'"):
        statistics._effects(measures, {"measure": "final", "a": "0: A", "b": "0: C"})
