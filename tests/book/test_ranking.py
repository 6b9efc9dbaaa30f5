"""Tuning and ranks: on data with known answers, and the book's record of them."""

import ast
import itertools

import nbformat
import numpy as np
import pandas as pd
import pytest

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


def test_the_rate_with_the_best_accuracy_is_taken_and_of_equal_ones_the_least():
    tuned = pd.DataFrame(
        [("disarm", 1, 0.1, 0.9), ("disarm", 1, 0.3, 0.9), ("disarm", 1, 1.0, 0.8)]
        + [("arm", 1, 0.1, 0.5), ("arm", 1, 0.3, 0.6), ("arm", 1, 1.0, 0.7)]
        + [("arm", 2, 0.1, 0.2), ("arm", 2, 0.3, 0.7), ("arm", 2, 1.0, 0.1)],
        columns=["estimator", "depth", "learning_rate", "final"],
    )
    rates = ranking.best_rates(tuned)
    rows = list(rates[["estimator", "depth", "learning_rate", "edge"]].itertuples(index=False, name=None))
    assert rows == [("arm", 1, 1.0, True), ("disarm", 1, 0.1, True), ("arm", 2, 0.3, False)]


def test_nets_that_did_not_begin_are_counted_and_not_averaged():
    """The interquartile mean is that of the middle half; Agarwal et al. 2021."""
    frame = judged({"arm": 0.8, "rebar": 0.9, "nvil": 0.1})
    frame.loc[(frame.estimator == "rebar") & (frame.seed < 3), "final"] = 0.1
    ranked = ranking.ranks(frame).set_index("estimator")
    assert list(ranked.index[:2]) == ["rebar", "arm"] and list(ranked.begun) == [7, 10, 0]
    middle = np.sort(frame[frame.estimator == "arm"].final)[2:8].mean()
    assert ranked.accuracy["arm"] == pytest.approx(middle) and np.isnan(ranked.accuracy["nvil"])
    shown = ranking.show(ranked.reset_index()).data["1 layer"]
    assert shown["rebar"].endswith("), 7 of 10") and shown["arm"].endswith(")")
    assert shown["nvil"] == "–, 0 of 10"


def test_the_short_answer_has_the_near_ones_of_those_that_begin_most_often():
    frame = judged({"arm": 0.899, "disarm": 0.9, "rebar": 0.95, "muprop": 0.89}, spread=0.0001)
    frame.loc[(frame.estimator == "rebar") & (frame.seed < 1), "final"] = 0.1
    assert ranking.leaders(ranking.ranks(frame)) == {1: ["disarm", "arm"]}


def test_intervals_cover_the_accuracy():
    """A 95 % bootstrap interval of ten normal values covers in about 90 % of cases; 200 repetitions."""
    tables = (ranking.ranks(judged({"arm": 0.9}, seed=seed)).iloc[0] for seed in range(200))
    assert sum(row.low < 0.9 < row.high for row in tables) > 200 * 0.8


def test_the_chapter_has_the_settings_of_the_record():
    notebook = nbformat.read(book.chapters()["ranking"], as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    given = {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}
    assert set(given["estimators"]) == set(ESTIMATORS)
    assert tuple(given["learning_rates"]) == ranking.LEARNING_RATES
    assert given["width"] == ranking.WIDTH and given["tuning_seed"] == ranking.TUNING_SEED
    assert {name: given[name] for name in ranking.SHARED} == ranking.SHARED
    assert not set(given["seeds"]) & {*ranking.SEEDS, ranking.TUNING_SEED}


def test_the_record_judges_every_setting_at_its_best_rate_and_at_every_seed():
    tuned, nets = ranking.book_finals()
    assert set(tuned.seed) == {ranking.TUNING_SEED} and set(nets.dataset) == {"mnist"}
    setting = ["estimator", "depth", "learning_rate"]
    tried = tuned.groupby(setting[:2]).learning_rate.nunique()
    assert (tried == len(ranking.LEARNING_RATES)).all()
    best = ranking.best_rates(tuned)[setting].itertuples(index=False, name=None)
    assert set(best) == set(nets[setting].itertuples(index=False, name=None))
    seeds = nets.groupby(setting[:2]).seed.agg(set)
    assert set(seeds.index) == set(itertools.product(ESTIMATORS, ranking.DEPTHS))
    assert (seeds == set(ranking.SEEDS)).all()


def test_rates_that_the_record_does_not_have():
    with pytest.raises(InputError, match="no learning rate of arm with 7 layers; expected depths 1, "):
        ranking.book_rates(["arm"], [7])
