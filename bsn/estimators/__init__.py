"""Gradient estimators for Bernoulli units, as plain functions with their noise passed in.

For a unit with logit a, slope s and uniform noise u in [0, 1), p = sigmoid(s a) and the sample is
b = 1[u < p]. Noise of 1/2 everywhere gives the deterministic unit round(p), with 0 at p = 1/2.
Any leading axes are allowed; the last axis runs over units. Two kinds share this signature:

* a **sampler**, ``sampler(logits, noise, slope=1.0) -> sample``, returns the sample, and the
  gradient estimate flows back through it (straight-through estimators);
* a **score-function estimator**, ``estimator(f, logits, noise, moments) -> (gradient, moments)``,
  evaluates the loss f(sample), shape [..., B] from [..., B, H], and returns the gradient estimate
  itself, shape [..., B, H]. `moments` is the state of its baseline, () where it has none.

To add an estimator, write the function and enter it in the table of its kind below.
"""

from bsn.estimators.score_function import initial_moments, reinforce, variance_adjusted
from bsn.estimators.straight_through import (
    fires_only,
    pass_through,
    sample,
    sigmoid,
    sigmoid_adjusted,
)

SAMPLERS = {
    "sigmoid": sigmoid,
    "pass-through": pass_through,
    "sigmoid-adjusted": sigmoid_adjusted,
    "fires-only": fires_only,
}
SCORE_FUNCTIONS = {
    "reinforce": reinforce,
    "variance-adjusted": variance_adjusted,
}

__all__ = [
    "SAMPLERS",
    "SCORE_FUNCTIONS",
    "fires_only",
    "initial_moments",
    "pass_through",
    "reinforce",
    "sample",
    "sigmoid",
    "sigmoid_adjusted",
    "variance_adjusted",
]
