"""The compiled nets against NumPy in float64 and against TensorFlow; the loss that breaks."""

import inspect

import numpy as np
import pytest
import reference

from bookkit import parameters
from bookkit.compiled import network, sparse, steps, units
from bsn import estimators
from bsn.backend import tf
from bsn.estimators import score_function

HIDDEN, INPUTS, CLASSES, BATCH = (6, 5), 8, 10, 7
WIDTHS = [*HIDDEN, CLASSES]
ONE_PASS = parameters.SAMPLERS + parameters.SCORED  # the others: test_steps.py


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((BATCH, INPUTS)) * (rng.random((BATCH, INPUTS)) < 0.6)
    y = np.eye(CLASSES)[rng.integers(0, CLASSES, BATCH)]
    noise = [[rng.random((BATCH, width)) for width in HIDDEN] for _ in range(3)]
    return x, y, noise


def options(estimator, rates=(1.0,), slopes=(1.0,), stable=False, stochastic=True):
    flags = np.full(len(rates), stochastic)
    return network.Options(units.CODES[estimator], stable, np.float32(rates), np.float32(slopes), flags)


def examples(x, y):
    return network.Examples(sparse.rows(np.float32(x)), y.argmax(1).astype(np.int32))


def train(nets, x, y, noise, *settings):
    """Train on the same images again and again, with `options(*settings)`."""
    order = np.stack([np.arange(len(x), dtype=np.int32)] * len(noise))
    stacked = np.float32([np.concatenate(u, axis=1) for u in noise])
    return steps.train(nets, options(*settings), examples(x, y), order, stacked, stacked[:0], 0)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("estimator", ONE_PASS)
def test_three_training_steps_of_two_nets_against_numpy(estimator, stable, seed_offset):
    """Two hidden layers, the moving averages included; rates and slopes differ between the nets."""
    x, y, noise = problem(seed_offset)
    rates = [0.3, 0.05]
    # the slope is one of the straight-through estimators
    slopes = [1.0, 2.0] if estimator in parameters.SAMPLERS else [1.0, 1.0]
    nets = network.side_by_side([reference.initial_parameters(seed, [INPUTS, *WIDTHS]) for seed in (3, 4)])
    states = [reference.state(nets, i, estimator) for i in range(2)]
    expected = np.zeros(2)
    summed = train(nets, x, y, noise, estimator, rates, slopes, stable)
    for i, (slope, rate) in enumerate(zip(slopes, rates)):
        for u in noise:
            *states[i], _, right, _ = reference.train_step(*states[i], x, y, u, slope, rate, estimator)
            expected[i] += right.mean()
        reference.assert_close(reference.state(nets, i, estimator), tuple(states[i]), atol=3e-7)
    np.testing.assert_allclose(summed, expected, rtol=1e-12)
    assert list(nets.diverged) == [-1, -1]


@pytest.mark.parametrize("estimator", ONE_PASS)
def test_a_step_against_the_estimators_and_automatic_differentiation(estimator, seed_offset):
    """The kernels repeat the formulas of `bsn.estimators`; here they are held to them."""
    x, y, noise = problem(2 + seed_offset)
    entry = estimators.ESTIMATORS[estimator]
    sampled = entry.kind == "sampler"

    def unit(a, u):
        if not sampled:
            return estimators.sample(a, u)
        if estimator == "gumbel-rao":
            v = estimators.tied(slope * a, u)
            u = tf.stack([u, *((v + k / units.DRAWS) % 1 for k in range(units.DRAWS))])
        return entry.function(a, u, slope)

    slope = 1.7 if sampled else 1.0
    net = reference.initial_parameters(6, [INPUTS, *WIDTHS])
    trained_nets = network.side_by_side([net])
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


def units_of_one_layer(code, logits, u):
    """The probabilities, the outputs, and what becomes of a gradient of 1, for units that sample."""
    row, width, moments = logits[None], np.array([len(u)]), np.zeros((2, len(u)), np.float32)
    out = units.Pass(width - width, [row.copy()], [row.copy()], row, np.zeros(1), [np.ones_like(row)])
    with np.errstate(divide="ignore"):
        units.fire.py_func(units.Unit(code, np.float32(1), True), 0 * u, u[None], 0, out)
        units.through_units.py_func(units.Unit(code, np.float32(1), True), 0, u[None], moments, out)
    return out.p[0][0], out.h[0][0], out.through[0][0]


