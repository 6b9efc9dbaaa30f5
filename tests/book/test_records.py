"""The book's records, made from this build's: in small, all of them."""

import pytest

from bookkit import confirmatory, data, record, runs
from bookkit.publish import cli
from bookkit.studies import ranking, records, repeatability
from bookkit.studies.vae.runs import Run
from bsn.spec import Spec

SHORT = dict(stable_loss=True, epochs=1, steps_per_epoch=101)


@pytest.fixture
def small(monkeypatch, tmp_path, mnist_dir):
    """Few and small nets in each record, which goes to a file in a temporary folder."""
    for name, value in (
        ("RANKED", ("disarm", "st-gumbel")), ("SHARED", SHORT), ("DEPTHS", (1,)), ("WIDTH", 5),
        ("LEARNING_RATES", (0.01, 0.1)), ("TEMPERATURES", (0.5, 1.0)), ("SEEDS", range(1, 3)), ("ROUNDS", 1),
    ):  # fmt: skip
        monkeypatch.setattr(ranking, name, value)
    for name, value in (("FOLLOWED", ("arm", "disarm")), ("DEPTHS", (1,)), ("WIDTH", 5), ("STEPS", 30)):
        monkeypatch.setattr(repeatability, name, value)
    net = Spec(estimator="sigmoid-adjusted", learning_rate=0.1, hidden=(5,), **SHORT)
    monkeypatch.setattr(records.experiments, "specs", lambda seeds, published=False: [net])
    monkeypatch.setattr(records.vae, "BOOK_RUNS", [Run("linear", "disarm", 1, 100)])
    plan = {
        "nets": {
            "few": {"estimator": "sigmoid", "learning_rate": [0.1], "hidden": [5], "seeds": "few", **SHORT}
        }
    }
    plan |= {"tuning_seeds": [1], "first_seed": 2, "seeds": {"few": 2}, "chance": 0.2}
    monkeypatch.setattr(confirmatory, "registered", lambda: plan)
    moved = {name: (train, tmp_path / name, schema) for name, (train, _, schema) in records.BOOK.items()}
    monkeypatch.setattr(records, "BOOK", moved)
    monkeypatch.setenv("BSN_RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("BSN_MNIST_DIR", str(mnist_dir))
    return moved


@pytest.mark.slow
def test_every_record_is_made_and_made_again_without_training(small, monkeypatch, capsys):
    sizes = {"confirmatory": 3, "experiments": 1, "tensorflow": 1, "ranking": 15, "costs": 2}
    sizes |= {"repeatability": 2, "vae": 1}
    assert sizes.keys() == small.keys()
    for name, nets in sizes.items():
        assert cli.main(["record", "--adopt", name]) == 0 and f"{nets} nets" in capsys.readouterr().out
    engines = [row["engine"] for name in ("experiments", "tensorflow") for row in record.read(small[name][1])]
    assert engines == ["compiled", "tensorflow"]
    rows = record.read(small["ranking"][1])
    nets = ranking.finals(record.curves(rows))
    judged = nets[nets.evaluate_on == "test"]
    best = ranking.best_settings(nets[nets.evaluate_on == "validation"])
    assert len(judged.merge(best, on=ranking.SETTING)) == len(judged) and set(judged.seed) == {1, 2}
    monkeypatch.setattr(runs, "train", None)
    assert cli.main(["record", "--adopt", "ranking"]) == 0 and record.read(small["ranking"][1]) == rows


def test_what_cannot_be_read_is_not_written_over(small, monkeypatch, capsys):
    small["vae"][1].write_text("other")
    monkeypatch.setattr(data, "load", None)
    assert cli.main(["record", "--adopt", "vae"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "is cut short or damaged" in line and small["vae"][1].read_text() == "other"
