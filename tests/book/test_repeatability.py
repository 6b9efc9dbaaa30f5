"""The study of one rounding error: on nets whose fate is known, and on paths drawn by hand."""

import re

import numpy as np
import pandas as pd
import pytest

from bookkit import data, paths, record
from bookkit.studies import repeatability
from bookkit.studies.repeatability import DEPTHS, DOUBLES, FOLLOWED, STEPS
from bsn import Spec, curves

DIGITS = data.load("digits")
SPEC = Spec(estimator="sigmoid-adjusted", learning_rate=0.3, hidden=(8, 7), stable_loss=True)


def test_without_a_rounding_error_nothing_flips():
    """Nets side by side are themselves rounded differently in their last digit."""
    path, accuracies = repeatability.follow(SPEC, DIGITS, 40, rounding=0)
    assert (
        path.distance[0] == 0
        and path.distance.max() < 1e-7
        and not path.differing.any()
        and len(set(accuracies)) == 1
    )
    assert list(path.step) == list(range(41))
    sigmoid = Spec(estimator="sigmoid", learning_rate=0.3, hidden=(8,), stable_loss=True)
    assert not repeatability.follow(sigmoid, DIGITS, 20, rounding=0.1)[0].differing.any()  # it has no samples


def test_the_first_net_is_the_one_trained_alone_and_copies_begin_a_rounding_error_apart():
    path, accuracies = repeatability.follow(SPEC, DIGITS, 40, rounding=1e-3)
    weights = curves.initial_layers(SPEC, DIGITS.parts["train"][0].shape[1], DIGITS.classes)
    most = max(np.abs(array).max() for pair in weights for array in pair)
    assert path.distance[0] == pytest.approx(1e-3 * most, rel=1e-3)
    alone = curves.Nets([SPEC], DIGITS.parts, DIGITS.classes)
    order = curves.shuffled_batches(SPEC.seed, len(DIGITS.parts["train"][1]), 41)
    for step, end in zip(path.step, path.step[1:]):
        noise = curves.uniform_noise(SPEC.seed, step, curves.TRAINING, [end - step, 50, 15])
        alone.train(order[step:end], noise, step, np.ones(1, np.float32), np.ones(1, bool))
    noise = curves.uniform_noise(SPEC.seed, 40, curves.EPOCH, [len(DIGITS.parts["validation"][1]), 15])
    [accuracy] = alone.evaluate(noise, np.ones(1, np.float32), np.ones(1, bool))
    assert accuracies[0] == accuracy and len(accuracies) == 1 + DOUBLES


def test_samples_that_differ_are_counted():
    """Two nets of two layers of two units; the samples are [1, 0] and [1, 1], and [1, 1] and [0, 1]."""
    first = np.float32([[[9, -9]], [[9, 9]]]), np.zeros([2, 1, 2], np.float32)
    second = np.float32([[[9, 9], [0, 0]], [[9, 9], [-18, 0]]]), np.zeros([2, 1, 2], np.float32)
    output = np.zeros([2, 2, 1], np.float32), np.zeros([2, 1, 1], np.float32)
    noise = np.float32([[0.5, 0.5, 0.5, 0.5]])
    assert repeatability._differing([first, second, output], np.float32([[1]]), noise) == 2


def test_growth_is_that_of_the_steps_before_a_sample_flips():
    step = list(range(60)) + [60, 85]
    distance = [1e-7 * 10 ** (at / 50) for at in step[:60]] + [0.5, 0.7]
    rows = [
        {"estimator": "arm", "step": step, "distance": distance, "differing": [0] * 59 + [1, 9, 9]},
        {"estimator": "rebar", "step": step[:8], "distance": distance[:8], "differing": [0] * 7 + [1]},
        {"estimator": "disarm", "step": step[:60], "distance": [1e-7] * 60, "differing": [0] * 60},
    ]
    table = pd.DataFrame(rows).assign(depth=1, learning_rate=0.1)
    table["accuracy"] = [[0.9, 0.7, 0.8], [0.5, 0.5, 0.5], [0.1, 0.1, 0.1]]
    summary = repeatability.summary(table).set_index("estimator")
    assert list(summary.growth) == pytest.approx([100, np.nan, 1], nan_ok=True)
    assert list(summary["first"].fillna(-1)) == [59, 7, -1]
    assert list(summary["last"]) == [0.7, distance[7], 1e-7]
    assert list(summary.apart) == pytest.approx([0.2, 0, 0])
    assert list(summary.best) == [0.9, 0.5, 0.1] and not summary.diverged.any()


def test_accuracies_are_compared_only_if_the_nets_learned():
    """Two nets that learned, two that did not, and two that diverged."""
    rows = [
        {"estimator": "arm", "distance": [1e-7, 0.3], "accuracy": [0.9, 0.75]},
        {"estimator": "relax", "distance": [1e-7, 0.3], "accuracy": [0.5, 0.1]},
        {"estimator": "nvil", "distance": [1e-7, np.nan], "accuracy": [0.1, 0.1]},
    ]
    table = pd.DataFrame(rows).assign(depth=1, learning_rate=0.1, step=[[0, 1]] * 3, differing=[[0, 1]] * 3)
    summary = repeatability.summary(table)
    assert list(summary.diverged) == [False, False, True]
    for page in (repeatability.show(summary), repeatability.show_depths(summary)):
        cells = re.findall(r"<td[^>]*>([^<]*)</td>\s*</tr>", page.to_html())
        assert cells == ["0.1500", "untrained", "diverged"]


def test_the_books_record_follows_every_estimator():
    rows = record.read(paths.REPEATABILITY, repeatability.SCHEMA)
    assert [(row["estimator"], row["depth"]) for row in rows] == [(n, d) for n in FOLLOWED for d in DEPTHS]
    assert {row["step"][-1] for row in rows} == {STEPS} and {row["dataset"] for row in rows} == {"mnist"}
    assert all(len(row["accuracy"]) == 1 + DOUBLES for row in rows)
    assert paths.REPEATABILITY.stat().st_size < 2**19
