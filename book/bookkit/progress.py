"""How long is left, wherever the training runs, and what it cost."""

import contextlib
import json
import os
import sys

FILE_VARIABLE = "BSN_PROGRESS_FILE"  # set by the build for the kernels it starts

COST = "application/vnd.bookkit.run+json"  # a notebook's output that says what its nets cost


@contextlib.contextmanager
def training_progress(total):
    """Show the progress of `total` net-steps; yields a function to call with those just done.

    In a kernel of `bsn build` it goes to a file that the build reads, in a notebook to a line that
    disappears, on a terminal to a bar, and elsewhere nowhere.
    """
    done = 0
    path = os.environ.get(FILE_VARIABLE)
    if path:

        def show():
            with open(path + ".new", "w") as file:
                json.dump([done, total], file)
            os.replace(path + ".new", path)

        def close():
            pass
    elif "ipykernel" in sys.modules:
        from IPython.display import clear_output, display

        line = display({"text/plain": ""}, raw=True, display_id=True)

        def show():
            line.update({"text/plain": f"training: {done:,} of {total:,} net-steps"}, raw=True)

        def close():
            clear_output()
    else:
        from tqdm import tqdm

        bar = tqdm(total=total, unit=" net-steps", disable=None, leave=False)

        def show():
            bar.update(done - bar.n)

        close = bar.close

    def advance(steps):
        nonlocal done
        done += steps
        show()

    try:
        yield advance
    finally:
        close()


def tell_cost(nets, core_seconds, trained, keys=()):
    """Leave in the notebook what its nets cost, for the head of its page, and their keys in the record."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        cost = {"nets": nets, "core_seconds": core_seconds, "trained": trained, "keys": list(keys)}
        display({COST: cost}, raw=True)
