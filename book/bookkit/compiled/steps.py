"""Training steps, compiled; mainly those of the estimators that evaluate the loss more than once.

Their gradients with respect to the hidden layers' logits come from further forward passes. Each layer's
estimate is one given the layers below it, with the pass above as loss, whose noise is shared between the
samples that are compared. The last layer learns from the sample. Shapes as in `bookkit.compiled.network`.
"""

import numpy as np

from bookkit.compiled import network, units
from bookkit.compiled.jit import compiled
from bookkit.compiled.network import Batch, Examples, Nets, Options, Parameters, losses_and_gradients, rest
from bookkit.compiled.sparse import add_product, columns
from bookkit.compiled.units import CODES, HALF, ONE, ZERO, Pass, Unit, relaxed, through_units

LEAVE_ONE_OUT, MUPROP, REBAR = CODES["leave-one-out"], CODES["muprop"], CODES["rebar"]
ARM, DISARM, LOCAL_EXPECTATION = CODES["arm"], CODES["disarm"], CODES["local-expectation"]
# how the units of a pass fire
SAMPLED = Unit(units.SIGMOID_ADJUSTED, ONE, True)
MEAN = Unit(units.SIGMOID, ONE, True)
RELAXED = Unit(units.CONCRETE, ONE, True)
SMALLEST = np.float32(2**-25)  # stands for noise of 0, half of the next one


@compiled
def _leave_one_out(sampled: Pass, other: Pass) -> None:
    """g = (b - p) (f - f') / 2 in either of two passes, each with its own p; the last layer's is their mean.

    With the gradients of both summed, each pass's from its own b below.
    """
    half = (HALF * (sampled.losses - other.losses)).reshape(-1, 1)
    for layer in range(len(sampled.p)):
        sampled.through[layer][:] = (sampled.h[layer] - sampled.p[layer]) * half
        other.through[layer][:] = (other.p[layer] - other.h[layer]) * half
    for out in (sampled, other):
        last = out.through[-1]
        last *= HALF


@compiled
def _antithetic(estimator: int, net: Parameters, batch: Batch, sampled: Pass, other: Pass) -> None:
    """ARM and DisARM, a layer at a time: that layer mirrored, those above resampled with the same noise."""
    for layer in range(len(sampled.p)):
        p, b, mirrored, gradient = sampled.p[layer], sampled.h[layer], other.h[layer], sampled.through[layer]
        noise = batch.u[:, sampled.at[layer] : sampled.at[layer] + p.shape[1]]
        mirrored[:] = ONE - noise < p
        rest(layer, net, batch.u, SAMPLED, other)
        losses_and_gradients(other, batch)
        change = (sampled.losses - other.losses).reshape(-1, 1)
        if estimator == ARM:
            gradient[:] = change * (HALF - noise)
        else:  # the last factor is sigmoid(|a|)
            gradient[:] = HALF * change * (b - mirrored) * np.maximum(p, ONE - p)


@compiled
def _muprop(net: Parameters, u: np.ndarray, moments: np.ndarray, sampled: Pass, mean: Pass) -> None:
    """MuProp: f expanded around the mean-field pass `mean`, in which all units give their p.

    g = (f(b) - f(m) - f'(m) (b - m)) (b - p) + f'(m) p (1 - p), where m are a layer's outputs in that
    pass, and p its probabilities given the sample below; m = p in the first layer.
    """
    for layer in range(len(sampled.p) - 1, -1, -1):
        np.dot(mean.through[layer + 1], net[layer + 1][0].T, mean.through[layer])
        p, b, m, slopes = sampled.p[layer], sampled.h[layer], mean.h[layer], mean.through[layer]
        for i in range(len(p)):
            residual = sampled.losses[i] - mean.losses[i]
            for j in range(p.shape[1]):
                residual -= slopes[i, j] * (b[i, j] - m[i, j])
            for j in range(p.shape[1]):
                score = b[i, j] - p[i, j]
                sampled.through[layer][i, j] = residual * score + slopes[i, j] * p[i, j] * (ONE - p[i, j])
        through_units(MEAN, layer, u, moments, mean)


