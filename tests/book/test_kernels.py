"""The compiled nets against NumPy in float64 and against TensorFlow; the loss that breaks."""

import numpy as np
import pytest
import reference

from bookkit.compiled import kernels, nets, sparse
from bsn import curves, estimators, training
from bsn.backend import tf
from bsn.estimators import ESTIMATORS

HIDDEN, INPUTS, CLASSES, BATCH = (6, 5), 8, 10, 7
WIDTHS = [*HIDDEN, CLASSES]
RULED = [name for name, entry in ESTIMATORS.items() if entry.rule]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((BATCH, INPUTS)) * (rng.random((BATCH, INPUTS)) < 0.6)
    y = np.eye(CLASSES)[rng.integers(0, CLASSES, BATCH)]
    noise = [[rng.random((BATCH, width)) for width in HIDDEN] for _ in range(3)]
    return x, y, noise


def options(estimator, rates=(1.0,), slopes=(1.0,), stable=False, stochastic=True):
    flags = np.full(len(rates), stochastic)
    how = nets.how(estimator)
    return kernels.Options(*how, stable, np.float32(rates), np.float32(slopes), flags)


def examples(x, y):
    return kernels.Examples(sparse.rows(np.float32(x)), y.argmax(1).astype(np.int32))


def train(trained, x, y, noise, estimator, *settings):
    """Train on the same images again and again, with `options(estimator, *settings)`."""
    order = np.stack([np.arange(len(x), dtype=np.int32)] * len(noise))
    stacked = np.float32([np.concatenate(u, axis=1) for u in noise])
    how, rule = options(estimator, *settings), nets.row_rule(estimator)
    return kernels.train(trained, how, rule, examples(x, y), order, stacked, 0)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("estimator", RULED)
def test_three_training_steps_of_two_nets_against_numpy(estimator, stable, seed_offset):
    """Two hidden layers, the moving averages included; rates and slopes differ between the nets."""
    x, y, noise = problem(seed_offset)
    rates = [0.3, 0.05]
    # the slope is one of the straight-through estimators
    slopes = [1.0, 2.0] if ESTIMATORS[estimator].slope else [1.0, 1.0]
    trained = kernels.side_by_side(reference.initial_parameters(3, [INPUTS, *WIDTHS]), 2)
    states = [reference.state(trained, i, estimator) for i in range(2)]
    expected = np.zeros(2)
    right_in_all = train(trained, x, y, noise, estimator, rates, slopes, stable)
    for i, (slope, rate) in enumerate(zip(slopes, rates)):
        for u in noise:
            *states[i], _, right, _ = reference.train_step(*states[i], x, y, u, slope, rate, estimator)
            expected[i] += right.sum()
        reference.assert_close(reference.state(trained, i, estimator), tuple(states[i]), atol=3e-7)
    assert list(right_in_all) == list(expected)
    assert list(trained.diverged) == [-1, -1]


@pytest.mark.parametrize("estimator", RULED)
def test_a_step_against_the_estimators_and_automatic_differentiation(estimator, seed_offset):
    """What the kernels do around the rules of `bsn.estimators`, in float32."""
    x, y, noise = problem(2 + seed_offset)
    entry = estimators.ESTIMATORS[estimator]
    sampled = entry.kind == "sampler"

    def unit(a, u):
        return entry.function(a, u, slope) if sampled else estimators.sample(a, u)

    slope = 1.7 if sampled else 1.0
    net = reference.initial_parameters(6, [INPUTS, *WIDTHS])
    trained_nets = kernels.side_by_side(net, 1)
    train(trained_nets, x, y, noise[:1], estimator, [1.0], [slope])

    variables = [[tf.constant(array) for array in pair] for pair in net]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        h, scored, objective = tf.constant(np.float32(x)), [], 0.0
        for (weight, bias), u in zip(variables, noise[0]):
            a, u = h @ weight + bias, np.float32(u)
            scored.append((a, u))
            h = unit(a, u)
        logits = h @ variables[-1][0] + variables[-1][1]
        losses = -tf.reduce_mean(np.float32(y) * tf.nn.log_softmax(logits), axis=-1)
        objective = tf.reduce_sum(losses)
        if not sampled:
            for a, u in scored:
                g, _ = estimators.gradient(estimator, lambda b: losses, tf.stop_gradient(a), u)
                objective += tf.reduce_sum(tf.stop_gradient(g) * a)
    after, _ = reference.state(trained_nets, 0, estimator)
    changes = [tuple(old - new for old, new in zip(*pairs)) for pairs in zip(net, after)]
    reference.assert_close(changes, tape.gradient(objective, variables), atol=1e-6)


