"""How the training is compiled: by Numba, once on a machine."""

import contextlib
import hashlib
import pathlib
import pickle
import sys

import numba
import platformdirs
from numba.core.serialize import dumps

from bookkit import files

SOURCES = ("jit.py", "sparse.py", "units.py", "network.py", "steps.py")


def source_digest(names):
    """A hash of files of this package, as they are now."""
    here = pathlib.Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in names)).hexdigest()[:12]


# Numba keeps what it compiled of a file until that file changes, and overlooks changes in others whose
# functions and constants it built in: hence a folder for each state of them all
_parent = numba.config.CACHE_DIR or platformdirs.user_cache_path("bsn") / "numba"
FOLDER = pathlib.Path(_parent) / source_digest(SOURCES)
numba.config.CACHE_DIR = str(FOLDER)


def compiled(function):
    """Compile a function for the types that it is called with."""
    # no Python object inside, so that other threads run; fused multiply-add, but NaN and inf as ever
    made = numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function)
    made._cache._cache_file = _Kept(f"{function.__module__}.{function.__qualname__}")
    return made


class _Kept:
    """What Numba has compiled of one function, a file a signature, each with a digest.

    In place of `numba.core.caching.IndexDataCacheFile`, which would run what is damaged.
    """

    def __init__(self, name):
        self.name = name

    def path(self, key):
        signature = hashlib.sha256(repr((numba.__version__, key)).encode()).hexdigest()[:16]
        return FOLDER / f"{self.name}-{signature}.nbc"

    def save(self, key, data):
        content = dumps(data)
        with contextlib.suppress(OSError), files.replaced(self.path(key)) as file:  # else it is only slower
            file.write(hashlib.sha256(content).digest() + content)

    def load(self, key):
        content = _content(self.path(key))
        return content and pickle.loads(content)

    def flush(self):
        """Nothing is out of date here: other sources have another folder."""


def _content(path):
    """What a file of the cache holds, or None where there is none or it is damaged, which is said."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(whole[32:]).digest() != whole[:32]:
        print(f"bsn: {path} is damaged: the training is compiled anew", file=sys.stderr)
        path.unlink(missing_ok=True)
        return None
    return whole[32:]


def check():
    """Name and remove what is damaged in the cache, before kernels meet it, whose words would be on pages."""
    for path in FOLDER.glob("*.nbc"):
        _content(path)
