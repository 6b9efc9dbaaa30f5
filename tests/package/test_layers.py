"""The Keras layer: in `fit`, under XLA, through a file, with the estimator's gradient."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from test_estimators import noise_for

from bsn import BinaryStochastic, InputError, SlopeAnnealing
from bsn.backend import keras, tf
from bsn.estimators import ESTIMATORS
from bsn.layers import SAMPLERS

HALVES = ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
SLOW_POLICIES = [pytest.param(policy, marks=pytest.mark.slow) for policy in ("float64", *HALVES)]
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 1e-6, "float64": 1e-6}
JIT = pytest.mark.parametrize("jit", [pytest.param(True, marks=pytest.mark.slow), False])
MAX_SEED = 2**63 - 1


def classifier(*units):
    layers = [keras.layers.Dense(8), *units, keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input([4]), *layers])
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=False)
    return model


def test_each_mode_is_for_its_phase():
    for mode in ("train_mode", "eval_mode"):
        layer = BinaryStochastic(**{mode: "deterministic"}, seed=3)
        for training in (True, False):
            out = layer(tf.fill([1000, 1], 0.3), training=training)
            assert set(np.unique(out)) == ({1} if training == (mode == "train_mode") else {0, 1})


@pytest.mark.parametrize("policy", ["float32", *SLOW_POLICIES])
@pytest.mark.parametrize("name", SAMPLERS)
def test_rates_and_gradients_are_the_estimators_in_float64(name, policy):
    """To what the type can hold, with the slope of the phase; in training under XLA."""
    layer = BinaryStochastic(name, seed=0, dtype=policy)
    dtype, function = layer.compute_dtype, ESTIMATORS[name].function
    layer.train_slope, layer.eval_slope = 1.1, 0.7
    a = tf.constant(np.tile([-6.0, -0.7, 0.1, 3.0], [100_000, 1]), dtype)
    few, w = a[:500], tf.constant([1.0, -2.0, 3.0, 0.5], "float64")
    exact, noise = tf.cast(few, "float64"), np.float32(noise_for(name, (500, 4), count=10))

    def values_and_gradient(samples, logits, *arguments, **options):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            b = samples(logits, *arguments, **options)
            total = tf.reduce_sum(b * tf.cast(w, b.dtype), axis=-1)
        return b, tape.gradient(total, logits)

    for training, slope in ((True, 1.1), (False, 0.7)):
        p = 1 / (1 + np.exp(-slope * a[0].numpy().astype("float64")))
        fired = (layer(a, training=training).numpy() > 0.5).mean(axis=0)
        expected = p > 0.5 if name == "sigmoid" else p
        assert (abs(fired - expected) <= 5 * np.sqrt(p * (1 - p) / len(a))).all()
        compiled = tf.function(values_and_gradient, jit_compile=training)
        ours = compiled(layer, few, training=training, noise=noise)
        arguments = tf.cast(noise, "float64"), tf.constant(slope, "float64")
        theirs = values_and_gradient(function, exact, *arguments)
        for narrow, full in zip(ours, theirs):
            assert narrow.dtype == dtype
            narrow = tf.cast(narrow, "float64")
            np.testing.assert_allclose(narrow, full, rtol=EPSILON[dtype], atol=1e-6)  # float32's 1 - y


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


@JIT
def test_a_changed_slope_reaches_a_compiled_model(jit):
    unit = BinaryStochastic(seed=0)
    model = keras.Sequential([keras.Input([50]), unit])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
    x = np.ones([200, 50], "float32")

    def check(losses, slopes):
        expected = 1 / (1 + np.exp(-np.array(slopes)))
        np.testing.assert_allclose(1 - np.array(losses), expected, atol=5 * 0.5 / 100)

    def check_both(*slopes):  # of training and of evaluation
        check([model.train_on_batch(x, x), model.test_on_batch(x, x)], slopes)

    check_both(1, 1)
    unit.slope = np.float32(3)
    check_both(3, 3)
    unit.train_slope = 0.1
    check_both(0.1, 3)
    unit.eval_slope.assign(0.2)
    check_both(0.1, 0.2)
    assert unit.slope == pytest.approx(0.1) and unit.get_config()["slope"] == 1
    callbacks = [SlopeAnnealing(5, in_evaluation=False)]
    history = model.fit(x, x, epochs=3, verbose=0, validation_data=(x, x), callbacks=callbacks).history
    check(history["loss"], [0.1, 0.5, 2.5])
    check(history["val_loss"], [0.2] * 3)


def slopes(units):
    return [(float(unit.train_slope), float(unit.eval_slope)) for unit in units]


def nested_model():
    modes = dict(train_mode="deterministic", eval_mode="deterministic")  # files hold no state of seeds
    unit = BinaryStochastic(slope=2, **modes)
    inner = keras.Sequential([keras.Input([8]), unit, keras.layers.Dense(8)])
    wrapped = keras.layers.TimeDistributed(BinaryStochastic("st-gumbel", **modes))
    model = classifier(inner, keras.layers.Reshape([2, 4]), wrapped, keras.layers.Flatten())
    return model, [unit, wrapped.layer]


@JIT
@pytest.mark.parametrize("in_training, in_evaluation", [(True, True), (False, True), (True, False)])
def test_annealing_multiplies_the_slopes_after_each_epoch(in_training, in_evaluation, jit):
    model, units = nested_model()
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit)
    x, y, seen = np.ones([16, 4], "float32"), np.zeros(16, "int32"), []

    def record(*_):
        seen.append(slopes(units))

    annealing = SlopeAnnealing(1.5, in_training, in_evaluation)
    recording = keras.callbacks.LambdaCallback(on_epoch_begin=record, on_test_begin=record)
    model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y), callbacks=[annealing, recording])
    factors = 1.5 ** (np.arange(4)[:, None, None] * [in_training, in_evaluation])
    during = factors * [[2], [1]]  # epochs x units x phases
    expected = during[[0, 0, 1, 1, 2, 2]]  # epoch's start, validation
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    np.testing.assert_allclose(slopes(units), during[3], rtol=1e-6)
    largest = SlopeAnnealing(1e6, in_training, in_evaluation)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[largest])
    assert np.max(slopes(units)) == 1e6


def test_resumed_training_is_the_uninterrupted_one(tmp_path):
    x, y = np.random.default_rng(0).normal(size=[64, 4]).astype("float32"), np.arange(64) % 2

    def fit(model, *callbacks, **epochs):
        model.fit(x, y, shuffle=False, verbose=0, callbacks=[SlopeAnnealing(1.1), *callbacks], **epochs)

    model, _ = nested_model()
    fit(model, keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"), epochs=4)
    resumed = keras.saving.load_model(tmp_path / "2.keras")
    fit(resumed, initial_epoch=2, epochs=4)
    for ours, whole in zip(resumed.weights, model.weights):
        np.testing.assert_array_equal(ours, whole)
    np.testing.assert_array_equal(resumed.predict(x, verbose=0), model.predict(x, verbose=0))
    assert json.dumps(resumed.get_config()) == json.dumps(model.get_config())


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


SLOPES = [-3, 0, np.nan, np.inf, True, "2"]


@pytest.mark.parametrize(
    "kind, name, values, expected",
    [
        (BinaryStochastic, "estimator", ["reinforce"], "one of sigmoid"),
        (BinaryStochastic, "slope", SLOPES, "a number above 0"),
        (BinaryStochastic, "train_mode", ["random"], "one of stochastic"),
        (BinaryStochastic, "seed", [MAX_SEED + 1, -1, True, np.True_, 1.0, "1"], f".* 0 to {MAX_SEED}$"),
        (SlopeAnnealing, "rate", SLOPES, "a number above 0"),
        (SlopeAnnealing, "in_training", ["no"], "true or false$"),
    ],
)
def test_other_arguments_are_refused(kind, name, values, expected):
    for value in values:
        with pytest.raises(InputError, match=f"^{kind.__name__}: {name} is .*; expected {expected}"):
            kind(**({"rate": 1.1} if kind is SlopeAnnealing else {}) | {name: value})


@pytest.mark.parametrize("name", ["slope", "train_slope", "eval_slope"])
def test_an_assigned_slope_is_checked(name):
    layer = BinaryStochastic(slope=2)
    for value in SLOPES:
        with pytest.raises(InputError, match=f"^BinaryStochastic: {name} is .*; expected a number above 0"):
            setattr(layer, name, value)
    assert slopes([layer]) == [(2, 2)]


def test_what_has_no_meaning_is_refused():
    with pytest.raises(InputError, match="^BinaryStochastic: gumbel-rao has no deterministic mode; expected"):
        BinaryStochastic("gumbel-rao", eval_mode="deterministic")
    with pytest.raises(InputError, match="^SlopeAnnealing: the model has no BinaryStochastic layer$"):
        classifier().fit(np.ones([2, 4]), np.zeros(2), verbose=0, callbacks=[SlopeAnnealing(1.1)])


def test_masks_pass_through():
    units = [keras.layers.Masking(), BinaryStochastic(seed=0), keras.layers.GlobalAveragePooling1D()]
    x = np.full([1, 3, 4], 50.0, "float32")
    x[:, 1] = 0
    assert (keras.Sequential(units)(x).numpy() == 1).all()  # the masked step, of rate 1/2, is left out


def test_ragged_logits_are_their_flat_values():
    flat, found = tf.constant(np.linspace(-2, 2, 300), "float32"), []
    for ragged in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(flat)
            rows = tf.RaggedTensor.from_row_splits(flat, [0, 100, 100, 300])
            out = BinaryStochastic(seed=0)(rows if ragged else flat, training=True)
            values = out.flat_values if ragged else out
        found.append((values, tape.gradient(values, flat)))
    np.testing.assert_array_equal(*found)
    assert out.row_lengths().numpy().tolist() == [100, 0, 200]
    inputs = keras.Input([None], ragged=True)
    model = keras.Model(inputs, BinaryStochastic(eval_mode="deterministic")(inputs))
    predicted = model.predict(tf.ragged.constant([[3.0], [-1.0, 2.0]]), verbose=0)
    assert predicted.to_list() == [[1], [0, 1]]


@pytest.mark.parametrize("name", ["sigmoid-adjusted", "gumbel-rao"])
def test_shapes_unknown_before_the_call(name):
    inputs = keras.Input([None, None])
    model = keras.Model(inputs, BinaryStochastic(name, seed=0)(inputs))
    for shape in ([2, 3, 2], [2, 3, 7], [2, 5, 2]):
        x = np.full(shape, 50 - 100 * (shape[2] % 2), "float32")
        predicted = model.predict(tf.data.Dataset.from_tensors(x), verbose=0)
        np.testing.assert_array_equal(predicted, x > 0)


@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), MAX_SEED, 0])
def test_seeds(seed):
    model = keras.Sequential([keras.Input([100]), BinaryStochastic(seed=seed)])
    copy = keras.models.model_from_json(model.to_json())
    layers = [model.layers[0], BinaryStochastic(seed=int(seed)), copy.layers[0]]
    first, *others = [layer(np.zeros([100])).numpy() for layer in layers]
    assert all((first == other).all() for other in others)


def run(program, folder, **environment):
    """Run a program in a folder, whose modules it imports first; None removes a variable."""
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["bsn, keras", "keras, bsn", "bsn, tensorflow.keras as keras"])
def test_models_load_after_import_bsn(tmp_path, imports):
    model = keras.Sequential([keras.Input([4]), BinaryStochastic()])
    model.save(tmp_path / "model.keras")
    program = f"""
