"""The playground's page in a real browser."""

import json
import re

import numpy as np
import pytest
from conftest import barriers
from playwright.sync_api import expect


@pytest.fixture
def visit(open_page, playground):
    """Open the page with a hash."""

    def visit(hash="", theme="light", width=1280, url=playground, **options):
        page = open_page(url + hash, width, **options)
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        return page

    return visit


SHOWN = ("mean", "bias", "variance", "mean-sampled", "bias-sampled", "variance-sampled", "gradient")


def numbers(page):
    return {name: page.inner_text(f"#pg-{name}") for name in SHOWN}


def test_what_the_page_shows_first(visit):
    page = visit()
    assert page.input_value("#pg-e") == "sigmoid-adjusted" and page.input_value("#pg-t-number") == "0.45"
    assert "Wrong direction." in page.inner_text("#pg-verdict")
    found = page.evaluate("bsnPlayground.moments('sigmoid-adjusted', bsnPlayground.fromHash(''))")
    assert page.inner_text("#pg-mean") == f"{found['mean']:.3g}".replace("-", "−")
    labels = page.locator("#playground svg[role=img]").evaluate_all("all => all.map(x => x.ariaLabel)")
    assert len(labels) == 5 and all(re.search(r"\d", label) for label in labels)
    assert page.inner_text("#pg-gradient") in labels[3] and page.inner_text("#pg-mean") in labels[3]
    assert page.locator("#pg-strip tspan").count() == 200


@pytest.mark.parametrize("control", ["a", "s", "t", "n", "tau"])  # the learning rate acts on the descents
@pytest.mark.parametrize("kind", ["", "-number"])
def test_a_control_changes_the_numbers(visit, control, kind):
    page = visit("#e=concrete")
    before = numbers(page)
    page.focus(f"#pg-{control}{kind}")
    page.keyboard.press("ArrowUp")
    after = numbers(page)
    assert after["mean-sampled"] != before["mean-sampled"]
    assert (after["mean"] != before["mean"]) == (control != "n")
    assert page.input_value(f"#pg-{control}") == page.input_value(f"#pg-{control}-number")
    page.wait_for_url(f"**{control}={page.input_value(f'#pg-{control}')}*")


def test_a_number_typed(visit):
    page = visit()
    for typed, taken in (("350", "350"), ("99999", "2000"), ("", "2000")):
        page.fill("#pg-n-number", typed)
        page.keyboard.press("Enter")
        page.locator("#pg-n-number").blur()
        assert page.input_value("#pg-n-number") == taken == page.inner_text("#pg-count")


def outcomes(page):
    return [page.inner_text(f"#pg-outcome-{name}") for name in ("e", "e2")]


def frame(page):
    """The numbers on the axes of a descent."""
    return page.locator("#pg-descent-e svg text").all_inner_texts()


def test_the_descents(visit):
    page = visit()
    assert [page.inner_text(f"#pg-name-{name}") for name in ("e", "e2")] == [
        "Straight-through, sigmoid-adjusted", "REINFORCE",
    ]  # fmt: skip
    first, axes = outcomes(page), frame(page)
    exact = page.evaluate("bsnPlayground.descent('exact', bsnPlayground.fromHash(''), Array(300))")
    assert all(words.endswith(f"exact {1 / (1 + np.exp(-exact[-1])):.2f}") for words in first)
    page.select_option("#pg-e2", "variance-adjusted")
    second = outcomes(page)
    assert second[0] == first[0] and second[1] != first[1]
    page.wait_for_url("**e2=variance-adjusted*")
    page.fill("#pg-r-number", "5")
    page.keyboard.press("Enter")
    page.locator("#pg-r-number").blur()
    assert outcomes(page)[0] != first[0] and frame(page) == axes  # the axes are fixed
    page.wait_for_url("**r=5*")
    page.click("#pg-draw")
    drawn = outcomes(page)
    page.wait_for_url("**seed=2")
    page.reload()
    assert outcomes(page) == drawn


