"""The libraries that chapters use, for kernels to come with."""

import contextlib
import gc
import importlib

TENSORFLOW = ("tensorflow",)  # takes longer than all others, which the site needs, too
OTHERS = (
    "pandas", "pyarrow.parquet", "scipy.stats", "matplotlib.pyplot", "seaborn", "sklearn.datasets", "numba",
    "jsonschema", "dask", "tqdm", "matplotlib_inline.config", "myst_nb.ext.glue", "ipykernel.kernelapp",
    "ipykernel.debugger", "IPython.core.completerlib", "tornado.platform.asyncio",
    # which those import when they are first used
    "matplotlib.backends.backend_svg", "pandas.io.formats.style", "pyarrow.pandas_compat",
)  # fmt: skip


def load(names: tuple[str, ...]) -> None:
    """Import libraries; of one that cannot be, a chapter that needs it will say what is wrong."""
    gc.disable()  # nothing of them is garbage, and to look for it takes a fifth of the time
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if "numba" in names:
        with contextlib.suppress(Exception):
            importlib.import_module("numba").njit("void()")(lambda: None)  # the first one imports more
    gc.enable()
    gc.collect()
    gc.freeze()  # what is here stays: kernels need not look through it for garbage
