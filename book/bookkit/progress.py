"""How far a training is, on a terminal or in a notebook, and what it cost."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator

COST = "application/vnd.bookkit.run+json"  # a notebook's output that says what its nets cost


@contextlib.contextmanager
def training_progress(total: int) -> Iterator[Callable[[int], object]]:
    """Show the progress of `total` net-steps; yields a function to call with the number just done.

    On a terminal it is a bar, in a notebook a line that disappears; elsewhere nothing is shown.
    """
    if "ipykernel" in sys.modules:
        with _line_in_notebook(total) as advance:
            yield advance
    else:
        from tqdm import tqdm

        with tqdm(total=total, unit=" net-steps", disable=None, leave=False) as bar:
            yield bar.update


@contextlib.contextmanager
def _line_in_notebook(total: int) -> Iterator[Callable[[int], object]]:
    from IPython.display import clear_output, display

    line = display({"text/plain": ""}, raw=True, display_id=True)
    done, updated = 0, time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, updated
        done += steps
        if time.monotonic() > updated + 1:
            updated = time.monotonic()
            line.update({"text/plain": f"training: {done:,} of {total:,} net-steps"}, raw=True)

    try:
        yield advance
    finally:
        clear_output()


def tell_cost(nets: int, core_seconds: float, trained: int, keys: Iterable[str] = ()) -> None:
    """Leave in the notebook what its nets cost, for the head of its page, and their keys in the record."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        cost = {"nets": nets, "core_seconds": core_seconds, "trained": trained, "keys": list(keys)}
        display({COST: cost}, raw=True)
