"""The command line: quick help, and one line for each mistake, with nothing written."""

import time

import pytest
from conftest import run_bsn


def test_help_answers_at_once():
    started = time.time()
    ran = run_bsn("--help")
    assert ran.returncode == 0 and "build" in ran.stdout and not ran.stderr
    assert time.time() - started < 2  # TensorFlow alone takes longer


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "COMMAND"),
        (["bild"], "bild"),
        (["build", "--profile", "slow"], "slow"),
        (["build", "--fast"], "--fast"),
        (["build", "--chapter", "experiment_9"], "no chapter 'experiment_9'; expected introduction"),
        (["build", "-p", "epochs"], "-p"),
        (
            ["build", "--chapter", "experiment_2", "-p", "epoch", "2"],
            "parameter 'epoch' for -p; expected epochs, hidden",
        ),
        (["build", "--chapter", "experiment_2", "-p", "epochs", "0"], "epochs is 0"),
        (["build", "--chapter", "experiment_2", "-p", "epochs", "[2"], "not YAML"),
        (["build", "--chapter", "experiment_2", "-p", "seeds", "[]"], "seeds is []"),
        (
            ["build", "--chapter", "experiment_2", "-p", "learning_rates", "[-0.1]"],
            "learning_rates is [-0.1]",
        ),
        (["build", "--chapter", "experiment_2", "-p", "learning_rates", ""], "learning_rates is None"),
        (["build", "--chapter", "experiment_1", "-p", "hidden", "[0]"], "hidden is [0]"),
        (["build", "-p", "dataset", "mnist"], "use --dataset"),
        (["build", "--dataset", "nowhere.npz"], "no file nowhere.npz"),
        (["build", "--mnist-dir", "/nonexistent"], "/nonexistent"),
    ],
    ids=str,
)
def test_mistakes(checkout, arguments, says):
    before = sorted(path for path in checkout.rglob("*") if "__pycache__" not in path.parts)
    ran = run_bsn(*arguments, cwd=checkout, PYTHONPATH=str(checkout))
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("bsn: ") and ran.stderr.count("\n") == 1 and says in ran.stderr
    assert sorted(path for path in checkout.rglob("*") if "__pycache__" not in path.parts) == before
