"""Training steps of the estimators that evaluate the loss more than once, compiled.

A step is that of `bookkit.compiled.network`, but the gradients with respect to the hidden layers' logits come
from further forward passes. Each layer's estimate is one given the layers below it, with the pass above as
loss, whose noise is shared between the samples that are compared. The last layer learns from the sample.
"""

from __future__ import annotations

import math

import numpy as np

from bookkit.compiled.jit import compiled
from bookkit.compiled.network import (
    Examples,
    Nets,
    Options,
    Pass,
    backward,
    forward,
    loss_and_gradient,
    losses_and_gradients,
    multiply,
    rest,
    room,
    softmax,
)
from bookkit.compiled.sparse import add_transposed_product, columns, product
from bookkit.compiled.units import (
    CODES,
    CONCRETE,
    HALF,
    INVERSE_TEMPERATURE,
    ONE,
    SIGMOID,
    SIGMOID_ADJUSTED,
    ZERO,
    Unit,
    relaxed,
    through_units,
)

LEAVE_ONE_OUT, MUPROP, REBAR = CODES["leave-one-out"], CODES["muprop"], CODES["rebar"]
ARM, DISARM, LOCAL_EXPECTATION = CODES["arm"], CODES["disarm"], CODES["local-expectation"]
# how the units of a pass fire
SAMPLED, MEAN, RELAXED = (
    Unit(SIGMOID_ADJUSTED, ONE, True),
    Unit(SIGMOID, ONE, True),
    Unit(CONCRETE, ONE, True),
)
SMALLEST = np.float32(2**-25)  # stands for noise of 0, half of the next one


@compiled
def _leave_one_out(sampled: Pass, other: Pass) -> None:
    """g = (b - p) (f - f') / 2 in either of two passes, each with its own p; the last layer's is their mean.

    With the gradients of both summed, each pass's from its own b below.
    """
    for layer in range(len(sampled.p)):
        for i in range(len(sampled.losses)):
            half = HALF * (sampled.losses[i] - other.losses[i])
            for j in range(sampled.p[layer].shape[1]):
                sampled.through[layer][i, j] = (sampled.h[layer][i, j] - sampled.p[layer][i, j]) * half
                other.through[layer][i, j] = (other.p[layer][i, j] - other.h[layer][i, j]) * half
    for i in range(len(sampled.z)):
        for k in range(sampled.z.shape[1]):
            sampled.through[-1][i, k] *= HALF
            other.through[-1][i, k] *= HALF


@compiled
def _antithetic(
    options: Options, upper: np.ndarray, u: np.ndarray, examples: Examples, chosen: np.ndarray,
    sampled: Pass, other: Pass,
) -> None:  # fmt: skip
    """ARM and DisARM, a layer at a time: that layer mirrored, those above resampled with the same noise."""
    column = 0
    for layer in range(len(sampled.p)):
        p, b, mirrored, gradient = sampled.p[layer], sampled.h[layer], other.h[layer], sampled.through[layer]
        batch, width = p.shape
        for i in range(batch):
            for j in range(width):
                mirrored[i, j] = ONE if ONE - u[i, column + j] < p[i, j] else ZERO
        rest(layer, upper, u, SAMPLED, other)
        losses_and_gradients(other, examples, chosen, options.stable)
        for i in range(batch):
            change = sampled.losses[i] - other.losses[i]
            if options.estimator == ARM:
                for j in range(width):
                    gradient[i, j] = change * (HALF - u[i, column + j])
            else:
                for j in range(width):
                    certainty = max(p[i, j], ONE - p[i, j])  # sigmoid(|a|)
                    gradient[i, j] = HALF * change * (b[i, j] - mirrored[i, j]) * certainty
        column += width


@compiled
def _starts(widths: np.ndarray) -> np.ndarray:
    """Return where in `upper` the weights into each layer begin; those into the first are elsewhere."""
    starts = np.zeros(len(widths), np.int64)
    starts[1] = widths[0]
    for layer in range(2, len(widths)):
        starts[layer] = starts[layer - 1] + (widths[layer - 2] + 1) * widths[layer - 1]
    return starts


@compiled
def _down(layer: int, upper: np.ndarray, starts: np.ndarray, through: list[np.ndarray]) -> None:
    """Take the gradient with respect to a layer's logits to that with respect to the outputs below."""
    inputs, width = through[layer - 1].shape[1], through[layer].shape[1]
    weights = upper[starts[layer] : starts[layer] + inputs * width]
    np.dot(through[layer], weights.reshape(inputs, width).T, through[layer - 1])


