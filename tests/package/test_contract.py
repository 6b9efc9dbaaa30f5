"""What every estimator refuses; the right values for extreme and unusual arguments; and `expectation`."""

import keras
import numpy as np
import oracle
import pytest
from test_estimators import noise_for, options

from bsn import InputError, expectation
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient, sample

F = oracle.Cubic(0, 3)
NOT_ABOVE_0 = (0, -0.5, float("nan"), float("inf"), np.array([[1.0], [-1.0]]))


def call(way, name, f, logits, noise, state=None, **others):
    """The gradient, by `gradient`, the same compiled by XLA, or through `expectation`."""
    if way == "gradient":
        return gradient(name, f, logits, noise, state, **others)[0]
    if way == "xla":
        return tf.function(
            lambda: call("gradient", name, f, logits, noise, state, **others), jit_compile=True
        )()
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss, _ = expectation(f, logits, name, noise, state, **others)
    return tape.gradient(loss, logits)


def wrong_shapes(entry):
    """Shapes of noise that broadcast with logits [2, 3] but are not what the registry says."""
    if entry.noise == 1:
        return [(3,), (2, 1), (1, 2, 3), (4, 2, 3)] + [()] * (not entry.deterministic)
    several = [(), (2, 3), (1, 2, 3), (2, 3, 3), (2, 1, 3), (2, 2, 1), (2, 2, 2, 3)]
    return several + [(3, 2, 3)] * (entry.noise == 2) if entry.noise else []


def unexpected(name):
    """Yield arguments that an estimator refuses, and what it says of them."""
    entry, noise = ESTIMATORS[name], noise_for(name, (2, 3))
    losses = r"f's result is '?float{}.*; expected float32 \[.*example$"
    yield {"f": lambda b: b @ tf.ones([3, 1])}, losses.format(r"32 \[.*, 1\]")
    yield {"f": lambda b: tf.reduce_sum(b)}, losses.format(r"32 \[\]")
    yield {"f": lambda b: tf.cast(b[..., 0], tf.float64)}, losses.format("64")
    yield {"logits": tf.zeros([2, 3], tf.int32)}, "the logits' type is 'int32'"
    if entry.noise:
        yield {"noise": tf.constant(noise)}, "the noise's type is 'float64'; expected .*float32"
    for shape in wrong_shapes(entry):
        yield {"noise": tf.zeros(shape), "f": None}, r"the noise's shape is \[.*\]; expected \["
    for option in {"slope", "temperature"} & {*entry.options}:
        for value in NOT_ABOVE_0:
            yield {option: value}, f"{option} is .*; expected numbers above 0"
    if entry.initial:
        row = {"logits": tf.zeros([3]), "noise": tf.zeros([3])}
        yield row, r"the logits' shape is \[3\]; expected \[\.\.\., B, H"
    states = {
        "moving-average": [np.zeros(2), (0.0, 0.0)],
        "variance-adjusted": [np.zeros(3), (np.zeros(2), np.zeros(3))],
    }
    for state in states.get(name, []):
        yield {"state": state}, ".*the shape is .*; expected "
    if name == "nvil":
        yield {"baseline": np.zeros([2, 1])}, r"baseline: the shape is \[\[2, 1\]\]; expected \[\[2\]\]"