def test_play_and_pause(visit):
    page = visit()
    step = lambda: int(page.input_value("#pg-step"))  # noqa: E731
    assert step() == 300 and page.inner_text("#pg-play") == "Play"
    page.click("#pg-play")
    assert page.inner_text("#pg-play") == "Pause"
    page.wait_for_function("+document.getElementById('pg-step').value > 5")
    page.click("#pg-play")
    there = step()
    assert 5 < there < 300 and page.inner_text("#pg-play") == "Play"
    assert f"Step {there} of 300" == page.inner_text("#pg-steps")
    page.wait_for_timeout(100)
    assert step() == there
    page.focus("#pg-step")
    page.keyboard.press("ArrowLeft")
    assert step() == there - 1 and f"p after {there - 1} steps" in outcomes(page)[0]
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.click("#pg-play")
    page.wait_for_function("document.getElementById('pg-play').textContent == 'Play'")  # it ends by itself
    assert step() == 300


def test_estimator_draw_again_and_reset(visit):
    page = visit()
    first = numbers(page)
    assert page.is_disabled("#pg-tau")
    page.select_option("#pg-e", "reinforce")
    assert numbers(page)["mean"] == first["gradient"] and "Right on average" in page.inner_text("#pg-verdict")
    page.select_option("#pg-e", "st-gumbel")
    assert page.is_enabled("#pg-tau")
    page.click("#pg-reset")
    assert numbers(page) == first
    page.click("#pg-draw")
    drawn = numbers(page)
    assert drawn["mean"] == first["mean"] and drawn["mean-sampled"] != first["mean-sampled"]
    page.wait_for_url("**seed=2")
    page.reload()
    assert numbers(page) == drawn


def test_presets(visit):
    page = visit("#n=300&seed=4")
    heads = []
    for button in page.locator("#pg-presets button").all():
        button.click()
        heads.append(page.inner_text("#pg-verdict b"))
        assert page.inner_text("#pg-count") == "300" and page.inner_text("#pg-seed") == "Seed 4"
    assert heads[0] == "Wrong direction." and "Right on average." in heads


@pytest.mark.parametrize(
    ("hash", "head"),
    [
        ("#a=2&e=sigmoid-adjusted", "Right direction, wrong size."),
        ("#t=0.5&e=pass-through", "A push where none is due."),
        ("#t=0.5&e=reinforce", "No push, and none is due."),
        ("#a=6&s=8&e=arm", "No push, and none is due."),
        ("#a=-0.8472978603872037&t=0.3&e=sigmoid-adjusted", "Hardly a push."),  # p = t
    ],
)
def test_verdicts(visit, hash, head):
    assert visit(hash).inner_text("#pg-verdict b") == head


def test_the_hash_restores_the_state(visit):
    page = visit("#a=0.5&s=2&t=0.3&e=disarm&e2=arm&r=2&n=120&seed=5")
    values = ["0.5", "2", "0.3", "120", "disarm", "arm", "2"]
    assert [page.input_value(f"#pg-{key}") for key in (*"astne", "e2", "r")] == values
    there = numbers(page)
    page.evaluate("location.hash = '#more'")  # a heading is no state
    assert numbers(page) == there
    page.evaluate("location.hash = '#a=-2&e=arm'")
    expect(page.locator("#pg-e")).to_have_value("arm")
    assert page.input_value("#pg-a") == "-2" and page.input_value("#pg-s") == "1"
    page.go_back()
    page.go_back()
    expect(page.locator("#pg-e")).to_have_value("disarm")
    assert numbers(page) == there


def test_dragging_moves_the_logit(visit):
    page = visit("#a=-1")
    page.locator("#pg-curve").scroll_into_view_if_needed()
    box = page.locator("#pg-curve").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 100)
    assert page.input_value("#pg-a") == "-1"
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 50, box["y"] + 100, steps=3)  # and beyond the edge
    assert page.input_value("#pg-a") == "6"
    page.mouse.up()
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    assert page.input_value("#pg-a") == "6"


def test_keyboard_reaches_and_works_every_control(visit):
    page = visit("#e=concrete")
    reached = []
    for _ in range(21):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    inputs = [f"pg-{key}{kind}" for key in ("tau", *"astnr") for kind in ("-number", "")]
    assert reached[:16] == ["pg-e", "pg-e2", *inputs, "pg-draw", "pg-reset"]
    assert reached[16:19] == page.locator("#pg-presets button").all_inner_texts()
    assert reached[19:] == ["pg-play", "pg-step"]
    page.focus("#pg-draw")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.inner_text("#pg-seed") == "Seed 3"
    page.focus("#pg-e")
    page.keyboard.press("End")
    assert page.input_value("#pg-e") == "disarm"
    page.focus("#pg-a")
    page.keyboard.press("Home")
    assert page.input_value("#pg-a-number") == "-6"


