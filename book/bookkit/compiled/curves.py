"""Nets that train in compiled code, in one thread."""

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np

from bookkit import record
from bookkit.compiled import network, sparse, steps, units
from bookkit.data import Data
from bsn.curves import initial_layers, train
from bsn.spec import Spec


@functools.lru_cache(maxsize=6)
def load_part(data: Data, part: str) -> network.Examples:
    """Return a part of the data as the compiled training reads it."""
    images, labels = data.parts[part]
    return network.Examples(sparse.rows(images), labels)


def train_together(specs: Sequence[Spec], data: Data, advance: Callable[[int], None]) -> list[record.Row]:
    """Train nets of one batch key, side by side, in this thread; return a `bookkit.record.row` for each.

    `advance` is called with each number of net-steps just done; what it raises ends the training.
    """
    started = time.perf_counter()
    curves = train(specs, data.parts, data.classes, advance, lambda group: Nets(group, data))
    seconds = (time.perf_counter() - started) / len(specs)
    return [record.row(spec, data, *curve, seconds) for spec, curve in zip(specs, curves)]


class Nets:
    """See `bsn.curves.Engine`."""

    def __init__(self, specs: Sequence[Spec], data: Data) -> None:
        common, inputs = specs[0], data.parts[specs[0].train_on][0].shape[1]
        self.nets = network.side_by_side([initial_layers(common, inputs, data.classes)] * len(specs))
        self._trained, self._evaluated = (load_part(data, p) for p in (common.train_on, common.evaluate_on))
        rates = np.array([spec.learning_rate for spec in specs], np.float32)
        self._options = functools.partial(
            network.Options, units.CODES[common.estimator], common.stable_loss, rates
        )

    @property
    def diverged(self) -> np.ndarray:
        return self.nets.diverged

    def train(
        self, rows: np.ndarray, noise: np.ndarray, step: int, slope: np.ndarray, stochastic: np.ndarray
    ) -> np.ndarray:
        # leave-one-out's second noise
        first, second = np.moveaxis(noise, 1, 0) if noise.ndim > 3 else (noise, noise[:0])
        options = self._options(slope, stochastic)
        return steps.train(
            self.nets,
            options,
            self._trained,
            rows,
            np.ascontiguousarray(first),
            np.ascontiguousarray(second),
            step,
        )

    def evaluate(self, noise: np.ndarray, slope: np.ndarray, stochastic: np.ndarray) -> np.ndarray:
        return network.accuracy(self.nets, self._options(slope, stochastic), self._evaluated, noise)
