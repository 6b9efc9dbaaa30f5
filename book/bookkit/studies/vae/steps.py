"""Training steps, compiled: every estimator through `bsn.estimators.gradient`, and what its caller learns.

The gradient with respect to the logits is that of f at fixed logits inside f. What f's own dependence on them
adds, E[b - p] by log q, is 0 for samples b, and is left out for them, as in DisARM's code; Concrete's relaxed
y has another mean, and there it is added. The decoder and the prior descend f at the same samples.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from bookkit.studies.vae.model import Net, encode, forward, glorot, leaky_relu, negative_elbo
from bsn.backend import Loss, Tensor, tf
from bsn.estimators import ESTIMATORS, concrete, gradient, sample, tied, variance_gradient

RATE, PRIOR_RATE = 1e-4, 1e-2  # Adam's for encoder and decoder; plain descent's for the prior
CALLER_RATE = 1e-3  # Adam's for what the caller learns: baseline, scale, temperature, surrogate
TEMPERATURE = 0.5  # Concrete's, by default, and where REBAR and RELAX begin
BASELINE, SURROGATE = 100, 137  # hidden units: NVIL's paper's, DisARM's code's
DECAY = 0.8  # of the constant part of NVIL's baseline
COUPLED = [name for name, entry in ESTIMATORS.items() if entry.evaluations == 2 and not entry.derivative]


class State(NamedTuple):
    """All that training changes.

    Attributes:
        net: its parameters.
        caller: what the estimator's caller learns.
        carried: the estimator's state, or the constant part of NVIL's baseline; else 0.
        first, second: Adam's moments of the flattened [encoder, decoder, caller].
    """

    net: Net
    caller: list[Any]
    carried: Tensor
    first: list[Tensor]
    second: list[Tensor]


def initial_state(name: str, net: Net, seed: int) -> State:
    """Return the state before the first step of an estimator."""
    rng, (pixels, latents) = np.random.default_rng([seed, 2]), (net.mean.shape[0], net.prior.shape[0])
    caller: list[Any] = [tf.constant(1.0), tf.math.log(TEMPERATURE)] if name in ("rebar", "relax") else []
    inputs, hidden = {"nvil": (pixels, BASELINE), "relax": (pixels + latents, SURROGATE)}.get(name, (0, 0))
    if hidden:  # a net that outputs 0 at first
        caller += [*glorot(rng, [inputs, hidden]), (tf.zeros([hidden, 1]), tf.zeros([1]))]
    zeros = [tf.zeros_like(value) for value in tf.nest.flatten([net.encoder, net.decoder, caller])]
    return State(net, caller, tf.zeros([]), zeros, zeros)


def planes(name: str) -> int:
    """Return how many uniforms per latent a step draws; REBAR's and RELAX's second is tied to the first."""
    return 2 if ESTIMATORS[name].noise == "K" else 1


def _control_variate(name: str, caller: list[Any], f: Loss, x: Tensor) -> dict[str, Any]:
    """Return REBAR's or RELAX's options, from its caller's parameters."""
    scale, temperature = caller[0], tf.exp(caller[1])
    if name == "rebar":
        return {"eta": scale, "temperature": temperature}
    (inner, bias), last = caller[2:]

    def surrogate(z: Tensor) -> Tensor:
        hidden = x @ inner[: x.shape[-1]] + z @ inner[x.shape[-1] :] + bias
        return scale * f(tf.sigmoid(z / temperature)) + forward([last], leaky_relu(hidden))[..., 0]

    return {"surrogate": surrogate}


