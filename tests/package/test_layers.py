"""The Keras layer: in `fit`, under XLA, through a file, with the estimator's gradient."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from bsn import BinaryStochastic, InputError, SlopeAnnealing
from bsn.backend import keras, tf
from bsn.estimators import ESTIMATORS
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


def classifier(*units):
    ends = keras.layers.Dense(8), keras.layers.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input([4]), ends[0], *units, ends[1]])


@pytest.mark.parametrize("jit", [True, False])
def test_an_assigned_slope_reaches_a_compiled_model(jit):
    unit = BinaryStochastic(seed=0)
    model = keras.Sequential([keras.Input([50]), unit])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
    x = np.ones([200, 50], "float32")

    def rates():  # of training and of evaluation, from the compiled steps' losses
        return 1 - model.train_on_batch(x, x), 1 - model.test_on_batch(x, x)

    def check(train_slope, eval_slope):
        expected = 1 / (1 + np.exp([-train_slope, -eval_slope]))
        np.testing.assert_allclose(rates(), expected, atol=5 * 0.5 / 100)

    check(1, 1)
    unit.slope = np.float32(3)
    check(3, 3)
    unit.train_slope = 0.1
    check(0.1, 3)
    unit.eval_slope.assign(0.2)
    check(0.1, 0.2)
    assert unit.slope == pytest.approx(0.1) and unit.get_config()["slope"] == 1


@pytest.mark.parametrize("value", [-3, 0, np.nan, np.inf, True, "2"])
@pytest.mark.parametrize("name", ["slope", "train_slope", "eval_slope"])
def test_an_assigned_slope_is_checked(name, value):
    layer = BinaryStochastic(slope=2)
    with pytest.raises(InputError, match=f"^BinaryStochastic: {name} is .*; expected a number above 0"):
        setattr(layer, name, value)
    assert float(layer.train_slope) == float(layer.eval_slope) == 2


def test_gradient_has_the_slope_of_training():
    layer, a = BinaryStochastic(seed=0), tf.constant([[0.3, -1.0]])
    layer.train_slope, layer.eval_slope = 3, 5
    for training, s in ((True, 3), (False, 5)):
        with tf.GradientTape() as tape:
            tape.watch(a)
            b = layer(a, training=training)
        p = 1 / (1 + np.exp(-s * a.numpy()))
        np.testing.assert_allclose(tape.gradient(b, a), s * p * (1 - p), rtol=1e-5)


def slopes(units):
    return [(float(unit.train_slope), float(unit.eval_slope)) for unit in units]


def nested_model(mode="stochastic", jit=False):
    unit = BinaryStochastic(slope=2, seed=1, train_mode=mode)
    inner = keras.Sequential([keras.Input([8]), unit, keras.layers.Dense(8)])
    wrapped = keras.layers.TimeDistributed(BinaryStochastic("st-gumbel", seed=2, train_mode=mode))
    units = [inner, keras.layers.Reshape([2, 4]), wrapped, keras.layers.Flatten()]
    model = classifier(*units)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=jit)
    return model, [unit, wrapped.layer]


@pytest.mark.parametrize("in_training, in_evaluation", [(True, True), (False, True), (True, False)])
def test_annealing_multiplies_the_slopes_after_each_epoch(in_training, in_evaluation):
    model, units = nested_model(jit=in_training and in_evaluation)
    x, y, seen = np.ones([16, 4], "float32"), np.zeros(16, "int32"), []

    def evaluate(epoch, logs):
        model.evaluate(x, y, verbose=0)
        seen.append(slopes(units))

    annealing = SlopeAnnealing(1.5, in_training, in_evaluation)
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=evaluate)
    validated = keras.callbacks.LambdaCallback(on_test_begin=lambda logs: seen.append(slopes(units)))
    callbacks = [annealing, watch, validated]
    model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y), callbacks=callbacks)
    during = [
        [(s * 1.5 ** (e * in_training), s * 1.5 ** (e * in_evaluation)) for s in (2, 1)] for e in range(4)
    ]
    expected = [during[0], during[0], during[1], during[1], during[2], during[2]]  # epoch's start, validation
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    np.testing.assert_allclose(slopes(units), during[3], rtol=1e-6)


def test_annealing_reaches_the_compiled_steps():
    unit = BinaryStochastic(seed=0)
    model = keras.Sequential([keras.Input([100]), unit])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=True)
    x = np.ones([1000, 100], "float32")
    annealing = SlopeAnnealing(2, in_evaluation=False)
    history = model.fit(
        x, x, epochs=3, batch_size=500, validation_data=(x, x), verbose=0, callbacks=[annealing]
    )
    sigma = 0.5 / np.sqrt(100_000)
    rates = 1 - np.array([history.history["loss"], history.history["val_loss"]])
    np.testing.assert_allclose(rates[0], 1 / (1 + np.exp(-(2.0 ** np.arange(3)))), atol=5 * sigma)
    np.testing.assert_allclose(rates[1], 1 / (1 + np.exp(-1)), atol=5 * sigma)


def test_resumed_training_is_the_uninterrupted_one(tmp_path):
    x, y = np.random.default_rng(0).normal(size=[64, 4]).astype("float32"), np.arange(64) % 2

    def fit(model, *callbacks, **epochs):
        model.fit(x, y, shuffle=False, verbose=0, callbacks=[SlopeAnnealing(1.1), *callbacks], **epochs)

    keras.utils.set_random_seed(0)
    model, units = nested_model("deterministic")  # Keras's files hold no state of seeds
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    weights = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    fit(model, checkpoint, weights, epochs=4)
    np.testing.assert_allclose(slopes(units), [(2 * 1.1**4,) * 2, (1.1**4,) * 2], rtol=1e-6)

    resumed = keras.saving.load_model(tmp_path / "2.keras")
    fit(resumed, initial_epoch=2, epochs=4)
    for ours, whole in zip(resumed.variables, model.variables):
        np.testing.assert_array_equal(ours, whole)

    other, units = nested_model("deterministic")
    other.load_weights(tmp_path / "2.weights.h5")
    np.testing.assert_allclose(slopes(units), [(2 * 1.1**2,) * 2, (1.1**2,) * 2], rtol=1e-6)
    path = tf.train.Checkpoint(model).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(other).read(path).assert_existing_objects_matched()
    np.testing.assert_allclose(slopes(units), [(2 * 1.1**4,) * 2, (1.1**4,) * 2], rtol=1e-6)


def test_annealing_stops_where_all_units_are_steps():
    model, (unit, _) = nested_model()
    callback = SlopeAnnealing(1000)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(50):
        callback.on_epoch_end(epoch)
    assert slopes([unit]) == [(1e6, 1e6)]


def test_annealing_refuses():
    for rate in (0, -1.1, np.nan, "1.1", True):
        with pytest.raises(InputError, match="^SlopeAnnealing: rate is .*; expected a number above 0"):
            SlopeAnnealing(rate)
    with pytest.raises(InputError, match="^SlopeAnnealing: in_training is 'no'; expected true or false$"):
        SlopeAnnealing(1.1, in_training="no")
    model = classifier()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(InputError, match="^SlopeAnnealing: the model has no BinaryStochastic layer$"):
        model.fit(np.ones([2, 4]), np.zeros(2), verbose=0, callbacks=[SlopeAnnealing(1.1)])


EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_half_precision_has_the_rates_and_gradients_of_float64(name, policy):
    layer = BinaryStochastic(name, slope=1.1, seed=0, dtype=policy)
    dtype = layer.compute_dtype
    a = tf.constant(np.tile([-6.0, -0.7, 0.1, 3.0], [100_000, 1]), dtype)
    out = layer(a, training=True)
    assert out.dtype == dtype
    p = 1 / (1 + np.exp(-1.1 * a[0].numpy().astype("float64")))
    fired = (out.numpy() > 0.5).mean(axis=0)
    expected = p > 0.5 if name == "sigmoid" else p
    assert (abs(fired - expected) <= 5 * np.sqrt(p * (1 - p) / len(a))).all()

    a, w = a[:500], tf.constant([1.0, -2.0, 3.0, 0.5], "float64")
    noise = np.random.default_rng(1).random([11, 500, 4] if name == "gumbel-rao" else [500, 4], "float32")
    exact = tf.cast(a, "float64")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([a, exact])
        ours = layer(a, training=True, noise=noise)
        theirs = ESTIMATORS[name].function(exact, tf.cast(noise, "float64"), tf.constant(1.1, "float64"))
        totals = [tf.reduce_sum(b * tf.cast(w, b.dtype), axis=-1) for b in (ours, theirs)]
    pairs = [(ours, theirs), (tape.gradient(totals[0], a), tape.gradient(totals[1], exact))]
    for half, full in pairs:
        assert half.dtype == dtype
        np.testing.assert_allclose(
            tf.cast(half, "float64"), full, rtol=EPSILON[dtype], atol=1e-6
        )  # float32's 1 - y


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16", "float64"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [True, False])
def test_every_sampler_trains_in_every_precision(policy, jit):
    inputs = keras.Input([4])
    logits = [keras.layers.Dense(8)(inputs) for _ in SAMPLERS]
    hidden = [BinaryStochastic(name, seed=0)(a) for name, a in zip(SAMPLERS, logits)]
    outputs = keras.layers.Dense(1, dtype="float32")(keras.layers.Concatenate()(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
    before = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    x = np.random.default_rng(0).normal(size=[64, 4])
    model.fit(x, x[:, :1], epochs=2, verbose=0)
    after = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for old, new in zip(before, after):
        assert np.isfinite(new).all() and (old != new).any()


def test_gumbel_rao_draws_its_noises():
    layer, a = BinaryStochastic("gumbel-rao", seed=0), tf.zeros([20_000, 1])
    with tf.GradientTape() as tape:
        tape.watch(a)
        b = layer(a, training=True)
    g = tape.gradient(b, a).numpy()
    y = 1 / (1 + (1 / np.random.default_rng(0).random([20_000, 11]) - 1) ** 2)  # sigmoid(logistic noise / t)
    drawn = 2 * y * (1 - y)  # dy/da at t = 1/2
    assert abs(g.mean() - drawn.mean()) < 5 * drawn.std() / np.sqrt(20_000)
    assert 0.08 < g.var() / drawn.var() < 0.12  # K = 10; for logits of 0 the conditional noise is |logistic|
    with pytest.raises(InputError, match="^BinaryStochastic: gumbel-rao has no deterministic mode; expected"):
        BinaryStochastic("gumbel-rao", eval_mode="deterministic")


@pytest.mark.parametrize("name", SAMPLERS)
def test_recomputed_with_the_noise_given_the_gradient_is_the_samples(name):
    layer, rng = BinaryStochastic(name), np.random.default_rng(0)
    a, w = tf.Variable(rng.normal(size=[50, 4]), dtype="float32"), rng.normal(size=4).astype("float32")
    noise = tf.constant(rng.random([11, 50, 4] if name == "gumbel-rao" else [50, 4], "float32"))
    gradients = []
    for unit in (layer, tf.recompute_grad(layer)):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(unit(a * 1, training=True, noise=noise) * w)
        gradients.append(tape.gradient(total, a))
    np.testing.assert_array_equal(*gradients)
    reference = ESTIMATORS[name].function(a, noise)
    np.testing.assert_array_equal(layer(a, training=True, noise=noise), reference)


def test_noise_of_another_shape_is_refused_in_a_line():
    with pytest.raises(InputError, match=r"^sigmoid-adjusted: the noise's shape is \[2, 1\]; expected .*$"):
        BinaryStochastic()(np.zeros([2, 3]), noise=np.zeros([2, 1]))


def test_masks_pass_through():
    units = [keras.layers.Masking(), BinaryStochastic(seed=0), keras.layers.GlobalAveragePooling1D()]
    x = np.full([1, 3, 4], 50.0, "float32")
    x[:, 1] = 0
    assert (keras.Sequential(units)(x).numpy() == 1).all()  # the masked step, of rate 1/2, is left out
    assert (keras.Sequential(units[:2])(x)._keras_mask.numpy() == [[True, False, True]]).all()


def test_ragged_logits():
    flat = np.linspace(-2, 2, 30_000)
    logits = tf.RaggedTensor.from_row_splits(tf.constant(flat, "float32"), [0, 10_000, 10_000, 30_000])
    layer = BinaryStochastic(slope=2, seed=0)
    with tf.GradientTape() as tape:
        tape.watch(logits.flat_values)
        out = layer(logits, training=True)
    assert isinstance(out, tf.RaggedTensor) and out.row_lengths().numpy().tolist() == [10_000, 0, 20_000]
    p = 1 / (1 + np.exp(-2 * flat))
    assert set(np.unique(out.flat_values)) == {0, 1}
    assert abs((out.flat_values - p).numpy().sum()) < 5 * np.sqrt((p * (1 - p)).sum())
    gradient = tape.gradient(out.flat_values, logits.flat_values)
    np.testing.assert_allclose(gradient, 2 * p * (1 - p), rtol=1e-4)
    inputs = keras.Input([None], ragged=True)
    predicted = keras.Model(inputs, BinaryStochastic(eval_mode="deterministic")(inputs)).predict(
        tf.ragged.constant([[3.0], [-1.0, 2.0]]), verbose=0
    )
    assert predicted.to_list() == [[1], [0, 1]]


@pytest.mark.parametrize("name", ["sigmoid-adjusted", "gumbel-rao"])
def test_shapes_unknown_before_the_call(name):
    inputs = keras.Input([None, None])
    model = keras.Model(inputs, BinaryStochastic(name, seed=0)(inputs))
    batches = [
        np.full([2, length, width], 50 - 100 * (width % 2), "float32")
        for length in (3, 5)
        for width in (2, 7)
    ]
    for x in batches:
        data = tf.data.Dataset.from_tensors(x)
        np.testing.assert_array_equal(model.predict(data, verbose=0), x > 0)


def test_symbolic_noise_through_a_file(tmp_path):
    inputs, noise = keras.Input([4]), keras.Input([4])
    model = keras.Model([inputs, noise], BinaryStochastic()(inputs, noise=noise))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    u = np.array([[0.1, 0.49, 0.51, 0.9]])
    assert loaded.predict([np.zeros([1, 4]), u], verbose=0).tolist() == [[1, 1, 0, 0]]


def test_exported_models_sample(tmp_path):
    model = keras.Sequential([keras.Input([4]), BinaryStochastic(slope=2, seed=0)])
    model.layers[0].slope = 4
    model.export(tmp_path / "model", verbose=False)
    exported, x = tf.saved_model.load(tmp_path / "model"), np.full([20_000, 4], 0.3, "float32")
    first, second = exported.serve(x).numpy(), exported.serve(x).numpy()
    p = 1 / (1 + np.exp(-1.2))
    assert abs(first.mean() - p) < 5 * np.sqrt(p * (1 - p) / first.size) and (first != second).any()


@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), 2**63 - 1, 0])
def test_seeds(seed):
    layers = [BinaryStochastic(seed=seed), BinaryStochastic(seed=int(seed))]
    layers.append(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layers[0])))
    first, *others = [layer(np.zeros([100])).numpy() for layer in layers]
    assert all((first == other).all() for other in others)
    model = keras.Sequential([keras.Input([3]), layers[0]])
    assert json.loads(model.to_json()) and keras.models.clone_model(model).layers[0].seed == seed


@pytest.mark.parametrize("seed", [2**63, -1, True, np.True_, 1.0, "1"])
def test_seeds_refused(seed):
    expected = f"expected a whole number from 0 to {2**63 - 1}$"
    with pytest.raises(InputError, match=f"^BinaryStochastic: seed is .*; {expected}"):
        BinaryStochastic(seed=seed)


def test_files_of_layers_without_slopes_load():
    layer = BinaryStochastic(slope=2)
    layer.load_own_variables({})
    assert slopes([layer]) == [(2, 2)]


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
