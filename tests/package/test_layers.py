"""The Keras layer: in `fit`, under XLA, through a file, with the estimator's gradient."""

import json
import os
import re
import subprocess
import sys

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


def run(program, folder, **environment):
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["bsn, keras", "keras, bsn", "bsn, tensorflow.keras as keras"])
def test_models_load_after_import_bsn(tmp_path, imports):
    model = keras.Sequential([keras.Input([4]), BinaryStochastic(eval_mode="deterministic")])
    model.save(tmp_path / "model.keras")
    (tmp_path / "model.json").write_text(model.to_json())
    program = f"""
import {imports}
model = keras.models.load_model("model.keras")
copies = [keras.models.model_from_json(open("model.json").read()), keras.models.clone_model(model)]
assert {{type(copy.layers[0]) for copy in [model, *copies]}} == {{bsn.BinaryStochastic}}
"""
    ran = run(program, tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_refused_at_import(tmp_path, backend):
    ran = run("from bsn import BinaryStochastic", tmp_path, KERAS_BACKEND=backend)
    says = f"bsn.errors.InputError: the backend of Keras is '{backend}'; expected tensorflow, which"
    assert ran.returncode == 1 and ran.stderr.splitlines()[-1].startswith(says)
    assert "No module named" not in ran.stderr


@pytest.mark.parametrize("imports", ["bsn, keras", "keras, bsn"])
def test_another_backend_that_is_installed(tmp_path, imports):
    (tmp_path / "keras.py").write_text("class backend: backend = lambda: 'jax'")
    (tmp_path / "tensorflow.py").write_text("")
    program = f"""
import sys
sys.path.insert(0, sys.argv[1])
import {imports}
assert "tensorflow" not in sys.modules
print("imported")
bsn.BinaryStochastic
"""
    ran = run(program, tmp_path)
    says = "bsn.errors.InputError: the backend of Keras is 'jax'; expected tensorflow, which"
    assert ran.stdout == "imported\n"
    assert ran.returncode == 1 and ran.stderr.splitlines()[-1].startswith(says)


@pytest.mark.slow
def test_another_backend_in_kerass_own_file(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    program = """
from bsn import InputError
from bsn.estimators import sigmoid_adjusted
from bsn.backend import tf
assert sigmoid_adjusted(tf.zeros([1]), tf.constant([0.4])).numpy() == 1  # needs no Keras
try:
    from bsn import BinaryStochastic
except InputError as error:
    print(error)
"""
    ran = run(program, tmp_path, KERAS_HOME=str(tmp_path))
    assert ran.returncode == 0 and re.match("^.*jax.*; expected .*KERAS_BACKEND=tensorflow.*\n$", ran.stdout)


NOISE = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795870315.700667   20788 cudart_stub.cc:31] Could not find cuda drivers on your machine
E0000 00:00:1795870315.700667   20788 cuda_dnn.cc:8310] Unable to register cuDNN factory
W0000 00:00:1795870315.700667   20788 computation_placer.cc:177] computation placer already registered
"""
OTHERS = "UserWarning: mine\nE0000 00:00:1795870315.7   20788 platform.cc:52] failed\nno newline"


@pytest.mark.parametrize(
    "ends, level, expected",
    [
        ("pass", None, OTHERS),
        ("pass", "0", NOISE + OTHERS),
        ("raise ImportError('broken')", None, NOISE + OTHERS),
        ("raise KeyboardInterrupt", None, NOISE + OTHERS),
    ],
)
def test_only_tensorflows_noise_is_dropped_from_stderr(tmp_path, ends, level, expected):
    source = (
        f"import os, sys\nos.write(2, {NOISE.encode()!r})\nsys.stderr.write({OTHERS!r}); sys.stderr.flush()\n"
    )
    (tmp_path / "tensorflow.py").write_text(source + ends)
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from bsn.backend import load_tensorflow
try:
    load_tensorflow()
except (ImportError, KeyboardInterrupt) as error:
    print(repr(error))
"""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
    command = [sys.executable, "-c", program, str(tmp_path)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.stderr == expected
    assert bool(ran.stdout) == (ends != "pass")
