"""TensorFlow and Keras, imported when they are first used, and without TensorFlow's start-up noise.

Since 2.19 its C++ libraries write a few lines to file descriptor 2 at import whatever TF_CPP_MIN_LOG_LEVEL
says (tensorflow/tensorflow issue 100442), and a notebook would store them. Python exceptions are unaffected.
"""

import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["Loss", "Scalar", "Tensor", "keras", "load_tensorflow", "tf"]

Tensor: TypeAlias = "tf.Tensor"
Scalar: TypeAlias = "tf.Tensor | float"
Loss: TypeAlias = "Callable[[tf.Tensor], tf.Tensor]"  # samples [..., H] to losses [...]


def load_tensorflow() -> None:
    """Import TensorFlow without its start-up noise, if it is not imported yet."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(null)
        os.close(stderr)


class _Lazy(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        load_tensorflow()  # before Keras, which would import it with its noise
        return getattr(importlib.import_module(self.__name__), name)


if not TYPE_CHECKING:
    keras, tf = _Lazy("keras"), _Lazy("tensorflow")