import {imports}
model = keras.models.load_model("model.keras")
assert type(model.layers[0]) is bsn.BinaryStochastic
"""
    ran = run(program, tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "start, environment",
    [
        ("import bsn.estimators; bsn.estimators.ESTIMATORS", {"KERAS_BACKEND": "jax"}),
        ("import bsn, keras", {}),
        ("import keras, bsn", {}),
        ("import bsn.estimators; bsn.estimators.sample(0.0, 0.4)", {"KERAS_HOME": "."}),
    ],
)
def test_another_backend_is_refused_in_a_line(tmp_path, start, environment):
    """If it is installed or not, named by a variable or in Keras's own file; estimators need no Keras."""
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    if not environment:  # stand-ins, with that backend installed
        (tmp_path / "keras.py").write_text("class backend: backend = lambda: 'jax'")
        (tmp_path / "tensorflow.py").write_text("")
    program = f"{start}\nimport sys\nprint('tensorflow' in sys.modules)\nbsn.BinaryStochastic"
    ran = run(program, tmp_path, **environment)
    assert ran.returncode == 1 and ran.stdout == f"{'sample' in start}\n"
    says = "bsn.errors.InputError: .*jax.*; expected .*tensorflow, which .*KERAS_BACKEND=tensorflow"
    assert re.match(says, ran.stderr.splitlines()[-1])
    assert "KERAS_HOME" in environment or "No module named" not in ran.stderr


