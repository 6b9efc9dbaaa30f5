"""A full training step against NumPy in float64; the loss that breaks; nets side by side."""

import numpy as np
import pytest
import reference

from bsn import network, spec
from bsn.backend import tf

HIDDEN, INPUTS, CLASSES, BATCH = (6, 5), 8, 10, 7


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((BATCH, INPUTS))
    y = np.eye(CLASSES)[rng.integers(0, CLASSES, BATCH)]
    noise = [[rng.random((BATCH, width)) for width in HIDDEN] for _ in range(3)]
    return x, y, noise


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("estimator", spec.ESTIMATORS)
def test_three_training_steps_of_two_nets_against_numpy(estimator, stable, compiled):
    """Two hidden layers, the moving averages included; rates and slopes differ between the nets."""
    x, y, noise = problem()
    rates = [0.3, 0.05]
    # the slope is one of the straight-through estimators
    slopes = [1.0, 1.0] if estimator in ("reinforce", "variance-adjusted") else [1.0, 2.0]
    nets = [network.initial_parameters(seed, INPUTS, HIDDEN, CLASSES, np.float64) for seed in (3, 4)]
    start = [(np.zeros(w), np.ones(w)) if estimator == "variance-adjusted" else () for w in HIDDEN]
    states = [(net, start) for net in nets]

    slope, rate = tf.constant(slopes, tf.float64)[:, None, None], tf.constant(rates, tf.float64)

    def step(parameters, moments, u):
        batch = tf.constant(x), tf.constant(y)
        return network.train_step(parameters, moments, *batch, u, slope, rate, estimator, stable)

    step = tf.function(step, jit_compile=True, autograph=False) if compiled else step
    parameters = network.side_by_side(nets)
    moments = network.start_moments(estimator, 2, HIDDEN, tf.float64)
    for u in noise:
        parameters, moments, losses, accuracy = step(parameters, moments, [tf.constant(v)[None] for v in u])
        for i in range(2):
            *states[i], expected_losses, expected_accuracy = reference.train_step(
                *states[i], x, y, u, slopes[i], rates[i], estimator
            )
            np.testing.assert_allclose(losses[i], expected_losses, atol=1e-12)
            np.testing.assert_allclose(accuracy[i], expected_accuracy)
    for i in range(2):
        for layer, (weight, bias) in enumerate(states[i][0]):
            trained, trained_bias = parameters[layer]
            np.testing.assert_allclose(trained[:, i] if layer == 0 else trained[i], weight, atol=1e-11)
            np.testing.assert_allclose(trained_bias[i], bias, atol=1e-11)
    if estimator == "variance-adjusted":
        for layer in range(2):
            for i in range(2):
                np.testing.assert_allclose(moments[layer][0][i], states[i][1][layer][0], atol=1e-12)


def test_the_reference_gradient_by_finite_differences():
    """The reference itself: the sigmoid net's step is the loss's numerical gradient."""
    x, y, noise = problem(1)
    net = network.initial_parameters(5, INPUTS, HIDDEN, CLASSES, np.float64)

    def total(net):
        return reference.train_step(net, [(), ()], x, y, noise[0], 1.0, 0.0, "sigmoid")[2].sum()

    stepped = reference.train_step(net, [(), ()], x, y, noise[0], 1.0, 1.0, "sigmoid")[0]
    for layer in range(3):
        for index in [(0, 0), (4, 3)]:
            moved = [(w.copy(), b.copy()) for w, b in net]
            moved[layer][0][index] += 1e-6
            slope = (total(moved) - total(net)) / 1e-6
            assert net[layer][0][index] - stepped[layer][0][index] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def loss_and_gradient(logits, targets, stable):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = network.example_losses(logits, targets, stable)
    return losses, tape.gradient(losses, logits)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("gap", [87.4, 95.0, 200.0])  # the first two give a denormal probability
def test_the_posts_loss_breaks_where_a_probability_underflows(compiled, gap):
    """0 log 0 of another class is NaN, in the loss and the gradient; the stable loss is finite."""
    call = (
        tf.function(loss_and_gradient, jit_compile=True, autograph=False) if compiled else loss_and_gradient
    )
    logits = tf.constant(np.float32([[[gap] + [gap - 1] * 8 + [0.0]]]))
    targets = tf.one_hot([0], 10)
    losses, gradient = call(logits, targets, False)
    assert np.isnan(losses).all() and np.isnan(gradient).all()
    losses, gradient = call(logits, targets, True)
    assert np.isfinite(losses).all() and np.isfinite(gradient).all()


def test_both_losses_agree_where_nothing_underflows():
    logits = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 10)) * 5)
    targets = tf.one_hot([1, 2, 3, 4], 10, dtype=tf.float64)
    for one, other in zip(
        loss_and_gradient(logits, targets, False), loss_and_gradient(logits, targets, True)
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_nan_answers_class_zero(compiled):
    call = tf.function(network.accuracy, jit_compile=True) if compiled else network.accuracy
    logits = np.ones([1, 3, 4], np.float32)
    logits[0, 0, 2] = np.nan  # one NaN spoils its row's softmax
    logits[0, 1] = np.nan
    logits[0, 2, 1] = 5
    assert call(tf.constant(logits), tf.one_hot([0, 0, 1], 4)).numpy() == pytest.approx([1.0])
    assert call(tf.constant(logits), tf.one_hot([2, 1, 1], 4)).numpy() == pytest.approx([1 / 3])


def test_initial_values_are_glorot_uniform_biases_too():
    (weight, bias), _ = network.initial_parameters(1, 784, (100,), 10)
    assert np.abs(weight).max() <= np.sqrt(6 / 884) and np.abs(bias).max() <= np.sqrt(6 / 200)
    assert np.std(weight) == pytest.approx(np.sqrt(2 / 884), rel=0.02)
    assert np.std(bias) == pytest.approx(np.sqrt(2 / 200), rel=0.2)
    again = network.initial_parameters(1, 784, (100,), 10)
    other = network.initial_parameters(2, 784, (100,), 10)
    assert (again[0][0] == weight).all() and not (other[0][0] == weight).any()
