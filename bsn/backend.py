"""TensorFlow and Keras, imported when they are first used, and without TensorFlow's start-up noise.

Since 2.19 its C++ libraries write a few lines to file descriptor 2 at import whatever TF_CPP_MIN_LOG_LEVEL
says (tensorflow/tensorflow issue 100442), and a notebook would store them. Whatever else is written there
follows after the import, and all of it if the import fails. TF_CPP_MIN_LOG_LEVEL=0 keeps all lines in place.
"""

import gc
import importlib
import importlib.machinery
import os
import re
import sys
import tempfile
import threading
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from bsn.errors import InputError, refusal

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["Loss", "Scalar", "Tensor", "keras", "load_tensorflow", "register_layers", "tf"]

Tensor: TypeAlias = "tf.Tensor"
Scalar: TypeAlias = "tf.Tensor | float"
Loss: TypeAlias = "Callable[[tf.Tensor], tf.Tensor]"  # samples [..., H] to losses [...]

LOADING = threading.RLock()
START_UP = re.compile(rb"WARNING: All log messages before absl|[IW]\d{4} |E\d{4} .*Unable to register cu")
NEEDED = "tensorflow, which the layers of bsn need: set KERAS_BACKEND=tensorflow before Keras is imported"


def load_tensorflow() -> None:
    """Import TensorFlow without its start-up noise, if it is not imported yet."""
    log_level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or log_level != "3":  # log lines are wanted
        importlib.import_module("tensorflow")  # waits, if another thread is importing it
        return
    with LOADING:
        _import_silently()


def _import_silently() -> None:
    stderr, succeeded, collects = os.dup(2), False, gc.isenabled()
    gc.disable()  # nothing of it is garbage, and to look for it takes an eighth of the time
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
            succeeded = True
        finally:
            if collects:
                gc.enable()
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not (succeeded and START_UP.match(line)):
                    os.write(2, line)


def load_keras() -> None:
    """Import Keras after TensorFlow, which would come with its noise; refuse another backend."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend == "tensorflow" or "keras" in sys.modules:
        load_tensorflow()
        try:
            backend = importlib.import_module("keras").backend.backend()
        except ModuleNotFoundError as error:  # of a backend in keras.json that is not installed
            raise InputError(f"Keras does not start ({error}); expected the backend {NEEDED}") from error
    if backend != "tensorflow":
        raise refusal("the backend of Keras", backend, NEEDED)


def register_layers() -> None:
    """Import `bsn.layers` as soon as Keras is imported, so that Keras can load models with these layers.

    Keras finds a class of another package only if it is registered, and `import bsn` alone must not import
    Keras.
    """
    if "keras" in sys.modules:
        _import_layers()
    else:
        sys.meta_path.insert(0, _KerasFinder)


def _import_layers() -> None:
    if sys.modules["keras"].backend.backend() == "tensorflow":
        importlib.import_module("bsn.layers")


class _KerasFinder:
    @staticmethod
    def find_spec(fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(fullname) if fullname == "keras" else None
        if spec and spec.loader:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                execute(module)
                _import_layers()

            loader.exec_module = exec_module
        return spec


class _Lazy(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        load_tensorflow() if self.__name__ == "tensorflow" else load_keras()
        value = vars(self)[name] = getattr(sys.modules[self.__name__], name)  # looked up once
        return value


if not TYPE_CHECKING:
    keras, tf = _Lazy("keras"), _Lazy("tensorflow")
