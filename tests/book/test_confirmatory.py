"""The pre-registration as it is written, and the record that it asks for, in small."""

import dataclasses
import itertools
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml

from bookkit import confirmatory, data, engines, experiments, paths, record, runs
from bookkit.compiled import kernels
from bookkit.settings import Settings
from bsn import InputError, Spec, curves

PLAN = confirmatory.registered()


def test_the_readings_name_nets_ways_and_measures_that_exist():
    for reading in PLAN["readings"]:
        kind = reading["kind"]
        assert kind in ("greater", "not greater", "alike", "margin", "fails", "begins")
        assert ("margin" in reading) == (kind in ("alike", "margin")) and reading["text"]
        if kind in ("fails", "begins"):
            assert reading["a"] in PLAN["nets"] and reading.keys() == {"claim", "kind", "a", "text"}
            continue
        assert reading["measure"] in PLAN["measures"]
        for side in (reading["a"], reading["b"]):
            net, slash, way = side.partition(" / ")
            rate = PLAN["nets"][net]["learning_rate"]
            rate = rate[0] if isinstance(rate, list) else rate
            assert bool(slash) == (reading["measure"] in ("final", "gap"))
            assert not slash or way in confirmatory.ways(confirmatory.spec(net, rate, 1))


def test_what_is_registered_is_what_was_asked_for():
    seeds = pd.Series([PLAN["seeds"][fields["seeds"]] for fields in PLAN["nets"].values()])
    depth = pd.Series([len(fields.get("hidden", [100])) for fields in PLAN["nets"].values()])
    short = pd.Series([fields.get("epochs", 20) for fields in PLAN["nets"].values()]) == 3
    assert set(seeds[short]) == {160} and set(seeds[depth > 1]) == {20} and seeds.min() == 20
    rates = itertools.product(("variance-adjusted", "reinforce"), (0.3, 0.05, 0.012, 0.002), "1234")
    for name, rate, layers in rates:
        assert f"{name} {rate:g}, {layers} layer{'s' * (layers > '1')}" in PLAN["nets"]
    assert {reading["claim"] for reading in PLAN["readings"]} == set(range(2, 15))
    assert PLAN["first_seed"] > max(PLAN["tuning_seeds"]) > 900


