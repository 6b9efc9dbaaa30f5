"""The benchmark: peers that do the same work, and one JSON object."""

import ast
import contextlib
import json
import os
import socket

import nbformat
import pytest
from conftest import run_bsn

from bookkit import data
from bookkit.bench import contest, peers
from bookkit.parameters import assignments
from bookkit.paths import RECORDS
from bookkit.publish import book
from bookkit.settings import Settings
from bsn.errors import InputError
from bsn.estimators import ESTIMATORS

PEERS = [name for name, (nets, _) in contest.contestants().items() if nets == 1 and "compiled" not in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_learns_as_the_engine_does(name):
    """On digits, whose 250 validation images make one net's accuracy uncertain by 0.02."""
    digits = data.load("digits")
    [expected] = peers.ours(digits, peers.rates(1), "compiled")(1500)
    [accuracy] = contest.contestants()[name][1](digits)(1500)
    assert expected > 0.85 and accuracy == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_bench_writes_one_json_object():
    ran = run_bsn("bench", "--json", "--dataset", "digits", "--rounds", 2, "--steps", 200)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert [line for line in ran.stderr.splitlines() if not line.startswith("bsn: ")] == []
    assert [one["name"] for one in report["contestants"]] == list(contest.contestants())
    for one in report["contestants"]:
        assert len(one["rates"]) == 2 and min(one["rates"]) <= one["rate"] <= max(one["rates"])
        assert 0.3 < one["accuracy"] < 1
    assert "TF1-style session loop" in report["ratios"]
    assert [(one["steps"], len(one["seconds"])) for one in report["longer"]] == [(400, 2), (800, 2)]


class EndsItsProcess:
    def __reduce__(self):  # where it is unpickled
        return os._exit, (1,)


def test_a_contestant_whose_process_dies_is_named(monkeypatch):
    monkeypatch.setattr(contest, "contestants", lambda: {"one that dies": (1, EndsItsProcess())})
    with pytest.raises(InputError, match="^bench: the process of one that dies died; often of too little "):
        contest.measure("digits", 1, 200, Settings())


def test_the_books_benchmark_shows_what_the_page_says_of_it():
    report = json.loads((RECORDS / "benchmark.json").read_text())
    accuracies = [one["accuracy"] for one in report["contestants"]]
    assert report["dataset"] == "mnist" and report["rounds"] >= 5
    assert max(accuracies) - min(accuracies) < 0.03  # all do the same work
    ratios, rates = report["ratios"], {one["name"]: one["rate"] for one in report["contestants"]}
    assert ratios["TF1-style session loop"] >= 5 and ratios["best JAX figure"] >= 1.5
    cost, steps = contest.growth(report).set_index(["nets", "steps"]).rate, report["steps"]
    assert cost[6, 4 * steps] > 0.8 * cost[6, steps] and cost[32, steps] > 0.8 * cost[6, steps]
    assert 0.8 * cost[6, steps] > cost[1, steps]
    faster = rates[contest.COMPILED_CHAPTER] / rates[contest.CHAPTER]
    assert faster >= 1.5
    assert faster * ratios["TF1-style session loop"] >= 9 and faster * ratios["best JAX figure"] >= 2.8
    assert rates["compiled: one net"] >= rates["JAX jit(vmap(scan)), 1 net"]


def test_by_default_the_page_compares_the_engines_on_all_that_both_support():
    cells = nbformat.read(book.chapters()["benchmark"], as_version=4).cells
    [parameters] = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    names = ast.literal_eval(assignments(parameters)["estimators"])
    assert sorted(names) == sorted(name for name, entry in ESTIMATORS.items() if entry.rule)


@pytest.mark.slow
def test_bench_measures_workers():
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # another cluster's port: it may be taken already
            stack.enter_context(socket.create_server(("", 8787)))
        ran = run_bsn("bench", "--workers", "--json", "--dataset", "digits", "--rounds", 1, "--steps", 200)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert [line for line in ran.stderr.splitlines() if not line.startswith("bsn: ")] == []
    runs = {(run["on"], run["count"]): run for run in report["runs"]}
    assert {("threads", 1), *(("workers", count) for count in (1, 2, 3, 4))} <= set(runs)
    assert runs["workers", 1]["efficiency"] == 1 and all(len(run["seconds"]) == 1 for run in runs.values())


def test_the_books_workers_are_efficient():
    report = json.loads((RECORDS / "cluster.json").read_text())
    efficiency = {run["count"]: run["efficiency"] for run in report["runs"] if run["on"] == "workers"}
    assert report["dataset"] == "mnist" and report["machine"]["cores"] == 2 and report["rounds"] >= 2
    assert efficiency[2] >= 0.85
