"""The biased estimators' expectations, and so their bias, against sums and integrals in NumPy."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import sigmoid

from bsn.backend import tf
from bsn.estimators import ESTIMATORS

seed = st.integers(0, 2**31)
logit = st.floats(-6, 6) | st.sampled_from([-40.0, 40.0])
# what each puts in place of the step's derivative
FACTOR = {
    "pass-through": lambda b, p: np.ones_like(b),
    "sigmoid-adjusted": lambda b, p: p * (1 - p) + 0 * b,
    "fires-only": lambda b, p: b,
    "reinmax": lambda b, p: np.where(b == 1, (1 - p) / 2, p / 2),
}


def mean(name, f, logits, count=2, **options):
    return oracle.moments(name, f, logits, oracle.rules_for(name, logits, count), **options)[0]


@pytest.mark.parametrize("name", FACTOR)
@given(st.lists(logit, min_size=1, max_size=4), seed)
def test_the_expectation_by_the_sum_over_all_states(name, logits, seed):
    f, b = oracle.Cubic(seed, len(logits)), oracle.states(len(logits))
    p = sigmoid(logits)
    expected = oracle.probabilities(logits) @ (FACTOR[name](b, p) * f.derivative(b))
    np.testing.assert_allclose(mean(name, f, logits), expected, rtol=1e-12, atol=1e-12)


@given(st.lists(logit, min_size=1, max_size=4), seed)
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


@given(st.floats(-5, 5), st.floats(-3, 3), st.floats(0.01, 0.25), seed)
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
