"""Layers of binary units in compiled code: from logits to outputs, and the gradient's way back.

The formulas of the estimators that take one pass, which `bsn.estimators` explains; those that take
more are in `bookkit.compiled.steps`. Shapes as in `bookkit.compiled.network`.
"""

import numpy as np

from bookkit.compiled.jit import compiled
from bookkit.parameters import ESTIMATORS

CODES = {name: code for code, name in enumerate(ESTIMATORS)}
SIGMOID, SIGMOID_ADJUSTED, FIRES_ONLY = CODES["sigmoid"], CODES["sigmoid-adjusted"], CODES["fires-only"]
REINMAX, CONCRETE, ST_GUMBEL = CODES["reinmax"], CODES["concrete"], CODES["st-gumbel"]
GUMBEL_RAO, REINFORCE = CODES["gumbel-rao"], CODES["reinforce"]
VARIANCE_ADJUSTED, MOVING_AVERAGE = CODES["variance-adjusted"], CODES["moving-average"]

# typed, as Numba would compute with a Python number in float64
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
DECAY, FLOOR = np.float32(0.95), np.float32(1e-4)  # as in bsn.estimators; repeated to spare TensorFlow
INVERSE_TEMPERATURE = np.float32(2)  # `relaxed` has it built in
DRAWS = 10  # Gumbel-Rao's K


@compiled
def exp(x):
    """e ** x in float32 to one part in 10 ** 7 (Cephes' expf), in a form that LLVM vectorises."""
    x = min(max(x, np.float32(-87.3)), np.float32(88))
    n = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    y = ((y * r + np.float32(8.3334519073e-3)) * r + np.float32(4.1665795894e-2)) * r
    y = ((y + np.float32(1.6666665459e-1)) * r + HALF) * (r * r) + r + ONE
    return y * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def relaxed(p, u):
    """sigmoid(z / t) for z = logit(p) - logit(u) and t = 1/2, where e^(-z / t) is a square."""
    odds = (ONE - p) * u / (p * (ONE - u))
    return ONE / (ONE + odds * odds)


@compiled
def rao(p, h, u):
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
def fire(p, bias, u, slope, stochastic, estimator, h):
    """Units of one image: logits without bias, `p`, become sigmoid(slope (p + bias)), and their output h."""
    for j in range(len(p)):
        p[j] = ONE / (ONE + exp(-slope * (p[j] + bias[j])))
    if estimator == SIGMOID:
        for j in range(len(p)):
            h[j] = p[j]
    elif estimator == CONCRETE:
        for j in range(len(p)):
            h[j] = relaxed(p[j], u[j] if stochastic else HALF)
    elif stochastic:
        for j in range(len(p)):
            h[j] = ONE if u[j] < p[j] else ZERO
    else:
        for j in range(len(p)):
            h[j] = ONE if HALF < p[j] else ZERO


@compiled
def through_units(estimator, upstream, slope, stochastic, u, p, h, losses, moments, unit):
    """Turn the gradient in a hidden layer's output, [B, H], into that in its logits, in place.

    The score-function estimators take `losses` [B] instead; estimators of several passes, which have
    the gradient in the logits already, leave it alone. u: noise [B, S], this layer's from column `unit`
    on. moments: [2, S], in the same columns the baselines' numerators and denominators, or in the first
    of them the mean loss; brought up to date.
    """
    batch, width = p.shape
    if estimator == SIGMOID or estimator == SIGMOID_ADJUSTED:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= slope * p[i, j] * (ONE - p[i, j])
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
                y = relaxed(p[i, j], u[i, unit + j] if stochastic else HALF)
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * y * (ONE - y)
    elif estimator == GUMBEL_RAO:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * rao(p[i, j], h[i, j], u[i, unit + j])
    elif estimator == REINFORCE:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] = (h[i, j] - p[i, j]) * losses[i]
    elif estimator == MOVING_AVERAGE:
        baseline = moments[0, unit]
        for i in range(batch):
            for j in range(width):
                upstream[i, j] = (h[i, j] - p[i, j]) * (losses[i] - baseline)
        moments[0, unit] = DECAY * baseline + (ONE - DECAY) * np.sum(losses) / np.float32(batch)
    elif estimator == VARIANCE_ADJUSTED:  # what is left is pass-through: as it is
        numerator, denominator = np.zeros(width, np.float32), np.zeros(width, np.float32)
        for i in range(batch):
            for j in range(width):
                square = (h[i, j] - p[i, j]) * (h[i, j] - p[i, j])
                numerator[j] += square * losses[i]
                denominator[j] += square
        share = (ONE - DECAY) / np.float32(batch)
        for j in range(width):
            numerator[j] = DECAY * moments[0, unit + j] + share * numerator[j]
            denominator[j] = DECAY * moments[1, unit + j] + share * denominator[j]
            moments[0, unit + j], moments[1, unit + j] = numerator[j], denominator[j]
        for i in range(batch):
            for j in range(width):
                baseline = numerator[j] / (denominator[j] + FLOOR)
                upstream[i, j] = (h[i, j] - p[i, j]) * (losses[i] - baseline)
