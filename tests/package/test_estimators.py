"""The contract that all estimators share, and the facts in the registry; not their expectations."""

import itertools
import re

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsn import InputError, estimators
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient

SLOPED = {"sigmoid", "sigmoid-adjusted", "reinmax", "concrete", "st-gumbel", "gumbel-rao"}


def options(name, logits):
    """What an estimator wants of its caller, different for each example."""
    scale = tf.reduce_sum(tf.cos(tf.range(logits.shape[-1], dtype=logits.dtype)) * tf.tanh(logits), -1)
    return {
        "nvil": {"baseline": scale},
        "relax": {"surrogate": lambda z: tf.reduce_sum(tf.tanh(z), -1) * tf.cast(1 + scale, z.dtype)},
    }.get(name, {})


def evaluated(formula, units, count=3):
    return eval(str(formula).replace("^", "**"), {"H": units, "K": count})


def noise_for(name, shape, seed=0, count=3):
    uniforms = evaluated(ESTIMATORS[name].noise, shape[-1], count)
    noise = np.random.default_rng(seed).random((max(uniforms, 1), *shape))
    return noise if uniforms > 1 else noise[0]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_table_counts_the_evaluations_and_says_where_the_derivative_is_taken(name):
    """f is spied on: how many samples an example it is given, and at which its derivative is asked for."""
    entry, units = ESTIMATORS[name], 3
    logits = tf.constant(np.random.default_rng(1).normal(size=(2, 5, units)))
    noise = noise_for(name, logits.shape)
    seen, differentiated = [], []

    @tf.custom_gradient
    def f(x):
        seen.append(x.numpy())

        def derivative(upstream):
            differentiated.append(x.numpy())
            return upstream[..., None] * tf.ones_like(x)

        return tf.reduce_sum(x, -1), derivative

    gradient(name, f, logits, noise, **options(name, logits))
    assert sum(x.size for x in seen) == evaluated(entry.evaluations, units) * tf.size(logits).numpy()
    points = {
        "b": lambda x: np.isin(x, (0, 1)).all(),
        "p": lambda x: np.allclose(x, oracle.sigmoid(logits)),
        "y": lambda x: ((0 < x) & (x < 1)).all() and not np.allclose(x, oracle.sigmoid(logits)),
    }
    kinds = [kind[0] for kind in entry.derivative.split(", ") if kind]
    assert len(differentiated) == len(kinds)
    assert all(points[kind](x) for kind, x in zip(kinds, differentiated))


def test_every_estimator_is_exported_and_described():
    for entry in ESTIMATORS.values():
        assert getattr(estimators, entry.function.__name__) is entry.function and entry.function.__doc__
        assert re.match("(un|slightly )?biased", entry.bias)


@pytest.mark.parametrize("name", [name for name, entry in ESTIMATORS.items() if entry.initial is None])
@settings(max_examples=6)
@given(st.lists(st.integers(1, 3), max_size=3), st.integers(1, 4), st.integers(0, 2**31))
def test_any_leading_axes_and_each_example_by_itself(name, leading, units, seed):
    """f, baseline and surrogate differ between the examples."""
    rng, shape = np.random.default_rng(seed), (*leading, units)
    logits, weights, noise = rng.normal(size=shape), rng.normal(size=shape), noise_for(name, shape, seed)

    def estimate(at):
        def f(b):
            total = tf.reduce_sum(weights[at] * b, -1)
            return total + total**3

        a = tf.constant(logits[at])
        u = noise[(slice(None), *at)] if noise.ndim > logits.ndim else noise[at]
        return gradient(name, f, a, tf.constant(u), **options(name, a))[0].numpy()

    together = estimate(())
    assert together.shape == shape
    for at in itertools.product(*map(range, leading)):
        np.testing.assert_allclose(together[at], estimate(at), atol=1e-10)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_and_noise_stay_finite_and_xla_agrees(name, dtype):
    """Both ends of what `tf.random.uniform` may return, at logits where p rounds to 0 or 1."""
    ends = [0.0, np.finfo(dtype).tiny, 0.5, 1 - np.finfo(dtype).epsneg]
    values = np.array(list(itertools.product([-1000, -40, -15, 0, 15, 40, 1000], ends, ends)), dtype)
    logits = tf.constant(np.stack([values[:, 0], values[::-1, 0]], -1))
    uniforms = evaluated(ESTIMATORS[name].noise, 2)
    noise = tf.constant(np.stack([values[:, 1:], values[:, :0:-1]]))  # 2 x B x H
    noise = noise[0] if uniforms < 2 else tf.concat([noise] * uniforms, 0)[:uniforms]

    def f(b):
        return tf.reduce_sum(tf.sin(3 * b + 1), -1) + tf.reduce_prod(b, -1)

    def estimate(logits):
        return gradient(name, f, logits, noise, **options(name, logits))[0]

    g = estimate(logits)
    assert g.dtype == logits.dtype and g.shape == logits.shape
    assert np.isfinite(g).all()
    compiled = tf.function(estimate, jit_compile=True)(logits)
    tolerance = 1e-3 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(compiled, g, rtol=tolerance, atol=tolerance)


