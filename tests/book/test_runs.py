"""The loop: recording points, the slope's two uses, shuffling, noise, nets side by side."""

import contextlib
import itertools
import threading

import numpy as np
import pytest

from bookkit import data, runs
from bookkit.settings import Settings
from bsn import InputError, Spec, train
from bsn import curves as loop
from bsn.curves import shuffled_batches
from bsn.curves import uniform_noise as drawn
from bsn.spec import BATCH_SIZE

DIGITS = data.load("digits")
STEPS = 251  # per epoch: two records, and the steps after the last of them


def run(specs, engine="compiled"):
    return runs.run(specs, DIGITS, Settings(record=None, threads=2), engine)


def short(**fields):
    common = dict(estimator="sigmoid-adjusted", learning_rate=0.3, epochs=2, steps_per_epoch=STEPS)
    return Spec(**{**common, **fields})


VARIANTS = [  # fields; the slope's rate in training and in evaluation; whether units sample in each
    (dict(), 1, 1, True, True),
    (dict(slope_rate=1.5), 1, 1.5, True, True),
    (dict(slope_rate=1.5, slope_in_training=True), 1.5, 1.5, True, True),
    (dict(slope_rate=1.5, slope_in_training=True, slope_in_evaluation=False), 1.5, 1, True, True),
    (dict(train_mode="deterministic"), 1, 1, False, True),
    (dict(eval_mode="deterministic"), 1, 1, True, False),
]
STRETCHES = [(0, 0, 101), (0, 101, 201), (0, 201, 251), (1, 251, 352), (1, 352, 452), (1, 452, 502)]
WAYS = [("stochastic", False, True), ("stochastic annealed", True, True), ("deterministic", True, False)]


class Scripted:
    """An engine that notes what it is asked; its n-th answer is n for the first net, 2 n for the second."""

    def __init__(self, specs):
        self.diverged, self.asked = np.full(len(specs), -1), []

    def train(self, *arguments):
        self.asked.append(arguments)
        return len(self.asked) * np.arange(1.0, len(self.diverged) + 1)

    evaluate = train


@pytest.mark.parametrize(
    "fields, variants",
    [
        (dict(), VARIANTS),
        (dict(train_on="validation", evaluate_on="test"), VARIANTS),
        (dict(estimator="leave-one-out", hidden=(9, 8)), VARIANTS[:1]),
    ],
    ids=str,
)
def test_what_an_engine_is_asked_and_what_is_recorded(fields, variants):
    """Two epochs: mini-batches, noise, slopes and modes, and every point, exactly."""
    specs = [short(seed=4, **fields, **variant[0]) for variant in variants]
    _, in_training, in_evaluation, *samples = map(np.array, zip(*variants))
    spec, engines, expected, points = specs[0], [], [], []
    order = shuffled_batches(4, len(DIGITS.parts[spec.train_on][1]), 2 * STEPS)

    def engine(specs):
        engines.append(Scripted(specs))
        return engines[0]

    def evaluated(epoch, step, use, metric):
        shape = [len(DIGITS.parts[spec.evaluate_on][1]), sum(spec.hidden)]
        expected.append((drawn(4, step, use, shape), np.float32(in_evaluation**epoch), samples[1]))
        points.append((epoch, step, metric, len(expected)))

    curves = train(specs, DIGITS.parts, DIGITS.classes, engine=engine, all_ways=True)
    evaluated(0, 0, loop.EPOCH, "epoch")
    for epoch, start, end in STRETCHES:
        noise = drawn(4, start, loop.TRAINING, [end - start, BATCH_SIZE, sum(spec.hidden)])
        if spec.estimator == "leave-one-out":  # its other sample has noise of its own
            noise = np.stack([noise, drawn(4, start, loop.SECOND, noise.shape)], axis=1)
        expected.append((order[start:end], noise, start, np.float32(in_training**epoch), samples[0]))
        if end % STEPS:
            points.append((epoch, end, "training", len(expected) / 100))
            evaluated(epoch, end, loop.RECORD, "validation")
        else:
            evaluated(epoch + 1, end, loop.EPOCH, "epoch")
    noise = expected[-1][0]
    annealed = np.array([spec.slope_rate for spec in specs], np.float32) ** 2
    for way, slope, sampled in WAYS:  # after the last epoch every net in every way
        slopes, modes = annealed if slope else np.ones(len(specs)), np.full(len(specs), sampled)
        for role, part in (("evaluated", spec.evaluate_on), ("trained", spec.train_on)):
            expected.append((noise[: len(DIGITS.parts[part][1])], slopes, modes, role == "trained"))
            points.append((2, 2 * STEPS, f"{role} {way}", len(expected)))
    [nets] = engines
    for asked, arguments in zip(nets.asked, expected, strict=True):
        assert all(map(np.array_equal, asked, arguments))
    for i, curve in enumerate(curves, 1):
        assert curve.points == [(*place, pytest.approx(i * value)) for *place, value in points]


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


def test_a_net_does_not_depend_on_its_neighbours():
    """Alone and beside others, on one thread and on several, in any place; of one shape: `test_engines`."""
    common = dict(seed=5, hidden=(15, 10), epochs=1)
    spec = short(**common)
    others = [short(**common, learning_rate=0.01 * i) for i in range(1, 8)]
    others += [short(seed=6), short(seed=5, estimator="pass-through", learning_rate=100.0)]  # this one breaks
    alone = run([spec])
    for at in (0, 3, len(others)):
        among = run([*others[:at], spec, *others[at:]])
        assert list(among[among.net == at].value) == list(alone.value)


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


@pytest.mark.parametrize("specs, says", [([], "no specs"), ([short(), short()], "twice")])
def test_run_refuses(specs, says):
    with pytest.raises(InputError, match=says):
        run(specs)
