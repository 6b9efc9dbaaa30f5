"""Binary stochastic neurons: gradient estimators, and a Keras layer.

>>> from bsn import BinaryStochastic             # a Keras layer for a model of your own
>>> from bsn.estimators import sigmoid_adjusted  # one estimator as a plain function
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from bsn.errors import InputError
    from bsn.layers import BinaryStochastic
    from bsn.spec import Spec

__all__ = ["BinaryStochastic", "InputError", "Spec"]
__version__ = "0.2.0"

_MODULES = {"BinaryStochastic": "bsn.layers", "InputError": "bsn.errors", "Spec": "bsn.spec"}


def __getattr__(name: str) -> typing.Any:
    """Import a name's module when it is first asked for: TensorFlow only where it is needed."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'bsn' has no attribute {name!r}")
