"""Training steps and evaluations of nets side by side, by hand and in one pass.

R nets of the same shape share mini-batches and noise, so that their first layers are one wide matrix. What an
estimator does to a layer of units is its rule in `bsn.estimators.ESTIMATORS`; here are the products around
it. Shapes: batch B, inputs D, widths of the hidden layers H (their sum: S), classes C. A net does not depend
on the others.
"""

import math
import typing

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot below; loaded before its threads are limited

from bookkit.compiled.jit import compiled
from bookkit.compiled.sparse import Sparse, add_product, columns
from bsn.estimators.score_function import decayed, squared_score, variance_baseline
from bsn.training import Layers

EVALUATED_TOGETHER = 250  # images
TINY = np.finfo(np.float32).tiny
LOG_TINY = np.log(TINY)
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)  # else Numba would compute in float64
NOTHING, MEAN_LOSS, MOMENTS = range(3)  # what a rule subtracts from the losses

_decayed, _squared_score = compiled(decayed), compiled(squared_score)
_variance_baseline = compiled(variance_baseline)


class Nets(typing.NamedTuple):
    """R nets of one shape: all that training changes."""

    first: np.ndarray  # [D, R * H], the first layers' weights side by side
    upper: np.ndarray  # [R, P], a net's first biases, next weights, next biases, and so on
    moments: np.ndarray  # [R, 2, S], moving averages; of the mean loss in each layer's first column alone
    diverged: np.ndarray  # [R], the step whose loss was first not finite, or -1
    widths: np.ndarray  # those of the hidden layers, then the number of classes


class Options(typing.NamedTuple):
    """How R nets train or are evaluated."""

    means: bool  # whether units output their probability, and never sample
    scored: bool  # whether the rule takes the losses, not the gradient from above
    baseline: int  # NOTHING, MEAN_LOSS or MOMENTS
    stable: bool  # see `loss_and_gradient`
    rate: np.ndarray  # [R], learning rates
    slope: np.ndarray  # [R]
    stochastic: np.ndarray  # [R], whether the units sample or round


class Examples(typing.NamedTuple):
    """N sparse images and their labels [N]."""

    images: Sparse
    labels: np.ndarray


class Pass(typing.NamedTuple):
    """Room for one net's forward and backward pass."""

    at: np.ndarray  # for each layer, where its columns begin in the noise and the moments
    p: list[np.ndarray]  # for each hidden layer [B, H], the probabilities of 1
    q: list[np.ndarray]  # and of 0
    h: list[np.ndarray]  # and the outputs
    z: np.ndarray  # [B, C], the logits of the classes
    losses: np.ndarray  # [B]
    through: list[np.ndarray]  # for each layer, the gradient with respect to its logits, [B, width]


def side_by_side(layers: Layers, nets: int) -> Nets:
    """Return R nets that begin with the same layers, before the first step: numerators 0, denominators 1."""
    first = np.tile(layers[0][0], nets)
    upper = np.concatenate([array.ravel() for pair in layers for array in pair][1:])
    widths = np.array([len(biases) for _, biases in layers])
    moments = np.zeros((nets, 2, widths[:-1].sum()), np.float32)
    moments[:, 1] = 1
    return Nets(first, np.tile(upper, (nets, 1)), moments, np.full(nets, -1), widths)


def net(nets: Nets, i: int) -> Layers:
    """Return net i's layers, [(weights, biases), ...], as views."""
    (_, biases), *upper = layers_of(nets.upper[i], nets.widths)
    return [(nets.first[:, i * len(biases) : (i + 1) * len(biases)], biases), *upper]


@compiled
def layers_of(row: np.ndarray, widths: np.ndarray) -> Layers:
    """Return views of one net's row of `Nets.upper`, layer by layer; the first layer's weights are empty."""
    layers, at, inputs = [], 0, 0
    for width in widths:
        end = at + inputs * width
        layers.append((row[at:end].reshape(inputs, width), row[end : end + width]))
        at, inputs = end + width, width
    return layers


@compiled
def room(batch: int, widths: np.ndarray) -> Pass:
    """Allocate a `Pass` for a batch."""
    return Pass(
        np.cumsum(widths) - widths,
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        np.empty((batch, widths[-1]), np.float32),
        np.empty(batch, np.float32),
        [np.empty((batch, w), np.float32) for w in widths],
    )


