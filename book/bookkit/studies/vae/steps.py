"""Training steps, compiled: every estimator through `bsn.estimators.gradient`, and what is its caller's.

The gradient in the logits is that of f at fixed logits inside f. What f's own dependence on them adds,
E[b - p] by log q, is 0 for samples b, and is left out for them, as in DisARM's code; Concrete's relaxed y has
another mean, and there it is added. The decoder and the prior descend f at the same samples.
"""

import functools
import typing

import numpy as np

from bookkit.studies.vae.model import LEAK, encode, forward, glorot, negative_elbo
from bsn.backend import tf
from bsn.estimators import concrete, gradient, sample, tied, variance_gradient

RATE, PRIOR_RATE = 1e-4, 1e-2  # Adam's for encoder and decoder; plain descent's for the prior
CALLER_RATE = 1e-3  # Adam's for what is the caller's: baseline, scale, temperature, surrogate
TEMPERATURE = 0.5  # Concrete's, and where REBAR and RELAX begin
BASELINE, SURROGATE = 100, 137  # hidden units: NVIL's paper's, DisARM's code's
DECAY = 0.8  # of the constant part of NVIL's baseline


class State(typing.NamedTuple):
    """All that a training changes.

    Attributes:
        net: a `bookkit.studies.vae.model.Net`.
        caller: a list of what the estimator's caller learns.
        kept: the estimator's state, or the constant part of NVIL's baseline; else 0.
        first, second: Adam's moments of [encoder, decoder] and `caller`.
    """

    net: typing.Any
    caller: list
    kept: typing.Any
    first: list
    second: list


def initial_state(name, net, seed):
    """Before the first step of an estimator."""
    rng, (pixels, latents) = np.random.default_rng([seed, 2]), (net.mean.shape[0], net.prior.shape[0])
    caller = []
    if name == "nvil":
        caller = _from_zero(glorot(rng, [pixels, BASELINE, 1]))
    if name in ("rebar", "relax"):
        caller = [tf.constant(1.0), tf.math.log(TEMPERATURE)]
    if name == "relax":
        caller += _from_zero(glorot(rng, [pixels + latents, SURROGATE, 1]))
    zeros = tf.nest.map_structure(tf.zeros_like, [[net.encoder, net.decoder], caller])
    return State(net, caller, tf.zeros([]), zeros, zeros)


def _from_zero(layers):
    *below, (weights, bias) = layers
    return [*below, (tf.zeros_like(weights), bias)]


def _plain(name, f, logits, u, x, state):
    g, kept = gradient(name, f, logits, u[0], state.kept if name == "moving-average" else None)
    return g, [], state.kept if kept is None else kept


def _concrete(name, f, logits, u, x, state):
    g, _ = gradient(name, f, logits, u[0], temperature=TEMPERATURE)
    return g + concrete(logits, u[0], temperature=TEMPERATURE) - tf.sigmoid(logits), [], state.kept


def _leave_one_out(name, f, logits, u, x, state):
    return gradient(name, f, logits, tf.stack(u))[0], [], state.kept


def _nvil(name, f, logits, u, x, state):
    loss = f(sample(logits, u[0]))
    with tf.GradientTape() as tape:
        tape.watch(state.caller)
        baseline = state.kept + forward(state.caller, x - state.net.mean, tf.tanh)[:, 0]
        error = tf.reduce_mean(tf.square(loss - baseline))
    g, _ = gradient(name, f, logits, u[0], baseline=baseline)
    kept = DECAY * state.kept + (1 - DECAY) * tf.reduce_mean(loss)
    return g, tape.gradient(error, state.caller), kept


def _rebar(name, f, logits, u, x, state):
    scale, heat = state.caller
    noise = tf.stack([u[0], tied(logits, u[0])])

    def estimate():
        return gradient(name, f, logits, noise, eta=scale, temperature=tf.exp(heat))[0]

    return *variance_gradient(estimate, state.caller), state.kept


def _relax(name, f, logits, u, x, state):
    scale, heat, (inner, bias), last = state.caller
    noise = tf.stack([u[0], tied(logits, u[0])])

    def surrogate(z):
        hidden = x @ inner[: x.shape[-1]] + z @ inner[x.shape[-1] :] + bias
        free = forward([last], tf.nn.leaky_relu(hidden, LEAK))[..., 0]
        return scale * f(tf.sigmoid(z / tf.exp(heat))) + free

    def estimate():
        return gradient(name, f, logits, noise, surrogate=surrogate)[0]

    return *variance_gradient(estimate, tf.nest.flatten(state.caller)), state.kept


