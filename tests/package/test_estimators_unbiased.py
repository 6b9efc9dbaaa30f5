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


def loss(name, seed, units):
    """A table where no derivative is needed, a cubic otherwise; and its values of all states."""
    if not ESTIMATORS[name].derivative:
        return oracle.table(seed, units)
    f = oracle.Cubic(seed, units)
    return f, f.value(oracle.states(units))


@pytest.mark.parametrize("name", [name for name in oracle.UNBIASED if name not in QUADRATURE])
@given(st.data(), seed)
def test_mean_is_the_exact_gradient(name, data, seed):
    """By the sum over all states, of 4 units; ARM and DisARM, which u drives, by exact integration, of 3."""
    most = 3 if name in ("arm", "disarm", "leave-one-out") else 4
    logits = data.draw(st.lists(logit, min_size=1, max_size=most))
    f, values = loss(name, seed, len(logits))
    options = {
        "nvil": {"baseline": tf.constant(0.7, tf.float64)},
        "moving-average": {"state": tf.fill([2 ** len(logits)], tf.constant(0.4, tf.float64))},
    }.get(name, {})
    mean, _ = oracle.moments(name, f, logits, oracle.rules_for(name, logits), **options)
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, logits), atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_leave_one_out_of_k_samples(count):
    logits = [0.8, -0.4]
    f, values = oracle.table(count, 2)
    rules = [[oracle.state_rule(a) for a in logits]] * count
    mean, _ = oracle.moments("leave-one-out", f, logits, rules)
    np.testing.assert_allclose(mean, oracle.exact_gradient(values, logits), atol=1e-12)


@pytest.mark.parametrize("logit", [-3.0, -0.4, 0.0, 1.2])
@pytest.mark.parametrize(
    "name, options",
    [
        ("rebar", dict(eta=1.0, temperature=0.5)),
        ("rebar", dict(eta=-0.7, temperature=0.8)),
        ("relax", dict(surrogate=surrogate)),
    ],
)
def test_rebar_and_relax_of_one_unit(name, options, logit):
    """Over u and v. This is what fails when the derivative stops at the conditional noise."""
    f = oracle.Cubic(3, 1)
    rules = [[oracle.split_rule(logit)], [oracle.smooth_rule()]]
    mean, _ = oracle.moments(name, f, [logit], rules, **options)
    np.testing.assert_allclose(mean, oracle.exact_gradient(f.value(oracle.states(1)), [logit]), atol=1e-11)


def stopped_at_the_noise(logits, b, noise):
    """What a public implementation of RELAX did for long: z~ with u' as if it did not depend on a."""
    p = tf.sigmoid(logits)
    return sampling.logistic(logits, tf.stop_gradient(tf.where(b > 0, noise * p, p + noise * (1 - p))))


@pytest.mark.parametrize("name, options", [("rebar", {}), ("relax", dict(surrogate=surrogate))])
def test_the_derivative_goes_through_the_conditional_noise(name, options, monkeypatch):
    """The wrong one has the same value and a mean off by far more than the tolerances above."""
    a, b, v = tf.constant([0.5, 0.5]), tf.constant([0.0, 1.0]), tf.constant([0.3, 0.3])
    right = sampling.conditional_logistic(a, b, v)
    np.testing.assert_allclose(stopped_at_the_noise(a, b, v), right, rtol=1e-5)
    monkeypatch.setattr("bsn.estimators.control_variates.conditional_logistic", stopped_at_the_noise)
    f, rules = oracle.Cubic(3, 1), [[oracle.split_rule(0.5)], [oracle.smooth_rule()]]
    mean, _ = oracle.moments(name, f, [0.5], rules, **options)
    assert abs(mean - oracle.exact_gradient(f.value(oracle.states(1)), [0.5])) > 1e-3


