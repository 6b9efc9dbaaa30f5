"""The losses of both engines and where the post's breaks, predictions, initial values."""

import numpy as np
import pytest

from bookkit.compiled import kernels, nets, sparse
from bsn import Spec, curves, training
from bsn.backend import tf


def test_exp_to_one_part_in_ten_million():
    x = np.linspace(-87, 87, 100_001, dtype=np.float32)
    found = np.array([kernels.exp(v) for v in x])
    np.testing.assert_allclose(found, np.exp(np.float64(x)), rtol=2e-7)
    low, high = kernels.exp(np.float32(-1e30)), kernels.exp(np.float32(1e30))
    assert low < 1e-37 and 8e37 < high < np.inf
    # subnormal numbers take a processor ten times as long
    assert min(low, np.float32(1) / (1 + high)) >= np.finfo(np.float32).tiny


def by_kernel(logits, label, stable):
    z, q = np.float32(logits), np.empty(len(logits), np.float32)
    gradient = np.empty_like(z)
    return kernels.loss_and_gradient(z, q, label, stable, gradient), gradient


@tf.function(jit_compile=True)
def compiled_loss_and_gradient(logits, labels, stable):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = (training.cross_entropy if stable else training.log_of_softmax)(logits, labels)
    return loss[0], tape.gradient(loss, logits)[0]


def by_tensorflow(logits, label, stable):
    both = compiled_loss_and_gradient(tf.constant(np.float32([logits])), tf.constant([label]), stable)
    return [result.numpy() for result in both]


SLOW = pytest.param(by_tensorflow, marks=pytest.mark.slow)
BOTH = pytest.mark.parametrize("loss_and_gradient", [by_kernel, SLOW])


@BOTH
def test_the_posts_loss_breaks_where_a_probability_underflows(loss_and_gradient):
    """As its own expression does: 0 log 0 is NaN, in the loss and the gradient; the stable loss is finite."""
    for gap in (*np.arange(84.0, 88.0, 0.25), 87.4, 95.0, 105.0, 200.0):
        logits = np.float32([gap] + [gap - 1] * 8 + [0.0])
        q = tf.nn.softmax(logits)
        breaks = q[-1] < kernels.TINY
        for label in (0, 9):  # the probability of another class, or of the right one
            own = -tf.reduce_mean(tf.one_hot(label, 10) * tf.math.log(q))
            assert np.isfinite(own) == (q[-1] > 0)
            loss, gradient = loss_and_gradient(logits, label, False)
            assert np.isnan([loss, *gradient]).all() if breaks else np.isfinite([loss, *gradient]).all()
            loss, gradient = loss_and_gradient(logits, label, True)
            assert np.isfinite([loss, *gradient]).all()


@BOTH
@pytest.mark.parametrize("stable", [False, True])
def test_both_losses_against_automatic_differentiation(stable, loss_and_gradient):
    rng = np.random.default_rng(0)
    for label in range(10):
        logits = tf.constant(rng.normal(size=10) * 5)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            expected = -tf.reduce_mean(tf.one_hot(label, 10, dtype=tf.float64) * tf.nn.log_softmax(logits))
        loss, gradient = loss_and_gradient(logits, label, stable)
        np.testing.assert_allclose(loss, expected, rtol=2e-6)
        np.testing.assert_allclose(gradient, tape.gradient(expected, logits), atol=1e-7)


@pytest.mark.parametrize(
    "logits, answer",
    [
        ([1, 1, np.nan, 1], 0),  # one NaN spoils its row's softmax
        ([np.nan] * 4, 0),
        ([np.nan, 5, 1, 1], 0),
        ([np.inf, 5, 1, 1], 0),
        ([1, 5, 1, 5], 1),
        ([1, 5, 1, 6], 3),
    ],
)
def test_nan_predicts_class_zero_and_ties_the_first(logits, answer):
    zeros = np.zeros((1, 1), np.float32)
    net = [(zeros, zeros[0]), (np.zeros((1, 4), np.float32), np.float32(logits))]
    stacked, images, one = kernels.side_by_side(net, 1), sparse.rows(zeros), np.ones(1, np.float32)
    options = kernels.Options(*nets.how("sigmoid"), False, one, one, one > 0)
    examples = [kernels.Examples(images, np.array([y], np.int32)) for y in range(4)]
    right = [kernels.evaluate(stacked, options, each, zeros) for each in examples]
    assert np.array_equal(np.ravel(right), np.eye(4)[answer])
    count = tf.function(curves.count_right, jit_compile=True)
    right = [count(tf.constant([[logits]], tf.float32), tf.constant([y])) for y in range(4)]
    assert np.array_equal(np.ravel(right), np.eye(4)[answer])


def test_initial_values_are_glorot_uniform_biases_too():
    common = dict(estimator="sigmoid", learning_rate=1.0, hidden=(100,))
    changed = dict(seed=1), dict(seed=1, zero_biases=True), dict(seed=2)
    [first, zeroed, other] = [curves.initial_layers(Spec(**common, **fields), 784, 10) for fields in changed]
    weight, bias = first[0]
    assert np.abs(weight).max() <= np.sqrt(6 / 884) and np.abs(bias).max() <= np.sqrt(6 / 200)
    assert np.std(weight) == pytest.approx(np.sqrt(2 / 884), rel=0.02)
    assert np.std(bias) == pytest.approx(np.sqrt(2 / 200), rel=0.2)
    assert (zeroed[0][0] == weight).all() and not (other[0][0] == weight).any()
    assert not any(biases.any() for _, biases in zeroed)
