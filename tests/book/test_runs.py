"""The loop: recording points, the slope's two uses, shuffling, divergence, nets side by side."""

import contextlib
import itertools
import threading

import numpy as np
import pytest
import reference

from bookkit import data, runs
from bookkit.compiled.nets import Nets
from bookkit.parameters import ESTIMATORS
from bookkit.runs import SIDE_BY_SIDE, final_accuracies, side_by_side
from bookkit.settings import Settings
from bsn import InputError, Spec, train
from bsn import curves as loop
from bsn.backend import tf
from bsn.curves import shuffled_batches
from bsn.curves import uniform_noise as drawn
from bsn.estimators import ESTIMATORS as ENTRIES
from bsn.spec import BATCH_SIZE

DIGITS = data.load("digits")
STEPS = 251  # per epoch: two records, and the steps after the last of them
CLOSE = 1e-5  # samples and predictions within it of another outcome may differ between implementations


def run(specs, engine="compiled"):
    return runs.run(specs, DIGITS, Settings(record=None, threads=2), engine)


def short(**fields):
    common = dict(estimator="sigmoid-adjusted", learning_rate=0.3, epochs=2, steps_per_epoch=STEPS)
    return Spec(**{**common, **fields})


ENGINES = {
    "compiled": lambda specs: Nets(specs, DIGITS),
    "tensorflow": lambda specs: loop.Nets(specs, DIGITS.parts, DIGITS.classes),
}


def state(nets, estimator):
    """The first net's [(W, b), ...] and, for each hidden layer, what the estimator averages, in float64."""
    if isinstance(nets, Nets):
        return reference.state(nets.nets, 0, estimator)
    layers = [tuple(map(np.float64, pair)) for pair in nets.layers_of(0)]
    return layers, [tuple(np.float64(m[0]) for m in tf.nest.flatten(s)) for s in nets.states]