@pytest.mark.parametrize("name, options", [("rebar", {}), ("relax", dict(surrogate=surrogate))])
def test_rebar_and_relax_of_two_units(name, options):
    """Given b, the estimate is a sum of one function of u and one of v: integrated one after the other."""
    logits, f = np.array([0.6, -1.1]), oracle.Cubic(5, 2)
    p = oracle.sigmoid(logits)
    v, weights = oracle.product([oracle.smooth_rule()] * 2)
    u0, v0 = np.array([0.3, 0.6]), np.array([0.2, 0.9])
    mean = np.zeros(2)
    for b, probability in zip(oracle.states(2), oracle.probabilities(logits)):

        def estimates(w, v, b=b):  # w: u's place within the outcome b
            u = np.where(b == 1, w * p, p + w * (1 - p))
            return oracle.estimates(name, f, logits, np.stack(np.broadcast_arrays(u, v)), **options)

        some = np.random.default_rng(0).random((2, 20, 2))
        u0s, v0s = np.tile(u0, [20, 1]), np.tile(v0, [20, 1])
        split = estimates(some[0], v0s) + estimates(u0s, some[1]) - estimates(u0s, v0s)
        np.testing.assert_allclose(estimates(*some), split, atol=1e-12)
        corner = estimates(u0[None], v0[None])[0]
        over_u, over_v = estimates(v, np.tile(v0, [len(v), 1])), estimates(np.tile(u0, [len(v), 1]), v)
        mean += probability * (weights @ over_u + weights @ over_v - corner)
    np.testing.assert_allclose(mean, oracle.exact_gradient(f.value(oracle.states(2)), logits), atol=1e-11)


@pytest.mark.parametrize("name, options", [("rebar", dict(eta=0.8)), ("relax", dict(surrogate=surrogate))])
def test_tied_noise_gives_the_same_z_and_stays_unbiased(name, options):
    logits, f = np.array([0.6, -1.1]), oracle.Cubic(6, 2)
    u, weights = oracle.product([oracle.split_rule(a) for a in logits])
    a = tf.constant(np.broadcast_to(logits, u.shape))
    v = sampling.tied(a, tf.constant(u))
    moderate = (u * (1 - u) > 1e-10).all(1)  # beyond, u near 1 has lost its digits
    z = sampling.logistic(a, tf.constant(u)).numpy()
    again = sampling.conditional_logistic(a, sampling.sample(a, u), v).numpy()
    np.testing.assert_allclose(again[moderate], z[moderate], atol=1e-4)
    mean = weights @ oracle.estimates(name, f, logits, np.stack([u, v]), **options)
    np.testing.assert_allclose(mean, oracle.exact_gradient(f.value(oracle.states(2)), logits), atol=1e-10)


def test_conditional_logistic_is_the_formula_with_the_noise():
    """softplus(softplus(a) - logit v) and its mirror against a - logit(u'), value and derivative in a."""
    rng = np.random.default_rng(0)
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


def test_the_moving_average_follows_the_losses_and_is_used_before_it_does():
    rng = np.random.default_rng(0)
    logits, losses = tf.constant(rng.normal(size=(3, 5, 2))), rng.normal(size=(4, 3, 5))
    mean, state = np.zeros(3), None
    for loss in losses:
        noise = rng.random((3, 5, 2))
        found, state = gradient(
            "moving-average", lambda b, loss=loss: tf.constant(loss), logits, noise, state
        )
        score = (noise < oracle.sigmoid(logits)) - oracle.sigmoid(logits)
        np.testing.assert_allclose(found, score * (loss - mean[:, None])[..., None], atol=1e-12)
        mean = 0.95 * mean + 0.05 * loss.mean(1)
        np.testing.assert_allclose(state, mean, atol=1e-12)


def test_nvil_subtracts_each_examples_own_baseline():
    rng = np.random.default_rng(1)
    logits, noise = rng.normal(size=(3, 5, 2)), rng.random((3, 5, 2))
    loss, baseline = rng.normal(size=(2, 3, 5))
    found, _ = gradient("nvil", lambda b: tf.constant(loss), logits, noise, baseline=tf.constant(baseline))
    score = (noise < oracle.sigmoid(logits)) - oracle.sigmoid(logits)
    np.testing.assert_allclose(found, score * (loss - baseline)[..., None], atol=1e-12)
