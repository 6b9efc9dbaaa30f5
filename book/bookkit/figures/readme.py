"""``python -m bookkit.figures.readme``: draw the README's figure from the book's record."""

from bookkit import statistics
from bookkit.figures.scorecard import at_a_glance
from bookkit.figures.theme import variables
from bookkit.paths import ROOT

PATH = ROOT / "docs" / "at_a_glance.svg"


def draw() -> str:
    """Return the SVG, in the reader's theme: outside the site no style sheet sets the theme's colours."""
    numbers, claims = statistics.scorecard()
    svg = at_a_glance(numbers, claims, statistics.claim_titles()).svg
    dark = f"@media(prefers-color-scheme:dark){{svg{{{variables(1)}}}}}"
    style = f"svg{{{variables(0)}font-family:sans-serif}}{dark}"
    end = svg.index(">") + 1
    return f"{svg[:end]}<style>{style}</style>{svg[end:]}"


if __name__ == "__main__":
    PATH.write_text(draw())
    print(f"bsn: drew {PATH}")
