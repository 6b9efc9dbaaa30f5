"""TensorFlow, imported when it is first used, and without its start-up noise.

Since 2.19 its C++ libraries write a few lines to file descriptor 2 at import whatever TF_CPP_MIN_LOG_LEVEL
says (tensorflow/tensorflow issue 100442), and a notebook would store them. Python exceptions are unaffected.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
import typing
from collections.abc import Iterator

if typing.TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["load_tensorflow", "tf"]


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


def load_tensorflow() -> types.ModuleType:
    """Import TensorFlow without its start-up noise, if it is not imported yet."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _silent_stderr():
            import tensorflow  # noqa: F401
    return sys.modules["tensorflow"]


class _LazyTensorFlow(types.ModuleType):
    def __getattr__(self, name: str) -> typing.Any:
        return getattr(load_tensorflow(), name)


if not typing.TYPE_CHECKING:
    tf = _LazyTensorFlow("tensorflow")
