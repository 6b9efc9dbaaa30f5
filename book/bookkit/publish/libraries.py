"""The libraries that chapters use: to import this module imports them, for kernels to come with."""

import contextlib
import importlib

LIBRARIES = (
    "tensorflow", "pandas", "pyarrow.parquet", "scipy.stats", "matplotlib.pyplot", "seaborn",
    "sklearn.datasets", "numba", "ipykernel.kernelapp", "matplotlib_inline.config", "myst_nb", "jsonschema",
)  # fmt: skip

for library in LIBRARIES:
    with contextlib.suppress(Exception):  # a chapter that needs it will say what is wrong
        importlib.import_module(library)
