"""Layers of binary units in compiled code: from logits to outputs, and the gradient's way back.

The formulas of the estimators that take one pass, which `bsn.estimators` explains; those that take
more are in `bookkit.compiled.steps`. Shapes as in `bookkit.compiled.network`.
"""

import typing

import numpy as np

from bookkit.compiled.jit import compiled
from bookkit.parameters import ESTIMATORS, SAMPLERS, SCORED, SEVERAL_PASSES

CODES = {name: code for code, name in enumerate(ESTIMATORS)}
SAMPLER_CODES = tuple(CODES[name] for name in SAMPLERS)
SEVERAL_CODES = tuple(CODES[name] for name in SEVERAL_PASSES)
SCORED_CODES = tuple(CODES[name] for name in SCORED)
SIGMOID, SIGMOID_ADJUSTED = CODES["sigmoid"], CODES["sigmoid-adjusted"]
PASS_THROUGH, FIRES_ONLY = CODES["pass-through"], CODES["fires-only"]
REINMAX, CONCRETE = CODES["reinmax"], CODES["concrete"]
ST_GUMBEL, GUMBEL_RAO = CODES["st-gumbel"], CODES["gumbel-rao"]
MOVING_AVERAGE, VARIANCE_ADJUSTED = CODES["moving-average"], CODES["variance-adjusted"]

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


class Pass(typing.NamedTuple):
    """Room for one net's forward and backward pass.

    Attributes:
        at: for each layer, where its columns begin in the noise and the moments.
        p, h: for each hidden layer [B, H], the probabilities and the outputs.
        z: [B, C], the logits of the classes.
        losses: [B].
        through: for each layer, the last included, the gradient with respect to its logits, [B, width].
    """

    at: np.ndarray
    p: list[np.ndarray]
    h: list[np.ndarray]
    z: np.ndarray
    losses: np.ndarray
    through: list[np.ndarray]


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
def fire(unit: Unit, biases: np.ndarray, u: np.ndarray, layer: int, out: Pass) -> None:
    """Turn out.p[layer], logits without bias, into sigmoid(slope (logit + bias)); fill out.h[layer].

    Args:
        u: noise [B, S].
    """
    probabilities, outputs, at = out.p[layer], out.h[layer], out.at[layer]
    for i in range(len(probabilities)):
        p, h, noise = probabilities[i], outputs[i], u[i, at : at + len(biases)]
        for j in range(len(p)):
            p[j] = ONE / (ONE + exp(-unit.slope * (p[j] + biases[j])))
        if unit.estimator == SIGMOID:
            for j in range(len(p)):
                h[j] = p[j]
        elif unit.estimator == CONCRETE:
            for j in range(len(p)):
                h[j] = relaxed(p[j], noise[j] if unit.stochastic else HALF)
        elif unit.stochastic:  # all others output the sample itself
            for j in range(len(p)):
                h[j] = ONE if noise[j] < p[j] else ZERO
        else:
            for j in range(len(p)):
                h[j] = ONE if HALF < p[j] else ZERO


@compiled
def through_units(unit: Unit, layer: int, u: np.ndarray, moments: np.ndarray, out: Pass) -> None:
    """Turn the gradient with respect to a layer's outputs into that with respect to its logits, in place.

    Only for estimators of one pass. Those of the score function overwrite it, and take the losses instead.

    Args:
        u: noise [B, S].
        moments: [2, S], the baselines' numerators and denominators, or in a layer's first column the mean
            loss; updated.
    """
    p, h, upstream, at = out.p[layer], out.h[layer], out.through[layer], out.at[layer]
    batch, width = p.shape
    estimator, slope = unit.estimator, unit.slope
    if estimator == SIGMOID or estimator == SIGMOID_ADJUSTED or estimator == CONCRETE:
        y, steepness = (h, INVERSE_TEMPERATURE * slope) if estimator == CONCRETE else (p, slope)
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= steepness * y[i, j] * (ONE - y[i, j])
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
    elif estimator == ST_GUMBEL:
        for i in range(batch):
            for j in range(width):
                y = relaxed(p[i, j], u[i, at + j] if unit.stochastic else HALF)
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * y * (ONE - y)
    elif estimator == GUMBEL_RAO:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] *= INVERSE_TEMPERATURE * slope * rao(p[i, j], h[i, j], u[i, at + j])
    elif estimator in SCORED_CODES:
        baselines = _baselines(estimator, p, h, out.losses, moments[:, at : at + width])
        for i in range(batch):
            for j in range(width):
                upstream[i, j] = (h[i, j] - p[i, j]) * (out.losses[i] - baselines[j])
    else:
        raise ValueError("no estimator of one pass has this code")


@compiled
def _baselines(
    estimator: int, p: np.ndarray, h: np.ndarray, losses: np.ndarray, moments: np.ndarray
) -> np.ndarray:
    """Return what each unit of a layer subtracts from the losses, [H], and update its `moments`, [2, H]."""
    batch, width = p.shape
    baselines, share = np.zeros(width, np.float32), (ONE - DECAY) / np.float32(batch)
    if estimator == MOVING_AVERAGE:
        baselines[:] = moments[0, 0]
        moments[0, 0] = DECAY * moments[0, 0] + (ONE - DECAY) * np.sum(losses) / np.float32(batch)
    elif estimator == VARIANCE_ADJUSTED:
        sums = np.zeros((2, width), np.float32)
        for i in range(batch):
            for j in range(width):
                square = (h[i, j] - p[i, j]) * (h[i, j] - p[i, j])
                sums[0, j] += square * losses[i]
                sums[1, j] += square
        for j in range(width):
            moments[0, j] = DECAY * moments[0, j] + share * sums[0, j]
            moments[1, j] = DECAY * moments[1, j] + share * sums[1, j]
            baselines[j] = moments[0, j] / (moments[1, j] + FLOOR)
    return baselines
