"""The unbiased estimators' means are the exact gradient, to 1e-10, with no sampling anywhere."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, sampling

QUADRATURE = ["rebar", "relax"]
logit = st.floats(-6, 6) | st.sampled_from([-40.0, 40.0])
seed = st.integers(0, 2**31)


def surrogate(z):
    """Bounded in the strip where it must be for the quadrature, and not like f at all."""
    return tf.reduce_sum(tf.tanh(0.4 * z + 0.3), -1) + 0.3 * tf.reduce_prod(tf.sigmoid(z), -1) ** 2


@pytest.mark.parametrize("name", [name for name in oracle.UNBIASED if name not in QUADRATURE])
@given(st.data(), seed)
def test_mean_is_the_exact_gradient(name, data, seed):
    """By the sum over all states, of 4 units; ARM and DisARM, which u drives, by exact integration, of 3.

    f is any function of the states where no derivative is needed, a cubic otherwise.
    """
    most = 3 if name in ("arm", "disarm", "leave-one-out") else 4
    logits = data.draw(st.lists(logit, min_size=1, max_size=most))
    f, values = (oracle.cubic if ESTIMATORS[name].derivative else oracle.table)(seed, len(logits))
    options = {
        "nvil": {"baseline": tf.constant(0.7, tf.float64)},
        "moving-average": {"state": tf.fill([2 ** len(logits)], tf.constant(0.4, tf.float64))},
    }.get(name, {})
    mean, _ = oracle.moments(name, f, logits, oracle.rules_for(name, logits), **options)
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, logits), atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_leave_one_out_of_k_samples(count, seed_offset):
    logits = [0.8, -0.4]
    f, values = oracle.table(count + seed_offset, 2)
    mean, _ = oracle.moments("leave-one-out", f, logits, oracle.rules_for("leave-one-out", logits, count))
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, logits), atol=1e-12)


CONTROLS = [
    ("rebar", dict(eta=1.0, temperature=0.5)),
    ("rebar", dict(eta=-0.7, temperature=0.8)),
    ("relax", dict(surrogate=surrogate)),
]


@pytest.mark.parametrize("logit", [-3.0, -0.4, 0.0, 1.2])
@pytest.mark.parametrize("name, options", CONTROLS)
def test_rebar_and_relax_of_one_unit(name, options, logit, seed_offset):
    """Over u and v. This is what fails when the derivative stops at the conditional noise."""
    f, values = oracle.cubic(3 + seed_offset, 1)
    mean, _ = oracle.moments(name, f, [logit], oracle.rules_for(name, [logit]), **options)
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, [logit]), atol=1e-11)


@pytest.mark.parametrize("name, options", CONTROLS[1:])
def test_rebar_and_relax_of_two_units(name, options, rng, seed_offset):
    """Given b, the estimate is a sum of one function of u and one of v: integrated one after the other."""
    logits, (f, values) = np.array([0.6, -1.1]), oracle.cubic(5 + seed_offset, 2)
    p = oracle.sigmoid(logits)
    v, weights = oracle.product([oracle.smooth_rule()] * 2)
    u0, v0 = np.array([0.3, 0.6]), np.array([0.2, 0.9])
    mean = np.zeros(2)
    for b, probability in zip(oracle.states(2), oracle.probabilities(logits)):

        def estimates(w, v, b=b):  # w: u's place within the outcome b
            w, v = np.broadcast_arrays(w, v)
            u = np.where(b == 1, w * p, p + w * (1 - p))
            return oracle.estimates(name, f, logits, np.stack([u, v]), **options)

        corner, random = estimates(u0[None], v0), rng.random((2, 20, 2))
        split = estimates(random[0], v0) + estimates(u0, random[1]) - corner
        np.testing.assert_allclose(estimates(*random), split, atol=1e-11)
        mean += probability * (weights @ estimates(v, v0) + weights @ estimates(u0, v) - corner[0])
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, logits), atol=1e-11)


@pytest.mark.parametrize("name, options", CONTROLS[1:])
def test_tied_noise_gives_the_same_z_and_stays_unbiased(name, options, seed_offset):
    logits, (f, values) = np.array([0.6, -1.1]), oracle.cubic(6 + seed_offset, 2)
    u, weights = oracle.product([oracle.split_rule(a) for a in logits])
    a = tf.constant(np.broadcast_to(logits, u.shape))
    v = sampling.tied(a, tf.constant(u))
    moderate = (u * (1 - u) > 1e-10).all(1)  # beyond, u near 1 has lost its digits
    z = sampling.logistic(a, tf.constant(u)).numpy()
    again = sampling.conditional_logistic(a, sampling.sample(a, u), v).numpy()
    np.testing.assert_allclose(again[moderate], z[moderate], atol=1e-4)
    mean = weights @ oracle.estimates(name, f, logits, np.stack([u, v]), **options)
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, logits), atol=1e-10)


def test_conditional_logistic_is_the_formula_with_the_noise(rng):
    """softplus(softplus(a) - logit v) and its mirror against a - logit(u'), value and derivative in a."""
    a, b, v = rng.normal(size=50) * 2, rng.integers(0, 2, 50).astype(float), rng.random(50)

    def plain(a):
        p = oracle.sigmoid(a)
        u = b * v * p + (1 - b) * (p + v * (1 - p))
        return a - np.log(u) + np.log1p(-u)

    logits = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        z = sampling.conditional_logistic(logits, tf.constant(b), tf.constant(v))
    np.testing.assert_allclose(z, plain(a), atol=1e-10)
    numerical = (plain(a + 1e-5) - plain(a - 1e-5)) / 2e-5
    np.testing.assert_allclose(tape.gradient(z, logits), numerical, atol=1e-7)
    assert ((z.numpy() > 0) == (b == 1)).all()


def averaged(state, new):
    return 0.95 * state + 0.05 * new


def mean_of_past_losses(state, score, loss):
    """Of each net; the present loss enters afterwards."""
    mean = np.zeros(3) if state is None else state
    return mean[:, None, None], averaged(mean, loss[..., 0].mean(1))


def best_constant(state, score, loss):
    """Of each net and unit; the present batch has entered already."""
    n, d = (np.zeros((3, 2)), np.ones((3, 2))) if state is None else state
    n, d = averaged(n, (score**2 * loss).mean(1)), averaged(d, (score**2).mean(1))
    return (n / (d + 1e-4))[:, None], (n, d)


@pytest.mark.parametrize(
    "name, baseline", [("moving-average", mean_of_past_losses), ("variance-adjusted", best_constant)]
)
def test_baselines_with_a_state_step_by_step(name, baseline, rng):
    """Three nets side by side, each with its own state, in NumPy."""
    logits, state, expected_state = rng.normal(size=(3, 5, 2)) * 2, None, None
    for _ in range(4):
        noise, loss = rng.random((3, 5, 2)), rng.normal(size=(3, 5))
        g, state = gradient(name, lambda b, loss=loss: tf.constant(loss), logits, noise, state)
        score = (noise < oracle.sigmoid(logits)) - oracle.sigmoid(logits)
        subtracted, expected_state = baseline(expected_state, score, loss[..., None])
        np.testing.assert_allclose(g, score * (loss[..., None] - subtracted), atol=1e-12)
        np.testing.assert_allclose(state, expected_state, atol=1e-12)