class Replay:
    """An engine of one net that does each step in NumPy (float64), too.

    Each step and evaluation begins at the engine's own state: whole paths of two implementations part, since
    training is chaotic. What a step is given follows here from its number alone.
    """

    def __init__(self, spec, nets):
        self.spec, self.nets, self.step, self.summed = spec, nets, 0, 0.0
        self.points, self.compared = {"training": [], "validation": [], "epoch": []}, 0
        self.parts = [DIGITS.parts[part] for part in (spec.train_on, spec.evaluate_on)]
        self.order = shuffled_batches(spec.seed, len(self.parts[0][1]), spec.epochs * STEPS)

    @property
    def diverged(self):
        return self.nets.diverged

    def reference(self, rows, part, noise, mode, annealed, rate, estimator):
        slope = self.spec.slope_rate ** (self.step // STEPS) if annealed else 1.0
        u = np.full_like(noise, 0.5) if mode == "deterministic" else noise
        x, labels = self.parts[part]
        u = np.split(u, np.cumsum(self.spec.hidden)[:-1], axis=-1)
        return reference.train_step(
            *state(self.nets, estimator), x[rows], np.eye(10)[labels[rows]], u, slope, rate, estimator
        )

    def train(self, rows, noise, step, slope, stochastic):
        spec, total = self.spec, 0.0
        assert step == self.step
        for t in range(len(rows)):
            i = self.step % STEPS
            began = self.step - (i if i <= 100 else (i - 1) % 100)  # noise is drawn up to the next record
            u = drawn(spec.seed, began, loop.TRAINING, [101, BATCH_SIZE, sum(spec.hidden)])
            layers, moments, _, right, margins = self.reference(
                self.order[self.step], 0, u[self.step - began], spec.train_mode, spec.slope_in_training,
                spec.learning_rate, spec.estimator,
            )  # fmt: skip
            [found] = self.nets.train(rows[t : t + 1], noise[t : t + 1], step + t, slope, stochastic)
            assert found == pytest.approx(right.mean(), abs=(margins < CLOSE).mean() + 1e-9)
            if margins.min() > CLOSE:
                self.compared += 1
                reference.assert_close(
                    state(self.nets, spec.estimator), (layers, moments), rtol=1e-5, atol=3e-6
                )
            total, self.step = total + found, self.step + 1
        self.summed += total
        return np.array([total])

    def evaluate(self, noise, slope, stochastic):
        spec, ends = self.spec, self.step % STEPS == 0
        u = drawn(spec.seed, self.step, loop.EPOCH if ends else loop.RECORD, noise.shape)
        sampled = "sigmoid-adjusted" if spec.estimator == "concrete" else spec.estimator
        *_, right, margins = self.reference(
            slice(None), 1, u, spec.eval_mode, spec.slope_in_evaluation, 0.0, sampled
        )
        [found] = self.nets.evaluate(noise, slope, stochastic)
        assert found == pytest.approx(right.mean(), abs=(margins < CLOSE).mean() + 1e-9)
        at = self.step // STEPS, self.step
        self.points["epoch" if ends else "validation"].append((*at, found))
        if not ends:
            self.points["training"].append((*at, self.summed / 100))
        self.summed = 0.0
        return np.array([found])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "fields",
    [
        dict(),
        dict(slope_rate=1.5),
        dict(slope_rate=1.5, slope_in_training=True),
        dict(slope_rate=1.5, slope_in_training=True, slope_in_evaluation=False),
        dict(train_mode="deterministic", eval_mode="deterministic"),
        dict(eval_mode="deterministic", train_on="validation", evaluate_on="test"),
        dict(estimator="variance-adjusted", learning_rate=0.001, hidden=(20, 20)),
        dict(hidden=(20, 20), zero_biases=True),
        dict(estimator="variance-adjusted", learning_rate=0.001),
        dict(estimator="reinforce", learning_rate=0.001),
        dict(estimator="sigmoid", stable_loss=True),
        dict(estimator="reinmax", slope_rate=1.5, slope_in_training=True),
        dict(estimator="concrete", slope_rate=1.5, slope_in_training=True),
        dict(estimator="concrete", train_mode="deterministic", eval_mode="deterministic"),
        dict(estimator="st-gumbel", train_mode="deterministic"),
        dict(estimator="moving-average", learning_rate=0.001, hidden=(20, 20)),
    ],
    ids=str,
)
def test_curves_against_a_replay_in_numpy(fields, engine, seed_offset):
    """Every step and evaluation of two epochs, and every recorded point."""
    spec = short(**{"hidden": (30,), "seed": 1 + seed_offset, **fields})
    if engine == "compiled" and not ENTRIES[spec.estimator].rule:
        return  # TensorFlow trains it
    replay = Replay(spec, ENGINES[engine]([spec]))
    [curve] = train([spec], DIGITS.parts, DIGITS.classes, engine=lambda specs: replay)
    assert replay.compared > 0.5 * 2 * STEPS
    for metric, expected in replay.points.items():
        found = [(epochs, step, value) for epochs, step, name, value in curve.points if name == metric]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_recording_points_of_the_posts_epoch():
    curves = run([short(epochs=1, steps_per_epoch=1001, hidden=(5,))])
    assert list(curves[curves.metric == "validation"].step) == [101, *range(201, 1002, 100)]
    assert list(curves[curves.metric == "training"].step) == [101, *range(201, 1002, 100)]
    assert list(curves[curves.metric == "epoch"].step) == [0, 1001]


def test_shuffling_walks_through_the_data_once_a_pass():
    order = shuffled_batches(seed=3, examples=120, steps=12)  # 5 passes; batches straddle them
    flat = order.reshape(-1)
    for start in range(0, 600, 120):
        assert sorted(flat[start : start + 120]) == list(range(120))
    assert list(flat[:120]) != list(flat[120:240])
    assert (order == shuffled_batches(3, 120, 12)).all() and (order != shuffled_batches(4, 120, 12)).any()
    assert (order[:5] == shuffled_batches(3, 120, 5)).all()


