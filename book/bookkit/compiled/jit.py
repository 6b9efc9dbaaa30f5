"""How the training is compiled: by Numba, once on a machine."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import numba
import platformdirs
from numba.core import caching

from bookkit.environment import source_digest
from bsn.estimators import score_function

SOURCES = [pathlib.Path(__file__).with_name(name) for name in ("jit.py", "sparse.py", "kernels.py")]
SOURCES.append(pathlib.Path(score_function.__file__))

# Numba keeps what it compiled of a file until that file changes, and overlooks changes in others whose
# functions and constants it built in: hence a folder for each state of them all.
_config: Any = numba.config  # its attributes are set dynamically
_parent = _config.CACHE_DIR or platformdirs.user_cache_path("bsn") / "numba"
FOLDER = pathlib.Path(_parent) / source_digest(SOURCES)


class _Locator(caching._CacheLocator):
    """Finds what was compiled of the same sources in any checkout; Numba's own know files by their paths."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(FOLDER)

    def get_source_stamp(self) -> str:
        return FOLDER.name

    def get_disambiguator(self) -> str:
        return str(self.line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> Any:
        """Return the locator of a function of these sources; None if the folder cannot be written."""
        locator = cls(function)
        with contextlib.suppress(OSError):
            if pathlib.Path(path) in SOURCES:
                locator.ensure_cache_path()
                return locator
        return None


_locators: list[Any] = caching.CacheImpl._locator_classes
_locators.insert(0, _Locator)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for the types that it is called with.

    Other threads run meanwhile, as there are no Python objects inside. Multiply-adds are fused, but NaN and
    infinity are as ever.
    """
    return numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function)
