"""The training step of stacks against enumeration."""

import numpy as np
import oracle
import pytest

from bsn import Spec, curves, training
from bsn.backend import tf
from bsn.estimators import ESTIMATORS
from bsn.spec import PARTS

CLASSES = 4
TRAINED = [name for name in ESTIMATORS if name != "exact"]


def problem(hidden, seed=2, inputs=2, scale=3.0):
    """Layers [(W, b), ...] larger than the initial ones, so that they matter to each other; x and a label."""
    rng = np.random.default_rng(seed)
    widths = [inputs, *hidden, CLASSES]
    layers = training.init([rng] * (len(widths) - 1), widths)
    layers = [(np.float64(scale * weights), np.float64(scale * biases)) for weights, biases in layers]
    return layers, rng.random((1, inputs)), int(rng.integers(CLASSES))


def states_of(estimator, hidden, inputs, draws):
    """The states before the first step of `draws` nets, in float64, the learned parts moved from 0."""
    spec = Spec(estimator=estimator, learning_rate=1.0, hidden=hidden)
    rng = np.random.default_rng(5)
    return tf.nest.map_structure(
        lambda array: tf.constant(np.float64(array) + rng.normal(0, 0.2, array.shape[1:])),
        curves.initial_states(spec, [inputs, *hidden, CLASSES], draws),
    )


def changes(estimator, layers, x, label, noise, hidden, temperature=0.5, **options):
    """What a step at a rate of 1 subtracts from the layers at each of N draws, as N nets: [N, parameters]."""
    draws = noise.shape[-3]
    layers = curves.side_by_side(layers, draws)
    unit, estimate = training.behaviour(estimator, tf.constant(1.0, tf.float64), 1.0, temperature)
    noise = np.split(noise, np.cumsum(hidden)[:-1], axis=-1)
    states = states_of(estimator, hidden, x.shape[1], draws)
    after, *_ = tf.function(
        lambda: training.train_step(
            layers, states, tf.constant(x), tf.constant([label]), [tf.constant(u) for u in noise], 1.0, unit,
            estimate, **options,
        )
    )()  # fmt: skip
    pairs = zip(tf.nest.flatten(layers), tf.nest.flatten(after))
    return np.concatenate([np.reshape(old - new, [draws, -1]) for old, new in pairs], axis=1)


def exact_gradient(layers, x, label):
    """That of the expected loss of one image, summed over all states of all hidden layers."""
    layers = [[tf.constant(array) for array in pair] for pair in layers]
    widths = [weights.shape[1] for weights, _ in layers[:-1]]
    with tf.GradientTape() as tape:
        tape.watch(layers)
        expected = 0.0
        for state in oracle.states(sum(widths)):
            h, log_probability = tf.constant(x), 0.0
            for (weights, biases), b in zip(layers, np.split(state, np.cumsum(widths)[:-1])):
                a = h @ weights + biases
                log_probability += tf.reduce_sum(b * a - tf.math.softplus(a))
                h = tf.constant(b[None])
            q = tf.nn.log_softmax(h @ layers[-1][0] + layers[-1][1])
            expected -= tf.exp(log_probability) * q[0, label] / CLASSES
    return np.concatenate([np.ravel(g) for g in tf.nest.flatten(tape.gradient(expected, layers))])


def rules(layers, x, mirrored, nodes):
    """For each unit nodes and weights that are exact for what is polynomial in its noise between all p.

    Where p depends on the layer below, those given all its states; with `mirrored` the 1 - p too.
    """
    found, below = [], x
    for weights, biases in layers[:-1]:
        p = oracle.sigmoid(below @ weights + biases)
        for column in p.T:
            ends = np.unique(np.concatenate([[0, 1], column, 1 - column if mirrored else []]))
            found.append(oracle.gauss_rule(ends, nodes))
        below = oracle.states(weights.shape[1])
    return found


def mean_change(estimator, hidden, mirrored=False, nodes=1, temperature=0.5):
    """The step's mean over all noise, by quadrature, and the exact gradient."""
    layers, x, label = problem(hidden)
    unit_rules = rules(layers, x, mirrored, nodes) * (2 if estimator == "leave-one-out" else 1)
    points, weights = oracle.product(unit_rules)
    noise = points.reshape(len(points), 1, -1, sum(hidden)).transpose(2, 0, 1, 3)
    noise = noise if estimator == "leave-one-out" else noise[0]
    found = changes(estimator, layers, x, label, noise, hidden, temperature)
    return weights @ found, exact_gradient(layers, x, label)


# what goes through relaxed units is smooth between the rules' ends, not polynomial
CASES = {
    "leave-one-out": dict(hidden=(2, 1)),
    "rebar": dict(hidden=(2, 1), nodes=12, temperature=0.8),
    "relax": dict(hidden=(1, 1), nodes=24),
    "arm": dict(hidden=(2, 2), mirrored=True),
    "disarm": dict(hidden=(2, 2), mirrored=True),
}


@pytest.mark.parametrize("name", [name for name in TRAINED if ESTIMATORS[name].bias == "unbiased"])
def test_the_mean_step_of_two_layers_is_the_exact_gradient(name):
    """Every weight and bias, in stacks of two layers."""
    found, exact = mean_change(name, **CASES.get(name, {"hidden": (2, 2)}))
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_a_biased_step_is_not():
    found, exact = mean_change("sigmoid-adjusted", (2, 2))
    assert np.abs(found - exact).max() > 0.002


def test_the_temperature_is_that_of_the_control_variate():
    """REBAR's single estimates change with it, their mean does not (above)."""
    layers, x, label = problem((2, 1))
    noise = np.random.default_rng(0).random((4, 1, 3))
    cool, warm = (changes("rebar", layers, x, label, noise, (2, 1), t) for t in (0.25, 1.0))
    assert np.abs(cool - warm).max() > 1e-3


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 4), (0, 5)])
def test_noise_is_what_numpy_draws(shape):
    bits = np.random.SFC64(np.random.SeedSequence([5, 300, 1]))
    expected = np.random.Generator(bits).random(shape, dtype=np.float32)
    noise = curves.uniform_noise(5, 300, 1, shape)
    assert noise.dtype == np.float32 and np.array_equal(noise, expected)


@pytest.mark.slow
def test_nets_of_many_shapes_train_without_a_warning(rng, caplog):
    """TensorFlow's advice to the user, the fifth time that it traces a function, would stand on a page."""
    parts = {part: (np.float32(rng.random((60, 4))), rng.integers(0, 10, 60)) for part in PARTS}
    common = dict(estimator="sigmoid-adjusted", learning_rate=0.1, epochs=1, steps_per_epoch=101)
    assert len(curves.train([Spec(hidden=(width,), **common) for width in range(1, 6)], parts)) == 5
    assert not caplog.messages
