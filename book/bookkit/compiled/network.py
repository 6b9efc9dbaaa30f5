"""Many small classifiers side by side: parameters, forward pass, loss, accuracy.

R nets of the same shape share mini-batches and noise, so that their first layers are one wide
matrix. All here is compiled by Numba, with gradients by hand; the tests compare them with
`bsn.estimators`, with TensorFlow's automatic differentiation and with NumPy. Shapes: batch B, inputs D,
widths of the hidden layers H (their sum: S), classes C. A net does not depend on the others.
"""

import math
import typing
from collections.abc import Sequence

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot below; loaded before its threads are limited

from bookkit.compiled.jit import compiled
from bookkit.compiled.sparse import Sparse, add_product
from bookkit.compiled.units import CONCRETE, ONE, SIGMOID_ADJUSTED, ZERO, Pass, Unit, fire

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

    images: Sparse
    labels: np.ndarray


class Batch(typing.NamedTuple):
    """What a mini-batch's passes share: noise [B, S], labels [B], and `Options.stable`."""

    u: np.ndarray
    labels: np.ndarray
    stable: bool


def side_by_side(parameters: Sequence[Parameters]) -> Nets:
    """Return nets of one shape as `Nets` before the first step: numerators 0, denominators 1."""
    first = np.concatenate([net[0][0] for net in parameters], axis=1)
    upper = [np.concatenate([array.ravel() for pair in net for array in pair][1:]) for net in parameters]
    widths = np.array([len(biases) for _, biases in parameters[0]])
    moments = np.zeros((len(upper), 2, widths[:-1].sum()), np.float32)
    moments[:, 1] = 1
    return Nets(first, np.stack(upper), moments, np.full(len(upper), -1), widths)


@compiled
def layers(row: np.ndarray, widths: np.ndarray) -> Parameters:
    """Return views of one net's row of `Nets.upper`, layer by layer; the first layer's weights are empty."""
    parameters, at, inputs = [], 0, 0
    for width in widths:
        end = at + inputs * width
        parameters.append((row[at:end].reshape(inputs, width), row[end : end + width]))
        at, inputs = end + width, width
    return parameters


@compiled
def room(batch: int, widths: np.ndarray) -> Pass:
    """Allocate a `Pass` for a batch."""
    return Pass(
        np.cumsum(widths) - widths,
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        [np.empty((batch, w), np.float32) for w in widths[:-1]],
        np.empty((batch, widths[-1]), np.float32),
        np.empty(batch, np.float32),
        [np.empty((batch, w), np.float32) for w in widths],
    )


@compiled
def forward(products: np.ndarray, low: int, net: Parameters, u: np.ndarray, unit: Unit, out: Pass) -> None:
    """Fill out.p, out.h and out.z by one net's forward pass.

    Args:
        products: [B, R * H], the images times the first weights; this net's begin at column `low`.
        net: its `layers`; u: noise [B, S].
    """
    out.p[0][:] = products[:, low : low + out.p[0].shape[1]]
    fire(unit, net[0][1], u, 0, out)
    rest(0, net, u, unit, out)


@compiled
def rest(layer: int, net: Parameters, u: np.ndarray, unit: Unit, out: Pass) -> None:
    """Do the forward pass above a hidden layer whose outputs out.h[layer] are given; see `forward`."""
    for above in range(layer + 1, len(out.p)):
        weights, biases = net[above]
        np.dot(out.h[above - 1], weights, out.p[above])
        fire(unit, biases, u, above, out)
    (weights, biases), z = net[-1], out.z
    np.dot(out.h[-1], weights, z)
    z += biases


@compiled
def softmax(z: np.ndarray, q: np.ndarray) -> tuple[np.float32, np.float32]:
    """Fill q with the softmax of a row of logits; probabilities too small for a normal float become 0.

    Returns:
        The greatest logit, and the sum over the classes of exp(z - that), for the log-softmax.
    """
    top, total = np.max(z), ZERO
    for k in range(len(z)):
        q[k] = np.float32(math.exp(z[k] - top))
        total += q[k]
    for k in range(len(z)):
        q[k] /= total
        if q[k] < TINY:
            q[k] = ZERO
    return top, total


@compiled
def loss_and_gradient(
    z: np.ndarray, q: np.ndarray, label: int, stable: bool, gradient: np.ndarray
) -> np.float32:
    """Return -mean over the classes of y log q, a tenth of the cross-entropy for ten classes (the post).

    Args:
        z: a row of logits; label: the right class.
        stable: log-softmax in one step. Otherwise the log of the softmax, as in the post, which
            diverges if a probability underflows: 0 * log 0 is NaN, and so is the gradient.
        q, gradient: [C], filled with the softmax and the gradient with respect to z.
    """
    top, total = softmax(z, q)
    classes = np.float32(len(z))
    underflow = False
    for k in range(len(z)):
        y = ONE if k == label else ZERO
        gradient[k] = (q[k] - y) / classes
        underflow |= q[k] == ZERO
    if stable:
        return (np.float32(math.log(total)) - (z[label] - top)) / classes
    loss = ZERO
    for k in range(len(z)):
        loss -= (ONE if k == label else ZERO) * np.float32(math.log(q[k]))
    if underflow:
        gradient[:] = np.nan
    return loss / classes


@compiled
def losses_and_gradients(out: Pass, batch: Batch) -> int:
    """Fill out.losses and out.through[-1] from out.z; return how many predictions are right.

    NaN predicts class 0, as in TensorFlow.
    """
    right, q = 0, np.empty_like(out.z[0])
    for i, label in enumerate(batch.labels):
        out.losses[i] = loss_and_gradient(out.z[i], q, label, batch.stable, out.through[-1][i])
        right += np.argmax(q) == label
    return right


@compiled
def accuracy(nets: Nets, options: Options, examples: Examples, noise: np.ndarray) -> np.ndarray:
    """Return each net's share of right predictions, [R].

    Args:
        noise: uniform on [0, 1), [N, S].
    """
    count, total = len(nets.upper), len(examples.labels)
    right, q = np.zeros(count), np.empty(nets.widths[-1], np.float32)
    # relaxed in training alone
    estimator = SIGMOID_ADJUSTED if options.estimator == CONCRETE else options.estimator
    for start in range(0, total, EVALUATED_TOGETHER):
        chosen = np.arange(start, min(start + EVALUATED_TOGETHER, total))
        u, out = noise[start : start + len(chosen)], room(len(chosen), nets.widths)
        products = np.zeros((len(chosen), nets.first.shape[1]), np.float32)
        add_product(chosen, examples.images, nets.first, products)
        for net in range(count):
            unit = Unit(estimator, options.slope[net], options.stochastic[net])
            parameters = layers(nets.upper[net], nets.widths)
            forward(products, net * nets.widths[0], parameters, u, unit, out)
            for i in range(len(chosen)):
                softmax(out.z[i], q)
                right[net] += np.argmax(q) == examples.labels[chosen[i]]
    return right / total
