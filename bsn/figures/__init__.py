"""Every figure of the book; each function returns a `bsn.figures.style.Figure` for a notebook to show.

Those of the gradient laboratory need TensorFlow and are imported from `bsn.figures.laboratory`.
"""

from bsn.figures import scorecard
from bsn.figures.estimators import examples, gradient_comparison, surrogate_derivatives
from bsn.figures.scorecard import at_a_glance, published_numbers
from bsn.figures.training import learning_curves

__all__ = [
    "at_a_glance",
    "examples",
    "gradient_comparison",
    "learning_curves",
    "published_numbers",
    "scorecard",
    "surrogate_derivatives",
]