@compiled
def _muprop(
    upper: np.ndarray, u: np.ndarray, starts: np.ndarray, moments: np.ndarray, sampled: Pass, mean: Pass
) -> None:
    """MuProp: f expanded around the mean-field pass `mean`, in which all units give their p.

    g = (f(b) - f(m) - f'(m) (b - m)) (b - p) + f'(m) p (1 - p), where m are a layer's outputs in that
    pass, and p its probabilities given the sample below; m = p in the first layer.
    """
    for layer in range(len(sampled.p) - 1, -1, -1):
        _down(layer + 1, upper, starts, mean.through)
        p, b, m, slopes = sampled.p[layer], sampled.h[layer], mean.h[layer], mean.through[layer]
        batch, width = p.shape
        for i in range(batch):
            residual = sampled.losses[i] - mean.losses[i]
            for j in range(width):
                residual -= slopes[i, j] * (b[i, j] - m[i, j])
            for j in range(width):
                score = b[i, j] - p[i, j]
                sampled.through[layer][i, j] = residual * score + slopes[i, j] * p[i, j] * (ONE - p[i, j])
        through_units(MEAN, slopes, u, m, m, mean.losses, moments, 0)


@compiled
def _rebar(
    options: Options, upper: np.ndarray, u: np.ndarray, examples: Examples, chosen: np.ndarray,
    starts: np.ndarray, moments: np.ndarray, sampled: Pass, soft: Pass,
) -> None:  # fmt: skip
    """REBAR with eta = 1, t = 1/2 and tied noise: z~ is z, and so is f(y~) f(y), but for its derivative.

    g = (f(b) - f(y)) (b - p) + f'(y) y (1 - y) / t (1 - dz~/da), where 1 - dz~/da is (1 - p) / (1 - u) for
    b = 1 and p / u for b = 0. y stands in for one layer at a time, and all layers above it are relaxed.
    """
    column = 0
    for layer in range(len(sampled.p)):
        p, b, y, slopes = sampled.p[layer], sampled.h[layer], soft.h[layer], soft.through[layer]
        batch, width = p.shape
        for i in range(batch):
            for j in range(width):
                y[i, j] = relaxed(p[i, j], u[i, column + j])
        rest(layer, upper, u, RELAXED, soft)
        losses_and_gradients(soft, examples, chosen, options.stable)
        for above in range(len(sampled.p), layer, -1):
            _down(above, upper, starts, soft.through)
            if above - 1 > layer:
                h = soft.h[above - 1]
                through_units(RELAXED, soft.through[above - 1], u, h, h, soft.losses, moments, 0)
        for i in range(batch):
            change = sampled.losses[i] - soft.losses[i]
            for j in range(width):
                noise = u[i, column + j]
                apart = (ONE - p[i, j]) / (ONE - noise) if b[i, j] > ZERO else p[i, j] / noise
                steep = INVERSE_TEMPERATURE * y[i, j] * (ONE - y[i, j])
                sampled.through[layer][i, j] = change * (b[i, j] - p[i, j]) + slopes[i, j] * steep * apart
        column += width


@compiled
def _margins(
    upper: np.ndarray, u: np.ndarray, starts: np.ndarray, sampled: Pass, margins: list[np.ndarray]
) -> None:
    """Fill margins[l], for l from 1, with layer l's logits minus logit(u): a unit fires above 0."""
    column = margins[0].shape[1]
    for layer in range(1, len(sampled.p)):
        margin = margins[layer]
        batch, width = margin.shape
        at = multiply(sampled.h[layer - 1], upper, starts[layer], margin)
        for i in range(batch):
            for j in range(width):
                noise = max(u[i, column + j], SMALLEST)
                margin[i, j] += upper[at + j] - np.float32(math.log(noise / (ONE - noise)))
        column += width