@pytest.mark.slow
def test_threads_may_be_the_first_to_use_tensorflow(tmp_path):
    program = """
import concurrent.futures, gc
from bsn.estimators import sample
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print({float(b) for b in pool.map(lambda u: sample(0.0, u), [0.3] * 8)}, gc.isenabled())
"""
    ran = run(program, tmp_path)
    assert (ran.stdout, ran.stderr) == ("{1.0} True\n", "")


NOISE = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795870315.700667   20788 cudart_stub.cc:31] Could not find cuda drivers on your machine
E0000 00:00:1795870315.700667   20788 cuda_dnn.cc:8310] Unable to register cuDNN factory
W0000 00:00:1795870315.700667   20788 computation_placer.cc:177] computation placer already registered
"""
OTHERS = "UserWarning: mine\nE0000 00:00:1795870315.7   20788 platform.cc:52] failed\nno newline"


@pytest.mark.parametrize(
    "ends, level",
    [("pass", None), ("pass", "0"), ("raise ImportError('broken')", None), ("raise KeyboardInterrupt", None)],
)
def test_only_tensorflows_noise_is_dropped_from_stderr(tmp_path, ends, level):
    written = (NOISE + OTHERS).encode()
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, {written!r})\n{ends}")
    program = """
import bsn.backend, contextlib
with contextlib.suppress(ImportError, KeyboardInterrupt):
    bsn.backend.load_tensorflow()
    print("imported")
"""
    ran = run(program, tmp_path, TF_CPP_MIN_LOG_LEVEL=level)
    assert ran.stderr == (OTHERS if (ends, level) == ("pass", None) else NOISE + OTHERS)
    assert bool(ran.stdout) == (ends == "pass")
