"""Tuning and ranks: on data with known answers, and the book's record of them."""

import ast
import itertools

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from bookkit import data, record, runs, statistics
from bookkit.publish import book, cli
from bookkit.settings import Settings
from bookkit.studies import ranking
from bookkit.studies.ranking import RANKED as ESTIMATORS
from bsn.errors import InputError
from bsn.spec import Spec


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


def test_ranks_of_estimators_far_apart_and_of_equal_ones():
    ranked = ranking.ranks(judged({"arm": 0.8, "disarm": 0.9, "rebar": 0.9, "muprop": 0.5}))
    assert list(ranked.estimator[:2]) in (["disarm", "rebar"], ["rebar", "disarm"])
    assert list(ranked["first"]) == [1, 1, 3, 4] and list(ranked["last"]) == [2, 2, 3, 4]
    assert set(ranking.leaders(ranked)[1].split(", ")) == {"disarm", "rebar"}


def test_the_page_says_how_many_nets_began_where_not_all_did():
    frame = judged({"arm": 0.8, "rebar": 0.9})
    frame.loc[(frame.estimator == "rebar") & (frame.seed < 3), "final"] = 0.1
    shown = ranking.show(ranking.ranks(frame)).data["1 layer"]
    assert shown["rebar"].endswith(", 7 of 10") and shown["arm"].endswith(")")


@pytest.mark.slow
def test_all_intervals_hold_together():
    """In at least 95 % of repetitions no difference, mean or rank is missed; 300 repetitions tell 90 %."""
    means = {"arm": 0.9, "disarm": 0.902, "rebar": 0.902, "muprop": 0.91, "reinmax": 0.915}
    true = pd.Series(means)
    missed = 0
    for repetition in range(300):
        frame = judged(means, seed=repetition)
        compared = ranking.differences(frame)
        effects = true[compared["first"]].to_numpy() - true[compared["second"]].to_numpy()
        wrong = ((effects < compared.low) | (compared.high < effects)).any()
        ranked = ranking.ranks(frame).set_index("estimator").loc[true.index]
        best, worst = true.rank(ascending=False, method="min"), true.rank(ascending=False, method="max")
        wrong_rank = ((ranked["first"] > worst) | (ranked["last"] < best)).any()
        wrong_mean = ((true < ranked.low) | (ranked.high < true)).any()
        missed += bool(wrong or wrong_rank or wrong_mean)
    assert missed <= 300 * 0.09


def test_pairing_takes_out_what_seeds_share():
    frame = judged({"arm": 0.9, "disarm": 0.905}, spread=0.0005)
    rng = np.random.default_rng(3)
    frame["final"] += frame.seed.map(dict(enumerate(rng.normal(0, 0.02, 10))))
    assert list(ranking.ranks(frame)["last"]) == [1, 2]


def test_published_orderings_get_the_three_verdicts():
    frame = judged({"reinmax": 0.9, "sigmoid-adjusted": 0.8, "disarm": 0.7, "arm": 0.8, "leave-one-out": 0.7})
    verdicts = ranking.orderings(frame).set_index("claim").verdict
    assert verdicts["ReinMax above sigmoid-adjusted"] == statistics.HOLDS
    assert verdicts["DisARM above ARM"] == statistics.FAILS
    assert verdicts["DisARM above leave-one-out"] == statistics.UNDECIDED
    assert len(verdicts) == 3  # no others were trained


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


def test_adopting_too_few_nets_changes_nothing(monkeypatch, tmp_path, capsys):
    target = tmp_path / "ranking.parquet"
    monkeypatch.setattr(ranking, "RANKING", target)
    monkeypatch.setenv("BSN_RECORD", str(tmp_path / "record"))
    assert cli.main(["record", "--adopt", "ranking"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "0 of 544 nets that the ranking tunes with" in line and not target.exists()


@pytest.mark.slow
def test_a_small_ranking_is_adopted_as_it_was_trained(monkeypatch, tmp_path, mnist_dir):
    """All of it in small: two estimators, tuned, judged, adopted, and read again."""
    target = ROOT / "_build" / "ranking-test.parquet"
    small = dict(stable_loss=True, epochs=1, steps_per_epoch=101)
    for name, value in (
        ("RANKING", target), ("RANKED", ("arm", "disarm")), ("SHARED", small), ("DEPTHS", (1,)),
        ("WIDTH", 5), ("LEARNING_RATES", (0.01, 0.1)), ("SEEDS", range(1, 3)),
    ):  # fmt: skip
        monkeypatch.setattr(ranking, name, value)
    source, environment = data.load("mnist", mnist_dir), Settings(record=tmp_path / "record")
    tried = ranking.tuning(ranking.RANKED, ranking.DEPTHS, 5, ranking.LEARNING_RATES)
    once = ranking.finals(
        runs.run([Spec(**fields, **small, seed=100) for fields in tried.values()], source, environment)
    )
    with pytest.raises(InputError, match="0 of 4 nets that the ranking judges"):
        ranking.adopt(record.read_all(environment.record))
    best = ranking.judged(ranking.best_rates(once), 5)
    specs = [Spec(**fields, **small, seed=seed) for fields in best.values() for seed in (1, 2)]
    curves = runs.run(specs, source, environment)
    try:
        assert "8 nets" in ranking.adopt(record.read_all(environment.record))
        again = ranking.book_finals()[1]
        columns = ["estimator", "learning_rate", "seed", "final"]
        pd.testing.assert_frame_equal(
            *(
                table[columns].sort_values(columns, ignore_index=True)
                for table in (again, ranking.finals(curves))
            )
        )
        assert len(record.read(target)) == 8
    finally:
        target.unlink(missing_ok=True)
