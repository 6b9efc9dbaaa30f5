"""What every estimator refuses; and extreme, half-precision and unusual arguments get the right values."""

import keras
import numpy as np
import oracle
import pytest
from test_estimators import noise_for, options

from bsn import InputError, expectation
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, sample

WITH_STATE = [name for name, entry in ESTIMATORS.items() if entry.initial]
RELAXED = [name for name, entry in ESTIMATORS.items() if "temperature" in entry.options]
F = oracle.Cubic(0, 3)


def call(way, name, f, logits, noise, state=None, **others):
    """The gradient, by `gradient` or through `expectation`."""
    logits = tf.convert_to_tensor(logits)
    others = {**options(name, logits if logits.dtype.is_floating else tf.zeros(logits.shape)), **others}
    if way == "gradient":
        return gradient(name, f, logits, noise, state, **others)[0]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss, _ = expectation(f, logits, name, noise, state, **others)
    return tape.gradient(loss, logits)


@pytest.fixture(params=["gradient", "expectation"])
def way(request):
    return request.param


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "f, given",
    [
        (lambda b: b @ tf.ones([3, 1]), r"float32 \[.*, 1\]"),
        (lambda b: tf.reduce_sum(b), r"float32 \[\]"),
        (lambda b: tf.cast(b[..., 0], tf.float64), "float64"),
    ],
    ids=["column", "sum", "type"],
)
def test_f_gives_one_number_per_example_in_the_logits_type(way, name, f, given):
    noise = np.float32(noise_for(name, (2, 3)))
    with pytest.raises(
        InputError, match=rf"^{name}: f's result is '?{given}.*; expected float32 \[.*example$"
    ):
        call(way, name, f, tf.zeros([2, 3]), noise)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_other_types_are_refused(way, name):
    noise = noise_for(name, (2, 3))
    with pytest.raises(InputError, match=f"^{name}: the logits' type is 'int32'"):
        call(way, name, F, tf.zeros([2, 3], tf.int32), noise)
    if ESTIMATORS[name].noise:
        with pytest.raises(InputError, match=f"^{name}: the noise's type is 'float64'; expected .*float32"):
            call(way, name, F, tf.zeros([2, 3], tf.float32), tf.constant(noise, tf.float64))


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), np.array([[1.0], [-1.0]])], ids=str)
def test_a_slope_or_temperature_that_is_not_above_0_is_refused(way, value):
    for name, option in [(name, "temperature") for name in RELAXED] + [(n, "slope") for n in oracle.SAMPLERS]:
        with pytest.raises(InputError, match=f"^{name}: {option} is .*; expected numbers above 0"):
            call(way, name, F, tf.zeros([2, 3], tf.float64), noise_for(name, (2, 3)), **{option: value})


def test_other_states_and_baselines_are_refused(way):
    logits, noise = tf.zeros([2, 3], tf.float64), noise_for("nvil", (2, 3))
    for name, state in (
        ("moving-average", np.zeros(2)), ("moving-average", (0.0, 0.0)), ("variance-adjusted", np.zeros(3)),
        ("variance-adjusted", (np.zeros(2), np.zeros(3))),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"^{name}: .*the shape is .*; expected "):
            call(way, name, F, logits, noise, state)
    with pytest.raises(InputError, match=r"^nvil: baseline: the shape is \[\[2, 1\]\]; expected \[\[2\]\]"):
        call(way, "nvil", F, logits, noise, baseline=np.zeros([2, 1]))
    for name in WITH_STATE:
        with pytest.raises(
            InputError, match=rf"^{name}: the logits' shape is \[3\]; expected \[\.\.\., B, H"
        ):
            call(way, name, F, logits[0], noise[0])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_batch_of_no_examples_changes_no_state(name):
    logits, noise = np.ones([2, 3]), noise_for(name, (2, 3))
    _, state = gradient(name, F, logits, noise, **options(name, tf.constant(logits)))
    empty = noise_for(name, (0, 3)), options(name, tf.zeros([0, 3], tf.float64))
    g, after = gradient(name, F, np.zeros([0, 3]), empty[0], state, **empty[1])
    assert g.shape == [0, 3]
    for a, b in zip(tf.nest.flatten(state), tf.nest.flatten(after)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "fires-only"])
