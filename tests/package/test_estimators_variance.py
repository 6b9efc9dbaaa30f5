"""What the papers prove of the variances, at fixed parameters, with the variances exact or converged."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import moments, sigmoid
from scipy.integrate import quad

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, rebar, relax, variance_gradient

seed = st.integers(0, 2**31)
TOLERANCE = 1e-12


def some_logits(most):
    return st.lists(st.floats(-4, 4), min_size=1, max_size=most)


@given(some_logits(3), seed)
def test_disarm_is_arms_mean_given_the_pair(logits, seed):
    """So that its variance is at most ARM's, unit by unit, whatever f (Dong, Mnih, Tucker 2020)."""
    f, _ = oracle.table(seed, len(logits))
    rules = oracle.rules_for("arm", logits)
    _, arm = moments("arm", f, logits, rules)
    _, disarm = moments("disarm", f, logits, rules)
    assert (disarm <= arm + TOLERANCE).all()
    # by how much: E of (f(b) - f(b~))^2 times the variance of u in each piece, a square over 12
    u, weights = oracle.product(rules[0])
    p = sigmoid(logits)
    f_b, f_mirrored = (f(tf.constant((noise < p) * 1.0)).numpy() for noise in (u, 1 - u))
    width = np.where((u < p) == (1 - u < p), np.abs(2 * p - 1), np.minimum(p, 1 - p))
    np.testing.assert_allclose(
        arm - disarm, weights @ ((f_b - f_mirrored)[:, None] * width) ** 2 / 12, atol=1e-10
    )


@given(some_logits(2), seed)
def test_more_samples_left_out_vary_less(logits, seed):
    """K times the variance does not grow with K: the mean over pairs is a U-statistic (Hoeffding 1948)."""
    f, _ = oracle.table(seed, len(logits))
    by_count = [
        count * moments("leave-one-out", f, logits, [[oracle.state_rule(a) for a in logits]] * count)[1]
        for count in (2, 3, 4)
    ]
    assert (np.diff(by_count, axis=0) <= TOLERANCE).all()


@given(some_logits(4), seed, st.floats(-5, 5))
def test_local_expectation_varies_least_of_reinforce_with_any_baseline(logits, seed, baseline):
    """It is their mean given the other units (Tokui, Sato 2017); of one unit it does not vary at all."""
    f, _ = oracle.table(seed, len(logits))
    rules = oracle.rules_for("reinforce", logits)
    _, least = moments("local-expectation", f, logits, rules)
    baseline = tf.constant(baseline, tf.float64)
    assert (least <= moments("nvil", f, logits, rules, baseline=baseline)[1] + TOLERANCE).all()
    if len(logits) == 1:
        assert least < TOLERANCE


@given(some_logits(3), seed, st.floats(-5, 5))
def test_the_variance_adjustment_aims_at_the_best_constant(logits, seed, other):
    """c = E[(b - p)^2 f] / E[(b - p)^2] of a unit: no other constant gives that unit a lower variance."""
    f, values = oracle.table(seed, len(logits))
    rules = oracle.rules_for("reinforce", logits)
    squares = (oracle.states(len(logits)) - sigmoid(logits)) ** 2
    weights = oracle.probabilities(logits)[:, None] * squares
    best = np.sum(weights * values[:, None], 0) / np.sum(weights, 0)
    for unit, constant in enumerate(best):
        found = [
            moments("nvil", f, logits, rules, baseline=tf.constant(c, tf.float64))[1][unit]
            for c in (constant, constant + other)
        ]
        assert found[0] <= found[1] + TOLERANCE


def test_variance_adjusted_with_exact_moments_and_one_unit_hardly_varies():
    """Of one unit the best baseline takes all the variance; what is left is the floor of 1e-4."""
    logit, values = 0.7, np.array([-1.0, 2.0])
    p = sigmoid(logit)
    denominator = p * (1 - p)
    state = (denominator * ((1 - p) * values[1] + p * values[0]), denominator)
    # a batch that holds each state as often as it is probable keeps the moments where they are
    count = 200_000
    noise = (np.arange(count)[:, None] + 0.5) / count
    found, _ = gradient(
        "variance-adjusted", lambda b: tf.gather(tf.constant(values), tf.cast(b[:, 0], tf.int32)),
        np.full([count, 1], logit), noise, tuple(tf.constant([moment]) for moment in state),
    )  # fmt: skip
    np.testing.assert_allclose(found, denominator * (values[1] - values[0]), rtol=2e-3)


@given(some_logits(4), seed)
def test_muprop_does_not_vary_where_f_is_linear(logits, seed):
    f = oracle.Cubic(seed, len(logits), degree=1)
    mean, variance = moments("muprop", f, logits, oracle.rules_for("muprop", logits))
    assert (variance < TOLERANCE).all()
    np.testing.assert_allclose(mean, f.w * sigmoid(logits) * sigmoid(np.negative(logits)), atol=1e-12)


@pytest.mark.parametrize("logit, temperature", [(0.4, 0.5), (-1.5, 1.0)])
def test_gumbel_rao_leaves_only_the_variance_of_b(logit, temperature):
    """Of K noises: the variance of the mean given b, and a K-th of the mean variance given b."""
    f, p = oracle.Cubic(3, 1), sigmoid(logit)
    given_b = []
    for ends, probability in [((-40, -logit), 1 - p), ((-logit, 40), p)]:

        def integral(power, ends=ends, probability=probability):
            def integrand(t):
                y = sigmoid((logit + t) / temperature)
                return sigmoid(t) * sigmoid(-t) * (y * (1 - y) / temperature) ** power / probability

            return quad(integrand, *ends, epsabs=1e-13, epsrel=1e-12, limit=200)[0]

        given_b.append((integral(1), integral(2) - integral(1) ** 2))
    slopes, (means, variances) = f.derivative(oracle.states(1))[:, 0], np.transpose(given_b)
    between = p * (1 - p) * np.diff(slopes * means)[0] ** 2
    within = np.array([1 - p, p]) @ (slopes**2 * variances)

    _, plain = moments("st-gumbel", f, [logit], [[oracle.split_rule(logit)]], temperature=temperature)
    np.testing.assert_allclose(plain, between + within, atol=1e-10)
    for count in (1, 2):
        rules = [[oracle.state_rule(logit)]] + [[oracle.smooth_rule()]] * count
        _, found = moments("gumbel-rao", f, [logit], rules, temperature=temperature)
        np.testing.assert_allclose(found, between + within / count, atol=1e-10)


