"""The README's numbers and its figure come from the book's record."""

import re
import tomllib

from bookkit import statistics
from bookkit.figures import scorecard
from bookkit.paths import ROOT


def test_numbers():
    numbers, claims = statistics.scorecard()
    text = (ROOT / "README.md").read_text()
    effects = claims.set_index(["a", "b"]).effect
    constant = "sigmoid-adjusted {} / stochastic"
    binary = effects["few images, sigmoid-adjusted 0.3 / deterministic"]
    runs = statistics.book_runs()
    measured = {
        effects["sigmoid-adjusted 0.1 / stochastic annealed", constant.format(0.1)],
        -effects["annealed in training 1.0 / stochastic annealed", constant.format("1.0")],
        float(numbers.published.mode()[0]),
        runs[runs.own & (runs.net == "pass-through 1.0, stable")].final.mean(),
        binary["few images, sigmoid 0.03 / stochastic"],
        binary["few images, sigmoid, tuned / stochastic"],
    }
    assert set(re.findall(r"\b0\.\d{4}\b", text)) == {f"{value:.4f}" for value in measured}
    agree, hold = (numbers.verdict == statistics.AGREES).sum(), (claims.verdict == statistics.HOLDS).sum()
    assert f"{agree} of {len(numbers)} numbers agree, {hold} of {len(claims)} readings" in text


def test_badges():
    text = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    low, high = re.search(r"badge/Python-(3\.\d+)_to_(3\.\d+)-", text).groups()
    assert project["requires-python"] == f">={low},<3.{int(high[2:]) + 1}"
    assert f"badge/licence-{project['license']}-" in text


def test_figure():
    """Its words and marks; the rest of an SVG depends on the version of Matplotlib."""
    words = [
        re.findall(r"<text[^>]*>([^<]*)", svg)
        for svg in (scorecard.README.read_text(), scorecard.for_the_readme())
    ]
    assert words[0] == words[1] and any("agree" in word for word in words[0])