def test_both_ends_keep_their_digits(name):
    """With 0 and 1 exchanged, in f, the logits and the noise, the gradient turns its sign, in float32."""
    logits, noise = np.float32([[20.0, 0.5], [-20.0, 1.0]]), np.float32(noise_for(name, (2, 2)))
    noise = np.float32(np.round(noise * 64 + 0.5) / 65)  # 1 - u is exact enough, and no tie
    others = {} if name not in ("nvil", "relax") else options(name, tf.constant(logits))
    if name == "relax":
        others["surrogate"] = lambda z: tf.reduce_sum(tf.sigmoid(z) ** 2, -1)

    def f(b):
        return tf.reduce_sum(b, -1) ** 3 - b[..., 0]

    mirrored_options = dict(others)
    if name == "relax":
        mirrored_options["surrogate"] = lambda z: others["surrogate"](-z)
    g, _ = gradient(name, f, logits, noise, **others)
    mirrored, _ = gradient(name, lambda b: f(1 - b), -logits, 1 - noise, **mirrored_options)
    np.testing.assert_allclose(g, -mirrored, rtol=2e-3, atol=1e-14)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_infinite_logits_are_certain_and_nan_stays_nan(name):
    logits = np.array([[np.inf, 0.3], [-np.inf, -0.2], [0.1, np.nan]])
    noise = noise_for(name, logits.shape)
    others = options(name, tf.zeros(logits.shape, tf.float64))
    if name == "relax":
        others["surrogate"] = lambda z: tf.reduce_sum(tf.sigmoid(z), -1)
    f = oracle.Cubic(0, 2)
    assert np.isnan(gradient(name, f, logits, noise, **others)[0][2, 1])
    logits, noise = logits[:2], noise[..., :2, :]
    others = {"nvil": {"baseline": np.zeros(2)}}.get(name, others)
    g = gradient(name, f, logits, noise, **others)[0].numpy()
    assert np.isfinite(g).all()
    if name not in ("pass-through", "fires-only", "arm"):
        np.testing.assert_allclose(g[:, 0], 0, atol=1e-15)
    if name == "exact":
        ends = f.value(np.array([[[1.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]]))
        p = oracle.sigmoid(logits[:, 1])
        np.testing.assert_allclose(g[:, 1], p * (1 - p) * (ends[0] - ends[1]), rtol=1e-12)
    b = sample(tf.constant([np.inf, -np.inf, np.nan]), tf.constant(0.3)).numpy()
    np.testing.assert_array_equal(b, [1, 0, np.nan])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_half_precision_is_right_to_what_the_type_holds(way, name, dtype):
    """Computed with float32, at equal logits and noise; the state stays float32."""
    rng, digits = np.random.default_rng(0), 2.0 ** (-10 if dtype == tf.float16 else -7)
    logits = tf.cast(rng.normal(size=(5, 3)) * 2, dtype)
    noise = tf.constant(noise_for(name, (5, 3)), tf.float32)
    f = oracle.Cubic(0, 3)

    def narrow(b):
        return tf.cast(f(tf.cast(b, tf.float64)), b.dtype)

    def others(a):
        given = options(name, a)
        if name == "relax":
            given["surrogate"] = lambda z: tf.reduce_sum(tf.tanh(z), -1)
        return given

    wide = tf.cast(logits, tf.float32)
    expected = gradient(name, narrow, wide, noise, **others(wide))[0].numpy()
    g = call(way, name, narrow, logits, noise, **others(wide))
    assert g.dtype == dtype
    np.testing.assert_allclose(tf.cast(g, tf.float32), expected, atol=20 * digits * np.abs(expected).max())
    for value in tf.nest.flatten(gradient(name, narrow, logits, noise, **others(wide))[1] or []):
        assert value.dtype == tf.float32


@pytest.mark.parametrize("name", oracle.SAMPLERS)
def test_rates_in_half_precision(name):
    """A rate of 1 in 1,000, which uniforms of 8 bits would miss; float32 noise is taken."""
    logits = tf.fill([100_000, 1], tf.constant(-6.9, tf.bfloat16))
    noise = tf.constant(np.random.default_rng(0).random(noise_for(name, logits.shape).shape), tf.float32)
    b = ESTIMATORS[name].function(logits, noise)
    p = oracle.sigmoid(float(logits[0, 0]))
    rate = float(tf.reduce_mean(tf.cast(b > 0.5 if name != "sigmoid" else b, tf.float64)))
    assert b.dtype == tf.bfloat16 and abs(rate - p) < 6 * np.sqrt(p / 100_000)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_kinds_of_arrays_are_taken_alike(name):
    logits, noise = np.random.default_rng(0).normal(size=(2, 3)), noise_for(name, (2, 3))
    others = options(name, tf.constant(logits))
    expected = gradient(name, F, tf.constant(logits), tf.constant(noise), **others)[0]
    for kind in (np.array, tf.Variable, lambda x: keras.Variable(x, dtype="float64")):
        np.testing.assert_array_equal(gradient(name, F, kind(logits), kind(noise), **others)[0], expected)
        if ESTIMATORS[name].kind == "sampler":
            variable = tf.Variable(logits)
            with tf.GradientTape() as tape:
                loss = F(ESTIMATORS[name].function(variable, kind(noise)))
            np.testing.assert_array_equal(tape.gradient(loss, variable), expected)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_numbers_of_units_and_samples_may_be_unknown_when_tracing(name):
    logits, noise = np.random.default_rng(0).normal(size=(2, 3)), noise_for(name, (2, 3))
    others = {"nvil": {"baseline": tf.zeros([2], tf.float64)}}.get(name, options(name, tf.constant(logits)))
    signature = [tf.TensorSpec([None] * array.ndim, tf.float64) for array in (logits, noise)]
    traced = tf.function(lambda a, u: gradient(name, F, a, u, **others)[0], input_signature=signature)
    expected = gradient(name, F, logits, noise, **others)[0]
    np.testing.assert_allclose(traced(logits, noise), expected, rtol=1e-9, atol=1e-12)
