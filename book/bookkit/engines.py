"""What trains nets: `bsn.curves`, the definition, or the compiled kernels, faster, where they serve."""

import time
from collections.abc import Callable, Sequence

from bookkit import record
from bookkit.data import Data
from bsn.estimators import ESTIMATORS
from bsn.spec import Spec


def of(spec: Spec, engine: str) -> str:
    """Return the engine that trains a spec where `engine` is asked for: compiled only if there is a rule."""
    return engine if ESTIMATORS[spec.estimator].rule else "tensorflow"


def prepare(specs: Sequence[Spec], data: Data, engine: str) -> None:
    """Do what the threads would otherwise do twice, or wait for each other to do."""
    if any(of(spec, engine) == "compiled" for spec in specs):
        from bookkit.compiled import nets

        for part in {part for spec in specs for part in (spec.train_on, spec.evaluate_on)}:
            nets.load_part(data, part)


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
