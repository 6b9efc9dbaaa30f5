"""Many small classifiers side by side: parameters, forward pass, loss, training.

R nets of the same shape share mini-batches and noise, so that their first layers are one wide
matrix. All here is compiled by Numba, with gradients by hand; the tests compare them with
`bsn.estimators`, with TensorFlow's automatic differentiation and with NumPy. Shapes: batch B, inputs D,
widths of the hidden layers H (their sum: S), classes C. A net does not depend on the others.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot below; loaded before its threads are limited

from bookkit.compiled.jit import compiled
from bookkit.compiled.sparse import Rows, add_transposed_product, columns, product
from bookkit.compiled.units import (
    CONCRETE,
    ONE,
    SAMPLER_CODES,
    SEVERAL_CODES,
    SIGMOID_ADJUSTED,
    ZERO,
    Unit,
    fire,
    through_units,
)

EVALUATED_TOGETHER = 250  # images
TINY = np.finfo(np.float32).tiny

Parameters = list[tuple[np.ndarray, np.ndarray]]  # one net's (W [in, out], b [out]), layer by layer


class Nets(typing.NamedTuple):
    """R nets of one shape: all that training changes.

    Attributes:
        first: [D, R * H], the first layers' weights side by side.
        upper: [R, P], one row per net: the first biases, the next weights, the next biases, and so on.
        moments: [R, 2, S], the baselines' moving averages, numerators and denominators.
        diverged: [R], the step whose loss was first not finite, or -1.
        widths: those of the hidden layers, then the number of classes.
    """

    first: np.ndarray
    upper: np.ndarray
    moments: np.ndarray
    diverged: np.ndarray
    widths: np.ndarray


class Options(typing.NamedTuple):
    """How R nets train or are evaluated.

    Attributes:
        estimator: a code of `units.CODES`.
        stable: see `loss_and_gradient`.
        rate, slope, stochastic: [R], learning rates, slopes, and whether the units sample or round.
    """

    estimator: int
    stable: bool
    rate: np.ndarray
    slope: np.ndarray
    stochastic: np.ndarray


class Examples(typing.NamedTuple):
    """N sparse images and their labels [N]."""

    images: Rows
    labels: np.ndarray


class Pass(typing.NamedTuple):
    """Room for one net's forward and backward pass.

    Attributes:
        p, h: for each hidden layer [B, H], the probabilities and the outputs.
        z: [B, C], the logits of the classes.
        q: [C], a softmax.
        losses: [B].
        through: for each layer, the last included, the gradient with respect to its logits, [B, width].
    """

    p: list[np.ndarray]
    h: list[np.ndarray]
    z: np.ndarray
    q: np.ndarray
    losses: np.ndarray
    through: list[np.ndarray]


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Glorot-uniform initial values, TF1's default; a bias of n units counts as n in and n out."""
    limit = np.sqrt(6 / (shape[0] + shape[-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def initial_parameters(seed: int, widths: Sequence[int], zero_biases: bool = False) -> Parameters:
    """Return one net's initial weights and biases, a function of the seed and of all widths, D to C."""
    parameters = []
    for layer, shape in enumerate(zip(widths[:-1], widths[1:])):
        rng = np.random.Generator(np.random.Philox(key=[seed, layer]))
        weights, biases = glorot_uniform(rng, shape), glorot_uniform(rng, shape[1:])
        parameters.append((weights, np.zeros_like(biases) if zero_biases else biases))
    return parameters


def side_by_side(parameters: Sequence[Parameters]) -> Nets:
    """Return nets of one shape as `Nets` before the first step: numerators 0, denominators 1."""
    first = np.concatenate([net[0][0] for net in parameters], axis=1)
    rows = [[array.ravel() for pair in net for array in pair][1:] for net in parameters]
    upper = np.stack([np.concatenate(row) for row in rows])
    widths = np.array([len(biases) for _, biases in parameters[0]])
    moments = np.zeros((len(rows), 2, widths[:-1].sum()), np.float32)
    moments[:, 1] = 1
    return Nets(first, upper, moments, np.full(len(rows), -1), widths)


@compiled
def room(batch: int, widths: np.ndarray) -> Pass:
    """Allocate a `Pass` for a batch."""
    return Pass(
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        np.empty((batch, widths[-1]), np.float32),
        np.empty(widths[-1], np.float32),
        np.empty(batch, np.float32),
        [np.empty((batch, w), np.float32) for w in widths],
    )


@compiled
def multiply(h: np.ndarray, upper: np.ndarray, at: int, out: np.ndarray) -> int:
    """Fill out with h times the weights that begin at `at`; return where they end."""
    end = at + h.shape[1] * out.shape[1]
    np.dot(h, upper[at:end].reshape(h.shape[1], out.shape[1]), out)
    return end


@compiled
def forward(products: np.ndarray, low: int, upper: np.ndarray, u: np.ndarray, unit: Unit, out: Pass) -> None:
    """Fill out.p, out.h and out.z by one net's forward pass.

    Args:
        products: [B, R * H], the images times the first weights; this net's begin at column `low`.
        upper: [P], the net's row in `Nets`; u: noise [B, S].
    """
    width = out.p[0].shape[1]
    for i in range(len(products)):
        for j in range(width):
            out.p[0][i, j] = products[i, low + j]
        fire(out.p[0][i], upper[:width], u[i, :width], unit, out.h[0][i])
    rest(0, upper, u, unit, out)


@compiled
def rest(layer: int, upper: np.ndarray, u: np.ndarray, unit: Unit, out: Pass) -> None:
    """Do the forward pass above a hidden layer whose outputs out.h[layer] are given; see `forward`."""
    p, h, z = out.p, out.h, out.z
    at = column = p[0].shape[1]
    for above in range(1, layer + 1):
        width = p[above].shape[1]
        at += (p[above - 1].shape[1] + 1) * width
        column += width
    for above in range(layer + 1, len(p)):
        width = p[above].shape[1]
        at = multiply(h[above - 1], upper, at, p[above])
        bias = upper[at : at + width]
        for i in range(len(z)):
            fire(p[above][i], bias, u[i, column : column + width], unit, h[above][i])
        at += width
        column += width
    at = multiply(h[-1], upper, at, z)
    for i in range(len(z)):
        for k in range(z.shape[1]):
            z[i, k] += upper[at + k]


@compiled
def softmax(z: np.ndarray, q: np.ndarray) -> None:
    """Fill q with the softmax of a row of logits; probabilities too small for a normal float become 0."""
    top, total = z[0], ZERO
    for k in range(len(z)):
        if not z[k] <= top:  # NaN gets through
            top = z[k]
    for k in range(len(z)):
        q[k] = np.float32(math.exp(z[k] - top))
        total += q[k]
    for k in range(len(z)):
        q[k] /= total
        if q[k] < TINY:
            q[k] = ZERO


@compiled
def predict(q: np.ndarray) -> int:
    """Return the first of the most probable classes; class 0 if there is NaN, as in TensorFlow."""
    best = 0
    for k in range(len(q)):
        if q[k] > q[best]:
            best = k
    return best


@compiled
def loss_and_gradient(
    z: np.ndarray, q: np.ndarray, label: int, stable: bool, gradient: np.ndarray
) -> np.float32:
    """Return -mean over the classes of y log q, a tenth of the cross-entropy for ten classes (the post).

    Args:
        z, q: a row of logits and their softmax; label: the right class.
        stable: log-softmax in one step. Otherwise the log of the softmax, as in the post, which
            diverges if a probability underflows: 0 * log 0 is NaN, and so is the gradient.
        gradient: [C], filled with the gradient with respect to z.
    """
    classes = np.float32(len(z))
    underflow = False
    for k in range(len(z)):
        y = ONE if k == label else ZERO
        gradient[k] = (q[k] - y) / classes
        underflow |= q[k] == ZERO
    if stable:
        top, total = z[0], ZERO
        for k in range(len(z)):
            top = max(top, z[k])
        for k in range(len(z)):
            total += np.float32(math.exp(z[k] - top))
        return (np.float32(math.log(total)) - (z[label] - top)) / classes
    loss = ZERO
    for k in range(len(z)):
        loss -= (ONE if k == label else ZERO) * np.float32(math.log(q[k]))
    if underflow:
        gradient[:] = np.nan
    return loss / classes


@compiled
def losses_and_gradients(out: Pass, examples: Examples, chosen: np.ndarray, stable: bool) -> int:
    """Fill out.losses and out.through[-1] from out.z; return how many predictions are right."""
    right = 0
    for i in range(len(out.z)):
        label = examples.labels[chosen[i]]
        softmax(out.z[i], out.q)
        right += predict(out.q) == label
        out.losses[i] = loss_and_gradient(out.z[i], out.q, label, stable, out.through[-1][i])
    return right


@compiled
def _descend(parameter: np.ndarray, gradient: np.ndarray, rate: np.float32) -> None:
    for j in range(len(parameter)):
        parameter[j] -= rate * gradient[j]


@compiled
def backward(
    upper: np.ndarray,
    moments: np.ndarray,
    unit: Unit,
    rate: np.float32,
    u: np.ndarray,
    out: Pass,
    products: list[np.ndarray],
) -> None:
    """Take one SGD step with a net's parameters after the first weights.

    Args:
        upper, u: as in `forward`; moments: the net's, [2, S].
        out: its last gradient is given, the others are filled, but for an estimator of several passes.
        products: for each layer after the first, room for its weights' gradient, [in, out].
    """
    through = out.through
    end, column = len(upper), u.shape[1]
    for layer in range(len(out.p), -1, -1):
        upstream = through[layer]
        width = upstream.shape[1]
        sums = np.zeros(width, np.float32)
        for i in range(len(upstream)):
            for j in range(width):
                sums[j] += upstream[i, j]
        _descend(upper[end - width : end], sums, rate)
        end -= width
        if layer > 0:
            below, p = out.h[layer - 1], out.p[layer - 1]
            start = end - below.shape[1] * width
            weights = upper[start:end]
            if unit.estimator in SAMPLER_CODES:
                np.dot(upstream, weights.reshape(below.shape[1], width).T, through[layer - 1])
            np.dot(below.T, upstream, products[layer - 1])
            _descend(weights, products[layer - 1].reshape(len(weights)), rate)
            end, column = start, column - below.shape[1]
            if unit.estimator not in SEVERAL_CODES:
                through_units(unit, through[layer - 1], u, p, below, out.losses, moments, column)


@compiled
def train(
    nets: Nets, options: Options, examples: Examples, order: np.ndarray, noise: np.ndarray, step: int
) -> np.ndarray:
    """Train nets on some mini-batches with an estimator of one pass, changing them in place.

    Args:
        order: [steps, B], the examples of each mini-batch.
        noise: uniform on [0, 1), [steps, B, S].
        step: number of the first mini-batch.

    Returns:
        Sum over the mini-batches of the accuracy before each step, [R].
    """
    steps, batch = order.shape
    first, widths = nets.first, nets.widths
    width, count = widths[0], len(nets.upper)
    out = room(batch, widths)
    gradients = [np.empty((widths[i], widths[i + 1]), np.float32) for i in range(len(widths) - 1)]
    products = np.empty((batch, count * width), np.float32)
    delta, summed = np.empty_like(products), np.zeros(count)
    for t in range(steps):
        product(order[t], examples.images, first, products)
        for net in range(count):
            low, rate, upper = net * width, options.rate[net], nets.upper[net]
            unit = Unit(options.estimator, options.slope[net], options.stochastic[net])
            forward(products, low, upper, noise[t], unit, out)
            summed[net] += losses_and_gradients(out, examples, order[t], options.stable) / batch
            if nets.diverged[net] < 0 and not np.isfinite(np.sum(out.losses)):
                nets.diverged[net] = step + t
            backward(upper, nets.moments[net], unit, rate, noise[t], out, gradients)
            for i in range(batch):
                for j in range(width):
                    delta[i, low + j] = -rate * out.through[0][i, j]
        add_transposed_product(columns(order[t], examples.images, len(first)), delta, first)
    return summed


@compiled
def accuracy(nets: Nets, options: Options, examples: Examples, noise: np.ndarray) -> np.ndarray:
    """Return each net's share of right predictions, [R].

    Args:
        noise: uniform on [0, 1), [N, S].
    """
    count, total, width = len(nets.upper), len(examples.labels), nets.widths[0]
    right = np.zeros(count)
    # relaxed in training alone
    estimator = SIGMOID_ADJUSTED if options.estimator == CONCRETE else options.estimator
    for start in range(0, total, EVALUATED_TOGETHER):
        chosen = np.arange(start, min(start + EVALUATED_TOGETHER, total))
        out = room(len(chosen), nets.widths)
        products = np.empty((len(chosen), nets.first.shape[1]), np.float32)
        product(chosen, examples.images, nets.first, products)
        for net in range(count):
            unit = Unit(estimator, options.slope[net], options.stochastic[net])
            u = noise[start : start + len(chosen)]
            forward(products, net * width, nets.upper[net], u, unit, out)
            for i in range(len(chosen)):
                softmax(out.z[i], out.q)
                right[net] += predict(out.q) == examples.labels[chosen[i]]
    return right / total
