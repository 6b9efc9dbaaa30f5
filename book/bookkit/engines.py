"""What trains nets: `bsn.curves`, the definition, or the compiled kernels, faster, where they serve."""

import concurrent.futures
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bookkit import record
from bookkit.data import Data
from bsn import curves
from bsn.estimators import ESTIMATORS
from bsn.spec import Spec
from bsn.training import Layers

# a product of these nets is too small to be shared among cores: each trains other nets
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1"}
os.environ |= ONE_THREAD | os.environ

Submit = Callable[[list[Spec], str, bool], concurrent.futures.Future[list[record.Row]]]


def of(spec: Spec, engine: str) -> str:
    """Return the engine that trains a spec where `engine` is asked for: compiled only if there is a rule."""
    return engine if ESTIMATORS[spec.estimator].rule else "tensorflow"


def nets_of(specs: Sequence[Spec], data: Data, engine: str) -> Any:
    """Return nets of one shape and seed before their training; see `bsn.curves.Nets`."""
    if engine == "compiled":
        from bookkit.compiled import nets  # Numba only where it is needed

        return nets.Nets(specs, data)
    return curves.Nets(specs, data.parts, data.classes)


def layers_of(nets: curves.Nets, i: int) -> Layers:
    """Return net i's layers, in NumPy; the weights of pixels that are black in all examples are 0."""
    [(weights, biases), *upper] = [(w[i].numpy(), b[i, 0].numpy()) for w, b in nets.layers]
    whole = np.zeros([len(nets.live), weights.shape[1]], np.float32)
    whole[nets.live] = weights
    return [(whole, biases), *upper]


def train_together(
    specs: Sequence[Spec], data: Data, engine: str, all_ways: bool, advance: Callable[[int], object]
) -> list[record.Row]:
    """Train nets side by side, in this thread; return a `bookkit.record.row` for each.

    See `bsn.train`. `advance` is called with each number of net-steps just done; what it raises ends the
    training.
    """
    started = time.perf_counter()
    trained = curves.train(
        specs, data.parts, data.classes, advance, lambda group: nets_of(group, data, engine), all_ways
    )
    seconds = (time.perf_counter() - started) / len(specs)
    return [record.row(spec, data, engine, curve, seconds) for spec, curve in zip(specs, trained)]
