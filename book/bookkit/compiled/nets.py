"""Nets that train in compiled code: an engine of `bsn.curves.train` for the estimators that have a rule."""

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types

from bookkit.compiled import kernels, sparse
from bookkit.compiled.jit import compiled
from bookkit.data import Data
from bsn.curves import initial_layers
from bsn.estimators import ESTIMATORS
from bsn.spec import Spec

# a rule for one example's units: through, p, q and h, [H], the slope, the loss, and the baselines [H]
_UNITS = types.float32[::1]
ROW = types.void(_UNITS, _UNITS, _UNITS, _UNITS, types.float32, types.float32, _UNITS)
BASELINES = {"": kernels.NOTHING, "mean loss": kernels.MEAN_LOSS, "two moments per unit": kernels.MOMENTS}
_LOADING = threading.Lock()  # else threads that start together would each load the data


@functools.lru_cache(maxsize=6)
def load_part(data: Data, part: str) -> kernels.Examples:
    """Return a part of the data as the compiled training reads it."""
    images, labels = data.parts[part]
    return kernels.Examples(sparse.rows(images), labels)


@functools.cache
def row_rule(estimator: str) -> Any:
    """Compile an estimator's rule for one example's units, so that the training takes it as an argument."""
    entry = ESTIMATORS[estimator]
    assert entry.rule, "only such estimators come here"
    rule = compiled(entry.rule)

    def of_sampler(through, p, q, h, slope, loss, baselines):  # type: ignore
        for j in range(len(p)):
            through[j] *= rule(p[j], q[j], h[j], slope)

    def of_score(through, p, q, h, slope, loss, baselines):  # type: ignore
        for j in range(len(p)):
            through[j] = rule(p[j], q[j], h[j], loss, baselines[j])

    row = of_sampler if entry.kind == "sampler" else of_score
    return numba.cfunc(ROW, fastmath={"contract"}, error_model="numpy")(row)


def how(estimator: str) -> tuple[bool, bool, int]:
    """Return the first three fields of `kernels.Options`."""
    entry = ESTIMATORS[estimator]
    return entry.noise == 0, entry.kind == "gradient", BASELINES[entry.state]


class Nets:
    """An engine of `bsn.curves.train`; see `bsn.curves.Nets`."""

    def __init__(self, specs: Sequence[Spec], data: Data) -> None:
        common = specs[0]
        with _LOADING:
            self._trained, self._evaluated = (
                load_part(data, part) for part in (common.train_on, common.evaluate_on)
            )
        inputs = data.parts[common.train_on][0].shape[1]
        self.nets = kernels.side_by_side(initial_layers(common, inputs, data.classes), len(specs))
        rates = np.array([spec.learning_rate for spec in specs], np.float32)
        options = *how(common.estimator), common.stable_loss, rates
        self._options = functools.partial(kernels.Options, *options)
        self._rule = row_rule(common.estimator)

    @property
    def diverged(self) -> np.ndarray:
        return self.nets.diverged

    def train(
        self, rows: np.ndarray, noise: np.ndarray, step: int, slope: np.ndarray, stochastic: np.ndarray
    ) -> np.ndarray:
        options = self._options(slope, stochastic)
        right = kernels.train(self.nets, options, self._rule, self._trained, rows, noise, step)
        return right / rows.shape[1]

    def evaluate(
        self, noise: np.ndarray, slope: np.ndarray, stochastic: np.ndarray, trained: bool = False
    ) -> np.ndarray:
        examples = self._trained if trained else self._evaluated
        right = kernels.evaluate(self.nets, self._options(slope, stochastic), examples, noise)
        return right / len(noise)
