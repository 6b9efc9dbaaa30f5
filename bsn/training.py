"""A classifier with binary units, and how it is trained: the net, the loss, the step.

A net is a stack of layers of binary units under a softmax, as in the post. The functions are described for
one net and one mini-batch; arrays with a leading axis of nets, [R, ...], and biases [R, 1, out], make it R
nets side by side (`bsn.curves`).
Shapes: batch B, inputs D, units of a hidden layer H, classes C.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bsn.backend import Tensor, tf
from bsn.estimators import ESTIMATORS, concrete, gradient, relax, sample, sigmoid, tied, variance_gradient

Layers = list[tuple[Any, Any]]  # (weights [in, out], biases [out]), from the images up
Function = Callable[..., Tensor]

DRAWS = 10  # Gumbel-Rao's K
SURROGATE_UNITS = 10  # RELAX's


def init(generators: Sequence[np.random.Generator], widths: Sequence[int]) -> Layers:
    """Return a net's weights and biases before training: Glorot-uniform, TF1's default for both.

    Args:
        generators: one for each layer.
        widths: D, those of the hidden layers, C.
    """
    layers = []
    for rng, inputs, outputs in zip(generators, widths[:-1], widths[1:]):
        limit = (6 / (inputs + outputs)) ** 0.5
        weights = rng.uniform(-limit, limit, [inputs, outputs])
        limit = (6 / (outputs + outputs)) ** 0.5
        biases = rng.uniform(-limit, limit, [outputs])
        layers.append((weights.astype("float32"), biases.astype("float32")))
    return layers


def forward(layers: Layers, x: Tensor, noise: Sequence[Tensor], unit: Function) -> Tensor:
    """Return the logits of the classes, [..., B, C].

    Args:
        layers: all, or those above a hidden layer.
        x: the images [B, D], or the outputs of that hidden layer, [..., B, H].
        noise: for each hidden layer among `layers`, uniform, [B, H].
        unit: (logits, noise) -> outputs, such as `bsn.estimators.sample`.
    """
    for (weights, biases), u in zip(layers, noise):
        x = unit(tf.matmul(x, weights) + biases, u)
    weights, biases = layers[-1]
    return tf.matmul(x, weights) + biases


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return -mean over the classes of y log q, [..., B], as the post does.

    With ten classes this is a tenth of the cross-entropy.

    Args:
        logits: of the classes, [..., B, C].
        y: labels, [B].
    """
    y = tf.broadcast_to(y, tf.shape(logits)[:-1])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits) / logits.shape[-1]


def log_of_softmax(logits: Tensor, y: Tensor) -> Tensor:
    """Return `cross_entropy` as the post computes it: NaN, like its gradient, if a probability underflows.

    The post's y log q is then 0 times log 0.
    """
    underflow = tf.reduce_any(tf.nn.softmax(logits) < np.finfo("float32").tiny, axis=-1)
    return cross_entropy(logits, y) * tf.where(underflow, np.float32("nan"), np.float32(1))


def train_step(
    layers: Layers, states: list[Any], x: Tensor, y: Tensor, noise: Sequence[Tensor], rate: Any,
    unit: Function = sample, estimate: Function | None = None, loss: Function = cross_entropy,
) -> tuple[Layers, list[Any], Tensor, Tensor]:  # fmt: skip
    """Take one step of gradient descent on the loss, summed over the batch.

    Args:
        states: what `estimate` keeps for each hidden layer.
        x, y: images [B, D] and labels [B].
        noise: for each hidden layer, uniform, [B, H].
        rate: the learning rate.
        unit: (logits, noise) -> outputs. If it is a sampler, such as `bsn.estimators.sigmoid_adjusted`, the
            gradient flows back through its outputs.
        estimate: needed if no gradient flows through `unit`: (f, inputs, logits, noise, state) -> (the
            gradient with respect to a layer's logits, its new state). Here f(outputs) is the loss of the
            rest of the net from that layer's outputs on, with the same noise; f(outputs, unit) is this loss
            with other units above.
        loss: (logits of the classes, labels) -> [B].

    Returns:
        The layers and states after the step; the losses [B] and the logits of the classes before it.
    """
    h, objective, states = x, 0.0, list(states)
    with tf.GradientTape() as tape:
        tape.watch(layers)
        for i, ((weights, biases), u) in enumerate(zip(layers, noise)):
            a = tf.matmul(h, weights) + biases
            if estimate:
                above = layers[i + 1 :], noise[i + 1 :]

                def f(b: Tensor, unit: Function = unit, above: Any = above) -> Tensor:
                    return loss(forward(above[0], b, above[1], unit), y)

                with tape.stop_recording():
                    g, states[i] = estimate(f, h, a, u, states[i])
                objective += tf.reduce_sum(g * a)
            h = unit(a, u)
        logits = forward(layers[-1:], h, [], unit)
        losses = loss(logits, y)
        objective += tf.reduce_sum(losses)
    return descend(layers, tape.gradient(objective, layers), rate), states, losses, logits


