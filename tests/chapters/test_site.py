"""The built site in a real browser, from the file system: every page, wide and light, narrow and dark."""

import html
import pathlib
import re
import shutil
import subprocess
import unicodedata
import urllib.parse

import matplotlib.image
import pytest
from conftest import barriers, run_bsn
from fontTools.ttLib import TTFont

from bookkit.figures import theme as themes
from bookkit.publish import book, extension, hosting
from bsn.estimators import ESTIMATORS

VIEWS = [(1280, "light"), (390, "dark")]
MIB = 2**20
FILL = "text => getComputedStyle(text).fill"
SIZES = """all => all.map(text => {
    const matrix = text.getScreenCTM();
    return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
})"""
OUTSIDE = """all => all.filter(text => {
    const box = text.getBoundingClientRect();
    const whole = text.ownerSVGElement.getBoundingClientRect();
    return box.left < whole.left - 2 || box.right > whole.right + 2;
}).map(text => text.textContent)"""
BEYOND = """all => all.filter(table => table.getBoundingClientRect().right
    > table.closest(".bd-article").getBoundingClientRect().right + 1).map(table => table.textContent)"""
CUT_OFF = """all => all.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent)"""


def site_pages():
    """Every page of the table of contents, and those that Sphinx adds."""
    return [*book.pages(), "genindex", "search"]


@pytest.mark.parametrize("name", site_pages())
def test_page_in_a_browser(site, open_page, name):
    """Nothing fails, is cut or comes from elsewhere; no barrier; light; figures follow the theme."""
    colours = {}
    for width, theme in VIEWS:
        page = open_page((site / f"{name}.html").as_uri(), width, color_scheme=theme)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0, (width, theme)
        urls = map(urllib.parse.urlsplit, open_page.urls)
        paths = {pathlib.Path(urllib.parse.unquote(url.path)) for url in urls if url.scheme == "file"}
        sizes = {path.name: path.stat().st_size for path in paths if path.is_file()}
        assert {"bsn.css", "bsn-icons.woff"} <= set(sizes) and sum(sizes.values()) < MIB, sizes
        assert "fa-solid-900.woff2" not in sizes  # all icons are in ours
        assert not barriers(page), (width, theme)
        if name in book.chapters():
            colours[theme] = assert_figures(site, page, width)
        if width > 1000:
            assert_whole(page)
    assert name not in book.chapters() or set.isdisjoint(*colours.values())


def assert_figures(site, page, width):
    """Each is seen in full, has a sentence and its numbers as a file; returns the colours of their words."""
    figures, colours = page.locator(".bsn-figure svg"), set()
    assert figures.count() or page.locator(".cell_output table").count()
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 60
        assert re.fullmatch(r"\S.*\w\.", figure.get_attribute("aria-label"))
        words = figure.locator("text")
        colours.add(words.first.evaluate(FILL))
        assert min(words.evaluate_all(SIZES)) > 8.5  # pixels
        assert not words.evaluate_all(OUTSIDE)
    captions = page.locator("figure:has(.bsn-figure) > figcaption .caption-text").all_text_contents()
    assert len(captions) == figures.count() and all(re.search(r"[.?]\W*$", text) for text in captions), (
        captions
    )
    links = page.locator(".bsn-figure a.bsn-data").all()
    assert len(links) == figures.count()
    for link in links:
        head, *rows = (site / link.get_attribute("href")).read_text().splitlines()
        assert re.search(r"\d", "".join(rows)), head
    assert len(colours) == min(1, figures.count())
    return colours


def assert_whole(page):
    """Code and tables are, on a small laptop; a fold has something in it, and no other fold beside it."""
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert not page.locator(".bd-article pre, .bd-article .cell_output").evaluate_all(CUT_OFF)
    assert not page.locator(".bd-article table").evaluate_all(BEYOND)
    folds = page.locator(".bd-article details.above-input")
    assert all(text.strip() for text in folds.locator("pre").all_text_contents())
    assert not page.locator(".cell:has(details.above-input):not(:has(.cell_output))").count()
    assert not page.locator(".cell:has(details.above-input) + .cell:has(details.above-input)").count()
    assert not page.locator("details details").count()


