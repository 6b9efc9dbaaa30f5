"""Many small classifiers side by side: parameters, forward pass, loss, training.

R nets of the same shape share mini-batches and noise, so that their first layers are one wide
matrix. All here is compiled by Numba, with gradients by hand; the tests hold them to
`bsn.estimators`, to TensorFlow's automatic differentiation and to NumPy. Shapes: batch B, inputs D,
widths of the hidden layers H (their sum: S), classes C. A net does not depend on the others.
"""

import math

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot below; loaded before its threads are limited

from bsn.compiled import compiled
from bsn.sparse import add_transposed_product, columns, product
from bsn.spec import ESTIMATORS

CODES = {name: code for code, name in enumerate(ESTIMATORS)}
SIGMOID, SIGMOID_ADJUSTED, FIRES_ONLY = CODES["sigmoid"], CODES["sigmoid-adjusted"], CODES["fires-only"]
REINFORCE, VARIANCE_ADJUSTED = CODES["reinforce"], CODES["variance-adjusted"]
EVALUATED_TOGETHER = 250  # images

# typed, as Numba would compute with a Python number in float64
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
TINY = np.finfo(np.float32).tiny
DECAY, FLOOR = np.float32(0.95), np.float32(1e-4)  # as in bsn.estimators; repeated to spare TensorFlow


