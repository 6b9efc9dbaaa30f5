"""Training steps of the estimators that evaluate the loss more than once, compiled.

A step is that of `bookkit.compiled.network`, but the gradients in the hidden layers' logits come from further
forward passes. Each layer's estimate is one given the layers below it, with the pass above as loss,
whose noise is shared between the samples that are compared. The last layer learns from the sample.
"""

import math
import typing

import numpy as np

from bookkit.compiled.jit import compiled
from bookkit.compiled.network import (
    backward,
    forward,
    loss_and_gradient,
    losses_and_gradients,
    multiply,
    rest,
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
    relaxed,
    through_units,
)

LEAVE_ONE_OUT, MUPROP, REBAR = CODES["leave-one-out"], CODES["muprop"], CODES["rebar"]
ARM, DISARM = CODES["arm"], CODES["disarm"]
SAMPLED = SIGMOID_ADJUSTED  # how the units fire
SMALLEST = np.float32(2**-25)  # stands for noise of 0, half of the next one


class Pass(typing.NamedTuple):
    """What a forward pass of a net fills, and its gradients; see `network.forward` and `.backward`."""

    p: list
    h: list
    z: np.ndarray
    losses: np.ndarray
    through: list


@compiled
def _room(batch, widths):
    return Pass(
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        np.empty((batch, widths[-1]), np.float32),
        np.empty(batch, np.float32),
        [np.empty((batch, w), np.float32) for w in widths],
    )


@compiled
def _leave_one_out(one, other):
    """g = (b - p) (f - f') / 2 in either of two passes, each with its own p; the last layer's is their mean.

    With the gradients of both summed, each pass's from its own b below.
    """
    for layer in range(len(one.p)):
        for i in range(len(one.losses)):
            half = HALF * (one.losses[i] - other.losses[i])
            for j in range(one.p[layer].shape[1]):
                one.through[layer][i, j] = (one.h[layer][i, j] - one.p[layer][i, j]) * half
                other.through[layer][i, j] = (other.p[layer][i, j] - other.h[layer][i, j]) * half
    for i in range(len(one.z)):
        for k in range(one.z.shape[1]):
            one.through[-1][i, k] *= HALF
            other.through[-1][i, k] *= HALF


@compiled
def _antithetic(estimator, upper, u, labels, chosen, stable, q, widths, one, other):
    """ARM and DisARM, a layer at a time: that layer mirrored, those above anew with their noise as it is."""
    unit = 0
    for layer in range(len(one.p)):
        p, b, mirrored, gradient = one.p[layer], one.h[layer], other.h[layer], one.through[layer]
        batch, width = p.shape
        for i in range(batch):
            for j in range(width):
                mirrored[i, j] = ONE if ONE - u[i, unit + j] < p[i, j] else ZERO
        rest(layer, upper, u, ONE, True, SAMPLED, widths, other.p, other.h, other.z)
        losses_and_gradients(other.z, labels, chosen, stable, q, other.losses, other.through[-1])
        for i in range(batch):
            change = one.losses[i] - other.losses[i]
            if estimator == ARM:
                for j in range(width):
                    gradient[i, j] = change * (HALF - u[i, unit + j])
            else:
                for j in range(width):
                    certainty = max(p[i, j], ONE - p[i, j])  # sigmoid(|a|)
                    gradient[i, j] = HALF * change * (b[i, j] - mirrored[i, j]) * certainty
        unit += width


@compiled
def _starts(widths):
    """Where in `upper` the weights into each layer begin; those into the first are elsewhere."""
    starts = np.zeros(len(widths), np.int64)
    starts[1] = widths[0]
    for layer in range(2, len(widths)):
        starts[layer] = starts[layer - 1] + (widths[layer - 2] + 1) * widths[layer - 1]
    return starts


@compiled
def _down(layer, upper, starts, through):
    """through[layer - 1] = the gradient in the outputs of the layer below, from that in the logits."""
    inputs, width = through[layer - 1].shape[1], through[layer].shape[1]
    weights = upper[starts[layer] : starts[layer] + inputs * width]
    np.dot(through[layer], weights.reshape(inputs, width).T, through[layer - 1])


