"""The Keras layer: in `fit`, under XLA, through a file, with the estimator's gradient."""

import numpy as np
import pytest

from bsn import BinaryStochastic, InputError
from bsn.backend import keras, tf
from bsn.layers import SAMPLERS


def test_fit_compiled_then_save_and_load(tmp_path):
    unit = BinaryStochastic("sigmoid-adjusted", slope=2.0, eval_mode="deterministic", seed=1)
    dense = [keras.layers.Dense(32), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.layers.Input([4]), dense[0], unit, dense[1]])
    optimizer, loss = keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=True)
    x = np.random.default_rng(0).normal(size=(512, 4)).astype("float32")
    y = (x[:, 0] + x[:, 1] > 0).astype("int32")
    model.fit(x, y, epochs=15, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


def test_samples_follow_the_sigmoid_and_modes():
    layer = BinaryStochastic(eval_mode="deterministic", slope=2.0, seed=3)
    logits = tf.fill([20000, 1], 0.3)
    sampled = layer(logits, training=True).numpy()
    p = 1 / (1 + np.exp(-0.6))
    assert set(np.unique(sampled)) == {0.0, 1.0}
    assert abs(sampled.mean() - p) < 5 * np.sqrt(p * (1 - p) / 20000)
    assert (layer(logits, training=False).numpy() == 1).all()
    assert (layer(-logits, training=False).numpy() == 0).all()


def test_gradient_is_the_estimators():
    layer = BinaryStochastic("sigmoid-adjusted", slope=2.0)
    a = tf.constant([[0.3, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(a)
        total = tf.reduce_sum(layer(a, training=True) * [[3.0, 5.0]])
    p = 1 / (1 + np.exp(-2 * a.numpy()))
    np.testing.assert_allclose(tape.gradient(total, a), 2 * p * (1 - p) * [[3.0, 5.0]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_of_one_uniform_is_an_activation(name, dtype):
    a = tf.fill([500, 2], tf.constant(0.3, dtype))
    with tf.GradientTape() as tape:
        tape.watch(a)
        out = BinaryStochastic(name, seed=0, dtype=dtype)(a, training=True)
        total = tf.reduce_sum(out**2)
    assert 0.4 < out.numpy().mean() < 0.75 and out.dtype == a.dtype
    assert (tape.gradient(total, a).numpy() >= 0).all()


@pytest.mark.parametrize(
    "arguments, says",
    [
        (dict(estimator="reinforce"), "expected one of sigmoid"),
        (dict(slope=-1), "slope is -1"),
        (dict(train_mode="random"), "mode is 'random'"),
    ],
)
def test_layer_refuses(arguments, says):
    with pytest.raises(InputError, match=says):
        BinaryStochastic(**arguments)
