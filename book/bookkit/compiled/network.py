"""Many small classifiers side by side: parameters, forward pass, loss, training.

R nets of the same shape share mini-batches and noise, so that their first layers are one wide
matrix. All here is compiled by Numba, with gradients by hand; the tests hold them to
`bsn.estimators`, to TensorFlow's automatic differentiation and to NumPy. Shapes: batch B, inputs D,
widths of the hidden layers H (their sum: S), classes C. A net does not depend on the others.
"""

import math

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot below; loaded before its threads are limited

from bookkit.compiled.jit import compiled
from bookkit.compiled.sparse import add_transposed_product, columns, product
from bookkit.compiled.units import CONCRETE, ONE, REINFORCE, SIGMOID_ADJUSTED, ZERO, fire, through_units

EVALUATED_TOGETHER = 250  # images
TINY = np.finfo(np.float32).tiny


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
def multiply(h, upper, at, out):
    """out = h times the weights that begin at `at`; where they end."""
    end = at + h.shape[1] * out.shape[1]
    np.dot(h, upper[at:end].reshape(h.shape[1], out.shape[1]), out)
    return end


@compiled
def forward(products, low, upper, u, slope, stochastic, estimator, widths, p, h, z):
    """One net's forward pass: fills p and h, lists of [B, H] for the hidden layers, and z [B, C].

    Args:
        products: [B, R * H], the images times the first weights; this net's begin at column `low`.
        upper: [P], see `side_by_side`; u: noise [B, S].
        widths: those of the hidden layers, then C.
    """
    for i in range(len(products)):
        for j in range(widths[0]):
            p[0][i, j] = products[i, low + j]
        bias, noise = upper[: widths[0]], u[i, : widths[0]]
        fire(p[0][i], bias, noise, slope, stochastic, estimator, h[0][i])
    rest(0, upper, u, slope, stochastic, estimator, widths, p, h, z)


@compiled
def rest(layer, upper, u, slope, stochastic, estimator, widths, p, h, z):
    """The forward pass above a hidden layer whose outputs h[layer] are given; see `forward`."""
    at, unit = widths[0], widths[0]
    for below in range(layer):
        at += (widths[below] + 1) * widths[below + 1]
        unit += widths[below + 1]
    for above in range(layer + 1, len(p)):
        width = widths[above]
        at = multiply(h[above - 1], upper, at, p[above])
        bias = upper[at : at + width]
        for i in range(len(z)):
            noise = u[i, unit : unit + width]
            fire(p[above][i], bias, noise, slope, stochastic, estimator, h[above][i])
        at += width
        unit += width
    at = multiply(h[-1], upper, at, z)
    for i in range(len(z)):
        for k in range(z.shape[1]):
            z[i, k] += upper[at + k]


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
def losses_and_gradients(z, labels, chosen, stable, q, losses, gradients):
    """`loss_and_gradient` of each image, with q as room for a softmax; how many are answered rightly."""
    right = 0
    for i in range(len(z)):
        label = labels[chosen[i]]
        softmax(z[i], q)
        right += best(q) == label
        losses[i] = loss_and_gradient(z[i], q, label, stable, gradients[i])
    return right


@compiled
def _descend(parameter, gradient, rate):
    for j in range(len(parameter)):
        parameter[j] -= rate * gradient[j]


@compiled
def backward(
    upper, moments, slope, stochastic, rate, estimator, u, p, h, losses, through, products
):  # fmt: skip
    """Take one SGD step with a net's parameters after the first weights.

    Args:
        upper, u, p, h: as in `forward`; moments, losses: as in `units.through_units`.
        through: for each layer, room for the gradient in its logits, [B, width]; the last is
            given, the others are filled, but for an estimator of several passes.
        products: for each layer after the first, room for its weights' gradient, [in, out].
    """
    end, unit = len(upper), u.shape[1]
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
            if estimator < REINFORCE:  # a sampler
                np.dot(upstream, weights.reshape(below.shape[1], width).T, through[layer - 1])
            np.dot(below.T, upstream, products[layer - 1])
            _descend(weights, products[layer - 1].reshape(len(weights)), rate)
            end, unit = start, unit - below.shape[1]
            through_units(
                estimator,
                through[layer - 1],
                slope,
                stochastic,
                u,
                p[layer - 1],
                below,
                losses,
                moments,
                unit,
            )


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
            low = net * width
            forward(
                products, low, upper[net], noise[t], slope[net], stochastic[net], estimator, widths, p, h, z
            )
            right = losses_and_gradients(z, labels, order[t], stable, q, losses, through[-1])
            summed[net] += right / batch
            if diverged[net] < 0 and not np.isfinite(np.sum(losses)):
                diverged[net] = step + t
            backward(
                upper[net], moments[net], slope[net], stochastic[net], rate[net], estimator, noise[t],
                p, h, losses, through, gradients,
            )  # fmt: skip
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
    if estimator == CONCRETE:
        estimator = SIGMOID_ADJUSTED  # relaxed in training alone
    for low in range(0, examples, EVALUATED_TOGETHER):
        chosen = np.arange(low, min(low + EVALUATED_TOGETHER, examples))
        p = [np.empty((len(chosen), w), np.float32) for w in widths[:-1]]
        h = [np.empty((len(chosen), w), np.float32) for w in widths[:-1]]
        z = np.empty((len(chosen), widths[last]), np.float32)
        products = np.empty((len(chosen), first.shape[1]), np.float32)
        product(chosen, images, first, products)
        for net in range(nets):
            forward(
                products, net * width, upper[net], noise[low : low + len(chosen)], slope[net],
                stochastic[net], estimator, widths, p, h, z,
            )  # fmt: skip
            for i in range(len(chosen)):
                softmax(z[i], q)
                right[net] += best(q) == labels[chosen[i]]
    return right / examples