@pytest.mark.parametrize("estimator", ["reinmax", "concrete", "st-gumbel", "gumbel-rao"])
def test_saturated_units_pass_no_gradient(estimator):
    """At logits and noise where p, 1 - p, u or an odds ratio is as small as it gets."""
    ends = np.float32([-200, -88, -30, -1e-30, 0, 17, 30, 200])
    noise = np.float32([0, 2**-24, 1e-3, 0.5, 1 - 2**-24])
    logits, u = (grid.ravel() for grid in np.meshgrid(ends, noise))
    p, h, upstream = units_of_one_layer(units.CODES[estimator], logits, u)
    assert ((0 <= h) & (h <= 1)).all()
    assert ((0 <= upstream) & (upstream <= 0.5)).all()
    if estimator != "concrete":
        assert (h == (u < p)).all()
    # at u = 0 a unit fires however silent, and ReinMax then passes half
    far = (np.abs(logits) > 20) & ((u > 0) | (estimator not in ("reinmax", "gumbel-rao")))
    assert (upstream[far] < 1e-6).all()


@pytest.mark.parametrize("code", [-1, len(units.CODES)])
def test_a_code_that_no_estimator_has_is_an_error(code):
    with pytest.raises(ValueError, match="no estimator of one pass has this code"):
        units_of_one_layer(code, np.zeros(1, np.float32), np.zeros(1, np.float32))


def test_constants_repeated_to_spare_tensorflow():
    defaults = [inspect.signature(estimators.ESTIMATORS[name].function).parameters["temperature"].default
        for name in ("concrete", "st-gumbel", "gumbel-rao", "rebar")]  # fmt: skip
    assert set(defaults) == {1 / units.INVERSE_TEMPERATURE}
    assert units.DECAY == np.float32(score_function.DECAY)
    assert units.FLOOR == np.float32(score_function.FLOOR)


def test_exp_to_one_part_in_ten_million():
    x = np.linspace(-87, 87, 100_001, dtype=np.float32)
    found = np.array([units.exp(v) for v in x])
    np.testing.assert_allclose(found, np.exp(np.float64(x)), rtol=2e-7)
    assert units.exp(np.float32(-1e30)) < 1e-37 and 1e38 < units.exp(np.float32(1e30)) < np.inf


def loss_and_gradient(logits, label, stable):
    z, q = np.float32(logits), np.empty(len(logits), np.float32)
    gradient = np.empty_like(z)
    return network.loss_and_gradient(z, q, label, stable, gradient), gradient


@pytest.mark.parametrize("gap", [87.4, 95.0, 200.0])  # the first two give a denormal probability
def test_the_posts_loss_breaks_where_a_probability_underflows(gap):
    """0 log 0 of another class is NaN, in the loss and the gradient; the stable loss is finite."""
    logits = [gap] + [gap - 1] * 8 + [0.0]
    loss, gradient = loss_and_gradient(logits, 0, False)
    assert np.isnan(loss) and np.isnan(gradient).all()
    loss, gradient = loss_and_gradient(logits, 0, True)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    loss, gradient = loss_and_gradient(logits, 9, False)  # the right class's own probability: -log 0
    assert loss == np.inf and np.isnan(gradient).all()


def test_the_posts_loss_breaks_where_tensorflows_does():
    """Logits around the border of underflow: the kernel and TensorFlow's own kernels break alike."""
    for gap in np.arange(86.0, 105.0, 0.25):
        logits = np.float32([gap] + [gap - 1] * 8 + [0.0])
        q = tf.nn.softmax(logits)
        expected = -tf.reduce_mean(tf.one_hot(0, 10) * tf.math.log(q))
        loss, _ = loss_and_gradient(logits, 0, False)
        if q[-1] == 0 or q[-1] >= network.TINY:  # in between TensorFlow's own builds differ
            assert np.isnan(loss) == np.isnan(expected.numpy()), gap


@pytest.mark.parametrize("stable", [False, True])
def test_both_losses_against_automatic_differentiation(stable):
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
    nets = network.side_by_side([[(np.zeros((1, 1)), np.zeros(1)), (np.zeros((1, 4)), np.array(logits))]])
    nets = nets._replace(first=np.float32(nets.first), upper=np.float32(nets.upper))
    x, u = np.zeros((1, 1)), np.zeros((1, 1), np.float32)
    right = [network.accuracy(nets, options("sigmoid"), examples(x, y[None]), u) for y in np.eye(4)]
    assert np.array_equal(np.ravel(right), np.eye(4)[answer])


def test_initial_values_are_glorot_uniform_biases_too():
    (weight, bias), _ = reference.initial_parameters(1, [784, 100, 10])
    assert np.abs(weight).max() <= np.sqrt(6 / 884) and np.abs(bias).max() <= np.sqrt(6 / 200)
    assert np.std(weight) == pytest.approx(np.sqrt(2 / 884), rel=0.02)
    assert np.std(bias) == pytest.approx(np.sqrt(2 / 200), rel=0.2)
    again = reference.initial_parameters(1, [784, 100, 10])
    other = reference.initial_parameters(2, [784, 100, 10])
    assert (again[0][0] == weight).all() and not (other[0][0] == weight).any()
