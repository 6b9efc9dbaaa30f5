"""The colours of the figures in both themes, from `book/tables/theme.yml`."""

import html

from bookkit.paths import table

THEMES: dict[str, list[str]] = table("theme")


def variables(theme: int) -> str:
    """Return the CSS variables of a theme: 0 is light, 1 dark."""
    return "".join(f"--bsn-{name}:{colours[theme]};" for name, colours in THEMES.items())


def css() -> str:
    """Return the site's style sheet: the variables of both themes."""
    return f'html {{{variables(0)}}}\nhtml[data-theme="dark"] {{{variables(1)}}}\n'


def inline(svg: str, text: str, link: str = "") -> str:
    """Return a figure as HTML that a page's theme colours, with a link to its data.

    `text` says to screen readers what it shows.
    """
    label = html.escape(text, quote=True)
    opening = f'<svg role="img" aria-label="{label}" style="width: 100%; max-width: 44rem; height: auto"'
    data = f'<a class="bsn-data" href="{link}" download>Data (CSV)</a>' if link else ""
    return f'<div class="bsn-figure">{svg.replace("<svg", opening, 1)}{data}</div>'