def test_the_variances_gradient_is_finite_there_too():
    logits = tf.constant([[-40.0, 40.0, 0.0], [40.0, -40.0, 15.0]])
    parameters = [tf.Variable(0.5), tf.Variable(0.3)]
    for u in itertools.product([0.0, 0.5, 1 - 2**-24], repeat=2):

        def estimate(noise=tf.reshape(u, [2, 1, 1]) * tf.ones([2, 2, 3])):  # noqa: B008
            return estimators.rebar(lambda b: tf.reduce_sum(b**2, -1), logits, noise, *parameters)

        g, slopes = estimators.variance_gradient(estimate, parameters)
        assert np.isfinite(g).all() and np.isfinite(slopes).all()


@pytest.mark.parametrize("name", oracle.SAMPLERS)
def test_a_slope_scales_the_logits_and_the_derivative(name, rng):
    """One for each net broadcasts; pass-through and fires-only know it forward alone."""
    logits, slopes = rng.normal(size=(3, 5, 4)), np.array([1.0, 2.0, 4.0])[:, None, None]
    noise, f = noise_for(name, logits.shape), oracle.Cubic(1, 4)
    sloped, _ = gradient(name, f, logits, noise, slope=slopes)
    scaled, _ = gradient(name, f, slopes * logits, noise)
    np.testing.assert_allclose(sloped, scaled * (slopes if name in SLOPED else 1), rtol=1e-9, atol=1e-12)
    b = ESTIMATORS[name].function(tf.constant(logits), noise, slopes)
    np.testing.assert_allclose(b, ESTIMATORS[name].function(tf.constant(slopes * logits), noise), rtol=1e-9)


@pytest.mark.parametrize("name", oracle.SAMPLERS)
def test_samplers_return_the_same_sample_or_a_relaxation_of_it(name, rng):
    """Noise of 1/2 gives the deterministic unit, 0 for a logit of 0."""
    logits = np.append(rng.normal(size=(7, 5)) * 3, np.zeros([1, 5]), 0)
    for noise in (noise_for(name, logits.shape), 0.5)[: 1 + ESTIMATORS[name].deterministic]:
        first = noise[0] if np.ndim(noise) > 2 else noise
        expected = (first < oracle.sigmoid(logits)).astype(float)
        value = ESTIMATORS[name].function(tf.constant(logits), noise).numpy()
        if name == "sigmoid":
            np.testing.assert_allclose(value, oracle.sigmoid(logits))
        elif name == "concrete":
            np.testing.assert_allclose(value, oracle.relaxed(logits, noise, 0.5))
            assert ((value > 0.5) == expected).all()
        else:
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("name", ["reinforc", "sigmoid_adjusted", None, ["sigmoid"]])
def test_an_unknown_name_is_one_line(name):
    with pytest.raises(InputError, match="^estimator is .*; expected one of sigmoid, pass-through"):
        gradient(name, lambda b: b[..., 0], tf.zeros([2, 3]), tf.zeros([2, 3]))


def test_states_count_in_binary():
    np.testing.assert_array_equal(estimators.states(3, tf.float64), oracle.states(3))