def rebar_variance(logit, f, **options):
    rules = [[oracle.split_rule(logit)], [oracle.smooth_rule()]]
    return moments("rebar", f, [logit], rules, **options)[1][0]


def test_rebar_at_its_best_scale_varies_no_more_than_reinforce():
    """The variance is a parabola in eta, REINFORCE's at 0; at its vertex the gradient given is 0."""
    logit, f = 0.4, oracle.Cubic(3, 1)
    zero, half, one = (rebar_variance(logit, f, eta=eta) for eta in (0.0, 0.5, 1.0))
    _, reinforce = moments("reinforce", f, [logit], oracle.rules_for("reinforce", [logit]))
    assert zero == pytest.approx(reinforce[0], abs=1e-10)
    curvature = 2 * (zero + one - 2 * half)
    best = -(one - zero - curvature) / (2 * curvature)
    assert rebar_variance(logit, f, eta=best) < min(zero, one) - 1e-3
    assert rebar_variance(logit, f, eta=2.0) == pytest.approx(
        zero + 2 * (one - zero - curvature) + 4 * curvature, abs=1e-10
    )
    [slope, _] = mean_variance_gradient(logit, f, best, 0.5)
    assert slope == pytest.approx(0, abs=1e-10)


def noise_and_weights(logit):
    nodes, weights = oracle.product([oracle.split_rule(logit), oracle.smooth_rule()])
    return tf.constant(nodes.T[..., None]), tf.constant(weights[:, None])


def mean_variance_gradient(logit, f, *parameters):
    """The mean over the noise of `variance_gradient` in REBAR's eta and temperature."""
    noise, weights = noise_and_weights(logit)
    parameters = [tf.Variable(value, dtype=tf.float64) for value in parameters]
    logits = tf.fill(weights.shape, tf.constant(logit, tf.float64))
    _, slopes = variance_gradient(lambda: tf.sqrt(weights) * rebar(f, logits, noise, *parameters), parameters)
    return [float(slope) for slope in slopes]


def test_variance_gradient_of_rebar_against_differences():
    logit, f, h = -0.8, oracle.Cubic(5, 1), 1e-4
    found = mean_variance_gradient(logit, f, 0.7, 0.6)
    eta = [rebar_variance(logit, f, eta=0.7 + sign * h, temperature=0.6) for sign in (1, -1)]
    temperature = [rebar_variance(logit, f, eta=0.7, temperature=0.6 + sign * h) for sign in (1, -1)]
    expected = [(eta[0] - eta[1]) / (2 * h), (temperature[0] - temperature[1]) / (2 * h)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_descending_the_variance_gradient_trains_relaxs_surrogate():
    """A small net as surrogate: no step raises the variance, and much of REINFORCE's is gone in the end."""
    logit, f = 0.4, oracle.Cubic(3, 1)
    nodes, weights = oracle.product([oracle.split_rule(logit, step=1.0), oracle.smooth_rule(step=1.0)])
    noise, weights = tf.constant(nodes.T[..., None]), tf.constant(weights[:, None])
    logits = tf.fill(weights.shape, tf.constant(logit, tf.float64))
    variables = [tf.Variable(np.random.default_rng(k).normal(size=4) * 0.5) for k in range(3)]

    def surrogate(z):
        return tf.reduce_sum(variables[0] * tf.tanh(variables[1] * z + variables[2]), -1)

    @tf.function
    def step():
        g, slopes = variance_gradient(
            lambda: tf.sqrt(weights) * relax(f, logits, noise, surrogate), variables
        )
        for variable, slope in zip(variables, slopes):
            variable.assign_sub(0.02 * slope)
        return tf.reduce_sum(g**2)

    squares = np.array([float(step()) for _ in range(150)])
    assert (np.diff(squares) <= TOLERANCE).all()
    exact = oracle.exact_gradient(f.value(oracle.states(1)), [logit])[0]
    _, reinforce = moments("reinforce", f, [logit], oracle.rules_for("reinforce", [logit]))
    assert squares[-1] - exact**2 < 0.2 * reinforce[0]


INVARIANT = {*oracle.SAMPLERS, "leave-one-out", "muprop", "rebar", "arm", "disarm"}
INVARIANT |= {"local-expectation", "exact"}


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("relax", "nvil")])
def test_which_estimates_a_constant_added_to_f_leaves_as_they_are(name):
    """Those with a baseline of their own, or none to need; REINFORCE's variance grows with its square."""
    rng, f = np.random.default_rng(0), oracle.Cubic(2, 3)
    logits, noise = tf.constant(rng.normal(size=(4, 5, 3))), rng.random((2, 4, 5, 3))
    noise = noise[0] if ESTIMATORS[name].noise in (0, 1) else noise
    plain, shifted = (gradient(name, lambda b, c=c: f(b) + c, logits, noise)[0] for c in (0.0, 10.0))
    assert np.allclose(plain, shifted, atol=1e-10) == (name in INVARIANT)