@compiled
def _muprop(upper, u, starts, moments, one, mean):
    """MuProp: f expanded around the mean-field pass `mean`, in which all units give their p.

    g = (f(b) - f(m) - f'(m) (b - m)) (b - p) + f'(m) p (1 - p), where m are a layer's outputs in that
    pass, and p its probabilities given the sample below; m = p in the first layer.
    """
    for layer in range(len(one.p) - 1, -1, -1):
        _down(layer + 1, upper, starts, mean.through)
        p, b, m, slopes = one.p[layer], one.h[layer], mean.h[layer], mean.through[layer]
        batch, width = p.shape
        for i in range(batch):
            residual = one.losses[i] - mean.losses[i]
            for j in range(width):
                residual -= slopes[i, j] * (b[i, j] - m[i, j])
            for j in range(width):
                score = b[i, j] - p[i, j]
                one.through[layer][i, j] = residual * score + slopes[i, j] * p[i, j] * (ONE - p[i, j])
        through_units(SIGMOID, slopes, ONE, True, u, m, m, mean.losses, moments, 0)


@compiled
def _rebar(upper, u, labels, chosen, stable, q, widths, starts, moments, one, soft):
    """REBAR with eta = 1, t = 1/2 and tied noise: z~ is z, and so is f(y~) f(y), but for its derivative.

    g = (f(b) - f(y)) (b - p) + f'(y) y (1 - y) / t (1 - dz~/da), where 1 - dz~/da is (1 - p) / (1 - u) for
    b = 1 and p / u for b = 0. y stands in for one layer at a time, and all layers above it are relaxed.
    """
    unit = 0
    for layer in range(len(one.p)):
        p, b, y, slopes = one.p[layer], one.h[layer], soft.h[layer], soft.through[layer]
        batch, width = p.shape
        for i in range(batch):
            for j in range(width):
                y[i, j] = relaxed(p[i, j], u[i, unit + j])
        rest(layer, upper, u, ONE, True, CONCRETE, widths, soft.p, soft.h, soft.z)
        losses_and_gradients(soft.z, labels, chosen, stable, q, soft.losses, soft.through[-1])
        for above in range(len(one.p), layer, -1):
            _down(above, upper, starts, soft.through)
            if above - 1 > layer:
                h = soft.h[above - 1]
                through_units(CONCRETE, soft.through[above - 1], ONE, True, u, h, h, soft.losses, moments, 0)
        for i in range(batch):
            change = one.losses[i] - soft.losses[i]
            for j in range(width):
                noise = u[i, unit + j]
                apart = (ONE - p[i, j]) / (ONE - noise) if b[i, j] > ZERO else p[i, j] / noise
                steep = INVERSE_TEMPERATURE * y[i, j] * (ONE - y[i, j])
                one.through[layer][i, j] = change * (b[i, j] - p[i, j]) + slopes[i, j] * steep * apart
        unit += width


@compiled
def _margins(upper, u, starts, one, margins):
    """Fill margins[l], for l from 1, with layer l's logits less logit(u): a unit fires above 0."""
    unit = margins[0].shape[1]
    for layer in range(1, len(one.p)):
        margin = margins[layer]
        batch, width = margin.shape
        at = multiply(one.h[layer - 1], upper, starts[layer], margin)
        for i in range(batch):
            for j in range(width):
                noise = max(u[i, unit + j], SMALLEST)
                margin[i, j] += upper[at + j] - np.float32(math.log(noise / (ONE - noise)))
        unit += width