def test_noise_is_uniform_and_differs_between_seeds_steps_and_uses():
    places = itertools.product((1, 2), (0, 1, 20_000), range(4))
    draws = [drawn(seed, step, kind, [50, 200]) for seed, step, kind in places]
    for i, one in enumerate(draws):
        assert 0 <= one.min() and one.max() < 1
        assert abs(one.mean() - 0.5) < 5 * np.sqrt(1 / 12 / one.size)
        for other in draws[:i]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


def test_the_other_sample_of_leave_one_out_has_noise_of_its_own():
    seen = []

    class Watched(loop.Nets):
        def train(self, rows, noise, step, slope, stochastic):
            seen.append((step, noise))
            return super().train(rows, noise, step, slope, stochastic)

    spec = short(estimator="leave-one-out", hidden=(9, 8), epochs=1, learning_rate=0.1)
    train([spec], DIGITS.parts, engine=lambda specs: Watched(specs, DIGITS.parts, DIGITS.classes))
    assert [start for start, _ in seen] == [0, 101, 201]
    for start, noise in seen:
        for k, use in enumerate((loop.TRAINING, loop.SECOND)):
            assert (noise[:, k] == drawn(1, start, use, noise[:, k].shape)).all()


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if ENTRIES[name].rule])
def test_a_net_does_not_depend_on_its_neighbours(estimator):
    """To the last bit, alone and beside others, on one thread and on several, in any place."""
    common = dict(seed=5, estimator=estimator, hidden=(15, 10), epochs=1)
    spec = short(**common)
    others = [short(**common, learning_rate=0.01 * i) for i in range(1, 8)]
    others += [short(seed=6), short(seed=5, estimator="pass-through", learning_rate=100.0)]  # this one breaks
    alone = run([spec])
    for at in (0, 3, len(others)):
        among = run([*others[:at], spec, *others[at:]])
        assert list(among[among.net == at].value) == list(alone.value)


def test_nets_are_shared_out_among_the_threads():
    rates = [0.1 * i for i in range(1, 7)]
    alike = [short(learning_rate=rate) for rate in rates]
    assert side_by_side(alike, 1) == [alike]
    assert side_by_side(alike, 2) == [alike[:3], alike[3:]]
    wide = short(hidden=(300,))
    assert side_by_side([*alike[:4], wide], 2) == [[wide], alike[:2], alike[2:4]]
    many = [short(learning_rate=0.01 * i) for i in range(1, 101)]
    groups = side_by_side(many, 2)
    assert max(map(len, groups)) <= SIDE_BY_SIDE and {*sum(groups, [])} == {*many}


def test_an_error_stops_every_thread(monkeypatch):
    """As Ctrl-C does: what is raised while training comes out, and no thread trains on."""

    @contextlib.contextmanager
    def failing(total):
        def advance(steps):
            raise KeyboardInterrupt

        yield advance

    monkeypatch.setattr(runs, "training_progress", failing)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run([short(seed=seed, epochs=1000) for seed in range(4)])
    assert threading.active_count() == before


def test_a_net_that_breaks_is_marked_and_the_others_go_on():
    breaks = short(estimator="pass-through", learning_rate=1000.0, seed=2)
    healthy = short(estimator="pass-through", learning_rate=0.01, seed=2)
    curves = run([breaks, healthy])
    finals = final_accuracies(curves).set_index("net")
    zeros = (DIGITS.parts["validation"][1] == 0).mean()
    assert finals.diverged_step[0] >= 0 and finals.final[0] == pytest.approx(zeros)
    assert finals.diverged_step[1] == -1 and finals.final[1] > 0.5
    assert list(run([healthy]).value) == list(curves[curves.net == 1].value)


@pytest.mark.parametrize("specs, says", [([], "no specs"), ([short(), short()], "twice")])
def test_run_refuses(specs, says):
    with pytest.raises(InputError, match=says):
        run(specs)
