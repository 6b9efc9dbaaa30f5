"""The biased estimators' means, and so their bias, against closed forms and integrals in NumPy and SciPy."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import sigmoid
from scipy.integrate import dblquad, quad

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient

BY_STATES = ["sigmoid", "pass-through", "sigmoid-adjusted", "fires-only", "reinmax"]
seed = st.integers(0, 2**31)
number = st.floats(-3, 3)

# of f = A b + B b^2 + C b^3, one unit with p: the mean less p (1 - p) (A + B + C)
BIAS = {
    "sigmoid": lambda p, A, B, C: p * (1 - p) * ((2 * p - 1) * B + (3 * p**2 - 1) * C),
    "pass-through": lambda p, A, B, C: A + p * (2 * B + 3 * C) - p * (1 - p) * (A + B + C),
    "sigmoid-adjusted": lambda p, A, B, C: p * (1 - p) * ((2 * p - 1) * B + (3 * p - 1) * C),
    "fires-only": lambda p, A, B, C: p * (A + 2 * B + 3 * C) - p * (1 - p) * (A + B + C),
    "reinmax": lambda p, A, B, C: p * (1 - p) * C / 2,
}
# what each puts in place of the step's derivative
FACTOR = {
    "pass-through": lambda b, p: np.ones_like(b),
    "sigmoid-adjusted": lambda b, p: p * (1 - p) + 0 * b,
    "fires-only": lambda b, p: b,
    "reinmax": lambda b, p: np.where(b == 1, (1 - p) / 2, p / 2),
}


def mean(name, f, logits, **options):
    return oracle.moments(name, f, logits, oracle.rules_for(name, logits), **options)[0]


@pytest.mark.parametrize("name", BY_STATES)
@given(st.floats(-6, 6) | st.sampled_from([-40.0, 40.0]), number, number, number)
def test_bias_in_closed_form_for_a_cubic_of_one_unit(name, logit, A, B, C):
    def f(b):
        return tf.reduce_sum(A * b + B * b**2 + C * b**3, -1)

    p = sigmoid(logit)
    bias = mean(name, f, [logit])[0] - p * (1 - p) * (A + B + C)
    np.testing.assert_allclose(bias, BIAS[name](p, A, B, C), atol=1e-12)


@pytest.mark.parametrize("target", [0.45, 0.499])
def test_the_papers_toy_turns_the_sigmoid_adjusted_estimator_round(target):
    """(b - t)^2: the mean is 2 p (1 - p) (p - t), of the wrong sign below t, and ReinMax is exact."""
    for logit in (-2.0, -0.3, 0.3):
        p = sigmoid(logit)
        found = {name: mean(name, lambda b: (b[..., 0] - target) ** 2, [logit])[0] for name in BY_STATES}
        assert found["sigmoid-adjusted"] == pytest.approx(2 * p * (1 - p) * (p - target), abs=1e-14)
        assert found["reinmax"] == pytest.approx(p * (1 - p) * (1 - 2 * target), abs=1e-14)


@pytest.mark.parametrize("name", FACTOR)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=4), seed)
def test_mean_of_many_units(name, logits, seed):
    f, b = oracle.Cubic(seed, len(logits)), oracle.states(len(logits))
    p = sigmoid(logits)
    expected = oracle.probabilities(logits) @ (FACTOR[name](b, p) * f.derivative(b))
    np.testing.assert_allclose(mean(name, f, logits), expected, rtol=1e-12, atol=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=4), seed)
def test_the_sigmoid_is_exact_for_its_own_objective(logits, seed):
    f, p = oracle.Cubic(seed, len(logits)), sigmoid(logits)
    np.testing.assert_allclose(mean("sigmoid", f, logits), f.derivative(p) * p * (1 - p), atol=1e-12)


def polynomial_in_each_unit(seed, units, degree):
    """Sums of products over the units of polynomials of that degree; and its values of all states."""
    coefficients = np.random.default_rng(seed).normal(size=(3, units, degree + 1))

    def f(x):
        terms = [1.0, *(x[..., None, :] ** k for k in range(1, degree + 1))]
        each = sum(coefficients[..., k] * term for k, term in enumerate(terms))  # ... x 3 x H
        return tf.reduce_sum(tf.reduce_prod(each, -1), -1)

    return f, f(tf.constant(oracle.states(units))).numpy()


def bias(name, logits, degree):
    f, values = polynomial_in_each_unit(1, len(logits), degree)
    rules = {
        "concrete": [[oracle.smooth_rule()] * len(logits)],
        "st-gumbel": [[oracle.split_rule(a) for a in logits]],
        "gumbel-rao": [[oracle.state_rule(a) for a in logits], [oracle.smooth_rule()] * len(logits)],
    }.get(name, oracle.rules_for(name, logits))
    return oracle.moments(name, f, logits, rules)[0] - oracle.exact_gradient(values, logits)


@pytest.mark.parametrize("name", oracle.SAMPLERS)
def test_the_table_says_where_the_bias_vanishes(name):
    """Linear, quadratic, cubic in each unit: exact up to the degree that the table gives, and not beyond."""
    logits = [0.9, -0.6]
    words = {"linear": 1, "quadratic": 2}
    exact_to = max((words.get(word, 0) for word in ESTIMATORS[name].bias.split()), default=0)
    for degree in (1, 2, 3):
        size = np.abs(bias(name, logits, degree)).max()
        assert size < 1e-12 if degree <= exact_to else size > 1e-3, (degree, size)


def conditional_density(t):
    return sigmoid(t) * sigmoid(-t)  # of t = logit(u), the logistic distribution's


def relaxed_derivative(z, temperature):
    return sigmoid(z / temperature) * sigmoid(-z / temperature) / temperature


@pytest.mark.parametrize("logit, temperature", [(-2.0, 0.5), (0.4, 0.5), (0.4, 1.0), (1.5, 0.7)])
def test_concrete_against_an_integral(logit, temperature):
    f = oracle.Cubic(2, 1)

    def integrand(t):
        z = logit + t
        slope = f.derivative(sigmoid([z / temperature]))[0]
        return conditional_density(t) * slope * relaxed_derivative(z, temperature)

    expected = quad(integrand, -40, 40, points=[-logit], epsabs=1e-13, epsrel=1e-12, limit=200)[0]
    rule = [[oracle.smooth_rule(step=0.1)]]
    found, _ = oracle.moments("concrete", f, [logit], rule, temperature=temperature)
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_concrete_of_two_units_against_an_integral():
    logits, temperature, f = np.array([0.5, -1.0]), 0.8, oracle.Cubic(4, 2)

    def integrand(t1, t0):
        z = logits + [t0, t1]
        weight = conditional_density(t0) * conditional_density(t1)
        return weight * f.derivative(sigmoid(z / temperature))[0] * relaxed_derivative(z[0], temperature)

    expected = dblquad(integrand, -25, 25, -25, 25, epsabs=1e-9, epsrel=1e-9)[0]
    found, _ = oracle.moments("concrete", f, logits, [[oracle.smooth_rule()] * 2], temperature=temperature)
    np.testing.assert_allclose(found[0], expected, atol=1e-8)


def st_gumbel_mean(f, logits, temperature):
    """The sum over the states of P(b) f'(b) times the mean of dy/da given b_i."""
    b, mean = oracle.states(len(logits)), np.zeros(len(logits))
    for i, a in enumerate(logits):
        pieces = {1.0: (-a, 40), 0.0: (-40, -a)}  # of t = -logit(u): z = a + t is above 0 where b = 1
        inside = [pieces[outcome] for outcome in b[:, i]]
        given_b = [
            quad(
                lambda t, a=a: conditional_density(t) * relaxed_derivative(a + t, temperature),
                *ends, epsabs=1e-13, epsrel=1e-12, limit=200,
            )[0]
            for ends in inside
        ]  # fmt: skip
        others = oracle.probabilities(logits) / np.where(b[:, i] == 1, sigmoid(a), sigmoid(-a))
        mean[i] = np.sum(others * given_b * f.derivative(b)[:, i])
    return mean