@compiled
def exp(x: np.float32) -> np.float32:
    """e ** x to one part in 10 ** 7 (Cephes' expf), for x within +-87.3, in a form that LLVM vectorises."""
    x = min(max(x, np.float32(-87.3)), np.float32(87.3))  # sigmoids are normal floats: others are slow
    n = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    y = ((y * r + np.float32(8.3334519073e-3)) * r + np.float32(4.1665795894e-2)) * r
    y = ((y + np.float32(1.6666665459e-1)) * r + HALF) * (r * r) + r + ONE
    return y * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def fire(
    means: bool, slope: np.float32, stochastic: bool, biases: np.ndarray, u: np.ndarray, layer: int, out: Pass
) -> None:
    """Turn out.p[layer], logits without bias, into sigmoid(slope (logit + bias)); fill out.q and out.h."""
    at = out.at[layer]
    for i in range(len(out.p[layer])):
        p, q, h = out.p[layer][i], out.q[layer][i], out.h[layer][i]
        noise = u[i, at : at + len(biases)]
        for j in range(len(p)):
            odds = exp(-slope * (p[j] + biases[j]))  # of 0 against 1
            p[j] = ONE / (ONE + odds)
            q[j] = odds * p[j]
        if means:
            h[:] = p
        elif stochastic:
            for j in range(len(p)):
                h[j] = ONE if noise[j] < p[j] else ZERO
        else:
            for j in range(len(p)):
                h[j] = ONE if HALF < p[j] else ZERO


@compiled
def forward(
    products: np.ndarray, low: int, layers: Layers, u: np.ndarray, means: bool, slope: np.float32,
    stochastic: bool, out: Pass,
) -> None:  # fmt: skip
    """Fill out.p, out.q, out.h and out.z by one net's forward pass.

    Args:
        products: [B, R * H], the images times the first weights; this net's begin at column `low`.
        layers: the net's, by `layers_of`; u: noise [B, S].
    """
    for i in range(len(products)):
        out.p[0][i][:] = products[i][low : low + out.p[0].shape[1]]
    for layer in range(len(out.p)):
        weights, biases = layers[layer]
        if layer > 0:
            np.dot(out.h[layer - 1], weights, out.p[layer])
        fire(means, slope, stochastic, biases, u, layer, out)
    (weights, biases), z = layers[-1], out.z
    np.dot(out.h[-1], weights, z)
    z += biases


@compiled
def loss_and_gradient(
    z: np.ndarray, q: np.ndarray, label: int, stable: bool, gradient: np.ndarray
) -> np.float32:
    """Return `bsn.training.cross_entropy` of a row of logits, or its `log_of_softmax` if it is not stable.

    Args:
        z: a row of logits; label: the right class.
        q, gradient: [C], filled with the softmax and the gradient with respect to z. Probabilities too small
            for a normal float become 0.
    """
    top, total, classes, underflow = np.max(z), ZERO, np.float32(len(z)), False
    for k in range(len(z)):
        # the result would not be a normal float, and takes long
        q[k] = ZERO if z[k] - top < LOG_TINY else np.float32(math.exp(z[k] - top))
        total += q[k]
    for k in range(len(z)):
        q[k] /= total
        if q[k] < TINY:
            q[k], underflow = ZERO, True
        gradient[k] = (q[k] - (ONE if k == label else ZERO)) / classes
    if underflow and not stable:
        gradient[:] = np.nan
        return np.float32(np.nan)
    return (np.float32(math.log(total)) - (z[label] - top)) / classes


@compiled
def prediction(z: np.ndarray) -> int:
    """Return the likeliest class by a row of logits; 0, as in TensorFlow, if its softmax is NaN."""
    return int(np.argmax(z)) if np.isfinite(np.max(z)) else 0


@compiled
def losses_and_gradients(out: Pass, labels: np.ndarray, stable: bool) -> int:
    """Fill out.losses and out.through[-1] from out.z; return how many predictions are right."""
    right, q = 0, np.empty_like(out.z[0])
    for i, label in enumerate(labels):
        out.losses[i] = loss_and_gradient(out.z[i], q, label, stable, out.through[-1][i])
        right += prediction(out.z[i]) == label
    return right


@compiled
def baselines(kind: int, layer: int, moments: np.ndarray, out: Pass) -> np.ndarray:
    """Return what each unit of a layer subtracts from the losses, [H], and update its `moments`, [2, H]."""
    p, q, h = out.p[layer], out.q[layer], out.h[layer]
    subtracted = np.zeros(p.shape[1], np.float32)
    if kind == MEAN_LOSS:
        subtracted[:] = moments[0, 0]
        moments[0, 0] = _decayed(moments[0, 0], np.mean(out.losses))
    elif kind == MOMENTS:
        sums = np.zeros((2, p.shape[1]), np.float32)
        for i in range(len(p)):
            for j in range(p.shape[1]):
                square = _squared_score(p[i, j], q[i, j], h[i, j])
                sums[0, j] += square * out.losses[i]
                sums[1, j] += square
        for j in range(p.shape[1]):
            moments[0, j] = _decayed(moments[0, j], sums[0, j] / len(p))
            moments[1, j] = _decayed(moments[1, j], sums[1, j] / len(p))
            subtracted[j] = _variance_baseline(moments[0, j], moments[1, j])
    return subtracted


