"""``python -m bookkit.compiled``: compile the training now, so that no chapter waits for it."""

from bookkit import data, runs
from bookkit.settings import Settings
from bsn import Spec

if __name__ == "__main__":
    spec = Spec(estimator="sigmoid", learning_rate=1.0, epochs=1, steps_per_epoch=101)
    runs.run([spec], data.load("digits"), Settings(record=None), "compiled")