@compiled
def _local_expectation(
    options: Options, upper: np.ndarray, u: np.ndarray, examples: Examples, chosen: np.ndarray,
    starts: np.ndarray, sampled: Pass, margins: list[np.ndarray],
) -> None:  # fmt: skip
    """Local expectation: g = p (1 - p) (f(b = 1) - f(b = 0)), by the flip of each unit in turn.

    A flip adds or takes away a row of weights; above, the few units that it turns over do.
    """
    widths = [margin.shape[1] for margin in margins]
    layers, widest, classes, q = len(widths), max(widths), sampled.z.shape[1], sampled.q
    logits, z, unused = np.empty(widest, np.float32), np.empty_like(q), np.empty_like(q)
    turned, change = np.empty(widest, np.int64), np.empty(widest, np.float32)  # units, and by how much
    _margins(upper, u, starts, sampled, margins)
    for layer in range(layers):
        p, b = sampled.p[layer], sampled.h[layer]
        for i in range(len(p)):
            for j in range(p.shape[1]):
                turned[0], change[0], count = j, ONE - b[i, j] - b[i, j], 1
                for above in range(layer + 1, layers):
                    width = widths[above]
                    for k in range(width):
                        logits[k] = margins[above][i, k]
                    _add_rows(upper, starts[above], width, turned, change, count, logits)
                    count = 0
                    for k in range(width):
                        now = ONE if logits[k] > ZERO else ZERO
                        if now != sampled.h[above][i, k]:
                            turned[count], change[count] = k, now - sampled.h[above][i, k]
                            count += 1
                for k in range(classes):
                    z[k] = sampled.z[i, k]
                _add_rows(upper, starts[layers], classes, turned, change, count, z)
                softmax(z, q)
                flipped = loss_and_gradient(z, q, examples.labels[chosen[i]], options.stable, unused)
                rise = (b[i, j] + b[i, j] - ONE) * (sampled.losses[i] - flipped)
                sampled.through[layer][i, j] = p[i, j] * (ONE - p[i, j]) * rise


@compiled
def _add_rows(
    upper: np.ndarray, start: int, width: int, turned: np.ndarray, change: np.ndarray, count: int,
    total: np.ndarray,
) -> None:  # fmt: skip
    """Add to total the rows `turned` of the weights [.., width] that begin at `start`, times `change`."""
    for c in range(count):
        row, by = start + turned[c] * width, change[c]
        weights = upper[row : row + width]
        for k in range(width):
            total[k] += by * weights[k]


@compiled
def train(
    nets: Nets, options: Options, examples: Examples, order: np.ndarray, noise: np.ndarray,
    second: np.ndarray, step: int,
) -> np.ndarray:  # fmt: skip
    """Do `network.train` for an estimator of several passes; its arguments, and:

    Args:
        second: the noise of leave-one-out's other sample, as `noise`; not used by the others.
    """
    steps, batch = order.shape
    first, widths, estimator = nets.first, nets.widths, options.estimator
    width, count = widths[0], len(nets.upper)
    sampled, other = room(batch, widths), room(batch, widths)
    margins = [np.empty((batch, w), np.float32) for w in widths[:-1]]
    gradients = [np.empty((widths[i], widths[i + 1]), np.float32) for i in range(len(widths) - 1)]
    starts = _starts(widths)
    products, moments = np.empty((batch, count * width), np.float32), np.empty((2, 0), np.float32)
    delta, summed = np.empty_like(products), np.zeros(count)
    for t in range(steps):
        chosen, u = order[t], noise[t]
        product(chosen, examples.images, first, products)
        for net in range(count):
            low, upper, rate = net * width, nets.upper[net], options.rate[net]
            unit = Unit(estimator, ONE, True)
            forward(products, low, upper, u, SAMPLED, sampled)
            summed[net] += losses_and_gradients(sampled, examples, chosen, options.stable) / batch
            if nets.diverged[net] < 0 and not np.isfinite(np.sum(sampled.losses)):
                nets.diverged[net] = step + t
            if estimator == LEAVE_ONE_OUT:
                forward(products, low, upper, second[t], SAMPLED, other)
                losses_and_gradients(other, examples, chosen, options.stable)
                _leave_one_out(sampled, other)
            elif estimator == MUPROP:
                forward(products, low, upper, u, MEAN, other)
                losses_and_gradients(other, examples, chosen, options.stable)
                _muprop(upper, u, starts, moments, sampled, other)
            elif estimator == REBAR:
                _rebar(options, upper, u, examples, chosen, starts, moments, sampled, other)
            elif estimator == ARM or estimator == DISARM:
                _antithetic(options, upper, u, examples, chosen, sampled, other)
            elif estimator == LOCAL_EXPECTATION:
                _local_expectation(options, upper, u, examples, chosen, starts, sampled, margins)
            else:
                raise ValueError("no estimator of several passes has this code")
            backward(upper, moments, unit, rate, u, sampled, gradients)
            for i in range(batch):
                for j in range(width):
                    delta[i, low + j] = -rate * sampled.through[0][i, j]
            if estimator == LEAVE_ONE_OUT:
                backward(upper, moments, unit, rate, u, other, gradients)
                for i in range(batch):
                    for j in range(width):
                        delta[i, low + j] -= rate * other.through[0][i, j]
        add_transposed_product(columns(chosen, examples.images, len(first)), delta, first)
    return summed