@compiled
def _rebar(net: Parameters, batch: Batch, moments: np.ndarray, sampled: Pass, soft: Pass) -> None:
    """REBAR with eta = 1, t = 1/2 and tied noise: z~ is z, and so is f(y~) f(y), but for its derivative.

    g = (f(b) - f(y)) (b - p) + f'(y) y (1 - y) / t (1 - dz~/da), where 1 - dz~/da is (1 - p) / (1 - u) for
    b = 1 and p / u for b = 0. y stands in for one layer at a time, and all layers above it are relaxed.
    """
    for layer in range(len(sampled.p)):
        p, b, y, slopes = sampled.p[layer], sampled.h[layer], soft.h[layer], soft.through[layer]
        (rows, width), at, u = p.shape, sampled.at[layer], batch.u
        for i in range(rows):
            for j in range(width):
                y[i, j] = relaxed(p[i, j], u[i, at + j])
        rest(layer, net, u, RELAXED, soft)
        losses_and_gradients(soft, batch)
        for above in range(len(sampled.p), layer, -1):
            np.dot(soft.through[above], net[above][0].T, soft.through[above - 1])
            if above - 1 > layer:
                through_units(RELAXED, above - 1, u, moments, soft)
        for i in range(rows):
            change = sampled.losses[i] - soft.losses[i]
            for j in range(width):
                noise = u[i, at + j]
                apart = (ONE - p[i, j]) / (ONE - noise) if b[i, j] > ZERO else p[i, j] / noise
                steep = units.INVERSE_TEMPERATURE * y[i, j] * (ONE - y[i, j])
                sampled.through[layer][i, j] = change * (b[i, j] - p[i, j]) + slopes[i, j] * steep * apart


@compiled
def _margins(net: Parameters, u: np.ndarray, sampled: Pass, margins: list[np.ndarray]) -> None:
    """Fill margins[l], for l from 1, with layer l's logits minus logit(u): a unit fires above 0."""
    for layer in range(1, len(sampled.p)):
        (weights, biases), margin, at = net[layer], margins[layer], sampled.at[layer]
        np.dot(sampled.h[layer - 1], weights, margin)
        noise = np.maximum(u[:, at : at + len(biases)], SMALLEST)
        margin += biases - np.log(noise / (ONE - noise))


@compiled
def _local_expectation(net: Parameters, batch: Batch, sampled: Pass, other: Pass) -> None:
    """Local expectation: g = p (1 - p) (f(b = 1) - f(b = 0)), by the flip of each unit in turn.

    A flip adds or takes away a row of weights; above, the few units that it turns over do. `other.p` is room
    for the margins.
    """
    _margins(net, batch.u, sampled, other.p)
    before = [*other.p, sampled.z]
    last, widest, classes = len(sampled.p), max([len(biases) for _, biases in net]), sampled.z.shape[1]
    logits, q, unused = (
        np.empty(widest, np.float32),
        np.empty(classes, np.float32),
        np.empty(classes, np.float32),
    )
    turned, change = np.empty(widest, np.int64), np.empty(widest, np.float32)  # units, and by how much
    for layer in range(last):
        p, b = sampled.p[layer], sampled.h[layer]
        for i, label in enumerate(batch.labels):
            for j in range(p.shape[1]):
                turned[0], change[0], count = j, ONE - b[i, j] - b[i, j], 1
                for above in range(layer + 1, last + 1):
                    weights = net[above][0]
                    width = weights.shape[1]
                    for k in range(width):
                        logits[k] = before[above][i, k]
                    for c in range(count):
                        row, by = weights[turned[c]], change[c]
                        for k in range(width):
                            logits[k] += by * row[k]
                    if above < last:
                        count = 0
                        for k in range(width):
                            now = ONE if logits[k] > ZERO else ZERO
                            if now != sampled.h[above][i, k]:
                                turned[count], change[count] = k, now - sampled.h[above][i, k]
                                count += 1
                flipped = network.loss_and_gradient(logits[:classes], q, label, batch.stable, unused)
                rise = (b[i, j] + b[i, j] - ONE) * (sampled.losses[i] - flipped)
                sampled.through[layer][i, j] = p[i, j] * (ONE - p[i, j]) * rise


@compiled
def _descend(parameter: np.ndarray, gradient: np.ndarray, rate: np.float32) -> None:
    for j in range(len(parameter)):
        parameter[j] -= rate * gradient[j]


