"""``python -m bookkit.figures.readme``: draw the README's figure from the book's record."""

from bookkit import statistics
from bookkit.figures.scorecard import at_a_glance
from bookkit.figures.theme import THEMES
from bookkit.paths import ROOT

PATH = ROOT / "docs" / "at_a_glance.svg"


def draw() -> str:
    """Return the SVG, in the reader's theme: outside the site no style sheet sets the theme's colours."""
    numbers, claims = statistics.scorecard()
    svg = at_a_glance(numbers, claims, statistics.claim_titles()).svg
    light, dark = ("".join(f"--bsn-{name}:{pair[i]};" for name, pair in THEMES.items()) for i in (0, 1))
    style = f"svg{{{light}font-family:sans-serif}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    end = svg.index(">") + 1
    return f"{svg[:end]}<style>{style}</style>{svg[end:]}"


if __name__ == "__main__":
    PATH.write_text(draw())
    print(f"bsn: drew {PATH}")
