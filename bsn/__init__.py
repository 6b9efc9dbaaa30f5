"""Binary stochastic neurons: their gradient estimators, and many small nets trained at once.

>>> from bsn import Spec, run                    # train the post's nets
>>> from bsn import BinaryStochastic             # a Keras layer for a model of your own
>>> from bsn.estimators import sigmoid_adjusted  # one estimator as a plain function
"""

import importlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, or not at all

_HOME = {
    "BinaryStochastic": "bsn.layers",
    "InputError": "bsn.errors",
    "Spec": "bsn.spec",
    "run": "bsn.training",
}
__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name):
    """Import TensorFlow only when something that needs it is asked for."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'bsn' has no attribute {name!r}")