def test_exp_to_one_part_in_ten_million():
    x = np.linspace(-87, 87, 100_001, dtype=np.float32)
    found = np.array([kernels.exp(v) for v in x])
    np.testing.assert_allclose(found, np.exp(np.float64(x)), rtol=2e-7)
    assert kernels.exp(np.float32(-1e30)) < 1e-37 and 1e38 < kernels.exp(np.float32(1e30)) < np.inf


def by_kernel(logits, label, stable):
    z, q = np.float32(logits), np.empty(len(logits), np.float32)
    gradient = np.empty_like(z)
    return kernels.loss_and_gradient(z, q, label, stable, gradient), gradient


def by_tensorflow(logits, label, stable):
    @tf.function(jit_compile=True)
    def loss_and_gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = (training.cross_entropy if stable else training.log_of_softmax)(z, tf.constant([label]))
        return loss[0], tape.gradient(loss, z)[0]

    return [result.numpy() for result in loss_and_gradient(tf.constant(np.float32([logits])))]


BOTH = pytest.mark.parametrize("loss_and_gradient", [by_kernel, by_tensorflow])


@BOTH
@pytest.mark.parametrize("gap", [87.4, 95.0, 200.0])  # the first two give a denormal probability
def test_the_posts_loss_breaks_where_a_probability_underflows(gap, loss_and_gradient):
    """0 log 0 of another class is NaN, in the loss and the gradient; the stable loss is finite."""
    logits = [gap] + [gap - 1] * 8 + [0.0]
    loss, gradient = loss_and_gradient(logits, 0, False)
    assert np.isnan(loss) and np.isnan(gradient).all()
    loss, gradient = loss_and_gradient(logits, 0, True)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    loss, gradient = loss_and_gradient(logits, 9, False)  # the right class's own probability: -log 0
    assert np.isnan(loss) and np.isnan(gradient).all()


@BOTH
def test_the_posts_loss_breaks_where_tensorflows_does(loss_and_gradient):
    """Logits around the border of underflow: both engines and the post's own expression break alike."""
    for gap in np.arange(86.0, 105.0, 0.25):
        logits = np.float32([gap] + [gap - 1] * 8 + [0.0])
        q = tf.nn.softmax(logits)
        expected = -tf.reduce_mean(tf.one_hot(0, 10) * tf.math.log(q))
        loss, _ = loss_and_gradient(logits, 0, False)
        if q[-1] == 0 or q[-1] >= kernels.TINY:  # in between TensorFlow's own builds differ
            assert np.isnan(loss) == np.isnan(expected.numpy()), gap


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
    stacked = kernels.side_by_side(net, 1)
    right = [
        kernels.evaluate(stacked, options("sigmoid"), examples(zeros, y[None]), zeros) for y in np.eye(4)
    ]
    assert np.array_equal(np.ravel(right), np.eye(4)[answer])
    count = tf.function(curves.count_right, jit_compile=True)
    right = [count(tf.constant([[logits]], tf.float32), tf.constant([y])) for y in range(4)]
    assert np.array_equal(np.ravel(right), np.eye(4)[answer])


def test_initial_values_are_glorot_uniform_biases_too():
    (weight, bias), _ = reference.initial_parameters(1, [784, 100, 10])
    assert np.abs(weight).max() <= np.sqrt(6 / 884) and np.abs(bias).max() <= np.sqrt(6 / 200)
    assert np.std(weight) == pytest.approx(np.sqrt(2 / 884), rel=0.02)
    assert np.std(bias) == pytest.approx(np.sqrt(2 / 200), rel=0.2)
    again = reference.initial_parameters(1, [784, 100, 10])
    other = reference.initial_parameters(2, [784, 100, 10])
    assert (again[0][0] == weight).all() and not (other[0][0] == weight).any()
