"""How the training is compiled: by Numba, once on a machine."""

import hashlib
import pathlib

import numba
import platformdirs

SOURCES = ("compiled.py", "spec.py", "sparse.py", "units.py", "network.py", "steps.py")


def source_digest(names):
    """A hash of files of this package, as they are now."""
    here = pathlib.Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in names)).hexdigest()[:12]


# Numba keeps what it compiled of a file until that file changes, and overlooks changes in others whose
# functions and constants it built in: hence a folder for each state of them all
_parent = numba.config.CACHE_DIR or platformdirs.user_cache_path("bsn") / "numba"
numba.config.CACHE_DIR = str(pathlib.Path(_parent) / source_digest(SOURCES))

# no Python object inside, so that other threads run; fused multiply-add, but NaN and inf as ever
compiled = numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