def test_every_published_number_is_of_a_registered_net():
    registered = {
        spec
        for net, fields in PLAN["nets"].items()
        if isinstance(fields["learning_rate"], float)
        for spec in confirmatory.ways(confirmatory.spec(net, fields["learning_rate"], 1)).values()
    }
    assert registered >= set(experiments.specs([1], published=True))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A pre-registration of two nets, and settings with a record of their own."""
    common = dict(hidden=[9], epochs=4, steps_per_epoch=201, stable_loss=True)
    annealed = dict(estimator="sigmoid-adjusted", learning_rate=0.3, slope_rate=1.5, **common)
    plan = {**yaml.safe_load(paths.PREREGISTRATION.read_text()), "deep": {}, "depths": {}}
    plan["nets"] = {
        "tuned": dict(estimator="sigmoid", learning_rate=[1e-6, 0.3], **common),
        "annealed": dict(annealed, eval_mode="deterministic"),
    }
    plan |= {"tuning_seeds": [901, 902], "seeds": {"shallow": 2}}
    monkeypatch.setattr(paths, "TABLES", tmp_path)
    monkeypatch.setattr(paths, "PREREGISTRATION", tmp_path / "preregistration.yml")
    paths.PREREGISTRATION.write_text(yaml.safe_dump(plan))
    confirmatory.registered.cache_clear()
    yield annealed, Settings(record=tmp_path / "record", threads=2)
    confirmatory.registered.cache_clear()


@pytest.mark.slow
def test_the_record_is_that_of_the_nets_trained_one_by_one(small, monkeypatch):
    annealed, settings = small
    digits = data.load("digits")
    rows = confirmatory.train(digits, settings)
    assert {row["preregistration"] for row in rows} == {confirmatory.digest()}
    frame = confirmatory.evaluations(rows)
    tuned = frame[frame.net == "tuned"].set_index("seed").learning_rate
    assert sorted(tuned[[901, 902]]) == [1e-6, 1e-6, 0.3, 0.3] and set(tuned[[1001, 1002]]) == {0.3}
    for way, (mode, slope) in curves.WAYS.items():
        changed = dict(eval_mode=mode, slope_in_evaluation=slope)
        specs = [Spec(**{**annealed, **changed, "seed": seed}) for seed in (1001, 1002)]
        alone = runs.run(specs, digits, Settings(record=None, threads=1), "compiled")
        mine = frame[(frame.net == "annealed") & (frame.way == way)]
        assert list(mine.final) == list(runs.final_accuracies(alone).final)
        assert mine.own.all() == (way == "deterministic") and mine.early.notna().all() == mine.own.all()
        if way == "deterministic":
            first = alone[alone.after_epoch < 3]
            means = first.groupby(["metric", "net"]).value.mean()
            assert list(mine.early) == pytest.approx(list(means["validation"]))
            assert list(mine["early training"]) == pytest.approx(list(means["training"]))
    assert len(frame) == 4 + 2 + 2 * 3 and not frame.failed[frame.seed > 1000].any()
    assert frame[(frame.net == "tuned") & (frame.learning_rate < 0.1)].failed.all()
    monkeypatch.setattr(runs, "train", None)
    assert confirmatory.train(digits, settings) == rows


def test_a_record_of_another_pre_registration_is_refused(small, tmp_path, monkeypatch):
    rows = confirmatory.train(data.load("digits"), small[1])
    monkeypatch.setattr(paths, "CONFIRMATORY", tmp_path / "confirmatory.parquet")
    record.write(paths.CONFIRMATORY, rows, confirmatory.SCHEMA)
    confirmatory.book_rows.cache_clear()
    assert confirmatory.book_rows() == rows
    confirmatory.book_rows.cache_clear()
    paths.PREREGISTRATION.write_text(paths.PREREGISTRATION.read_text() + "# a claim reworded\n")
    with pytest.raises(InputError, match="was not trained by preregistration.yml as it is"):
        confirmatory.book_rows()


@pytest.mark.parametrize("engine", ["compiled", "tensorflow"])
def test_all_ways_of_evaluation_against_numpy(engine):
    digits, nets = data.load("digits"), []
    short = dict(hidden=(8, 7), epochs=2, steps_per_epoch=101)
    spec = Spec(estimator="sigmoid-adjusted", learning_rate=0.3, slope_rate=1.5, **short)

    def captured(group):
        nets.append(engines.nets_of(group, digits, engine))
        return nets[-1]

    [curve] = curves.train([spec], digits.parts, digits.classes, engine=captured, all_ways=True)
    layers = engines.layers_of(nets[0], 0) if engine == "tensorflow" else kernels.net(nets[0].nets, 0)
    count = len(digits.parts["validation"][1])
    noise = curves.uniform_noise(spec.seed, 202, curves.EPOCH, [count, 15])
    accuracies = {metric: value for _, _, metric, value in curve.points}
    for (way, role), metric in confirmatory.METRICS.items():
        images, labels = digits.parts["validation" if role == "evaluated" else "train"]
        x, at = images[:count].astype(float), 0
        for weights, biases in layers[:-1]:
            logits = x @ weights + biases
            u = noise[: len(x), at : at + len(biases)]
            p = 1 / (1 + np.exp(-logits * (1.5**2 if way == "stochastic annealed" else 1)))
            x, at = ((0.5 if way == "deterministic" else u) < p).astype(float), at + len(biases)
        right = np.mean((x @ layers[-1][0] + layers[-1][1]).argmax(axis=1) == labels[:count])
        assert accuracies[metric] == pytest.approx(right, abs=2.5 / count), metric  # rounding can flip a unit
    assert dataclasses.replace(spec, slope_in_evaluation=False).slope_rate == 1


def test_the_books_record_is_whole_and_small():
    rows, counts = confirmatory.book_rows(), {"evaluated": {5000, 10_000}, "trained": {5000}}
    frame = pd.DataFrame(rows)
    judged = frame[~frame.seed.isin(PLAN["tuning_seeds"])].groupby("net").seed.agg(sorted)
    assert judged.to_dict() == {
        net: list(range(PLAN["first_seed"], PLAN["first_seed"] + PLAN["seeds"][fields["seeds"]]))
        for net, fields in PLAN["nets"].items()
    }
    tuned = frame[frame.seed.isin(PLAN["tuning_seeds"])].groupby("net").learning_rate.agg(set)
    assert tuned.to_dict() == {
        net: set(fields["learning_rate"])
        for net, fields in PLAN["nets"].items()
        if isinstance(fields["learning_rate"], list)
    }
    assert set(frame.dataset) == {"mnist"} and set(frame.semantics) == {record.SEMANTICS}
    assert {name: set(frame[name]) for name in counts} == counts
    best = confirmatory.best_rates(confirmatory.evaluations(rows))
    trained = frame[frame.seed >= PLAN["first_seed"]].groupby("net").learning_rate.agg(set)
    assert {net: trained[net] for net in best} == {net: {rate} for net, rate in best.items()}
    assert paths.CONFIRMATORY.stat().st_size < 3 * 2**20


def test_the_pre_registration_is_that_of_its_commit():
    """Whatever came later: the file as it was committed before the first of these nets was trained."""
    if not (paths.ROOT / ".git").exists() or (paths.ROOT / ".git/shallow").exists():
        pytest.skip("the repository's history is not here")
    name = paths.PREREGISTRATION.relative_to(paths.ROOT)
    show = ["git", "show", f"{confirmatory.REGISTERED}:{name}"]
    committed = subprocess.run(show, cwd=paths.ROOT, capture_output=True, check=True).stdout
    assert committed == paths.PREREGISTRATION.read_bytes()
    dates = {row["date"] for row in confirmatory.book_rows()}
    assert str(PLAN["date"]) <= min(dates)
