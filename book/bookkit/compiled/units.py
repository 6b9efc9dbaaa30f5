"""Layers of binary units in compiled code: from logits to outputs, and the gradient's way back.

The formulas of the estimators that take one pass, which `bsn.estimators` explains; those that take
more are in `bookkit.compiled.steps`. Shapes as in `bookkit.compiled.network`.
"""

from __future__ import annotations

import typing

import numpy as np

from bookkit.compiled.jit import compiled
from bookkit.parameters import ESTIMATORS, SAMPLERS, SEVERAL_PASSES

CODES = {name: code for code, name in enumerate(ESTIMATORS)}
NUM_CODES = len(CODES)
SAMPLER_CODES = tuple(CODES[name] for name in SAMPLERS)
SEVERAL_CODES = tuple(CODES[name] for name in SEVERAL_PASSES)
SIGMOID, SIGMOID_ADJUSTED = CODES["sigmoid"], CODES["sigmoid-adjusted"]
PASS_THROUGH, FIRES_ONLY = CODES["pass-through"], CODES["fires-only"]
REINMAX, CONCRETE = CODES["reinmax"], CODES["concrete"]
ST_GUMBEL, GUMBEL_RAO = CODES["st-gumbel"], CODES["gumbel-rao"]
REINFORCE, MOVING_AVERAGE = CODES["reinforce"], CODES["moving-average"]
VARIANCE_ADJUSTED = CODES["variance-adjusted"]

# typed, as Numba would compute with a Python number in float64
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
DECAY, FLOOR = np.float32(0.95), np.float32(1e-4)  # as in bsn.estimators; repeated to spare TensorFlow
INVERSE_TEMPERATURE = np.float32(2)  # `relaxed` has it built in
DRAWS = 10  # Gumbel-Rao's K


class Unit(typing.NamedTuple):
    """How one net's units fire and learn: a code of `CODES`, the slope, and whether they sample or round."""

    estimator: int
    slope: np.float32
    stochastic: bool


@compiled
def exp(x: np.float32) -> np.float32:
    """e ** x in float32 to one part in 10 ** 7 (Cephes' expf), in a form that LLVM vectorises."""
    x = min(max(x, np.float32(-87.3)), np.float32(88))
    n = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    y = ((y * r + np.float32(8.3334519073e-3)) * r + np.float32(4.1665795894e-2)) * r
    y = ((y + np.float32(1.6666665459e-1)) * r + HALF) * (r * r) + r + ONE
    return y * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def relaxed(p: np.float32, u: np.float32) -> np.float32:
    """sigmoid(z / t) for z = logit(p) - logit(u) and t = 1/2, where e^(-z / t) is a square."""
    odds = (ONE - p) * u / (p * (ONE - u))
    return ONE / (ONE + odds * odds)


@compiled
def rao(p: np.float32, h: np.float32, u: np.float32) -> np.float32:
    """Mean of y (1 - y) over `DRAWS` relaxed units y that fire as h does, silent for 0.

    Their noises v, uniform given h, are evenly spaced: u rescaled, moved on around the circle. The mean
    is that of independent ones, the variance less, and the first is the v of u itself.
    """
    v = u / p if h > ZERO else (u - p) / (ONE - p)
    total = ZERO
    for _ in range(DRAWS):
        v = v - ONE if v >= ONE else v
        # (1 - u') / u' times the odds of p, for u' = v p where the unit fires, p + v (1 - p) elsewhere
        above = (ONE - p) * v if h > ZERO else p + v * (ONE - p)
        below = ONE - v * p if h > ZERO else p * (ONE - v)
        odds = above / below
        y = ONE / (ONE + odds * odds)
        total += y * (ONE - y)
        v += np.float32(1 / DRAWS)
    return total / np.float32(DRAWS)


@compiled
def fire(p: np.ndarray, bias: np.ndarray, u: np.ndarray, unit: Unit, h: np.ndarray) -> None:
    """Turn one image's logits without bias, `p`, into sigmoid(slope (p + bias)); fill its outputs h."""
    for j in range(len(p)):
        p[j] = ONE / (ONE + exp(-unit.slope * (p[j] + bias[j])))
    if not 0 <= unit.estimator < NUM_CODES:
        raise ValueError("no estimator has this code")
    if unit.estimator == SIGMOID:
        for j in range(len(p)):
            h[j] = p[j]
    elif unit.estimator == CONCRETE:
        for j in range(len(p)):
            h[j] = relaxed(p[j], u[j] if unit.stochastic else HALF)
    elif unit.stochastic:  # all others output the sample itself
        for j in range(len(p)):
            h[j] = ONE if u[j] < p[j] else ZERO
    else:
        for j in range(len(p)):
            h[j] = ONE if HALF < p[j] else ZERO


@compiled
def through_units(
    unit: Unit,
    upstream: np.ndarray,
    u: np.ndarray,
    p: np.ndarray,
    h: np.ndarray,
    losses: np.ndarray,
    moments: np.ndarray,
    at: int,
) -> None:
    """Turn the gradient with respect to a layer's outputs into that with respect to its logits, in place.

    Only for estimators of one pass.

    Args:
        upstream: [B, H]; the score-function estimators overwrite it, and take `losses` [B] instead.
        u: noise [B, S], this layer's from column `at` on.
        moments: [2, S], in the same columns the baselines' numerators and denominators, or in the first of
            them the mean loss; updated.
    """
    batch, width = p.shape
    estimator, slope = unit.estimator, unit.slope
    if estimator == SIGMOID or estimator == SIGMOID_ADJUSTED:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= slope * p[i, j] * (ONE - p[i, j])
    elif estimator == PASS_THROUGH:
        pass
    elif estimator == FIRES_ONLY:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= h[i, j]
    elif estimator == REINMAX:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= HALF * slope * abs(h[i, j] - p[i, j])
    elif estimator == CONCRETE:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * h[i, j] * (ONE - h[i, j])
    elif estimator == ST_GUMBEL:
        for i in range(batch):
            for j in range(width):
                y = relaxed(p[i, j], u[i, at + j] if unit.stochastic else HALF)
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * y * (ONE - y)
    elif estimator == GUMBEL_RAO:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * rao(p[i, j], h[i, j], u[i, at + j])
    elif estimator == REINFORCE:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] = (h[i, j] - p[i, j]) * losses[i]
    elif estimator == MOVING_AVERAGE:
        baseline = moments[0, at]
        for i in range(batch):
            for j in range(width):
                upstream[i, j] = (h[i, j] - p[i, j]) * (losses[i] - baseline)
        moments[0, at] = DECAY * baseline + (ONE - DECAY) * np.sum(losses) / np.float32(batch)
    elif estimator == VARIANCE_ADJUSTED:
        numerator, denominator = np.zeros(width, np.float32), np.zeros(width, np.float32)
        for i in range(batch):
            for j in range(width):
                square = (h[i, j] - p[i, j]) * (h[i, j] - p[i, j])
                numerator[j] += square * losses[i]
                denominator[j] += square
        share = (ONE - DECAY) / np.float32(batch)
        for j in range(width):
            numerator[j] = DECAY * moments[0, at + j] + share * numerator[j]
            denominator[j] = DECAY * moments[1, at + j] + share * denominator[j]
            moments[0, at + j], moments[1, at + j] = numerator[j], denominator[j]
        for i in range(batch):
            for j in range(width):
                baseline = numerator[j] / (denominator[j] + FLOOR)
                upstream[i, j] = (h[i, j] - p[i, j]) * (losses[i] - baseline)
    else:
        raise ValueError("no estimator of one pass has this code")
