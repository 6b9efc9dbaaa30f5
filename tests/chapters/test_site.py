"""The built site in a real browser, opened from the file system: every page, both themes, two widths."""

import html
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import open_context, run_bsn
from fontTools.ttLib import TTFont

from bookkit.figures import theme as themes
from bookkit.publish import book, mathml
from bookkit.publish import site as site_builder

VIEWS = [(width, theme) for width in (1280, 390) for theme in ("light", "dark")]
MIB = 2**20


def local_path(url):
    return pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


class Visit:
    """A page in a browser, and what went wrong on it."""

    def __init__(self, browser, url, width=1280, theme="light"):
        self.context = open_context(browser, viewport={"width": width, "height": 900}, color_scheme=theme)
        self.page = self.context.new_page()
        self.wrong, self.loaded = [], set()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on("request", self._asked)
        self.page.goto(url)
        self.page.wait_for_load_state("networkidle")

    def _said(self, message):
        if message.type == "error":
            self.wrong.append(message.text)

    def _asked(self, request):
        if request.url.startswith("file:"):
            self.loaded.add(local_path(request.url))
        elif not request.url.startswith("data:"):
            self.wrong.append(f"outside: {request.url}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def site_pages():
    """Every page of the table of contents, and those that Sphinx adds."""
    return [*book.pages(), "genindex", "search"]


@pytest.mark.parametrize("name", site_pages())
def test_page_in_a_browser(site, browser, name):
    """Nothing fails, nothing comes from elsewhere, nothing sticks out, no barrier; and it is light."""
    for width, theme in VIEWS:
        with Visit(browser, (site / f"{name}.html").as_uri(), width, theme) as visit:
            page = visit.page
            assert not visit.wrong, (width, theme)
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            beyond = page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
            assert beyond <= 0, (width, theme)
            weight = sum(path.stat().st_size for path in visit.loaded)
            assert weight < MIB, sorted((path.stat().st_size, path.name) for path in visit.loaded)
            found = Axe().run(page).response["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert not serious, [
                (one["id"], node["html"][:200], node["failureSummary"][:300])
                for one in serious
                for node in one["nodes"][:3]
            ]


@pytest.mark.parametrize("name", book.chapters())
def test_figures_follow_the_theme(site, browser, name):
    """Each is seen in full, has its numbers in words and as a file, and changes its colours."""
    colours = {}
    for width, theme in VIEWS:
        with Visit(browser, (site / f"{name}.html").as_uri(), width, theme) as visit:
            figures = visit.page.locator(".bsn-figure svg")
            assert figures.count()
            for figure in figures.all():
                figure.scroll_into_view_if_needed()
                box = figure.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 60
                assert re.search(r"\d", figure.get_attribute("aria-label"))
                words = figure.locator("text")
                ink = words.first.evaluate("one => getComputedStyle(one).fill")
                colours.setdefault(theme, set()).add(ink)
                sizes = words.evaluate_all(
                    """all => all.map(one => {
                        const matrix = one.getScreenCTM();
                        return parseFloat(getComputedStyle(one).fontSize) * Math.hypot(matrix.a, matrix.b);
                    })"""
                )
                assert min(sizes) > 8.5  # pixels
                outside = words.evaluate_all(
                    """all => all.filter(one => {
                        const text = one.getBoundingClientRect();
                        const whole = one.ownerSVGElement.getBoundingClientRect();
                        return text.left < whole.left - 2 || text.right > whole.right + 2;
                    }).map(one => one.textContent)"""
                )
                assert not outside
            links = visit.page.locator(".bsn-figure figcaption a").all()
            assert len(links) == figures.count()
            for link in links:
                data = site / link.get_attribute("href")
                assert len(data.read_text().splitlines()) > 1
    assert len(colours["light"]) == len(colours["dark"]) == 1 and colours["light"] != colours["dark"]


def test_every_colour_of_a_figure_follows_the_theme(site):
    """None is left as it was drawn, except in pictures; and both themes define each variable."""
    sheet = (site / "_static" / "figures.css").read_text()
    defined = re.findall(r"(--bsn-[\w-]+): (#\w+);", sheet)
    assert len(defined) == 2 * len(themes.THEMES) and len(set(defined)) == len(defined)
    for name in book.chapters():
        for figure in re.findall(
            r'<figure class="bsn-figure">.*?</figure>', (site / f"{name}.html").read_text(), re.S
        ):
            assert not re.search(r"(fill|stroke): #", figure), name
            assert set(re.findall(r"var\((--bsn-[\w-]+)", figure)) <= {variable for variable, _ in defined}


def test_the_theme_can_be_switched(site, browser):
    with Visit(browser, (site / "introduction.html").as_uri()) as visit:
        text = visit.page.locator(".bsn-figure svg text").first
        before = text.evaluate("one => getComputedStyle(one).fill")
        visit.page.locator("button.theme-switch-button").first.click()
        visit.page.locator("button.theme-switch-button").first.click()
        assert visit.page.evaluate("document.documentElement.dataset.theme") in ("dark", "light")
        visit.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        assert text.evaluate("one => getComputedStyle(one).fill") != before


@pytest.mark.parametrize("term, page", [("annealing", "experiment_3"), ("Bonferroni", "scorecard")])
def test_search_finds_a_term(site, browser, term, page):
    with Visit(browser, (site / "search.html").as_uri() + f"?q={term}") as visit:
        results = visit.page.locator("#search-results a")
        results.first.wait_for()
        assert any(page in link.get_attribute("href") for link in results.all())
        assert not visit.wrong


def test_equations_are_drawn_by_the_browser(site, browser):
    """As MathML, in the font that comes with the site, on one line where they are numbered."""
    with Visit(browser, (site / "estimators.html").as_uri()) as visit:
        page = visit.page
        assert page.locator("math").count() > 20
        assert page.evaluate("document.fonts.check('16px \"BSN Math\"', '\\u{1D434}')")
        assert [one.text_content() for one in page.locator(".eqno").all()] == [f"({n})" for n in range(1, 6)]
        assert page.locator("math").first.bounding_box()["height"] > 8
        assert page.locator("merror").count() == 0
    for name in site_pages():
        equations = re.findall(r"<math.*?</math>", (site / f"{name}.html").read_text(), re.S)
        assert not [one for one in equations if "&amp;" in one or "&#x0005C;" in one]  # TeX left over
        written = html.unescape("".join(re.sub(r"<[^>]*>", "", one) for one in equations))
        drawn = set(written) | {"√"} if "<msqrt" in "".join(equations) else set(written)
        assert drawn <= {chr(code) for code in TTFont(site / "_static" / "bsn-math.woff").getBestCmap()} | {
            "\u2061"
        }


def test_the_whole_site_is_light_and_names_no_other_host_to_load_from(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15 * MIB
    for path in files:
        if path.suffix == ".html":
            assert not re.search(
                r'(<script[^>]*src|<link[^>]*href|<img[^>]*src)="https?:', path.read_text()
            ), path
    assert (site / "downloads" / "experiment_2.ipynb").exists()


def test_notebooks_can_be_downloaded_from_their_pages(site, browser):
    for name in book.chapters():
        text = (site / f"{name}.html").read_text()
        for kind in ("", "-executed"):
            target = f"downloads/{name}{kind}.ipynb"
            assert f'href="{target}"' in text and (site / target).exists()


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
    monkeypatch.setattr(site_builder, "ROOT", tmp_path)
    assert site_builder.repository() == (address and (address, "main"))


def test_the_launch_buttons_on_a_page(checkout, smoke, tmp_path):
    """The site of the same results, in a checkout with a remote: each chapter can be opened elsewhere."""
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("html", "book.tmp"))
    subprocess.run(["git", "init", "-q", "-b", "main", copy], check=True)
    remote = ["remote", "add", "origin", "https://github.com/someone/bsn"]
    subprocess.run(["git", "-C", copy, *remote], check=True)
    ran = run_bsn("build", "--profile", "smoke", "--chapter", "estimators", cwd=copy, PYTHONPATH=str(copy))
    assert ran.returncode == 0, ran.stderr
    page = (copy / "_build" / "html" / "experiment_2.html").read_text()
    assert "https://mybinder.org/v2/gh/someone/bsn/main" in page and "book/experiment_2.ipynb" in page
    assert "https://colab.research.google.com/github/someone/bsn/blob/main/book/experiment_2.ipynb" in page
    assert "git clone https://github.com/someone/bsn repo" in page
    assert "mybinder.org" not in (checkout / "_build" / "html" / "experiment_2.html").read_text()


@pytest.mark.parametrize("tex", [r"\lVert g \rVert^2", r"\|g\|", r"|a|"])
def test_bars_in_equations_do_not_grow(tex):
    """Stretchy, a pair that is no pair to the browser grows beyond its line."""
    bars = re.findall(r"<mo([^>]*)>(?:&#x0007C;|&#x02016;|\||‖)</mo>", mathml._mathml(tex))
    assert len(bars) == 2 and all('stretchy="false"' in one for one in bars)