CALLERS = {
    "concrete": _concrete,
    "leave-one-out": _leave_one_out,
    "nvil": _nvil,
    "rebar": _rebar,
    "relax": _relax,
}
COUPLED = ("arm", "disarm")  # two samples of one noise


def planes(name):
    """How many uniforms a latent needs in a step; REBAR and RELAX make their second of the first."""
    return 2 if name == "leave-one-out" else 1


def gradients(name, state, x, u):
    """One step's gradients, for images [B, D] and `planes(name)` uniform noises [B, H].

    Returns:
        Gradients of the net's [encoder, decoder, prior] and of `state.caller`, `state.kept` brought up to
        date, and the ELBO, the mean over the batch and the samples.
    """
    net = state.net
    with tf.GradientTape() as tape:
        tape.watch(net.encoder)
        logits = encode(net, x)
    f = functools.partial(negative_elbo, net, x, tf.stop_gradient(logits))
    g, caller, kept = CALLERS.get(name, _plain)(name, f, logits, u, x, state)
    caller = tf.nest.pack_sequence_as(state.caller, tf.nest.flatten(caller))
    encoder = tape.gradient(logits, net.encoder, output_gradients=g / x.shape[0])
    b = [sample(logits, tf.stack(u) if name == "leave-one-out" else u[0])]
    if name in COUPLED:
        b.append(sample(logits, 1 - u[0]))
    points = [concrete(logits, u[0], temperature=TEMPERATURE)] if name == "concrete" else b
    with tf.GradientTape() as tape:
        tape.watch([net.decoder, net.prior])
        loss = tf.add_n([tf.reduce_mean(f(point)) for point in points]) / len(points)
    decoder, prior = tape.gradient(loss, [net.decoder, net.prior])
    elbo = -tf.add_n([tf.reduce_mean(f(one)) for one in b]) / len(b)
    return [encoder, decoder, prior], caller, kept, elbo


def _adam(values, slopes, first, second, rate, step):
    """Reference: Kingma, Ba 2015, arXiv:1412.6980; the constants are Keras's."""
    each = functools.partial(tf.nest.map_structure, check_types=False)
    first = each(lambda m, g: 0.9 * m + 0.1 * g, first, slopes)
    second = each(lambda v, g: 0.999 * v + 0.001 * g * g, second, slopes)
    rate *= tf.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return each(lambda x, m, v: x - rate * m / (tf.sqrt(v) + 1e-7), values, first, second), first, second


def _step(name, state, x, u, step):
    (encoder, decoder, prior), caller, kept, elbo = gradients(name, state, x, u)
    net = state.net
    values, first, second = _adam(
        [net.encoder, net.decoder], [encoder, decoder], state.first[0], state.second[0], RATE, step
    )
    net = net._replace(encoder=values[0], decoder=values[1], prior=net.prior - PRIOR_RATE * prior)
    learned, *moments = _adam(state.caller, caller, state.first[1], state.second[1], CALLER_RATE, step)
    return State(net, learned, kept, [first, moments[0]], [second, moments[1]]), elbo


@tf.function(jit_compile=True, autograph=False)
def train(name, state, images, batches, noise, done):
    """As many steps as `batches` has rows.

    Args:
        name: of the estimator; images: [N, D] of zeros and ones, uint8.
        batches: [steps, B], which images; noise: [steps, planes, B, H], see `planes`.
        done: steps before these, a float.

    Returns:
        The new state, and the mean of the ELBO over these steps, each at the parameters before it.
    """

    def body(place, state, total):
        x = tf.cast(tf.gather(images, batches[place]), tf.float32)
        step = done + tf.cast(place, tf.float32) + 1
        state, elbo = _step(name, state, x, tf.unstack(noise[place]), step)
        return place + 1, state, total + elbo

    steps = batches.shape[0]
    _, state, total = tf.while_loop(lambda place, *_: place < steps, body, [0, state, tf.zeros([])])
    return state, total / steps
