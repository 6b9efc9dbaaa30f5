"""The binary VAE: its bound by hand and by enumeration, and every estimator's gradient in a tiny one."""

import numpy as np
import oracle
import pytest

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, states
from bsn.spec import ARCHITECTURES, VAE_ESTIMATORS
from bsn.vae import model, steps

PIXELS = 5
X = np.array([[1, 0, 0, 1, 1]])
UNBIASED = [name for name in VAE_ESTIMATORS if ESTIMATORS[name].bias == "unbiased"]
COUPLED = ("arm", "disarm")
SMOOTH = ("rebar", "relax")


def tiny(name, latents, architecture="linear", free=0.3):
    """A state in float64 with nothing at zero; `free` scales what RELAX's hidden units get of z."""
    mean = np.linspace(0.2, 0.7, PIXELS)
    state = steps.initial_state(name, model.initial_net(3, architecture, mean, latents), 3)
    rng = np.random.default_rng(7)
    state = tf.nest.map_structure(
        lambda value: tf.constant(value.numpy() + rng.normal(0, 0.3, value.shape), tf.float64), state
    )
    if name == "relax":
        scale, heat, (inner, bias), last = state.caller
        inner = tf.concat([inner[:PIXELS], free * inner[PIXELS:]], 0)
        state = state._replace(caller=[scale, heat, (inner, 50 * bias if free < 0.01 else bias), last])
    return state


def exact(net, x):
    """Gradients of minus the ELBO, the sum over all latent states, in [encoder, decoder, prior]."""
    b = states(net.prior.shape[0], tf.float64)[:, None]
    with tf.GradientTape() as tape:
        variables = [net.encoder, net.decoder, net.prior]
        tape.watch(variables)
        logits = model.encode(net, x)
        loss = model.negative_elbo(net, x, logits, b)
        loss = tf.reduce_mean(tf.reduce_sum(tf.exp(model.bernoulli(logits, b)) * loss, 0))
    return -loss, tape.gradient(loss, variables)


def flat(nested):
    return np.concatenate([np.ravel(value) for value in tf.nest.flatten(nested)])


def expected(name, state, rules):
    """Mean of the gradients over the noise; a rule for each uniform, those of the second noise last."""
    nodes, weights = oracle.product(rules)
    latents = state.net.prior.shape[0]
    noise = nodes.reshape(len(nodes), steps.planes(name), 1, latents)

    @tf.function
    def each(u):
        found, _, _, elbo = steps.gradients(name, state, tf.constant(X, tf.float64), tf.unstack(u))
        return tf.concat([tf.reshape(value, [-1]) for value in [*tf.nest.flatten(found), elbo]], 0)

    found = weights @ tf.map_fn(each, tf.constant(noise)).numpy()
    return found[-1], found[:-1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_elbo_by_hand(architecture):
    net = model.initial_net(1, architecture, np.full(PIXELS, 0.4), 3)
    b = np.random.default_rng(0).integers(0, 2, [4, 1, 3])

    def layers(h, parameters):
        for place, (weights, bias) in enumerate(parameters):
            h = np.where(h > 0, h, 0.3 * h) if place else h
            h = h @ weights.numpy() + bias.numpy()
        return h

    def log_probability(logits, value):
        p = 1 / (1 + np.exp(-logits))
        return np.sum(np.log(np.where(value == 1, p, 1 - p)), -1)

    logits = layers(X - 0.4, net.encoder)
    wanted = log_probability(logits, b) - log_probability(net.prior.numpy(), b)
    wanted -= log_probability(layers(2 * b - 1, net.decoder), X)
    x, b = tf.constant(X, tf.float32), tf.constant(b, tf.float32)
    np.testing.assert_allclose(model.negative_elbo(net, x, model.encode(net, x), b), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "name, architecture",
    [(name, one) for name in UNBIASED for one in ARCHITECTURES if name not in SMOOTH or one == "linear"],
)
def test_mean_gradient_is_the_elbos_without_drawing(name, architecture):
    """By sums over states, exact integrals, and quadrature for one latent of REBAR and RELAX."""
    state = tiny(name, 1 if name in SMOOTH else 2, architecture, free=0.005)
    x = tf.constant(X, tf.float64)
    logits = model.encode(state.net, x).numpy()[0]
    rule = oracle.piecewise_rule if name in COUPLED else oracle.split_rule if name in SMOOTH else oracle.state_rule
    rules = [rule(a) for a in logits] * (2 if name == "leave-one-out" else 1)
    elbo, found = expected(name, state, rules)
    wanted_elbo, wanted = exact(state.net, x)
    assert elbo == pytest.approx(float(wanted_elbo), abs=1e-9)
    assert np.abs(flat(wanted)).min() < 0.5 < np.abs(flat(wanted)).max()
    np.testing.assert_allclose(found, flat(wanted), atol=1e-9)


@pytest.mark.parametrize(
    "name, architecture",
    [(name, one) for name in UNBIASED for one in ARCHITECTURES if name in SMOOTH or one == "linear"],
)
def test_mean_gradient_of_draws(name, architecture):
    """Within 4.5 standard errors in each coordinate, four latents, with kinks in f and RELAX's surrogate."""
    state, calls, size = tiny(name, 4, architecture), 400, 200
    x = tf.constant(np.repeat(X, size, 0), tf.float64)
    rng = np.random.default_rng(11)

    @tf.function
    def each(u):
        return tf.concat([tf.reshape(v, [-1]) for v in tf.nest.flatten(steps.gradients(name, state, x, tf.unstack(u))[0])], 0)

    found = np.array([each(tf.constant(rng.random([steps.planes(name), size, 4]))) for _ in range(calls)])
    wanted = flat(exact(state.net, x[:1])[1])
    error = found.std(0, ddof=1) / np.sqrt(calls)
    seen = error > 1e-12
    assert seen.mean() > 0.9
    assert np.abs((found.mean(0) - wanted)[seen] / error[seen]).max() < 4.5
    np.testing.assert_allclose(found.mean(0)[~seen], wanted[~seen], atol=1e-9)
