"""How the training is compiled: by Numba, once on a machine."""

import pathlib
from collections.abc import Callable
from typing import Any

import numba
import platformdirs

from bookkit.environment import source_digest
from bsn.estimators import score_function

SOURCES = [pathlib.Path(__file__).with_name(name) for name in ("jit.py", "sparse.py", "kernels.py")]
SOURCES.append(pathlib.Path(score_function.__file__))

# Numba keeps what it compiled of a file until that file changes, and overlooks changes in others whose
# functions and constants it built in: hence a folder for each state of them all.
_config: Any = numba.config  # its attributes are set dynamically
_parent = _config.CACHE_DIR or platformdirs.user_cache_path("bsn") / "numba"
FOLDER = pathlib.Path(_parent) / source_digest(SOURCES)
_config.CACHE_DIR = str(FOLDER)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for the types that it is called with.

    Other threads run meanwhile, as there are no Python objects inside. Multiply-adds are fused, but NaN and
    infinity are as ever.
    """
    return numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function)
