"""The colours of the figures in both themes, the one place for them."""

# name -> (light, dark). The series are seaborn's colour-blind safe palette without its palest colours,
# which vanish on white; the dark ones are lighter tints of the same hues
THEMES = {
    "ink": ("#1f2328", "#e6e9ed"),
    "muted": ("#59636e", "#a9b3bd"),
    "grid": ("#d8dde3", "#3d444d"),
    "series-0": ("#0173b2", "#56b4f2"),
    "series-1": ("#c77f00", "#f0a830"),
    "series-2": ("#029e73", "#3ddcae"),
    "series-3": ("#d55e00", "#ff9350"),
    "series-4": ("#b3589e", "#eda6dc"),
    "series-5": ("#8a5a2b", "#d6a878"),
    "series-6": ("#56606b", "#c3ccd5"),
    "series-7": ("#2e9cca", "#9adcf7"),
    "series-8": ("#5b3f9e", "#b7a3f2"),
    "series-9": ("#6b7a00", "#cbdc4f"),
}


def variables(theme: int) -> str:
    """Return the CSS variables of a theme: 0 is light, 1 dark."""
    return "".join(f"--bsn-{name}:{colours[theme]};" for name, colours in THEMES.items())


def css() -> str:
    """Return the site's style sheet: the variables of both themes."""
    return f'html {{{variables(0)}}}\nhtml[data-theme="dark"] {{{variables(1)}}}\n'
