"""Both engines: the trainer's displayed source, its curves against the compiled kernels', what breaks."""

import __future__

import inspect

import numpy as np
import pytest

from bookkit import data, experiments
from bookkit.compiled.nets import Nets
from bookkit.studies import agreement
from bsn import InputError, Spec, curves, estimators, train, training
from bsn.backend import tf
from bsn.estimators import ESTIMATORS

COMPILED = [name for name, entry in ESTIMATORS.items() if entry.rule]
DIGITS = data.load("digits")
DISPLAYED = (training.init, training.forward, training.cross_entropy, training.descend, training.train_step)


def test_the_displayed_source_trains():
    """With nothing but TensorFlow and `bsn.estimators` in scope, one net; as the engine trains it."""
    scope = {"tf": tf, "sample": estimators.sample}
    for function in DISPLAYED:
        source = compile(
            inspect.getsource(function), "page", "exec", flags=__future__.annotations.compiler_flag
        )
        exec(source, scope)
    images, labels = (array[:50] for array in DIGITS.parts["train"])
    rng = np.random.default_rng(0)
    noise = np.float32(rng.random((60, 50, 20)))
    spec = Spec(estimator="sigmoid-adjusted", learning_rate=0.3, hidden=(20,), stable_loss=True)
    streams = [np.random.Generator(np.random.Philox(key=[spec.seed, layer])) for layer in range(2)]
    layers, losses = tf.nest.map_structure(tf.constant, scope["init"](streams, [64, 20, 10])), []
    x, y = tf.constant(images), tf.constant(labels)
    for u in noise:
        layers, _, loss, _ = scope["train_step"](
            layers, [()], x, y, [tf.constant(u)], 0.3, estimators.sigmoid_adjusted
        )
        losses.append(float(tf.reduce_mean(loss)))
    assert losses[-1] < 0.3 * losses[0]
    nets = curves.Nets([spec], DIGITS.parts, DIGITS.classes)
    rows = np.tile(np.arange(50, dtype=np.int32), (60, 1))
    nets.train(rows, noise, 0, np.ones(1, np.float32), np.ones(1, bool))
    for mine, theirs in zip(tf.nest.flatten(layers), tf.nest.flatten(nets.layers_of(0))):
        dead = theirs == 0  # pixels that are black in all images keep their weights here
        np.testing.assert_allclose(np.where(dead, 0, mine), theirs, atol=1e-5)


def both(specs):
    """The curves by TensorFlow and by the compiled engine: two arrays [nets, points]."""
    engines = None, lambda group: Nets(group, DIGITS)
    trained = [train(specs, DIGITS.parts, DIGITS.classes, engine=engine) for engine in engines]
    assert [curve.diverged for curve in trained[0]] == [curve.diverged for curve in trained[1]]
    return [np.array([[value for *_, value in curve.points] for curve in each]) for each in trained]


@pytest.mark.parametrize("name", COMPILED)
def test_the_curves_are_the_compiled_engines(name):
    """To a few samples that rounding flips, 101 steps long; slopes and modes where there are any."""
    entry = ESTIMATORS[name]
    common = dict(estimator=name, hidden=(15,), epochs=1, steps_per_epoch=101, seed=3)
    specs = [Spec(learning_rate=0.1 if entry.slope else 0.003, eval_mode="deterministic", **common)]
    if entry.slope:
        specs.append(Spec(learning_rate=0.2, slope_rate=1.5, slope_in_training=True, **common))
    if entry.deterministic:
        specs.append(Spec(learning_rate=0.2, train_mode="deterministic", **common))
    mine, theirs = both(specs)
    np.testing.assert_allclose(mine, theirs, atol=0.02)
    assert np.abs(mine - theirs).mean() < 0.004


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
        monkeypatch.setattr(experiments, "measures", lambda rows: next(answers))
        monkeypatch.setattr(agreement.record, "read", lambda path: [])
        table = agreement.finals()
        assert set(table.verdict) == expected
        assert len(table) == 22 and (table.seeds == 10).all()
        np.testing.assert_allclose(table.effect, shift, atol=0.02)


def test_a_loss_that_is_not_finite_is_seen_at_its_step():
    """The post's loss breaks at that rate, at the same step in both engines; a NaN predicts class 0."""
    common = dict(estimator="pass-through", hidden=(15,), epochs=1, steps_per_epoch=101)
    specs = [Spec(learning_rate=rate, **common) for rate in (1000.0, 0.01)]
    mine, theirs = both(specs)
    [broken, healthy] = train(specs, DIGITS.parts, DIGITS.classes)
    assert broken.diverged >= 0 and healthy.diverged == -1
    zeros = (DIGITS.parts["validation"][1] == 0).mean()
    assert mine[0, -1] == theirs[0, -1] == pytest.approx(zeros)
    [stable] = train([Spec(learning_rate=1000.0, stable_loss=True, **common)], DIGITS.parts, DIGITS.classes)
    assert stable.diverged == -1


def test_a_net_does_not_depend_on_its_neighbours():
    common = dict(estimator="sigmoid-adjusted", hidden=(15, 10), epochs=1, steps_per_epoch=101)
    specs = [Spec(learning_rate=0.1 * i, **common) for i in range(1, 5)]
    [alone] = train(specs[2:3], DIGITS.parts, DIGITS.classes)
    among = train(specs, DIGITS.parts, DIGITS.classes)[2]
    np.testing.assert_allclose([p[3] for p in among.points], [p[3] for p in alone.points], atol=0.01)


@pytest.mark.parametrize(
    "specs", [Spec(estimator="sigmoid", learning_rate=1.0), ["reinforce"], None], ids=str
)
def test_train_refuses_what_are_no_specs(specs):
    with pytest.raises(InputError, match="expected a list of bsn.Spec"):
        train(specs, DIGITS.parts)
