"""The command line: quick help, and one line for each mistake."""

import subprocess
import sys

import pytest

from bookkit.publish import book, cli


def test_help_imports_nothing_heavy():
    """TensorFlow, Numba, pandas or papermill alone would take longer than a reader waits."""
    code = "import sys\nfrom bookkit.publish import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print({'tensorflow', 'numba', 'pandas', 'papermill', 'dask', 'sphinx'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "build" in ran.stdout and ran.stdout.endswith("\nset()\n") and not ran.stderr


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("", "COMMAND"),
        ("bild", "bild"),
        ("build --profile slow", "slow"),
        ("build --fast", "--fast"),
        ("build --chapter experiment_9", "no chapter 'experiment_9'; expected introduction"),
        ("build -p epochs", "-p"),
        ("build --chapter experiment_2 -p epoch 2", "parameter 'epoch' for -p; expected epochs, hidden"),
        ("build --chapter experiment_2 -p epochs 0", "epochs is 0; expected a whole number from 1 to 1000"),
        ("build --chapter experiment_2 -p epochs [2", "not YAML; expected a whole number"),
        ("build --chapter experiment_2 -p seeds []", "seeds is []"),
        ("build --chapter experiment_2 -p learning_rates [-0.1]", "learning_rates is [-0.1]"),
        ("build --chapter experiment_2 -p learning_rates ~", "learning_rates is None"),
        ("build --chapter experiment_1 -p hidden [0]", "hidden is [0]; expected a list of 1 to 8 values"),
        ("build -p dataset mnist", "use --dataset"),
        ("build --dataset nowhere.npz", "no file nowhere.npz"),
        ("build --mnist-dir /nonexistent", "/nonexistent"),
        ("bench --rounds 0", "--rounds is 0; expected a whole number from 1"),
        ("bench --steps 250", "--steps is 250; expected a multiple of 100 from 200"),
        ("bench --steps many", "invalid int value"),
        ("bench --mnist-dir /nonexistent --dataset mnist", "/nonexistent"),
    ],
)
def test_mistakes(arguments, says, capsys, monkeypatch, tmp_path):
    """That nothing else is written is tested for these and for many more in test_input."""
    monkeypatch.setattr(book, "BUILD", tmp_path / "_build")
    with pytest.raises(SystemExit, match="2"):
        raise SystemExit(cli.main(arguments.split()))
    out, err = capsys.readouterr()
    assert not out and err.startswith("bsn: ") and err.count("\n") == 1 and says in err
    assert not (tmp_path / "_build").exists()