def test_every_colour_of_a_figure_follows_the_theme(site):
    """None is left as it was drawn, except in pictures; and both themes define each variable."""
    sheet = (site / "_static" / "figures.css").read_text()
    defined = re.findall(r"(--bsn-[\w-]+): ?(#\w+);", sheet)
    assert len(defined) == 2 * len(themes.THEMES) and len(set(defined)) == len(defined)
    for name in book.chapters():
        page = (site / f"{name}.html").read_text()
        for figure in re.findall(r'<div class="bsn-figure">.*?</div>', page, re.S):
            assert not re.search(r"(fill|stroke): #", figure), name
            assert set(re.findall(r"var\((--bsn-[\w-]+)", figure)) <= {variable for variable, _ in defined}


@pytest.mark.parametrize("term, name", [("annealing", "experiment_3"), ("Bonferroni", "scorecard")])
def test_search_finds_a_term(site, open_page, term, name):
    results = open_page((site / "search.html").as_uri() + f"?q={term}").locator("#search-results a")
    results.first.wait_for()
    assert any(name in link.get_attribute("href") for link in results.all())


def test_equations_are_drawn_by_the_browser(site, open_page):
    """As MathML, in the font that comes with the site, on one line if they are numbered."""
    page = open_page((site / "reinforce.html").as_uri())
    assert page.locator("math").count() > 20
    assert page.evaluate("document.fonts.check('16px \"BSN Math\"', '\\u{1D434}')")
    numbers = page.locator(".eqno").all_text_contents()
    assert len(numbers) > 3 and [int(number.strip("()")) for number in numbers] == list(
        range(int(numbers[0].strip("()")), int(numbers[0].strip("()")) + len(numbers))
    )
    assert page.locator("math").first.bounding_box()["height"] > 8
    assert page.locator("merror").count() == 0


def characters(site, font):
    return {chr(code) for code in TTFont(site / "_static" / font).getBestCmap()}


def test_the_fonts_have_every_character_and_icon_of_the_site(site):
    pages = "".join((site / f"{name}.html").read_text() for name in site_pages())
    equations = "".join(re.findall(r"<math.*?</math>", pages, re.S))
    assert "&amp;" not in equations and "&#x0005C;" not in equations  # TeX left over
    drawn = set(html.unescape(re.sub(r"<[^>]*>", "", equations))) - {"\u2061"} | {"√"}  # function application
    # a lone letter is drawn in its italic form, a character of its own
    forms = map(chr, (0x210E, *range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71B)))
    italics = {unicodedata.normalize("NFKC", form): form for form in forms}
    letters = {html.unescape(letter) for letter in re.findall(r"<mi>([^<&]|&[^;]*;)</mi>", equations)}
    drawn |= {italics[letter] for letter in letters & {*italics}}
    assert len(drawn) > 60 and not drawn - characters(site, "bsn-math.woff")
    names = set(re.findall(r"\bfa-[\w-]+", " ".join(re.findall(r'class="([^"]*)"', pages))))
    sheet = (site / "_static" / "styles" / "pydata-sphinx-theme.css").read_text()
    rules = re.findall(r'([^{}]*:before)\{content:"\\(\w+)"', sheet)
    assert len(rules) < 30, "there are rules for icons that no page shows"
    icons = {chr(int(code, 16)) for group, code in rules if names & set(re.findall(r"fa-[\w-]+", group))}
    assert len(icons) > 9 and not icons - characters(site, "bsn-icons.woff")