@compiled
def _local_expectation(upper, u, labels, chosen, stable, q, widths, starts, one, margins):
    """Local expectation: g = p (1 - p) (f(b = 1) - f(b = 0)), by the flip of each unit in turn.

    A flip adds or takes away a row of weights; above, the few units that it turns over do.
    """
    layers, most, classes = len(one.p), widths.max(), widths[-1]
    logits, z, unused = np.empty(most, np.float32), np.empty_like(q), np.empty_like(q)
    turned, change = np.empty(most, np.int64), np.empty(most, np.float32)  # units, and by how much
    _margins(upper, u, starts, one, margins)
    for layer in range(layers):
        p, b = one.p[layer], one.h[layer]
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
                        if now != one.h[above][i, k]:
                            turned[count], change[count] = k, now - one.h[above][i, k]
                            count += 1
                for k in range(classes):
                    z[k] = one.z[i, k]
                _add_rows(upper, starts[layers], classes, turned, change, count, z)
                softmax(z, q)
                flipped = loss_and_gradient(z, q, labels[chosen[i]], stable, unused)
                rise = (b[i, j] + b[i, j] - ONE) * (one.losses[i] - flipped)
                one.through[layer][i, j] = p[i, j] * (ONE - p[i, j]) * rise


@compiled
def _add_rows(upper, start, width, turned, change, count, total):
    """total += the rows `turned` of the weights [.., width] that begin at `start`, times `change`."""
    for c in range(count):
        row, by = start + turned[c] * width, change[c]
        weights = upper[row : row + width]
        for k in range(width):
            total[k] += by * weights[k]


@compiled
def train(
    first, upper, diverged, images, labels, order, noise, second, rate, estimator, stable, widths, step
):
    """`network.train` for an estimator of several passes; its arguments, and:

    Args:
        second: the noise of leave-one-out's other sample, as `noise`; not used by the others.
    """
    steps, batch = order.shape
    nets, width = len(upper), widths[0]
    one, other, q = _room(batch, widths), _room(batch, widths), np.empty(widths[-1], np.float32)
    margins = [np.empty((batch, w), np.float32) for w in widths[:-1]]
    gradients = [np.empty((widths[i], widths[i + 1]), np.float32) for i in range(len(widths) - 1)]
    starts = _starts(widths)
    products, moments = np.empty((batch, nets * width), np.float32), np.empty((2, 0), np.float32)
    delta, summed = np.empty_like(products), np.zeros(nets)
    for t in range(steps):
        chosen, u = order[t], noise[t]
        product(chosen, images, first, products)
        for net in range(nets):
            low, above = net * width, upper[net]
            forward(products, low, above, u, ONE, True, SAMPLED, widths, one.p, one.h, one.z)
            right = losses_and_gradients(one.z, labels, chosen, stable, q, one.losses, one.through[-1])
            summed[net] += right / batch
            if diverged[net] < 0 and not np.isfinite(np.sum(one.losses)):
                diverged[net] = step + t
            if estimator == LEAVE_ONE_OUT or estimator == MUPROP:
                drawn = second[t] if estimator == LEAVE_ONE_OUT else u
                code = SAMPLED if estimator == LEAVE_ONE_OUT else SIGMOID
                forward(products, low, above, drawn, ONE, True, code, widths, other.p, other.h, other.z)
                losses_and_gradients(other.z, labels, chosen, stable, q, other.losses, other.through[-1])
            if estimator == LEAVE_ONE_OUT:
                _leave_one_out(one, other)
            elif estimator == MUPROP:
                _muprop(above, u, starts, moments, one, other)
            elif estimator == REBAR:
                _rebar(above, u, labels, chosen, stable, q, widths, starts, moments, one, other)
            elif estimator == ARM or estimator == DISARM:
                _antithetic(estimator, above, u, labels, chosen, stable, q, widths, one, other)
            else:
                _local_expectation(above, u, labels, chosen, stable, q, widths, starts, one, margins)
            backward(
                above, moments, ONE, True, rate[net], estimator, u, one.p, one.h, one.losses, one.through,
                gradients,
            )  # fmt: skip
            for i in range(batch):
                for j in range(width):
                    delta[i, low + j] = -rate[net] * one.through[0][i, j]
            if estimator == LEAVE_ONE_OUT:
                backward(
                    above, moments, ONE, True, rate[net], estimator, u, other.p, other.h, other.losses,
                    other.through, gradients,
                )  # fmt: skip
                for i in range(batch):
                    for j in range(width):
                        delta[i, low + j] -= rate[net] * other.through[0][i, j]
        add_transposed_product(columns(chosen, images, len(first)), delta, first)
    return summed