@compiled
def _backward(
    net: Parameters, unit: Unit, rate: np.float32, u: np.ndarray, moments: np.ndarray, out: Pass,
    gradients: list[np.ndarray], delta: np.ndarray, low: int,
) -> None:  # fmt: skip
    """Take one SGD step with a net's parameters after the first weights, and add these' to `delta`.

    Args:
        out: its last gradient is given, the others are filled, but for an estimator of several passes.
        gradients: for each layer, room for its weights' gradient, [in, out].
        delta: [B, R * H], the steps with respect to the first layers' products; this net's from column `low`.
    """
    for layer in range(len(out.p), -1, -1):
        weights, biases = net[layer]
        upstream = out.through[layer]
        _descend(biases, upstream.sum(0), rate)
        if layer > 0:
            if unit.estimator in units.SAMPLER_CODES:
                np.dot(upstream, weights.T, out.through[layer - 1])
            np.dot(out.h[layer - 1].T, upstream, gradients[layer])
            _descend(weights.reshape(weights.size), gradients[layer].reshape(weights.size), rate)
            if unit.estimator not in units.SEVERAL_CODES:
                through_units(unit, layer - 1, u, moments, out)
    through = out.through[0]
    for i in range(len(through)):
        for j in range(through.shape[1]):
            delta[i, low + j] -= rate * through[i, j]


@compiled
def train(
    nets: Nets, options: Options, examples: Examples, order: np.ndarray, noise: np.ndarray,
    second: np.ndarray, step: int,
) -> np.ndarray:  # fmt: skip
    """Train nets on some mini-batches, changing them in place.

    Args:
        order: [steps, B], the examples of each mini-batch.
        noise: uniform on [0, 1), [steps, B, S].
        second: that of leave-one-out's other sample; empty for the others.
        step: number of the first mini-batch.

    Returns:
        Sum over the mini-batches of the accuracy before each step, [R].
    """
    widths, estimator = nets.widths, options.estimator
    width, count, pixels = widths[0], len(nets.upper), np.arange(len(nets.first))
    parameters = [network.layers(nets.upper[i], widths) for i in range(count)]
    gradients = [np.empty(weights.shape, np.float32) for weights, _ in parameters[0]]
    sampled, other = network.room(order.shape[1], widths), network.room(order.shape[1], widths)
    products = np.empty((order.shape[1], count * width), np.float32)
    delta, summed = np.empty_like(products), np.zeros(count)
    for t in range(len(order)):
        u, batch = noise[t], Batch(noise[t], examples.labels[order[t]], options.stable)
        products[:], delta[:] = 0, 0
        add_product(order[t], examples.images, nets.first, products)
        for i in range(count):
            net, moments, rate, low = parameters[i], nets.moments[i], options.rate[i], i * width
            unit = Unit(estimator, options.slope[i], options.stochastic[i])
            network.forward(products, low, net, u, unit, sampled)
            summed[i] += losses_and_gradients(sampled, batch) / len(u)
            if nets.diverged[i] < 0 and not np.isfinite(np.sum(sampled.losses)):
                nets.diverged[i] = step + t
            if estimator == LEAVE_ONE_OUT:
                network.forward(products, low, net, second[t], SAMPLED, other)
                losses_and_gradients(other, batch)
                _leave_one_out(sampled, other)
            elif estimator == MUPROP:
                network.forward(products, low, net, u, MEAN, other)
                losses_and_gradients(other, batch)
                _muprop(net, u, moments, sampled, other)
            elif estimator == REBAR:
                _rebar(net, batch, moments, sampled, other)
            elif estimator == ARM or estimator == DISARM:
                _antithetic(estimator, net, batch, sampled, other)
            elif estimator == LOCAL_EXPECTATION:
                _local_expectation(net, batch, sampled, other)
            elif estimator in units.SEVERAL_CODES:
                raise ValueError("no estimator of several passes has this code")
            _backward(net, unit, rate, u, moments, sampled, gradients, delta, low)
            if estimator == LEAVE_ONE_OUT:
                _backward(net, unit, rate, u, moments, other, gradients, delta, low)
        add_product(pixels, columns(order[t], examples.images, len(pixels)), delta, nets.first)
    return summed
