"""Figures: labels stand at the lines, nothing is lost; the API page tables what the registry says."""

import re

import numpy as np
import pandas as pd
import pytest

from bookkit.figures import pictures
from bookkit.figures.training import learning_curves
from bookkit.paths import BOOK
from bsn.estimators import ESTIMATORS


def curves(final):
    """Learning curves of nets with these labels and final accuracies, one of which diverges to 0.0958."""
    rows = [
        {"label": label, "seed": seed, "metric": metric, "step": step, "value": value if step > 101 else 0.5}
        for label, value in final.items()
        for seed in (1, 2)
        for metric in ("validation", "training", "epoch")
        for step in (101, 201, 301)
    ]
    fields = {"evaluate_on": "validation", "dataset": "mnist", "steps_per_epoch": 301}
    return pd.DataFrame(rows).assign(**fields)


@pytest.fixture
def no_recorded(monkeypatch):
    from bookkit import chapter

    monkeypatch.setattr(chapter, "recorded", lambda curves: curves.iloc[:0])


def test_every_curve_has_its_name_at_its_end_and_none_covers_another(no_recorded):
    labels = {"Constant, 0.1": 0.95, "Annealed, 0.1": 0.9501, "Constant, 0.3": 0.96, "Annealed, 0.3": 0.0958}
    figure = learning_curves(curves(labels), "Learning rate {}")
    heights = [float(y) for y in re.findall(r' y="([\d.]+)"[^>]*>(?:Constant|Annealed)<', figure.svg)]
    assert ">Learning rate 0.1<" in figure.svg and ">Learning rate 0.3<" in figure.svg
    assert len(heights) == 4
    for pair in (heights[:2], heights[2:]):
        assert abs(pair[0] - pair[1]) > 8  # points: a line of text
    assert figure.data.error.max() == pytest.approx(90.42)  # a net that diverged is there


def test_images_of_any_number_of_pixels_are_pictures():
    """Users bring their own data: three pixels, or 17."""
    for pixels, side in ((3, 2), (16, 4), (17, 5)):
        images = np.arange(2.0 * pixels).reshape(2, pixels) + 1
        drawn = pictures.square(images)
        assert drawn.shape == (2, side, side) and drawn.sum() == images.sum()
        assert (drawn.reshape(2, -1)[:, :pixels] == images).all()
        assert pictures.coins(drawn[0] / drawn.max(), np.ones([4, 9])).svg


def test_the_api_page_tables_the_registry():
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", (BOOK / "estimators.md").read_text(), re.M)
    table = {name: [cell.strip(" $") for cell in cells.split(" | ")] for name, cells in rows}
    assert [name for name in table if name in ESTIMATORS] == list(table)[: len(ESTIMATORS)]
    assert set(ESTIMATORS) <= set(table)
    for name, entry in ESTIMATORS.items():
        evaluations, derivative, noise, options, bias = table[name]
        assert (evaluations, noise) == (str(entry.evaluations), str(entry.noise)), name
        assert (derivative == "–") == (not entry.derivative), name
        assert set(re.findall(r"`(\w+)`", options)) == set(entry.options) - {"smooth"}, name
        assert (bias == "unbiased") == (entry.bias == "unbiased"), name
