"""The colours of the figures in both themes, from `book/tables/theme.yml`."""

from bookkit.paths import table

THEMES: dict[str, list[str]] = table("theme")


def variables(theme: int) -> str:
    """Return the CSS variables of a theme: 0 is light, 1 dark."""
    return "".join(f"--bsn-{name}:{colours[theme]};" for name, colours in THEMES.items())


def css() -> str:
    """Return the site's style sheet: the variables of both themes."""
    return f'html {{{variables(0)}}}\nhtml[data-theme="dark"] {{{variables(1)}}}\n'