def descend(parameters: Any, gradients: Any, rate: Any) -> Any:
    """Return parameters after a step against their gradients."""
    return tf.nest.map_structure(lambda p, g: p - rate * g, parameters, gradients)


def behaviour(
    estimator: str, slope: Any, rate: Any, temperature: float = 0.5
) -> tuple[Function, Function | None]:
    """Return the arguments `unit` and `estimate` of `train_step` for the estimator of that name.

    Args:
        estimator: a name in `bsn.estimators.ESTIMATORS`.
        slope: s > 0 in sigmoid(s a), for a sampler.
        rate: the learning rate for whatever an estimator leaves to its caller: NVIL's baseline and RELAX's
            surrogate. All others ignore it.
        temperature: of a relaxed estimator.
    """
    entry = ESTIMATORS[estimator]
    relaxed = {"temperature": temperature} if "temperature" in entry.options else {}

    def unit(a: Tensor, u: Tensor) -> Tensor:
        if entry.kind == "sampler":
            return entry.function(a, further_noise(estimator, slope * a, u), slope, **relaxed)
        return sample(a, u[0] if entry.noise == "K" else u)  # of several noises the first is the net's own

    if entry.kind == "sampler":
        return unit, None
    return unit, functools.partial(layer_gradient, estimator, rate, relaxed)


def layer_gradient(
    estimator: str, rate: Any, relaxed: dict[str, Any],
    f: Function, h: Tensor, a: Tensor, u: Tensor, state: Any,
) -> tuple[Tensor, Any]:  # fmt: skip
    """Return the gradient with respect to a layer's logits a, of its inputs h, and the layer's new state.

    Where an estimator asks for f between 0 and 1, MuProp takes the layers above by their means, REBAR and
    RELAX relaxed, REBAR at the temperature in `relaxed`. What is left to the caller learns by SGD at the
    net's rate: NVIL's baseline, linear in h, and RELAX's surrogate, eta f as in REBAR plus a net of ten
    hidden units.
    """
    noise = further_noise(estimator, a, u)
    if estimator == "nvil":
        with tf.GradientTape() as tape:
            tape.watch(state)
            baseline = forward([state], h, [], sample)[..., 0]
            error = tf.reduce_sum(tf.square(baseline - f(sample(a, u))))
        g, _ = gradient(estimator, f, a, noise, baseline=baseline)
        return g, descend(state, tape.gradient(error, state), rate)
    if estimator == "relax":
        eta, *net = state

        def surrogate(z: Tensor) -> Tensor:
            correction = forward(net, z, [z], lambda logits, _: tf.tanh(logits))
            return eta[..., 0] * f(tf.sigmoid(2 * z), concrete) + correction[..., 0]

        g, slopes = variance_gradient(lambda: relax(f, a, noise, surrogate), state)
        return g, descend(state, slopes, rate)
    if ESTIMATORS[estimator].initial:
        return gradient(estimator, f, a, noise, state)
    between = {"muprop": sigmoid, "rebar": functools.partial(concrete, **relaxed)}.get(estimator)
    options = {"smooth": lambda outputs: f(outputs, between)} if between else {}
    return gradient(estimator, f, a, noise, **options, **relaxed)[0], state


def further_noise(estimator: str, a: Tensor, u: Tensor) -> Tensor:
    """Return what an estimator takes as noise, from one uniform u per unit, or leave-one-out's two.

    REBAR's and RELAX's is tied, Gumbel-Rao's evenly spaced, which leaves all expectations as they are.
    """
    count = ESTIMATORS[estimator].noise
    if count == 2:
        return tf.stack([u, tied(a, u)])
    if count == "1 + K":
        steps = tf.reshape(tf.range(DRAWS, dtype=u.dtype) / DRAWS, [DRAWS] + [1] * u.shape.rank)
        return tf.concat([u[None], (tied(a, u) + steps) % 1], axis=0)
    return u
