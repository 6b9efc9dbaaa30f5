"""How far a training is, on a terminal or in a notebook, and what it cost."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator

COST = "application/vnd.bookkit.run+json"  # a notebook's output that says what its nets cost


@contextlib.contextmanager
def training_progress(total: int) -> Iterator[Callable[[int], object]]:
    """Show the progress of `total` net-steps; yields a function to call with the number just done.

    On a terminal and in a notebook it is a bar, which disappears; elsewhere nothing is shown. It says how
    long it took until the first steps were done, most of which is compilation.
    """
    from tqdm import tqdm

    disable = False if "ipykernel" in sys.modules else None  # None: off a terminal
    try:
        with tqdm(
            total=total, unit=" net-steps", desc="compiling", disable=disable, leave=False, mininterval=1
        ) as bar:
            started = time.monotonic()

            def advance(steps: int) -> None:
                if not bar.n:
                    bar.set_description(f"compiled in {time.monotonic() - started:.0f} s, training")
                bar.update(steps)

            yield advance
    finally:
        if "ipykernel" in sys.modules:
            from IPython.display import clear_output

            clear_output()


def tell_cost(nets: int, core_seconds: float, trained: int, keys: Iterable[str] = ()) -> None:
    """Leave in the notebook what its nets cost, for the head of its page, and their keys in the record."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        cost = {"nets": nets, "core_seconds": core_seconds, "trained": trained, "keys": list(keys)}
        display({COST: cost}, raw=True)


def readable(seconds: float) -> str:
    """Return a time in seconds or minutes, such as "45 s"."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{seconds / 60:.0f} min"
