"""The benchmark: peers that do the same work, and one JSON object."""

import importlib.util
import json

import pytest
from conftest import run_bsn

from bookkit import data
from bookkit.bench import contest, peers
from bookkit.paths import RECORDS

STEPS = 1500
INSTALLED = [
    function
    for package, function, _ in contest.PEERS.values()
    if importlib.util.find_spec(package) is not None
]


@pytest.mark.slow
@pytest.mark.parametrize("peer", INSTALLED)
def test_a_peer_learns_as_the_engine_does(peer):
    """On digits, whose 250 validation images make one net's accuracy uncertain by 0.02."""
    parts = data.load("digits").parts
    [expected] = contest.engine(contest._nets(1), data.load("digits"))(STEPS)
    [found] = getattr(peers, peer)((parts["train"], parts["validation"]), 1, 1)(STEPS)
    assert expected > 0.85 and found == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_bench_writes_one_json_object():
    ran = run_bsn("bench", "--json", "--dataset", "digits", "--rounds", 2, "--steps", 200)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert all(line.startswith("bsn: ") for line in ran.stderr.splitlines())
    by_name = {one["name"]: one for one in report["contestants"]}
    assert set(contest.ENGINE) < set(by_name) and len(report["contestants"]) >= 5
    for one in report["contestants"]:
        assert len(one["rates"]) == 2 and min(one["rates"]) <= one["rate"] <= max(one["rates"])
        assert 0.3 < one["accuracy"] < 1 and 100 < one["memory"]
    assert "TF1-style session loop" in report["ratios"]


def test_the_books_benchmark_shows_what_the_page_says_of_it():
    report = json.loads((RECORDS / "benchmark.json").read_text())
    accuracies = [one["accuracy"] for one in report["contestants"]]
    assert report["dataset"] == "mnist" and not report["not_installed"] and report["rounds"] >= 5
    assert max(accuracies) - min(accuracies) < 0.03  # all do the same work
    assert report["ratios"]["TF1-style session loop"] >= 6 and report["ratios"]["best JAX figure"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--rounds", 0], "--rounds is 0; expected a whole number from 1"),
        (["--steps", 250], "--steps is 250; expected a multiple of 100 from 200"),
        (["--steps", "many"], "invalid int value"),
        (["--dataset", "none.npz"], "no file none.npz"),
        (["--mnist-dir", "/nonexistent", "--dataset", "mnist"], "/nonexistent"),
    ],
)
def test_bench_refuses_in_one_line(arguments, says):
    ran = run_bsn("bench", *arguments)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and says in ran.stderr
    assert ran.stdout == ""


@pytest.mark.slow
def test_bench_measures_workers():
    ran = run_bsn("bench", "--workers", "--json", "--dataset", "digits", "--rounds", 1, "--steps", 200)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert all(line.startswith("bsn: ") for line in ran.stderr.splitlines())
    runs = {(run["on"], run["count"]): run for run in report["runs"]}
    assert {("threads", 1), *(("workers", count) for count in (1, 2, 3, 4))} <= set(runs)
    assert runs["workers", 1]["efficiency"] == 1 and all(len(run["seconds"]) == 1 for run in runs.values())


def test_the_books_workers_are_efficient():
    report = json.loads((RECORDS / "cluster.json").read_text())
    efficiency = {run["count"]: run["efficiency"] for run in report["runs"] if run["on"] == "workers"}
    assert report["dataset"] == "mnist" and report["machine"]["cores"] == 2 and report["rounds"] >= 2
    assert efficiency[2] >= 0.85
