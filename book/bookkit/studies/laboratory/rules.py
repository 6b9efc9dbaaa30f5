"""Expectations over an estimator's noise without sampling: sums over outcomes, or integrals.

A rule is a pair: nodes, in place of the noise, and their weights.
"""

from __future__ import annotations

import numpy as np

from bookkit.studies.laboratory.settings import Setting
from bsn.estimators import lookup

MAX_NODES = 10_000
Rule = tuple[np.ndarray, np.ndarray]
# those whose estimate depends on the noise through the sample b alone
OF_THE_SAMPLE = {
    "pass-through", "sigmoid-adjusted", "fires-only", "reinmax", "reinforce", "moving-average",
    "variance-adjusted", "nvil", "muprop", "local-expectation",
}  # fmt: skip


def rule(name: str, setting: Setting) -> Rule | None:
    """Return nodes [uniforms, M, P, E, H] and weights [M, P, E] for an estimator; None if too many."""
    logits, uniforms = setting.logits, lookup(name).noise
    units, p = logits.shape[-1], 1 / (1 + np.exp(-logits))
    ends = np.stack([0 * p, np.minimum(p, 1 - p), np.maximum(p, 1 - p), 0 * p + 1])
    t = np.arange(-33, 33.1, 0.3)  # the trapezoidal rule in logit(v) converges exponentially
    v, weight = 1 / (1 + np.exp(-t)), 0.3 / (2 + 2 * np.cosh(t))
    outcomes = np.stack([p / 2, (1 + p) / 2]), np.stack([p, 1 - p])
    if uniforms == 0:
        return np.full([1, 1, *logits.shape], 0.5), np.ones([1, *logits.shape[:2]])
    if name in OF_THE_SAMPLE and not (name == "variance-adjusted" and logits.shape[1] > 1):
        planes = [outcomes]
    elif uniforms == "K":
        planes = [outcomes, outcomes]
    elif name in ("arm", "disarm"):  # piecewise linear in u
        planes = [_pieces(ends, 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3), np.full(2, 0.5))]
    elif units > 1:
        return None
    elif uniforms == "1 + K":
        planes = [outcomes, _pieces(np.stack([0 * p, 0 * p + 1]), v, weight)]
    else:
        planes = [_pieces(ends, v, weight)]
    sizes = [len(nodes) for nodes, _ in planes for _ in range(units)]
    if units > 1 and np.prod(sizes, dtype=float) > MAX_NODES:
        return None
    indices = np.indices(sizes).reshape(len(planes), units, -1)
    nodes = np.empty([*indices.shape[::2], *logits.shape])
    weights = np.ones(nodes.shape[1:-1])
    for plane, (node, share) in enumerate(planes):
        for unit, chosen in enumerate(indices[plane]):
            nodes[plane, ..., unit] = node[chosen, ..., unit]
            weights *= share[chosen, ..., unit]
    return nodes, weights


def _pieces(ends: np.ndarray, v: np.ndarray, weight: np.ndarray) -> Rule:
    """Repeat a rule on [0, 1] between each end and the next."""
    width = np.diff(ends, axis=0)[:, None]
    shape = [1, len(v)] + [1] * (ends.ndim - 1)
    nodes, weights = ends[:-1, None] + width * v.reshape(shape), width * weight.reshape(shape)
    return nodes.reshape(-1, *ends.shape[1:]), weights.reshape(-1, *ends.shape[1:])


def moments(g: np.ndarray, weights: np.ndarray, noises: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [P, E, H] and the summed variance [P, E] of estimates at a rule's nodes.

    Args:
        g: [M, P, E, H].
        weights: [M, P, E].
        noises: how many estimates given the same b are averaged; 0 for none.
    """
    mean = np.sum(weights[..., None] * g, 0)
    spread = np.sum(weights[..., None] * (g - mean) ** 2, (0, -1))
    if not noises:
        return mean, spread
    g, weights = (array.reshape(2, -1, *array.shape[1:]) for array in (g, weights))
    share = weights.sum(1)
    given = np.sum(weights[..., None] * g, 1) / share[..., None]  # the mean for each outcome b
    between = np.sum(share[..., None] * (given - mean) ** 2, (0, -1))
    return mean, between + (spread - between) / noises
