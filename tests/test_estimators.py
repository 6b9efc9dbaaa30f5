"""Every estimator's gradient against NumPy, and REINFORCE's expectation against enumeration."""

import itertools

import numpy as np
import pytest

from bsn import spec
from bsn.backend import tf
from bsn.estimators import SAMPLERS, SCORE_FUNCTIONS, initial_moments, reinforce, sample, variance_adjusted

rng = np.random.default_rng(0)
LOGITS = rng.normal(size=(3, 5, 4)) * 2
NOISE = rng.random((3, 5, 4))
UPSTREAM = rng.normal(size=(3, 5, 4))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gradient_through(name, logits, noise, slope):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        b = SAMPLERS[name](logits, tf.constant(noise), slope)
        objective = tf.reduce_sum(b * UPSTREAM)
    return b.numpy(), tape.gradient(objective, logits).numpy()


@pytest.mark.parametrize("slope", [1.0, 2.5])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", SAMPLERS)
def test_straight_through_gradient(name, deterministic, slope):
    noise = np.full_like(NOISE, 0.5) if deterministic else NOISE
    p = sigmoid(slope * LOGITS)
    fired = np.round(p) if deterministic else (noise < p).astype(float)
    expected = {
        "sigmoid": (p, slope * p * (1 - p)),
        "pass-through": (fired, 1.0),
        "sigmoid-adjusted": (fired, slope * p * (1 - p)),
        "fires-only": (fired, fired),
    }
    b, gradient = gradient_through(name, LOGITS, noise, slope)
    value, factor = expected[name]
    np.testing.assert_allclose(b, value, atol=1e-12)
    np.testing.assert_allclose(gradient, UPSTREAM * factor, atol=1e-12)


def test_the_step_at_one_half_is_zero_as_round_half_even():
    assert sample(tf.zeros([1]), tf.constant([0.5])).numpy() == 0


def test_a_slope_for_each_net_broadcasts():
    slopes = np.array([1.0, 2.0, 4.0])[:, None, None]
    _, together = gradient_through("sigmoid-adjusted", LOGITS, NOISE, slopes)
    p = sigmoid(slopes * LOGITS)
    np.testing.assert_allclose(together, UPSTREAM * slopes * p * (1 - p), atol=1e-12)


def random_loss(seed, units):
    """A table of losses, one for each state of the units, and a function that looks them up."""
    table = np.random.default_rng(seed).normal(size=[2] * units)
    states = 2 ** np.arange(units)[::-1]

    def f(b):
        index = tf.reduce_sum(tf.cast(b, tf.int32) * states, axis=-1)
        return tf.gather(tf.constant(table.reshape(-1)), index)

    return table, f


def exact_gradient(table, logits):
    """d E[f] / d logit_i = p_i (1 - p_i) E over the others of [f(1) - f(0)], by enumeration."""
    p = sigmoid(logits)
    gradient = np.zeros(len(p))
    for state in itertools.product((0, 1), repeat=len(p)):
        for i in range(len(p)):
            others = np.prod([p[j] if state[j] else 1 - p[j] for j in range(len(p)) if j != i])
            gradient[i] += p[i] * (1 - p[i]) * others * table[state] * (1 if state[i] else -1)
    return gradient


@pytest.mark.parametrize("units", [1, 2, 3, 4])
def test_reinforce_is_unbiased_by_enumeration(units):
    logits = np.random.default_rng(units).normal(size=units) * 2
    table, f = random_loss(units, units)
    p = sigmoid(logits)
    expectation = np.zeros(units)
    for state in itertools.product((0, 1), repeat=units):
        probability = np.prod(np.where(state, p, 1 - p))
        noise = np.where(state, p / 2, (1 + p) / 2)  # any noise that gives this state
        estimate, _ = reinforce(f, tf.constant(logits[None]), tf.constant(noise[None]))
        expectation += probability * estimate.numpy()[0]
    np.testing.assert_allclose(expectation, exact_gradient(table, logits), atol=1e-12)


def test_a_constant_baseline_leaves_the_expectation_and_variance_adjusted_uses_the_best():
    """With its moments exact, one unit's variance-adjusted estimate is the exact gradient itself."""
    logits, table = np.array([0.7]), np.array([2.0, -1.0])
    p = sigmoid(logits)[0]
    numerator = p * (1 - p) * ((1 - p) * table[1] + p * table[0])
    moments = tuple(tf.constant([m]) for m in (numerator, p * (1 - p)))

    def f(b):
        return tf.gather(tf.constant(table), tf.cast(b[..., 0], tf.int32))

    # a batch that holds each state as often as it is probable keeps the moments where they are
    count = 200_000
    noise = ((np.arange(count) + 0.5) / count)[:, None]
    estimate, _ = variance_adjusted(
        f, tf.constant(np.full([count, 1], logits[0])), tf.constant(noise), moments
    )
    # what is left is the floor of 1e-4 on the denominator
    np.testing.assert_allclose(estimate.numpy(), p * (1 - p) * (table[1] - table[0]), rtol=2e-3)
    np.testing.assert_allclose(estimate.numpy().mean(), exact_gradient(table, logits)[0], rtol=1e-4)


def test_variance_adjusted_moving_averages_against_numpy():
    n, d = np.zeros((3, 4)), np.ones((3, 4))
    moments = initial_moments([3, 4], tf.float64)
    for step in range(4):
        noise = np.random.default_rng(step).random((3, 5, 4))
        score = (noise < sigmoid(LOGITS)) - sigmoid(LOGITS)
        loss = np.random.default_rng(9 + step).random((3, 5))
        n = 0.95 * n + 0.05 * (score**2 * loss[..., None]).mean(1)
        d = 0.95 * d + 0.05 * (score**2).mean(1)
        expected = score * (loss[..., None] - (n / (d + 1e-4))[:, None])
        gradient, moments = variance_adjusted(
            lambda b, loss=loss: tf.constant(loss), tf.constant(LOGITS), tf.constant(noise), moments
        )
        np.testing.assert_allclose(gradient.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(moments[0].numpy(), n, atol=1e-12)
    np.testing.assert_allclose(moments[1].numpy(), d, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("logit", [-40.0, 40.0, -1000.0, 1000.0])
def test_extreme_logits_stay_finite(name, logit):
    b, gradient = gradient_through(name, np.full_like(LOGITS, logit), NOISE, 1.0)
    assert np.isfinite(b).all() and np.isfinite(gradient).all()
    np.testing.assert_allclose(b, 1.0 if logit > 0 else 0.0, atol=1e-12)


def test_specs_know_every_estimator_of_the_tables():
    assert set(spec.ESTIMATORS) == set(SAMPLERS) | set(SCORE_FUNCTIONS)
