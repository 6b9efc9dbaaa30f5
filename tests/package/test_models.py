"""The two models on the package's page, run as they stand there, by five estimators."""

import pathlib
import re

import keras
import numpy as np
import oracle
import pytest
import test_training
from sklearn.datasets import load_digits

from bsn import expectation
from bsn.backend import tf

PAGE = pathlib.Path(__file__).parents[2] / "book" / "api.md"
STACK, VAE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
FIVE = ("sigmoid-adjusted", "reinforce", "disarm", "muprop", "local-expectation")


def model(source):
    """What the page defines, with equal initial weights each time."""
    keras.utils.set_random_seed(0)
    scope = {"tf": tf, "keras": keras, "expectation": expectation}
    exec(source, scope)
    return scope


def trained(scope, data, widths, estimator):
    """The mean loss of the first and of the last ten of 200 steps, compiled by XLA."""
    step, rng = tf.function(scope["train_step"], jit_compile=True), np.random.default_rng(0)
    scope["train_step"](*(array[:50] for array in data), *noise_of(rng, widths), estimator)  # builds all
    losses = []
    for _ in range(200):
        rows = rng.integers(0, len(data[0]), 50)
        batch = [tf.constant(array[rows]) for array in data]
        losses.append(float(step(*batch, *noise_of(rng, widths), estimator)))
    return np.mean(losses[:10]), np.mean(losses[-10:])


def noise_of(rng, widths):
    noise = [tf.constant(rng.random((50, width), np.float32)) for width in widths]
    return [noise] if len(widths) > 1 else noise


@pytest.mark.slow
@pytest.mark.parametrize("estimator", FIVE)
def test_both_train(estimator):
    images, labels = load_digits(return_X_y=True)
    images = np.float32(images / 16)
    first, last = trained(model(STACK), (images, labels.astype(np.int32)), (20, 20), estimator)
    assert last < 0.95 * first
    first, last = trained(model(VAE), (np.float32(images > 0.5),), (8,), estimator)
    assert last < 0.8 * first


def test_each_is_at_most_25_lines():
    for source in (STACK, VAE):
        assert len([line for line in source.splitlines() if line]) <= 25


@pytest.mark.parametrize("estimator", FIVE[1:])
def test_the_stacks_mean_gradient_is_the_exact_one(estimator):
    """By quadrature over all noise against enumeration of all states, for every weight and bias."""
    layers, x, label = test_training.problem((2, 2))
    rules = test_training.rules(layers, x, nodes=1, mirrored=estimator == "disarm")
    points, weights = oracle.product(rules)
    scope, dense = model(STACK), []
    for values in layers:
        dense.append(keras.layers.Dense(len(values[1]), dtype="float64"))
        dense[-1].build((None, len(values[0])))
        dense[-1].set_weights([np.asarray(value) for value in values])
    scope["hidden"], scope["top"] = dense[:-1], dense[-1]
    noise = [tf.constant(points[:, :2]), tf.constant(points[:, 2:])]
    with tf.GradientTape() as tape:
        losses = scope["losses"](np.tile(x, (len(points), 1)), np.full(len(points), label), noise, estimator)
        mean = tf.reduce_sum(weights * losses) / test_training.CLASSES
    variables = [variable for layer in dense for variable in layer.trainable_variables]
    mean_gradient = np.concatenate([np.ravel(g) for g in tape.gradient(mean, variables)])
    np.testing.assert_allclose(mean_gradient, test_training.exact_gradient(layers, x, label), atol=1e-9)
