"""`expectation`: the estimator's gradient with respect to the logits, the ordinary one otherwise."""

import numpy as np
import oracle
import pytest
from test_estimators import noise_for, options

from bsn import expectation
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, sample

UNBIASED = [name for name, entry in ESTIMATORS.items() if entry.bias == "unbiased"]


def problem(name, seed=0, shape=(5, 3)):
    rng = np.random.default_rng(seed)
    logits, weights = tf.constant(rng.normal(size=shape)), tf.constant(rng.normal(size=shape))
    return logits, weights, tf.constant(noise_for(name, shape, seed))


def loss_of(weights):
    return lambda b: tf.reduce_sum(weights * b, -1) ** 3 + tf.reduce_sum(weights * b, -1)


def both_gradients(name, logits, weights, noise):
    with tf.GradientTape() as tape:
        tape.watch([logits, weights])
        loss, _ = expectation(loss_of(weights), logits, name, noise, **options(name, logits))
        total = tf.reduce_sum(loss * tf.range(1.0, 6.0, dtype=loss.dtype))  # examples weigh differently
    return loss, tape.gradient(total, [logits, weights])


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("call", ["eager", "function", "xla"])
def test_the_gradient_is_the_estimators_and_the_rests_is_ordinary(name, call):
    logits, weights, noise = problem(name)
    wrap = {"eager": lambda f: f, "function": tf.function, "xla": tf.function(jit_compile=True)}[call]
    loss, (g, rest) = wrap(lambda *arrays: both_gradients(name, *arrays))(logits, weights, noise)
    expected, _ = gradient(name, loss_of(weights), logits, noise, **options(name, logits))
    scale = np.arange(1.0, 6.0)
    np.testing.assert_allclose(g, expected * scale[:, None], rtol=1e-9, atol=1e-10)
    if ESTIMATORS[name].kind == "gradient":
        b, p = oracle.states(3)[:, None], oracle.sigmoid(logits)
        share = np.prod(np.where(b == 1, p, 1 - p), -1)  # of `exact`
        if name == "leave-one-out":
            b, share = sample(logits, noise).numpy(), np.full([3, 1], 1 / 3)
        elif name != "exact":
            b, share = (
                sample(logits, noise[0] if noise.shape.rank > 2 else noise).numpy()[None],
                np.ones([1, 1]),
            )
        with tf.GradientTape() as tape:
            tape.watch(weights)
            wanted = tf.reduce_sum(share * loss_of(weights)(tf.constant(b + 0 * p)), 0)
            total = tf.reduce_sum(wanted * scale)
        np.testing.assert_allclose(loss, wanted, rtol=1e-9)
        np.testing.assert_allclose(rest, tape.gradient(total, weights), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_more_than_one_evaluation_waits_for_the_backward_pass(name):
    logits, weights, noise = problem(name)
    calls = []

    def f(b):
        calls.append(b.shape)
        return loss_of(weights)(b), "handed on"

    with tf.GradientTape() as tape:
        tape.watch(logits)
        (loss, aux), _ = expectation(f, logits, name, noise, **options(name, logits))
        assert len(calls) == 1 and aux == "handed on" and loss.shape == [5]
    tape.gradient(loss, logits)
    assert (len(calls) == 1) == (ESTIMATORS[name].evaluations in (1, "K", "2^H"))


@pytest.mark.parametrize("name", [name for name, entry in ESTIMATORS.items() if entry.initial])
def test_the_state_is_that_of_gradient(name):
    logits, weights, noise = problem(name)
    mine = theirs = None
    for _ in range(3):
        _, mine = expectation(loss_of(weights), logits, name, noise, mine)
        _, theirs = gradient(name, loss_of(weights), logits, noise, theirs)
    for a, b in zip(tf.nest.flatten(mine), tf.nest.flatten(theirs)):
        np.testing.assert_allclose(a, b, rtol=1e-12)
