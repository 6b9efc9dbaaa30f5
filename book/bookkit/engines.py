"""What trains nets: `bsn.curves`, the definition, or the compiled kernels, faster, where they serve."""

import concurrent.futures
import time
from collections.abc import Callable, Sequence

from bookkit import record
from bookkit.data import Data
from bsn.estimators import ESTIMATORS
from bsn.spec import Spec

Submit = Callable[[list[Spec], str], concurrent.futures.Future[list[record.Row]]]


def of(spec: Spec, engine: str) -> str:
    """Return the engine that trains a spec where `engine` is asked for: compiled only if there is a rule."""
    return engine if ESTIMATORS[spec.estimator].rule else "tensorflow"


def train_together(
    specs: Sequence[Spec], data: Data, engine: str, advance: Callable[[int], object]
) -> list[record.Row]:
    """Train nets side by side, in this thread; return a `bookkit.record.row` for each.

    `advance` is called with each number of net-steps just done; what it raises ends the training.
    """
    from bsn import curves

    started, nets = time.perf_counter(), None
    if engine == "compiled":
        from bookkit.compiled.nets import Nets

        def nets(group: list[Spec]) -> Nets:
            return Nets(group, data)

    trained = curves.train(specs, data.parts, data.classes, advance, nets)
    seconds = (time.perf_counter() - started) / len(specs)
    return [record.row(spec, data, engine, curve, seconds) for spec, curve in zip(specs, trained)]
