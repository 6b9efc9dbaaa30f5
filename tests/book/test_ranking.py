"""Tuning and ranks: on data with known answers, and the book's record of them."""

import ast
import itertools

import nbformat
import numpy as np
import pandas as pd
import pytest

from bookkit.parameters import assignments
from bookkit.publish import book
from bookkit.studies import ranking
from bookkit.studies.ranking import RANKED as ESTIMATORS
from bsn.errors import InputError


def judged(means, seeds=10, spread=0.003, depth=1, seed=0):
    """Final accuracies with these means by estimator: a seed's own luck, shared by all, and each net's."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, spread, seeds)
    rows = [
        {"depth": depth, "estimator": name, "seed": at, "learning_rate": 0.1, "diverged_step": -1}
        | {"final": mean + shared[at] + rng.normal(0, spread)}
        for name, mean in means.items()
        for at in range(seeds)
    ]
    return pd.DataFrame(rows)


def result(depth, name, rate, final, temperature=0.5, seed=901):
    row = {"depth": depth, "estimator": name, "learning_rate": rate, "temperature": temperature}
    return {**row, "final": final, "seed": seed}


def chosen(best):
    columns = ["estimator", "learning_rate", "begins", "edge"]
    return list(best[columns].itertuples(index=False, name=None))


def test_the_better_half_goes_on_to_the_next_seed():
    """Of each estimator and depth; ARM's rate that was only lucky at the first seed is found out."""
    accuracy = {
        ("arm", 0.1): (0.9, 0.2, 0.2), ("arm", 0.3): (0.8, 0.7, 0.6), ("arm", 1.0): (0.1, None, None),
        ("disarm", 0.1): (0.1, None, None), ("disarm", 0.3): (0.3, 0.3, None),
        ("disarm", 1.0): (0.2, 0.5, 0.2),
    }  # fmt: skip
    asked = []

    def train(settings, seed):
        asked.append(len(settings))
        return pd.DataFrame(
            [
                result(
                    1,
                    row.estimator,
                    row.learning_rate,
                    accuracy[row.estimator, row.learning_rate][seed],
                    seed=seed,
                )
                for row in settings.itertuples()
            ]
        )

    tuned = ranking.tune(ranking.grid(["arm", "disarm"], [1], [0.1, 0.3, 1.0]), range(3), train)
    assert asked == [6, 4, 2] and len(tuned) == 12
    best = ranking.best_settings(tuned)
    assert chosen(best) == [("arm", 0.3, True, False), ("disarm", 1.0, True, True)]


def test_relaxed_estimators_are_tried_at_every_temperature_and_costly_ones_not_at_every_depth():
    tried = ranking.grid(["disarm", "rebar", "local-expectation"], [1, 4], [0.1, 0.3], [0.5, 1.0])
    count = tried.groupby(["estimator", "depth"]).size().to_dict()
    assert count == {
        ("disarm", 1): 2, ("disarm", 4): 2, ("rebar", 1): 4, ("rebar", 4): 4, ("local-expectation", 1): 2,
    }  # fmt: skip


def test_of_equal_settings_the_smaller_rate_is_taken_and_what_never_begins_is_told():
    tuned = pd.DataFrame(
        [result(1, "disarm", 0.1, 0.9), result(1, "disarm", 0.3, 0.9), result(1, "disarm", 1.0, 0.8)]
        + [result(2, "arm", 0.1, 0.1), result(2, "arm", 0.3, 0.2), result(2, "arm", 1.0, 0.15)]
    )
    best = ranking.best_settings(tuned)
    assert chosen(best) == [("disarm", 0.1, True, True), ("arm", 0.3, False, False)]


def test_nets_that_did_not_begin_are_counted_and_not_averaged():
    """The interquartile mean is that of the middle half; Agarwal et al. 2021."""
    frame = judged({"arm": 0.8, "rebar": 0.9, "nvil": 0.1})
    frame.loc[(frame.estimator == "rebar") & (frame.seed < 3), "final"] = 0.1
    ranked = ranking.ranks(frame).set_index("estimator")
    assert list(ranked.index[:2]) == ["rebar", "arm"] and list(ranked.begun) == [7, 10, 0]
    middle = np.sort(frame[frame.estimator == "arm"].final)[2:8].mean()
    assert ranked.accuracy["arm"] == pytest.approx(middle) and np.isnan(ranked.accuracy["nvil"])


