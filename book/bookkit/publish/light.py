"""Make a built site light and self-contained: what no page uses is left out, fonts hold what pages use."""

import html
import importlib.resources
import re
import shutil
import unicodedata

MATH_FONT = "bsn-math.woff"
ICON_FONT = "bsn-icons.woff"


def lighten(site):
    """Rewrite the built site in the folder `site`.

    The theme brings an icon for every purpose, twice over (1.5 MB), and translations; scripts from other
    hosts that a button would fetch. None of it is needed: icons come from a font of those in use. And
    docutils calls references a list whose items it doesn't call items: screen readers stumble.
    """
    static = site / "_static"
    pages = {path: path.read_text() for path in site.rglob("*.html") if static not in path.parents}
    unused = ["scripts/fontawesome.js", "sphinx-thebe.js", "sphinx-thebe.css"]
    if not any(re.search(r'class="[^"]*\bsd-', text) for text in pages.values()):
        unused += ["sphinx-design.min.css", "design-tabs.js"]  # cards and tabs, which no page has
    left = [site / ".buildinfo", *static.rglob("*.map")]  # the first depends on where the checkout lies
    for path in [*left, *(static / name for name in unused)]:
        path.unlink(missing_ok=True)
    shutil.rmtree(static / "locales", ignore_errors=True)
    drop = "|".join(map(re.escape, unused))
    for path, text in pages.items():
        text = re.sub(rf"<(script|link)\b[^>]*(?:src|href)=\"[^\"]*(?:{drop})[^>]*>(?:</script>)?", "", text)
        text = re.sub(r"<script>[^<]*(?:THEBE|thebe)[^<]*</script>", "", text)
        text = text.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        pages[path] = text
        path.write_text(text)
    everything = "".join(pages.values())
    _icons(static, everything)
    _math_font(static, everything)


def _icons(static, pages):
    """Cut the theme's style sheet and icon font down to the icons that pages use."""
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    used = set(re.findall(r"\bfa-[\w-]+", pages + (static / "scripts/pydata-sphinx-theme.js").read_text()))

    def keep(rule):
        names = re.findall(r"\.(fa-[\w-]+)", rule[1])
        return rule[0] if used & set(names) else ""

    css = re.sub(r'((?:\.fa-[\w-]+:+before,?)+)\{content:"[^"]*"\}', keep, sheet.read_text())
    faces = re.findall(r"@font-face\{[^}]*\}", css)
    for face in faces:
        css = css.replace(face, "")
    face = '@font-face{font-display:block;font-family:"Font Awesome 6 Free";font-weight:900;src:url(%s)}'
    sheet.write_text(face % ICON_FONT + css)
    codes = {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", css)}
    codes |= {ord(char) for char in css if 0xE000 <= ord(char) <= 0xF8FF}
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    _subset(fonts / "fa-solid-900.ttf", sheet.parent / ICON_FONT, codes)
    shutil.rmtree(static / "vendor" / "fontawesome")


def _math_font(static, pages):
    """STIX Two Math (SIL Open Font Licence, from the package ziamath), of the characters in equations."""
    equations = "".join(re.findall(r"<math\b.*?</math>", pages, flags=re.DOTALL))
    characters = set(html.unescape(re.sub(r"<[^>]*>", "", equations)))
    letters = {char for char in characters if char.isalpha()}
    wanted = {ord(char) for char in characters}
    # a lone letter is drawn in its italic form, a character of its own
    for code in range(0x1D434, 0x1D7CC):
        if unicodedata.normalize("NFKC", chr(code)) in letters and "ITALIC" in unicodedata.name(
            chr(code), ""
        ):
            wanted.add(code)
    wanted |= {0x210E, 0x221A}  # italic h; the root sign, which no character of the text stands for
    font = importlib.resources.files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
    with importlib.resources.as_file(font) as path:
        _subset(path, static / MATH_FONT, wanted)


def _subset(source, target, codes):
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=["*"], notdef_outline=True)
    font = subset.load_font(str(source), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=codes)
    subsetter.subset(font)
    subset.save_font(font, str(target), options)