@compiled
def sum_of_rows(rows: np.ndarray) -> np.ndarray:
    total = np.zeros_like(rows[0])  # Numba's own sum over an axis is five times slower
    for i in range(len(rows)):
        for j in range(len(total)):
            total[j] += rows[i][j]
    return total


@compiled
def descend(parameter: np.ndarray, gradient: np.ndarray, rate: np.float32) -> None:
    for j in range(len(parameter)):
        parameter[j] -= rate * gradient[j]


@compiled
def train(
    nets: Nets, options: Options, rule: typing.Any, examples: Examples, order: np.ndarray, noise: np.ndarray,
    step: int,
) -> np.ndarray:  # fmt: skip
    """Train nets on some mini-batches, changing them in place.

    Args:
        rule: see `bookkit.compiled.nets.row_rule`.
        order: [steps, B], the examples of each mini-batch.
        noise: uniform on [0, 1), [steps, B, S].
        step: number of the first mini-batch.

    Returns:
        How many predictions were right before each step, summed over the mini-batches, [R].
    """
    widths, count = nets.widths, len(nets.upper)
    width, pixels = widths[0], np.arange(len(nets.first))
    layers_of_nets = [layers_of(nets.upper[i], widths) for i in range(count)]
    gradients = [np.empty(weights.shape, np.float32) for weights, _ in layers_of_nets[0]]
    out = room(order.shape[1], widths)
    products = np.empty((order.shape[1], count * width), np.float32)
    delta, right = np.empty_like(products), np.zeros(count, np.int64)
    for t in range(len(order)):
        products[:], delta[:] = 0, 0
        add_product(order[t], examples.images, nets.first, products)
        for i in range(count):
            layers, rate, slope, low = layers_of_nets[i], options.rate[i], options.slope[i], i * width
            forward(products, low, layers, noise[t], options.means, slope, options.stochastic[i], out)
            right[i] += losses_and_gradients(out, examples.labels[order[t]], options.stable)
            if nets.diverged[i] < 0 and not np.isfinite(np.sum(out.losses)):
                nets.diverged[i] = step + t
            for layer in range(len(out.p), -1, -1):
                weights, biases = layers[layer]
                upstream = out.through[layer]
                descend(biases, sum_of_rows(upstream), rate)
                if layer > 0:
                    below, at = layer - 1, out.at[layer - 1]
                    if not options.scored:
                        np.dot(upstream, weights.T, out.through[below])
                    np.dot(out.h[below].T, upstream, gradients[layer])
                    descend(weights.reshape(weights.size), gradients[layer].reshape(weights.size), rate)
                    moments = nets.moments[i][:, at : at + widths[below]]
                    subtracted = baselines(options.baseline, below, moments, out)
                    for k in range(len(out.losses)):
                        rule(
                            out.through[below][k], out.p[below][k], out.q[below][k], out.h[below][k], slope,
                            out.losses[k], subtracted,
                        )  # fmt: skip
            for k in range(len(delta)):
                descend(delta[k][low : low + width], out.through[0][k], rate)
        add_product(pixels, columns(order[t], examples.images, len(pixels)), delta, nets.first)
    return right


@compiled
def evaluate(nets: Nets, options: Options, examples: Examples, noise: np.ndarray) -> np.ndarray:
    """Return how many predictions of each net are right, of the first N examples, [R].

    Args:
        noise: uniform on [0, 1), [N, S].
    """
    count, total = len(nets.upper), len(noise)
    right = np.zeros(count, np.int64)
    for start in range(0, total, EVALUATED_TOGETHER):
        chosen = np.arange(start, min(start + EVALUATED_TOGETHER, total))
        u, out = noise[start : start + len(chosen)], room(len(chosen), nets.widths)
        products = np.zeros((len(chosen), nets.first.shape[1]), np.float32)
        add_product(chosen, examples.images, nets.first, products)
        for i in range(count):
            layers, low = layers_of(nets.upper[i], nets.widths), i * nets.widths[0]
            forward(products, low, layers, u, options.means, options.slope[i], options.stochastic[i], out)
            for row in range(len(chosen)):
                right[i] += prediction(out.z[row]) == examples.labels[chosen[row]]
    return right
