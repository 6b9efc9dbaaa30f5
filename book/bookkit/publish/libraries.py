"""The libraries that chapters use: to import this module imports them, for kernels to come with."""

import contextlib
import gc
import importlib

LIBRARIES = (
    "tensorflow", "pandas", "pyarrow.parquet", "scipy.stats", "matplotlib.pyplot", "seaborn",
    "sklearn.datasets", "numba", "jsonschema", "dask", "tqdm", "matplotlib_inline.config", "myst_nb.ext.glue",
    "ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib", "tornado.platform.asyncio",
    # which those import when they are first used
    "matplotlib.backends.backend_svg", "pandas.io.formats.style", "pyarrow.pandas_compat",
)  # fmt: skip

gc.disable()  # nothing of them is garbage, and to look for it takes a fifth of the time
for library in LIBRARIES:
    with contextlib.suppress(Exception):  # a chapter that needs it will say what is wrong
        importlib.import_module(library)
with contextlib.suppress(Exception):
    importlib.import_module("numba").njit("void()")(lambda: None)  # the first compilation imports more
gc.enable()
gc.collect()
gc.freeze()  # what is here stays: kernels need not look through it for garbage
