"""The golden nets: small ones whose stored curves tell when the training semantics change.

`python tests/book/golden.py` stores their curves again, once `bookkit.record.SEMANTICS` has been raised.
"""

import json
import pathlib
import sys

import numpy as np

from bookkit import data, record, runs
from bookkit.settings import Settings
from bsn import Spec

PATH = pathlib.Path(__file__).with_name("golden.json")
NETS = [
    dict(estimator="sigmoid", learning_rate=0.3),
    dict(estimator="pass-through", learning_rate=0.03),
    dict(estimator="sigmoid-adjusted", learning_rate=0.3, hidden=(20, 10)),
    dict(estimator="sigmoid-adjusted", learning_rate=0.3, slope_rate=1.5, slope_in_training=True),
    dict(estimator="sigmoid-adjusted", learning_rate=0.3, train_mode="deterministic", stable_loss=True),
    dict(estimator="fires-only", learning_rate=0.1, train_on="validation", evaluate_on="test"),
    dict(estimator="reinforce", learning_rate=0.003),
    dict(estimator="variance-adjusted", learning_rate=0.003, eval_mode="deterministic"),
]


def curves(engine="compiled", **changed):
    """The recorded values of every golden net, trained now by an engine: a list of lists."""
    digits = data.load("digits")
    common = dict(hidden=(20,), seed=11, epochs=2, steps_per_epoch=151)
    specs = [Spec(**{**common, **fields, **changed}) for fields in NETS]
    rows = runs.train(specs, digits, Settings(record=None, threads=2), engine)
    values = {row["key"]: row["value"] for row in rows}
    return [values[record.key(spec, digits.checksum, engine)] for spec in specs]


def differ(stored, trained):
    """Whether curves differ by more than rounding on another processor can make them."""
    gaps = np.abs(np.array(stored) - np.array(trained))
    return bool(gaps.max() > 0.03 or gaps.mean() > 0.002)


def store():
    trained = curves()
    if PATH.exists():
        stored = json.loads(PATH.read_text())
        if stored["semantics"] == record.SEMANTICS and differ(stored["curves"], trained):
            sys.exit("golden: the curves have changed; raise SEMANTICS in bookkit/record.py first")
    rounded = [[round(value, 6) for value in values] for values in trained]
    PATH.write_text(json.dumps({"semantics": record.SEMANTICS, "curves": rounded}, indent=0) + "\n")


if __name__ == "__main__":
    store()
