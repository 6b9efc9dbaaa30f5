"""Both engines: against NumPy in float64 and each other, the trainer's displayed source, what diverges."""

import __future__

import functools
import inspect

import numpy as np
import pytest
import reference

from bookkit import data, experiments, runs
from bookkit.compiled import kernels
from bookkit.compiled.nets import Nets
from bookkit.settings import Settings
from bookkit.studies import agreement
from bsn import InputError, Spec, curves, estimators, train, training
from bsn.backend import tf
from bsn.estimators import ESTIMATORS

ENGINES = {
    "tensorflow": lambda specs, source: curves.Nets(specs, source.parts, source.classes),
    "compiled": Nets,
}
COMPILED = [name for name, entry in ESTIMATORS.items() if entry.rule]
CASES = [(engine, name) for engine in ENGINES for name in COMPILED]
CASES += [("tensorflow", name) for name in ("concrete", "st-gumbel", "gumbel-rao")]
DIGITS = data.load("digits")
DISPLAYED = (training.init, training.forward, training.cross_entropy, training.descend, training.train_step)


def test_the_displayed_source_trains():
    """With nothing but TensorFlow and `bsn.estimators` in scope; the engine calls these functions."""
    scope = {"tf": tf, "sample": estimators.sample}
    for function in DISPLAYED:
        source = compile(
            inspect.getsource(function), "page", "exec", flags=__future__.annotations.compiler_flag
        )
        exec(source, scope)
    images, labels = (array[:50] for array in DIGITS.parts["train"])
    rng = np.random.default_rng(0)
    noise = np.float32(rng.random((60, 50, 20)))
    layers, losses = tf.nest.map_structure(tf.constant, scope["init"]([rng, rng], [64, 20, 10])), []
    x, y = tf.constant(images), tf.constant(labels)
    for u in noise:
        layers, _, loss, _ = scope["train_step"](
            layers, [()], x, y, [tf.constant(u)], 0.3, estimators.sigmoid_adjusted
        )
        losses.append(float(tf.reduce_mean(loss)))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("stable", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("engine, name", CASES)
def test_three_steps_and_an_evaluation_against_numpy(engine, name, stable, seed_offset):
    """Three nets of two hidden layers, moving averages included; rates, slopes and modes differ."""
    entry, rng = ESTIMATORS[name], np.random.default_rng(seed_offset)
    rates, slopes = [0.3, 0.05, 0.05], np.float32([1, 2, 2] if entry.slope else [1, 1, 1])
    stochastic = [True, True, not entry.deterministic]
    parts = {}
    for part, count in (("train", 1), ("validation", 20), ("test", 521)):  # 521: evaluated in groups
        images = rng.random((count, 8)) * (rng.random((count, 8)) < 0.6)
        images[-1] = 0  # a black one
        parts[part] = np.float32(images), np.int32(rng.integers(0, 10, count))
    temperature = 0.7 if "temperature" in entry.options else 0.5
    common = dict(
        estimator=name, hidden=(6, 5), stable_loss=stable, train_on="validation", evaluate_on="test",
        temperature=temperature,
    )  # fmt: skip
    specs = [Spec(learning_rate=rate, **common) for rate in rates]
    nets = ENGINES[engine](specs, data.Data("small", parts, 10))

    def step(i, state, part, rows, u, rate, estimator):
        u = np.split(u if stochastic[i] else np.full_like(u, 0.5), [6], axis=-1)
        (images, labels), y = parts[part], np.eye(10)
        examples = images[rows], y[labels[rows]], u
        return reference.train_step(*state, *examples, slopes[i], rate, estimator, temperature)

    order = np.int32(rng.integers(10, 20, (3, 7)))  # some images twice
    noise, of_test = np.float32(rng.random((3, 7, 11))), np.float32(rng.random((521, 11)))
    states = [reference.state(nets, i, name) for i in range(3)]
    trained = nets.train(order, noise, 0, slopes, np.array(stochastic))
    evaluated = nets.evaluate(of_test, slopes, np.array(stochastic))
    for i, rate in enumerate(rates):
        total = 0.0
        for rows, u in zip(order, noise):
            *states[i], right = step(i, states[i], "validation", rows, u, rate, name)
            total += right.mean()
        close = functools.partial(np.testing.assert_allclose, atol=3e-7)
        tf.nest.map_structure(close, reference.state(nets, i, name), tuple(states[i]))
        sampled = "sigmoid-adjusted" if name == "concrete" else name
        *_, right = step(i, states[i], "test", slice(None), of_test, 0.0, sampled)
        assert (trained[i], evaluated[i]) == pytest.approx((total, right.mean()))
    assert list(nets.diverged) == [-1, -1, -1]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_weights_agree_until_rounding_flips_a_sample(name):
    """Step by step, to the rounding of float32; a step that ends it has a uniform at its probability."""
    rate = 0.1 if ESTIMATORS[name].kind == "sampler" else 0.003
    spec = Spec(estimator=name, learning_rate=rate, hidden=(15,), stable_loss=True)
    path = agreement.step_by_step(spec, DIGITS, 60)
    agreed = int(np.argmax([*(path.difference > agreement.ROUNDING), True]))
    assert agreed > 5 and path.difference[:agreed].max() < 1e-5
    assert agreed == len(path) or path.nearest[agreed] < 1e-6
    assert path.nearest.median() < 0.01


def test_the_engines_final_accuracies_are_judged(monkeypatch):
    """Equal nets are equivalent, shifted ones are not, and differ where seeds vary more than their shift."""
    measures = experiments.measures(experiments.book_rows())
    luck = np.random.default_rng(0).normal(0, 0.01, len(measures))
    for shift, noise, expected in (
        (0.0, 0, {"equivalent"}),
        (0.003, 0, {"not shown"}),
        (0.1, luck, {"differ"}),
        (0.0, luck, {"no difference seen"}),
    ):
        other = measures.assign(final=measures.final + shift + noise)
        answers = iter([measures, other])
        monkeypatch.setattr(experiments, "measures", lambda rows, answers=answers: next(answers))
        monkeypatch.setattr(agreement.record, "read", lambda path: [])
        table = agreement.finals()
        assert set(table.verdict) == expected
        assert len(table) == 22 and (table.seeds == 10).all()
        np.testing.assert_allclose(table.effect, shift, atol=0.02)


@pytest.mark.slow
def test_a_net_that_diverges_is_marked_and_the_others_go_on():
    """The post's loss breaks at that rate, at the same step in both engines; a NaN predicts class 0."""
    common = dict(estimator="pass-through", epochs=2, steps_per_epoch=251, seed=2)
    specs = [Spec(learning_rate=rate, **common) for rate in (1000.0, 0.01)]
    specs.append(Spec(learning_rate=1000.0, stable_loss=True, **common))
    zeros, steps = (DIGITS.parts["validation"][1] == 0).mean(), []
    for engine in ENGINES:
        among, alone = (runs.run(some, DIGITS, Settings(record=None), engine) for some in (specs, specs[1:2]))
        atol = 0.0 if engine == "compiled" else 0.01
        np.testing.assert_allclose(among[among.net == 1].value, alone.value, rtol=0, atol=atol)
        finals = runs.final_accuracies(among)
        steps.append(list(finals.diverged_step))
        assert finals.final[0] == pytest.approx(zeros) and finals.final[1] > 0.5
    assert steps[0] == steps[1] and steps[0][0] >= 0 and steps[0][1:] == [-1, -1]


@pytest.mark.parametrize("name, hidden", [*((name, (7, 5)) for name in COMPILED), ("sigmoid", (213,))])
def test_a_compiled_net_does_not_depend_on_its_neighbours(name, hidden):
    """To the last bit, at any place, also where its columns begin and end within a vector register."""
    rng, weights = np.random.default_rng(0), set()
    order = np.int32(rng.integers(0, 1000, (20, 50)))
    noise = np.float32(rng.random((20, 50, sum(hidden))))
    for place, count in ((0, 1), (0, 5), (1, 3), (2, 3), (3, 4), (3, 6)):
        rates = 0.01 * np.arange(1, count + 1)
        rates[place] = 0.1
        specs = [Spec(estimator=name, learning_rate=rate, hidden=hidden) for rate in rates]
        nets = Nets(specs, DIGITS)
        nets.train(order, noise, 0, np.ones(count, np.float32), np.ones(count, bool))
        layers = kernels.net(nets.nets, place)
        weights.add(b"".join(array.tobytes() for pair in layers for array in pair))
    assert len(weights) == 1


@pytest.mark.parametrize(
    "specs", [Spec(estimator="sigmoid", learning_rate=1.0), ["reinforce"], None], ids=str
)
def test_train_refuses_what_are_no_specs(specs):
    with pytest.raises(InputError, match="expected a list of bsn.Spec"):
        train(specs, DIGITS.parts)