def test_the_short_answer_has_the_near_ones_of_those_that_begin_most_often():
    frame = judged({"arm": 0.899, "disarm": 0.9, "rebar": 0.95, "muprop": 0.89}, spread=0.0001)
    frame.loc[(frame.estimator == "rebar") & (frame.seed < 1), "final"] = 0.1
    near = ranking.leaders(ranking.ranks(frame))
    assert near == ["disarm", "arm"]


def test_nothing_is_recommended_where_nothing_begins():
    frame = judged({"rebar": 0.9, "local-expectation": 0.9, "arm": 0.1}, spread=0.0001)
    milliseconds = pd.DataFrame({1: {"arm": 2.0, "local-expectation": 3.0, "rebar": 4.0}})
    answer = ranking.short_answer(ranking.ranks(frame), milliseconds)
    assert list(answer.use) == ["local-expectation", "local-expectation", "none"]


def test_the_cheapest_of_the_near_ones_is_recommended():
    """REBAR takes the loss's derivative: it is no answer to a black box. ReinMax begins less often."""
    frame = judged({"arm": 0.899, "disarm": 0.9, "rebar": 0.9, "reinmax": 0.95}, spread=0.0001)
    frame.loc[(frame.estimator == "reinmax") & (frame.seed < 1), "final"] = 0.1
    milliseconds = pd.DataFrame({1: {"arm": 2.0, "disarm": 3.0, "rebar": 1.0, "reinmax": 0.5}})
    answer = ranking.short_answer(ranking.ranks(frame), milliseconds).set_index("loss")
    assert dict(answer.use) == {"differentiable": "rebar"} | dict.fromkeys(list(ranking.LOSSES)[1:], "arm")
    assert answer.begun["black box"] == 10 and answer.accuracy["black box"] == pytest.approx(0.899, abs=2e-4)


def test_intervals_cover_the_accuracy():
    """A 95 % bootstrap interval of ten normal values covers in about 90 % of cases; 200 repetitions."""
    tables = (ranking.ranks(judged({"arm": 0.9}, seed=seed)).iloc[0] for seed in range(200))
    assert sum(row.low < 0.9 < row.high for row in tables) > 200 * 0.8


def test_the_chapter_has_the_settings_of_the_record():
    notebook = nbformat.read(book.chapters()["ranking"], as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    given = {name: ast.literal_eval(value) for name, value in assignments(cell.source).items()}
    assert set(given["estimators"]) == set(ESTIMATORS)
    assert tuple(given["learning_rates"]) == ranking.LEARNING_RATES
    assert tuple(given["temperatures"]) == ranking.TEMPERATURES
    assert given["width"] == ranking.WIDTH and tuple(given["tuning_seeds"]) == ranking.TUNING_SEEDS
    assert {name: given[name] for name in ranking.SHARED} == ranking.SHARED
    assert not set(given["seeds"]) & {*ranking.SEEDS, *ranking.TUNING_SEEDS}


def test_the_record_tries_every_setting_and_judges_those_that_begin():
    tuned, nets = ranking.book_finals()
    assert set(tuned.seed) == set(ranking.TUNING_SEEDS) and set(nets.dataset) == {"mnist"}
    first = tuned[tuned.seed == ranking.TUNING_SEEDS[0]]
    assert (
        len(first)
        == len(first.merge(ranking.grid(ESTIMATORS, ranking.DEPTHS)))
        == len(ranking.grid(ESTIMATORS, ranking.DEPTHS))
    )
    best = ranking.best_settings(tuned)
    best = best[best.begins]
    assert len(nets) == len(nets.merge(best, on=ranking.SETTING)) == len(best) * len(ranking.SEEDS)
    assert (nets.groupby(["estimator", "depth"]).seed.agg(set) == set(ranking.SEEDS)).all()


def test_a_step_is_timed_for_every_setting_of_the_record():
    costs = ranking.book_milliseconds().stack()
    assert (costs > 0).all()
    assert set(costs.index) == set(itertools.product(ESTIMATORS, ranking.DEPTHS))


def test_rates_that_the_record_does_not_have():
    with pytest.raises(InputError, match="no learning rate of arm with 7 layers; expected depths 1, 2, 4, "):
        ranking.book_settings(["arm"], [7])