def glorot_uniform(rng, shape):
    """Glorot-uniform initial values, TF1's default; a bias of n units counts as n in and n out."""
    limit = np.sqrt(6 / (shape[0] + shape[-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def initial_parameters(seed, widths, zero_biases=False):
    """One net's weights and biases, [(W [in, out], b [out]), ...], a function of seed and widths."""
    parameters = []
    for layer, shape in enumerate(zip(widths[:-1], widths[1:])):
        rng = np.random.Generator(np.random.Philox(key=[seed, layer]))
        weights, biases = glorot_uniform(rng, shape), glorot_uniform(rng, shape[1:])
        parameters.append((weights, np.zeros_like(biases) if zero_biases else biases))
    return parameters


def side_by_side(nets):
    """The parameters of R nets as the functions below want them.

    Returns:
        first [D, R * H], the first weights; upper [R, P], a row a net: the first biases, the next
        weights, the next biases, and so on.
    """
    first = np.concatenate([net[0][0] for net in nets], axis=1)
    rows = [[array.ravel() for pair in net for array in pair][1:] for net in nets]
    return first, np.stack([np.concatenate(row) for row in rows])


def initial_moments(nets, units):
    """The baselines' moving averages before the first step, [R, 2, S]: numerators 0, denominators 1."""
    return np.repeat(np.float32([[[0], [1]]]), units, axis=2).repeat(nets, axis=0)


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
def _fire(p, bias, u, slope, stochastic, estimator, h):
    """Units of one image: logits without bias, `p`, become sigmoid(slope (p + bias)), and their output h."""
    for j in range(len(p)):
        p[j] = ONE / (ONE + exp(-slope * (p[j] + bias[j])))
    if estimator == SIGMOID:
        for j in range(len(p)):
            h[j] = p[j]
    elif stochastic:
        for j in range(len(p)):
            h[j] = ONE if u[j] < p[j] else ZERO
    else:
        for j in range(len(p)):
            h[j] = ONE if HALF < p[j] else ZERO


@compiled
def _forward(products, low, upper, u, slope, stochastic, estimator, widths, p, h, z):
    """One net's forward pass: fills p and h, lists of [B, H] for the hidden layers, and z [B, C].

    Args:
        products: [B, R * H], the images times the first weights; this net's begin at column `low`.
        upper: [P], see `side_by_side`; u: noise [B, S].
        widths: those of the hidden layers, then C.
    """
    at, unit = 0, 0
    for layer in range(len(p)):
        width = widths[layer]
        if layer == 0:
            for i in range(len(products)):
                for j in range(width):
                    p[0][i, j] = products[i, low + j]
        else:
            at = _multiply(h[layer - 1], upper, at, p[layer])
        bias = upper[at : at + width]
        for i in range(len(products)):
            noise = u[i, unit : unit + width]
            _fire(p[layer][i], bias, noise, slope, stochastic, estimator, h[layer][i])
        at, unit = at + width, unit + width
    at = _multiply(h[-1], upper, at, z)
    for i in range(len(z)):
        for k in range(z.shape[1]):
            z[i, k] += upper[at + k]


@compiled
def _multiply(h, upper, at, out):
    """out = h times the weights that begin at `at`; where they end."""
    end = at + h.shape[1] * out.shape[1]
    np.dot(h, upper[at:end].reshape(h.shape[1], out.shape[1]), out)
    return end


@compiled
def softmax(z, q):
    """q = softmax of one row of logits, probabilities too small for a normal float flushed to 0."""
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
def best(q):
    """The class answered: the first of the most probable; class 0 where there is NaN, as in TensorFlow."""
    answer = 0
    for k in range(len(q)):
        if q[k] > q[answer]:
            answer = k
    return answer


@compiled
def loss_and_gradient(z, q, label, stable, gradient):
    """-mean over the classes of y log q, a tenth of the cross-entropy for ten classes (the post).

    Args:
        z, q: a row of logits and their softmax; label: the right class.
        stable: log-softmax in one step. Otherwise the log of the softmax, as in the post, which
            breaks where a probability underflows: 0 * log 0 is NaN, and so is the gradient.
        gradient: [C], filled with the gradient in z.
    """
    classes = np.float32(len(z))
    broken = False
    for k in range(len(z)):
        y = ONE if k == label else ZERO
        gradient[k] = (q[k] - y) / classes
        broken |= q[k] == ZERO
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
    if broken:
        gradient[:] = np.nan
    return loss / classes


@compiled
def _through(estimator, upstream, slope, p, h, losses, moments, unit):
    """Turn the gradient in a hidden layer's output, [B, H], into that in its logits, in place.

    The score-function estimators take `losses` [B] instead. moments: [2, S], the baselines'
    numerators and denominators, brought up to date from column `unit` on.
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
    elif estimator == REINFORCE:
        for i in range(batch):
            for j in range(width):
                upstream[i, j] = (h[i, j] - p[i, j]) * losses[i]
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


@compiled
def _descend(parameter, gradient, rate):
    for j in range(len(parameter)):
        parameter[j] -= rate * gradient[j]


@compiled
def _backward(upper, moments, slope, rate, estimator, p, h, losses, through, products):
    """Take one SGD step with a net's parameters after the first weights.

    Args:
        upper, p, h: as in `_forward`; moments, losses: as in `_through`.
        through: for each layer, room for the gradient in its logits, [B, width]; the last is
            given, the others are filled.
        products: for each layer after the first, room for its weights' gradient, [in, out].
    """
    end, unit = len(upper), moments.shape[1]
    for layer in range(len(p), -1, -1):
        upstream = through[layer]
        width = upstream.shape[1]
        sums = np.zeros(width, np.float32)
        for i in range(len(upstream)):
            for j in range(width):
                sums[j] += upstream[i, j]
        _descend(upper[end - width : end], sums, rate)
        end -= width
        if layer > 0:
            below = h[layer - 1]
            start = end - below.shape[1] * width
            weights = upper[start:end]
            if estimator != REINFORCE and estimator != VARIANCE_ADJUSTED:
                np.dot(upstream, weights.reshape(below.shape[1], width).T, through[layer - 1])
            np.dot(below.T, upstream, products[layer - 1])
            _descend(weights, products[layer - 1].reshape(len(weights)), rate)
            end, unit = start, unit - below.shape[1]
            _through(estimator, through[layer - 1], slope, p[layer - 1], below, losses, moments, unit)


@compiled
def train(
    first, upper, moments, diverged, images, labels, order, noise, slope, stochastic, rate, estimator, stable,
    widths, step,
):  # fmt: skip
    """Train R nets on some mini-batches, changing their parameters in place.

    Args:
        first, upper: as from `side_by_side`; moments: [R, 2, S]; diverged: [R], the step whose loss
            was first not finite or -1.
        images: `sparse.Rows`; labels: [N]; order: [steps, B], the images of each mini-batch.
        noise: uniform on [0, 1), [steps, B, S].
        slope, stochastic, rate: [R]; estimator: one of `CODES`; stable: as in `loss_and_gradient`.
        widths: those of the hidden layers, then the number of classes.
        step: number of the first mini-batch.

    Returns:
        Sum over the mini-batches of the accuracy before each step, [R].
    """
    steps, batch = order.shape
    nets, width, classes = len(upper), widths[0], widths[-1]
    p = [np.empty((batch, w), np.float32) for w in widths[:-1]]
    h = [np.empty((batch, w), np.float32) for w in widths[:-1]]
    through = [np.empty((batch, w), np.float32) for w in widths]
    gradients = [np.empty((widths[i], widths[i + 1]), np.float32) for i in range(len(widths) - 1)]
    z, q = np.empty((batch, classes), np.float32), np.empty(classes, np.float32)
    products, losses = np.empty((batch, nets * width), np.float32), np.empty(batch, np.float32)
    delta, summed = np.empty_like(products), np.zeros(nets)
    for t in range(steps):
        product(order[t], images, first, products)
        for net in range(nets):
            low, right = net * width, 0
            _forward(
                products, low, upper[net], noise[t], slope[net], stochastic[net], estimator, widths, p, h, z
            )
            for i in range(batch):
                label = labels[order[t, i]]
                softmax(z[i], q)
                right += best(q) == label
                losses[i] = loss_and_gradient(z[i], q, label, stable, through[-1][i])
            summed[net] += right / batch
            if diverged[net] < 0 and not np.isfinite(np.sum(losses)):
                diverged[net] = step + t
            _backward(
                upper[net], moments[net], slope[net], rate[net], estimator, p, h, losses, through, gradients
            )
            for i in range(batch):
                for j in range(width):
                    delta[i, low + j] = -rate[net] * through[0][i, j]
        add_transposed_product(columns(order[t], images, len(first)), delta, first)
    return summed


@compiled
def accuracy(first, upper, images, labels, noise, slope, stochastic, estimator, widths):
    """Share of right answers of each net, [R]; arguments as for `train`, noise [N, S]."""
    examples, nets, width, last = len(labels), len(upper), widths[0], len(widths) - 1
    right, q = np.zeros(nets), np.empty(widths[last], np.float32)
    for low in range(0, examples, EVALUATED_TOGETHER):
        chosen = np.arange(low, min(low + EVALUATED_TOGETHER, examples))
        p = [np.empty((len(chosen), w), np.float32) for w in widths[:-1]]
        h = [np.empty((len(chosen), w), np.float32) for w in widths[:-1]]
        z = np.empty((len(chosen), widths[last]), np.float32)
        products = np.empty((len(chosen), first.shape[1]), np.float32)
        product(chosen, images, first, products)
        for net in range(nets):
            _forward(
                products, net * width, upper[net], noise[low : low + len(chosen)], slope[net],
                stochastic[net], estimator, widths, p, h, z,
            )  # fmt: skip
            for i in range(len(chosen)):
                softmax(z[i], q)
                right[net] += best(q) == labels[chosen[i]]
    return right / examples