def test_the_whole_site_is_light(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 15 * MIB


@pytest.mark.parametrize(
    "remote, address",
    [
        ("https://github.com/someone/bsn.git", "https://github.com/someone/bsn"),
        ("git@github.com:someone/bsn-book.git", "https://github.com/someone/bsn-book"),
        ("ssh://git@github.com/someone/bsn", "https://github.com/someone/bsn"),
        ("/srv/git/bsn.git", None),
        ("https://elsewhere.example/someone/bsn.git", None),
        (None, None),
    ],
)
def test_launch_buttons_only_where_the_address_is_known(tmp_path, monkeypatch, remote, address):
    """From the git remote: Binder and Colab can reach that host, and no other is guessed."""
    subprocess.run(["git", "init", "-q", "-b", "trunk", tmp_path], check=True)
    if remote:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    monkeypatch.setattr(hosting, "ROOT", tmp_path)
    assert hosting.origin() == (address and (address, "trunk", ""))


@pytest.mark.parametrize("branch", ["main", "feature/two"])
def test_a_folder_of_a_larger_repository_of_another_owner(tmp_path, monkeypatch, branch):
    """A branch with a slash would be taken for a folder: then the commit names the state."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    folder = tmp_path / "papers" / "bsn"
    folder.mkdir(parents=True)
    (folder / "one").write_text("")

    def git(*words):
        command = ["git", "-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=a@b"]
        command += ["-C", tmp_path]
        return subprocess.run([*command, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", branch)
    git("remote", "add", "origin", "https://github.com/someone/all")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    monkeypatch.setattr(hosting, "ROOT", folder)
    state = "main" if branch == "main" else git("rev-parse", "HEAD")
    assert hosting.origin() == ("https://github.com/someone/all", state, "papers/bsn/")


def test_the_launch_buttons_on_a_page_and_the_sources_that_it_shows(checkout, smoke, tmp_path):
    """The site of the same results, in a checkout with a remote, whose package was changed.

    Each chapter can be opened elsewhere; pages show the package's sources as they are.
    """
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("html", "html.sha256"))
    subprocess.run(["git", "init", "-q", "-b", "main", copy], check=True)
    remote = ["remote", "add", "origin", "https://github.com/someone/bsn"]
    subprocess.run(["git", "-C", copy, *remote], check=True)
    mine = tmp_path / "served"  # the site's folder is a link of the user's, to where more lies
    mine.mkdir()
    (mine / "CNAME").write_text("example.org")
    (copy / "_build" / "html").symlink_to(mine)
    source = copy / "bsn" / "estimators" / "straight_through.py"
    source.write_text(source.read_text().replace("g = f'(b) s p (1 - p)", "g = f'(b) s p (1 - p) CHANGED"))
    command = ["build", "--profile", "smoke", "--chapter", "neuron"]
    ran = run_bsn(*command, cwd=copy)
    assert ran.returncode == 0, ran.stderr
    page = (copy / "_build" / "html" / "experiment_2.html").read_text()
    assert "https://mybinder.org/v2/gh/someone/bsn/main" in page and "book/experiment_2.ipynb" in page
    colab = "https://colab.research.google.com/github/someone/bsn/blob/main/book/experiment_2.ipynb"
    assert colab in page and "git clone -q https://github.com/someone/bsn repo" in page
    assert "pip install -q ./repo" in page
    address, html = "https://someone.github.io/bsn/", copy / "_build" / "html"
    assert html.is_symlink() and (mine / "CNAME").read_text() == "example.org"
    assert f'<link rel="canonical" href="{address}experiment_2.html"' in page
    assert f'<meta property="og:image" content="{address}card.png"' in page
    assert f"<loc>{address}experiment_2.html</loc>" in (html / "sitemap.xml").read_text()
    assert matplotlib.image.imread(html / "card.png").shape[:2] == (630, 1200)
    assert not {"sitemap.xml", "card.png"} & {path.name for path in (checkout / "_build" / "html").iterdir()}
    for name in ("straight_through", "estimators"):
        assert "CHANGED" in (copy / "_build" / "html" / f"{name}.html").read_text()
        assert "CHANGED" not in (checkout / "_build" / "html" / f"{name}.html").read_text()
    assert "mybinder.org" not in (checkout / "_build" / "html" / "experiment_2.html").read_text()


@pytest.mark.parametrize("tex", [r"\lVert g \rVert^2", r"\|g\|", r"|a|"])
def test_bars_in_equations_do_not_grow(tex):
    """Stretchy, a pair that is no pair to the browser grows beyond its line."""
    bars = re.findall(r"<mo([^>]*)>(?:&#x0007C;|&#x02016;|\||‖)</mo>", extension.mathml(tex))
    assert len(bars) == 2 and all('stretchy="false"' in bar for bar in bars)


def test_a_prime_stands_at_its_letter():
    """As a superscript it would be raised twice."""
    markup = extension.mathml("f'(b) + f'(0)^2")
    assert markup.count("′") == 2 and "&#x02032;" not in markup
    assert '<mi>f</mi><mo lspace="0" rspace="0">′</mo>' in markup


def test_the_packages_page_draws_every_sampler(site, open_page):
    """From the registry: with a caption, seen in full on a phone."""
    samplers = [entry for entry in ESTIMATORS.values() if entry.kind == "sampler"]
    page = open_page((site / "estimators.html").as_uri(), 390)
    for entry in samplers:
        function = entry.function.__module__ + "." + entry.name.replace("-", "_")
        described = page.locator(f"dl:has(> dt[id='{function}']) figure")
        assert described.count() == 1 and described.locator("figcaption").inner_text().endswith(".")
        box = described.locator("svg").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] > 60
        assert entry.title in described.locator("svg").text_content()
