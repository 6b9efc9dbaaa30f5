"""Every figure of the book; each function returns a `bookkit.figures.style.Figure` for a notebook to show.

Those of the gradient laboratory need TensorFlow and are imported from `bookkit.figures.laboratory`.
"""

from bookkit.figures import scorecard
from bookkit.figures.estimators import examples, gradient_comparison, surrogate_derivatives
from bookkit.figures.scorecard import at_a_glance, published_numbers
from bookkit.figures.training import learning_curves

__all__ = [
    "at_a_glance",
    "examples",
    "gradient_comparison",
    "learning_curves",
    "published_numbers",
    "scorecard",
    "surrogate_derivatives",
]
