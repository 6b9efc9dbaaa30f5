"""The README's numbers and its figure come from the book's record."""

import re

from bookkit import statistics
from bookkit.figures import scorecard
from bookkit.paths import ROOT


def test_numbers():
    numbers, claims = statistics.scorecard()
    text = (ROOT / "README.md").read_text()
    effects = claims.set_index(["claim", "a", "b"]).effect
    constant = "3: Sigmoid-adjusted, {}"
    accuracies = statistics.book_measures().groupby(["experiment", "label"]).final.mean()
    measured = {
        effects[6, "3: Slope-annealed, 0.1", constant.format(0.1)],
        -effects[6, "3: Annealed in training too, 1.0", constant.format("1.0")],
        float(numbers.published.mode()[0]),
        accuracies["2", "Pass-through, 1.0, stable loss"],
        effects[14, "8: Binary stochastic", "8: Sigmoid"],
        effects[14, "8: Binary stochastic", "8: Sigmoid, 0.3"],
    }
    assert set(re.findall(r"\b0\.\d{4}\b", text)) == {f"{value:.4f}" for value in measured}
    agree, hold = (numbers.verdict == statistics.AGREES).sum(), (claims.verdict == statistics.HOLDS).sum()
    assert f"{agree} of {len(numbers)} numbers agree, {hold} of {len(claims)} readings" in text


def test_figure():
    """Its words and marks; the rest of an SVG depends on the version of Matplotlib."""
    words = [
        re.findall(r"<text[^>]*>([^<]*)", svg)
        for svg in (scorecard.README.read_text(), scorecard.for_the_readme())
    ]
    assert words[0] == words[1] and any("agree" in word for word in words[0])