def test_screen_readers_are_told_once_things_are_quiet(visit):
    page = visit()
    live = page.locator("#pg-live[role=status]")
    expect(live).to_have_text(page.inner_text("#pg-verdict"))
    before = live.text_content()
    page.focus("#pg-a")
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    assert live.text_content() == before != page.inner_text("#pg-verdict")
    expect(live).to_have_text(page.inner_text("#pg-verdict"))


@pytest.mark.parametrize("width, theme", [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("hash", ["", "#e=concrete", "#e=reinforce&a=1"])
def test_axe(visit, theme, width, hash):
    page = visit(hash, theme, width)
    assert not barriers(page)


CODE = """<style>.o {{ color: #aaa }}</style><div class="highlight">
    <span class="o"{}</span> <span class="o" id="hard">word</span></div>"""


@pytest.mark.parametrize(
    "texts",
    [
        "<p>one</p><p>two</p><div style='background: #777'><p id='hard'>three</p></div>",
        CODE.format(">w"),  # axe does not judge the first word
        CODE.format(" hidden>word"),  # nor this one
    ],
)
def test_a_single_text_that_is_hard_to_read_is_a_barrier(visit, texts):
    page = visit()
    page.locator("#more").evaluate("(heading, html) => heading.insertAdjacentHTML('afterend', html)", texts)
    [(rule, [node])] = barriers(page)
    assert rule == "color-contrast" and "hard" in node["html"]


def contrast(*colours):
    """Return WCAG's contrast ratio of two colours."""
    channels = np.array([re.findall(r"\d+", colour)[:3] for colour in colours], float) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


def test_the_dark_theme_has_its_own_colours_and_both_stand_out(visit):
    seen = {}
    for theme in ("light", "dark"):
        page = visit(theme=theme)
        style = "(x, name) => getComputedStyle(x)[name]"
        ground = page.locator("html").evaluate(style, "backgroundColor")
        parts = [(".pg-bar", "fill")]
        parts += [(f"path.pg-{kind}", "stroke") for kind in ("mean", "exact", "run")]
        seen[theme] = [page.locator(part).first.evaluate(style, name) for part, name in parts]
        assert all(contrast(colour, ground) > 3 for colour in seen[theme])
    assert all(one != other for one, other in zip(seen["light"], seen["dark"]))


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_horizontal_scroll(visit, width):
    hashes = (
        "",
        "#e=concrete&n=2000",
        "#a=-6&s=8&e=arm&r=10",
        "#e=st-gumbel&e2=pass-through&tau=0.1&s=8&a=0",
    )
    for hash in hashes:
        page = visit(hash, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = """all => all.map(x => x.getBoundingClientRect())
            .filter(box => box.left < -1 || box.right > innerWidth + 1).length"""
        assert page.locator("#playground svg text:not(:empty)").evaluate_all(outside) == 0
    page.set_viewport_size({"width": 390, "height": 900})  # figures follow it
    page.wait_for_function("document.querySelector('.pg-handle').getBoundingClientRect().right < 391")


def test_reduced_motion(visit):
    duration = "getComputedStyle(document.getElementById('pg-draw')).transitionDuration"
    assert visit(reduced_motion="no-preference").evaluate(duration) != "0s"
    assert visit(reduced_motion="reduce").evaluate(duration) == "0s"


def test_without_javascript_the_page_says_so(open_page, playground):
    page = open_page(playground, java_script_enabled=False)
    assert "needs JavaScript" in page.inner_text("#playground")


def test_the_built_page(smoke, visit):
    """In the site's own theme, from a file."""
    site = smoke[1] / "_build" / "html"
    url = (site / "playground.html").as_uri()
    loading = [path.name for path in site.glob("*.html") if "playground.js" in path.read_text()]
    assert loading == ["playground.html"]
    page = visit("#a=1&e=concrete", url=url)
    assert page.input_value("#pg-e") == "concrete" and page.locator("#playground svg").count() == 5
    text = json.dumps(page.inner_text("article"))
    assert "[?]" not in text and "Williams" in text
