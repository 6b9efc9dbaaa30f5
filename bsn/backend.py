"""TensorFlow, imported without its start-up noise.

Since 2.19 its C++ libraries write a few lines to file descriptor 2 at import whatever
TF_CPP_MIN_LOG_LEVEL says (tensorflow/tensorflow issue 100442), and a kernel would store them
in the page. Errors in Python are raised as ever.
"""

import contextlib
import os


@contextlib.contextmanager
def _silent_descriptor(number):
    kept = os.dup(number)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(null)
        os.close(kept)


with _silent_descriptor(2):
    import tensorflow as tf

__all__ = ["tf"]