@pytest.mark.parametrize("way", ["gradient", "xla", "expectation"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_other_arguments_are_refused_in_one_line(way, name):
    """Before anything is computed, if the noise has another shape; as well while tracing."""
    logits = tf.zeros([2, 3])
    good = dict(f=lambda b: b[..., 0], logits=logits, noise=np.float32(noise_for(name, (2, 3))))
    good |= options(name, logits)
    for arguments, says in unexpected(name):
        with pytest.raises(InputError, match=f"^{name}: {says}"):
            call(way, name, **{**good, **arguments})


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
    others = options(name, tf.constant(logits))

    def f(b):
        return tf.reduce_sum(b, -1) ** 3 - b[..., 0]

    turned = {"surrogate": lambda z: others["surrogate"](-z)} if name == "relax" else others
    g, _ = gradient(name, f, logits, noise, **others)
    mirrored, _ = gradient(name, lambda b: f(1 - b), -logits, 1 - noise, **turned)
    np.testing.assert_allclose(g, -mirrored, rtol=2e-3, atol=1e-14)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_infinite_logits_are_certain_and_nan_stays_nan(name):
    f, noise, others = oracle.Cubic(0, 2), noise_for(name, (2, 2)), options(name, tf.zeros([2, 2]))
    assert np.isnan(gradient(name, f, np.array([[0.3, 0.1], [0.1, np.nan]]), noise, **others)[0][1, 1])
    logits = np.array([[np.inf, 0.3], [-np.inf, -0.2]])
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


@pytest.mark.parametrize("way", ["gradient", "expectation"])
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

    wide = tf.cast(logits, tf.float32)
    others = options(name, wide)
    expected = gradient(name, narrow, wide, noise, **others)[0].numpy()
    g = call(way, name, narrow, logits, noise, **others)
    assert g.dtype == dtype
    np.testing.assert_allclose(tf.cast(g, tf.float32), expected, atol=20 * digits * np.abs(expected).max())
    for value in tf.nest.flatten(gradient(name, narrow, logits, noise, **others)[1] or []):
        assert value.dtype == tf.float32


@pytest.mark.parametrize("name", ESTIMATORS)
def test_arrays_of_all_kinds_and_of_shapes_unknown_when_tracing_are_taken_alike(name):
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
    for shape in ([None] * noise.ndim, None):
        signature = [tf.TensorSpec([None, None], tf.float64), tf.TensorSpec(shape, tf.float64)]
        traced = tf.function(lambda a, u: gradient(name, F, a, u, **others)[0], input_signature=signature)
        np.testing.assert_allclose(traced(logits, noise), expected, rtol=1e-9, atol=1e-12)


def problem(name, seed=0, shape=(5, 3)):
    rng = np.random.default_rng(seed)
    logits, weights = tf.constant(rng.normal(size=shape)), tf.constant(rng.normal(size=shape))
    return logits, weights, tf.constant(noise_for(name, shape, seed))


def loss_of(weights):
    return lambda b: tf.reduce_sum(weights * b, -1) ** 3 + tf.reduce_sum(weights * b, -1)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("call", ["eager", "function", "xla"])
def test_the_gradient_is_the_estimators_and_the_rests_is_ordinary(name, call):
    logits, weights, noise = problem(name)
    wrap = {"eager": lambda f: f, "function": tf.function, "xla": tf.function(jit_compile=True)}[call]
    f, others, scale = loss_of(weights), options(name, logits), np.arange(1.0, 6.0)  # of each example
    _, before = gradient(name, f, logits, noise, **others)

    def differentiated(logits, weights, noise, state):
        with tf.GradientTape() as tape:
            tape.watch([logits, weights])
            loss, state = expectation(loss_of(weights), logits, name, noise, state, **others)
            total = tf.reduce_sum(loss * scale)
        return loss, tape.gradient(total, [logits, weights]), state

    loss, (g, rest), mine = wrap(differentiated)(logits, weights, noise, before)
    expected, theirs = gradient(name, f, logits, noise, before, **others)
    for a, b in zip(tf.nest.flatten(mine), tf.nest.flatten(theirs)):
        assert a is b is None or np.allclose(a, b, rtol=1e-12, atol=0)
    np.testing.assert_allclose(g, expected * scale[:, None], rtol=1e-9, atol=1e-10)
    if ESTIMATORS[name].kind == "gradient":
        b, p = oracle.states(3)[:, None], oracle.sigmoid(logits)
        share = np.prod(np.where(b == 1, p, 1 - p), -1)  # of `exact`
        if name == "leave-one-out":
            b, share = sample(logits, noise).numpy(), np.full([3, 1], 1 / 3)
        elif name != "exact":
            first = noise[0] if noise.shape.rank > 2 else noise
            b, share = sample(logits, first).numpy()[None], np.ones([1, 1])
        with tf.GradientTape() as tape:
            tape.watch(weights)
            wanted = tf.reduce_sum(share * f(tf.constant(b + 0 * p)), 0)
            total = tf.reduce_sum(wanted * scale)
        np.testing.assert_allclose(loss, wanted, rtol=1e-9)
        np.testing.assert_allclose(rest, tape.gradient(total, weights), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_more_than_one_evaluation_waits_for_the_backward_pass(name):
    logits, weights, noise = problem(name)
    calls = []

    def f(b):
        calls.append(b.shape)
        return loss_of(weights)(b), "handed on"

    with tf.GradientTape() as tape:
        tape.watch(logits)
        (loss, aux), _ = expectation(f, logits, name, noise, **options(name, logits))
        assert len(calls) == 1 and aux == "handed on" and loss.shape == [5]
    tape.gradient(loss, logits)
    assert (len(calls) == 1) == (ESTIMATORS[name].evaluations in (1, "K", "2^H"))
