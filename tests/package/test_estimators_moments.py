"""The estimators' means, against the exact gradient or their bias; what the papers prove of their variances.

Nothing is sampled: means and variances are exact, or converged.
"""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import moments, sigmoid

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, rebar, sampling, variance_gradient

logit = st.floats(-6, 6) | st.sampled_from([-40.0, 40.0])
seed = st.integers(0, 2**31)


def mean(name, f, logits, count=2, **options):
    return oracle.moments(name, f, logits, oracle.rules_for(name, logits, count), **options)[0]


def surrogate(z):
    """Bounded in the strip where it must be for the quadrature, and not like f at all."""
    return tf.reduce_sum(tf.tanh(0.4 * z + 0.3), -1) + 0.3 * tf.reduce_prod(tf.sigmoid(z), -1) ** 2


@pytest.mark.parametrize("name", [name for name in oracle.UNBIASED if name not in ("rebar", "relax")])
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
    for count in (2, 3, 4) if name == "leave-one-out" else (2,):
        estimate = mean(name, f, logits, count, **options)
        np.testing.assert_allclose(estimate, oracle.exact_gradient(values, logits), atol=1e-12)


CONTROLS = [
    ("rebar", dict(eta=1.0, temperature=0.5)),
    ("rebar", dict(eta=-0.7, temperature=0.8)),
    ("relax", dict(surrogate=surrogate)),
]


@pytest.mark.parametrize("logits", [[-3.0], [-0.4], [0.0], [1.2], [0.6, -1.1]])
@pytest.mark.parametrize("name, options", CONTROLS)
def test_rebar_and_relax(name, options, logits, rng, seed_offset):
    """Given b, the estimate is a sum of one function of u and one of v: integrated one after the other.

    This is what fails when the derivative stops at the conditional noise.
    """
    units, p = len(logits), sigmoid(logits)
    f, values = oracle.cubic(5 + seed_offset, units)
    v, weights = oracle.product([oracle.smooth_rule()] * units)
    u0, v0 = np.array([0.3, 0.6])[:units], np.array([0.2, 0.9])[:units]
    total = np.zeros(units)
    for b, probability in zip(oracle.states(units), oracle.probabilities(logits)):

        def estimates(w, v, b=b):  # w: u's place within the outcome b
            w, v = np.broadcast_arrays(w, v)
            u = np.where(b == 1, w * p, p + w * (1 - p))
            return oracle.estimates(name, f, logits, np.stack([u, v]), **options)

        corner, random = estimates(u0[None], v0), rng.random((2, 20, units))
        split = estimates(random[0], v0) + estimates(u0, random[1]) - corner
        np.testing.assert_allclose(estimates(*random), split, atol=1e-11)
        total += probability * (weights @ estimates(v, v0) + weights @ estimates(u0, v) - corner[0])
    np.testing.assert_allclose(total, oracle.exact_gradient(values, logits), atol=1e-11)


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
    total = weights @ oracle.estimates(name, f, logits, np.stack([u, v]), **options)
    np.testing.assert_allclose(total, oracle.exact_gradient(values, logits), atol=1e-10)


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
        score = (noise < sigmoid(logits)) - sigmoid(logits)
        subtracted, expected_state = baseline(expected_state, score, loss[..., None])
        np.testing.assert_allclose(g, score * (loss[..., None] - subtracted), atol=1e-12)
        np.testing.assert_allclose(state, expected_state, atol=1e-12)


# the estimate at a sample
RULES = {
    "pass-through": lambda f, b, p: f.derivative(b),
    "sigmoid": lambda f, b, p: f.derivative(p) * p * (1 - p) + 0 * b,
    "sigmoid-adjusted": lambda f, b, p: f.derivative(b) * p * (1 - p),
    "fires-only": lambda f, b, p: f.derivative(b) * b,
    "reinmax": lambda f, b, p: f.derivative(b) * np.where(b == 1, (1 - p) / 2, p / 2),
}


