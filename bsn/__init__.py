"""Binary stochastic neurons: gradient estimators, a loss for any of them, a Keras layer and a trainer.

>>> from bsn import BinaryStochastic             # a Keras layer for a model of your own
>>> from bsn.estimators import sigmoid_adjusted  # one estimator as a plain function
"""

import importlib
import typing

from bsn.backend import register_layers

if typing.TYPE_CHECKING:
    from bsn.curves import train
    from bsn.errors import InputError
    from bsn.expectation import expectation
    from bsn.layers import BinaryStochastic, SlopeAnnealing
    from bsn.spec import Spec

__all__ = ["BinaryStochastic", "InputError", "SlopeAnnealing", "Spec", "expectation", "train"]
__version__ = "0.2.0"

_MODULES = dict(BinaryStochastic="layers", InputError="errors", SlopeAnnealing="layers", Spec="spec")
_MODULES |= dict(expectation="expectation", train="curves")


def __getattr__(name: str) -> typing.Any:
    """Import a name's module when it is first asked for: TensorFlow only where it is needed."""
    if name in _MODULES:
        value = globals()[name] = getattr(importlib.import_module(f"bsn.{_MODULES[name]}"), name)
        return value
    raise AttributeError(f"module 'bsn' has no attribute {name!r}")


register_layers()
