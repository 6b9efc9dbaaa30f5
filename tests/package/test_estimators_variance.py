"""What the papers prove of the variances, at fixed parameters, with the variances exact or converged."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import moments, sigmoid

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, rebar, variance_gradient

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
        count * moments("leave-one-out", f, logits, oracle.rules_for("leave-one-out", logits, count))[1]
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


@given(some_logits(4), seed)
def test_muprop_does_not_vary_where_f_is_linear(logits, seed):
    f = oracle.Cubic(seed, len(logits), degree=1)
    mean, variance = moments("muprop", f, logits, oracle.rules_for("muprop", logits))
    assert (variance < TOLERANCE).all()
    np.testing.assert_allclose(mean, f.w * sigmoid(logits) * sigmoid(np.negative(logits)), atol=1e-12)


@pytest.mark.parametrize("logit, temperature", [(0.4, 0.5), (-1.5, 1.0)])
def test_gumbel_rao_leaves_only_the_variance_of_b(logit, temperature, seed_offset):
    """Of K noises: the variance of the mean given b, and a K-th of the mean variance given b."""
    f, p = oracle.Cubic(3 + seed_offset, 1), sigmoid(logit)
    u, weights = oracle.split_rule(logit)
    y, fired = oracle.relaxed(logit, u, temperature), u < p
    derivative, probabilities = y * (1 - y) / temperature, np.array([1 - p, p])
    means, squares = [
        np.array([weights[given_b] @ derivative[given_b] ** power for given_b in (~fired, fired)])
        / probabilities
        for power in (1, 2)
    ]
    slopes = f.derivative(oracle.states(1))[:, 0]
    between = p * (1 - p) * np.diff(slopes * means)[0] ** 2
    within = probabilities @ (slopes**2 * (squares - means**2))
    for name, noises in [("st-gumbel", 1), ("gumbel-rao", 1), ("gumbel-rao", 2)]:
        rules = oracle.rules_for(name, [logit], noises + 1)
        _, variance = moments(name, f, [logit], rules, temperature=temperature)
        np.testing.assert_allclose(variance, between + within / noises, rtol=1e-10, atol=1e-10)


def rebar_variance(logit, f, **options):
    return moments("rebar", f, [logit], oracle.rules_for("rebar", [logit]), **options)[1][0]


def test_rebar_at_its_best_scale_varies_no_more_than_reinforce(seed_offset):
    """The variance is a parabola in eta, REINFORCE's at 0; at its vertex `variance_gradient` gives 0."""
    logit, f = 0.4, oracle.Cubic(3 + seed_offset, 1)
    variances = [rebar_variance(logit, f, eta=eta) for eta in (0.0, 0.5, 1.0, 2.0)]
    _, reinforce = moments("reinforce", f, [logit], oracle.rules_for("reinforce", [logit]))
    assert variances[0] == pytest.approx(reinforce[0], rel=1e-9)
    parabola = np.polynomial.Polynomial.fit([0.0, 0.5, 1.0], variances[:3], 2)
    assert variances[3] == pytest.approx(parabola(2.0), rel=1e-9)
    [best] = parabola.deriv().roots()
    assert rebar_variance(logit, f, eta=best) < min(variances)
    [slope, _] = mean_variance_gradient(logit, f, best, 0.5)
    assert slope == pytest.approx(0, abs=1e-9 * max(variances))


def mean_variance_gradient(logit, f, *parameters):
    """The mean over the noise of `variance_gradient` in REBAR's eta and temperature."""
    nodes, weights = oracle.product([rules[0] for rules in oracle.rules_for("rebar", [logit])])
    noise, weights = tf.constant(nodes.T[..., None]), tf.constant(weights[:, None])
    parameters = [tf.Variable(value, dtype=tf.float64) for value in parameters]
    logits = tf.fill(weights.shape, tf.constant(logit, tf.float64))
    _, slopes = variance_gradient(lambda: tf.sqrt(weights) * rebar(f, logits, noise, *parameters), parameters)
    return [float(slope) for slope in slopes]


def test_variance_gradient_of_rebar_against_differences(seed_offset):
    logit, f, h = -0.8, oracle.Cubic(5 + seed_offset, 1), 1e-4
    parameters = {"eta": 0.7, "temperature": 0.6}
    expected = []
    for name, value in parameters.items():
        ends = [rebar_variance(logit, f, **{**parameters, name: value + step}) for step in (h, -h)]
        expected.append((ends[0] - ends[1]) / (2 * h))
    np.testing.assert_allclose(mean_variance_gradient(logit, f, *parameters.values()), expected, rtol=1e-6)


INVARIANT = {*oracle.SAMPLERS, "leave-one-out", "muprop", "rebar", "arm", "disarm"}
INVARIANT |= {"local-expectation", "exact"}


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("relax", "nvil")])
def test_which_estimates_a_constant_added_to_f_leaves_as_they_are(name, rng):
    """Those with a baseline of their own, or none to need; REINFORCE's variance grows with its square."""
    f = oracle.Cubic(2, 3)
    logits, noise = tf.constant(rng.normal(size=(4, 5, 3))), rng.random((2, 4, 5, 3))
    noise = noise[0] if ESTIMATORS[name].noise in (0, 1) else noise
    plain, shifted = (gradient(name, lambda b, c=c: f(b) + c, logits, noise)[0] for c in (0.0, 10.0))
    assert np.allclose(plain, shifted, atol=1e-10) == (name in INVARIANT)