def _estimate(
    name: str, state: State, f: Loss, logits: Tensor, u: Tensor, x: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return the estimate, the gradients of the flattened `state.caller` and the next `state.carried`."""
    noise = u if ESTIMATORS[name].noise == "K" else u[0]
    if name == "nvil":  # its baseline descends the squared error
        loss = f(sample(logits, noise))
        with tf.GradientTape() as tape:
            tape.watch(state.caller)
            baseline = state.carried + forward(state.caller, x - state.net.mean, tf.tanh)[:, 0]
            error = tf.reduce_mean(tf.square(loss - baseline))
        g, _ = gradient(name, f, logits, noise, baseline=baseline)
        carried = DECAY * state.carried + (1 - DECAY) * tf.reduce_mean(loss)
        return g, tape.gradient(error, tf.nest.flatten(state.caller)), carried
    if state.caller:  # a control variate descends the variance
        noise = tf.stack([noise, tied(logits, noise)])

        def estimate() -> Tensor:
            return gradient(name, f, logits, noise, **_control_variate(name, state.caller, f, x))[0]

        return *variance_gradient(estimate, tf.nest.flatten(state.caller)), state.carried
    g, carried = gradient(name, f, logits, noise, state.carried)
    return g, [], carried


def gradients(
    name: str, state: State, x: Tensor, u: Tensor
) -> tuple[list[Any], list[Tensor], Tensor, Tensor]:
    """Estimate one step's gradients, for images [B, D] and uniform noises [planes(name), B, H].

    Returns:
        The gradients of the net's [encoder, decoder, prior] and of the flattened `state.caller`, the next
        `state.carried`, and the ELBO, averaged over the batch and the samples.
    """
    net = state.net
    with tf.GradientTape() as tape:
        tape.watch(net.encoder)
        logits = encode(net, x)
    f = functools.partial(negative_elbo, net, x, tf.stop_gradient(logits))
    g, caller, carried = _estimate(name, state, f, logits, u, x)
    points = b = sample(logits, tf.stack([u[0], 1 - u[0]]) if name in COUPLED else u)
    if name == "concrete":
        points = concrete(logits, u[0])
        g += points - tf.sigmoid(logits)
    encoder = tape.gradient(logits, net.encoder, output_gradients=g / x.shape[0])
    with tf.GradientTape() as tape:
        tape.watch([net.decoder, net.prior])
        loss = tf.reduce_mean(f(points))
    decoder, prior = tape.gradient(loss, [net.decoder, net.prior])
    return [encoder, decoder, prior], caller, carried, -tf.reduce_mean(f(b))


def _step(name: str, state: State, x: Tensor, u: Tensor, step: Tensor) -> tuple[State, Tensor]:
    """Take a step of Adam (Kingma, Ba 2015, arXiv:1412.6980, with Keras's constants), or of plain descent."""
    net, scale = state.net, tf.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    (encoder, decoder, prior), caller, carried, elbo = gradients(name, state, x, u)
    trained = [net.encoder, net.decoder, state.caller]
    slopes = tf.nest.flatten([encoder, decoder, caller])
    rates = [RATE] * (len(slopes) - len(caller)) + [CALLER_RATE] * len(caller)
    first = [0.9 * m + 0.1 * g for m, g in zip(state.first, slopes)]
    second = [0.999 * v + 0.001 * g * g for v, g in zip(state.second, slopes)]
    updated = [
        value - rate * scale * m / (tf.sqrt(v) + 1e-7)
        for value, rate, m, v in zip(tf.nest.flatten(trained), rates, first, second)
    ]
    encoder, decoder, caller = tf.nest.pack_sequence_as(trained, updated)
    net = net._replace(encoder=encoder, decoder=decoder, prior=net.prior - PRIOR_RATE * prior)
    return State(net, caller, carried, first, second), elbo


@tf.function(jit_compile=True, autograph=False)
def train(
    name: str, state: State, images: Tensor, batches: Tensor, noise: Tensor, completed: Tensor
) -> tuple[State, Tensor]:
    """Take as many steps as `batches` has rows.

    Args:
        images: [N, D] of zeros and ones, uint8.
        batches: [steps, B], positions of images.
        noise: uniform, [steps, planes(name), B, H].
        completed: steps before these, a float.

    Returns:
        The new state, and the mean of the ELBO over these steps, each at the parameters before it.
    """

    def body(i: Tensor, state: State, total: Tensor) -> tuple[Tensor, State, Tensor]:
        x = tf.cast(tf.gather(images, batches[i]), tf.float32)
        state, elbo = _step(name, state, x, noise[i], completed + tf.cast(i, tf.float32) + 1)
        return i + 1, state, total + elbo

    steps = batches.shape[0]
    _, state, total = tf.while_loop(lambda i, *_: i < steps, body, [0, state, tf.zeros([])])
    return state, total / steps