@pytest.mark.parametrize("name", RULES)
@given(st.lists(logit, min_size=1, max_size=4), seed)
def test_the_expectation_by_the_sum_over_all_states(name, logits, seed):
    f, b = oracle.Cubic(seed, len(logits)), oracle.states(len(logits))
    expected = oracle.probabilities(logits) @ RULES[name](f, b, sigmoid(logits))
    np.testing.assert_allclose(mean(name, f, logits), expected, rtol=1e-12, atol=1e-12)


def polynomial_in_each_unit(seed, units, degree):
    """Sums of products over the units of polynomials of that degree; and its values of all states."""
    coefficients = np.random.default_rng(seed).normal(size=(3, units, degree + 1))

    def f(x):
        terms = [1.0, *(x[..., None, :] ** k for k in range(1, degree + 1))]
        each = sum(coefficients[..., k] * term for k, term in enumerate(terms))  # ... x 3 x H
        return tf.reduce_sum(tf.reduce_prod(each, -1), -1)

    return f, f(tf.constant(oracle.states(units))).numpy()


@pytest.mark.parametrize("name", oracle.SAMPLERS)
def test_the_registry_says_where_the_bias_vanishes(name, seed_offset):
    """Linear, quadratic, cubic in each unit: exact up to the degree in the registry, and not beyond."""
    logits = [0.9, -0.6]
    words = {"linear": 1, "quadratic": 2}
    exact_to = max((words.get(word, 0) for word in ESTIMATORS[name].bias.split()), default=0)
    for degree in (1, 2, 3):
        f, values = polynomial_in_each_unit(1 + seed_offset, len(logits), degree)
        size = np.abs(mean(name, f, logits) - oracle.exact_gradient(values, logits)).max()
        assert size < 1e-12 if degree <= exact_to else size > 1e-3, (degree, size)


RELAXED = [([-2.0], 0.5), ([0.4], 0.5), ([-1.7], 1.0), ([0.5, -1.0], 0.6)]


@pytest.mark.parametrize("logits, temperature", RELAXED)
def test_concrete_is_unbiased_for_f_of_the_relaxed_sample(logits, temperature, seed_offset):
    """Against differences of E[f(y)], an integral over the noise."""
    f = oracle.Cubic(2 + seed_offset, len(logits))
    u, weights = oracle.product([oracle.smooth_rule()] * len(logits))
    steps = 1e-4 * np.eye(len(logits))
    objective = [
        weights @ f.value(oracle.relaxed(logits + step, u, temperature)) for step in (*steps, *-steps)
    ]
    differences = np.subtract(*np.split(np.array(objective), 2)) / 2e-4
    np.testing.assert_allclose(mean("concrete", f, logits, temperature=temperature), differences, atol=2e-6)


@pytest.mark.parametrize("logits, temperature", RELAXED)
def test_st_gumbel_and_gumbel_rao_have_the_same_expectation(logits, temperature, seed_offset):
    """E[f'(b) dy/da], for y at the noise whose sample is b."""
    f = oracle.Cubic(7 + seed_offset, len(logits))
    u, weights = oracle.product([oracle.split_rule(a) for a in logits])
    y, b = oracle.relaxed(logits, u, temperature), np.where(u < sigmoid(logits), 1.0, 0.0)
    expected = weights @ (f.derivative(b) * y * (1 - y) / temperature)
    uniforms = [("st-gumbel", 1), ("gumbel-rao", 2)] + [("gumbel-rao", 3)] * (len(logits) == 1)
    for name, count in uniforms:
        estimate = mean(name, f, logits, count, temperature=temperature)
        np.testing.assert_allclose(estimate, expected, atol=1e-11)


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


def test_rebar_of_scale_0_varies_as_reinforce(seed_offset):
    """So that at its best scale it varies no more; `variance_gradient` leads there."""
    logit, f = 0.4, oracle.Cubic(3 + seed_offset, 1)
    _, reinforce = moments("reinforce", f, [logit], oracle.rules_for("reinforce", [logit]))
    assert rebar_variance(logit, f, eta=0.0) == pytest.approx(reinforce[0], rel=1e-9)


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