@pytest.mark.parametrize("logits, temperature", [([0.4], 0.5), ([-1.7], 1.0), ([0.5, -1.0], 0.6)])
def test_st_gumbel_against_an_integral_and_gumbel_rao_has_the_same_mean(logits, temperature):
    f = oracle.Cubic(7, len(logits))
    expected = st_gumbel_mean(f, logits, temperature)
    rules = [[oracle.split_rule(a) for a in logits]]
    found, _ = oracle.moments("st-gumbel", f, logits, rules, temperature=temperature)
    np.testing.assert_allclose(found, expected, atol=1e-11)
    by_state, smooth = [oracle.state_rule(a) for a in logits], [oracle.smooth_rule()] * len(logits)
    for count in [1, 2] if len(logits) == 1 else [1]:
        rules = [by_state] + [smooth] * count
        found, _ = oracle.moments("gumbel-rao", f, logits, rules, temperature=temperature)
        np.testing.assert_allclose(found, expected, atol=1e-11)


@given(st.floats(-5, 5), number, st.floats(0.01, 0.25), seed)
def test_variance_adjusted_is_biased_by_knowing_the_present_batch(logit, numerator, denominator, seed):
    """One unit, batches of one: its mean is the sum over b of P(b) (b - p) (f(b) - c(b))."""
    f, values = oracle.table(seed, 1)
    p, (silent, fired) = sigmoid(logit), values
    expected = 0.0
    for probability, score, loss in [(p, 1 - p, fired), (1 - p, -p, silent)]:
        n = 0.95 * numerator + 0.05 * score**2 * loss
        d = 0.95 * denominator + 0.05 * score**2
        expected += probability * score * (loss - n / (d + 1e-4))
    state = tuple(tf.fill([2, 1], tf.constant(moment, tf.float64)) for moment in (numerator, denominator))
    np.testing.assert_allclose(mean("variance-adjusted", f, [logit], state=state), expected, atol=1e-12)


def test_variance_adjusted_moving_averages_against_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 4)) * 2
    n, d, state = np.zeros((3, 4)), np.ones((3, 4)), None
    for _ in range(4):
        noise, loss = rng.random((3, 5, 4)), rng.random((3, 5))
        score = (noise < sigmoid(logits)) - sigmoid(logits)
        n = 0.95 * n + 0.05 * (score**2 * loss[..., None]).mean(1)
        d = 0.95 * d + 0.05 * (score**2).mean(1)
        expected = score * (loss[..., None] - (n / (d + 1e-4))[:, None])
        found, state = gradient(
            "variance-adjusted", lambda b, loss=loss: tf.constant(loss), tf.constant(logits), noise, state
        )
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(state[0], n, atol=1e-12)
    np.testing.assert_allclose(state[1], d, atol=1e-12)
