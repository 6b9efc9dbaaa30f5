"""The playground: its formulas against the package, and its page in a real browser."""

import json
import re
import shutil
import types

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from playwright.sync_api import expect
from scipy import stats
from scipy.special import expit

from bsn import book, estimators
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, sample

# ------------------------------------------------------------------ browser

THEME = """
html { color: #222832; background: #fff; font: 16px/1.65 sans-serif; --pst-color-text-base: #222832;
  --pst-color-text-muted: #48566b; --pst-color-border: #d1d5da; --pst-color-surface: #f3f4f5;
  --pst-color-background: #fff; color-scheme: light }
html[data-theme=dark] { color: #ced6dd; background: #121212; --pst-color-text-base: #ced6dd;
  --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b; --pst-color-surface: #29313d;
  --pst-color-background: #121212; color-scheme: dark }
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page's raw block alone, in the theme's colours: it needs no build of the site."""
    folder = tmp_path_factory.mktemp("playground")
    shutil.copytree(ROOT / "book" / "_static", folder / "_static")
    block = re.search(r"```\{raw\} html\n(.*?)```", (ROOT / "book" / "playground.md").read_text(), re.S)[1]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Playground</title>'
    )
    (folder / "page.html").write_text(
        f'<!doctype html><html lang="en"><head>{head}<style>{THEME}</style></head>'
        f'<body><main><h1>Playground</h1>{block}<h2 id="more">More</h2></main></body></html>'
    )
    return (folder / "page.html").as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the page with a hash; whatever goes wrong on it or leaves it fails the test at its end."""
    contexts, wrong = [], []

    def open_page(hash="", theme="light", width=1280, url=address, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith("file:") or wrong.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url + hash)
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


# ----------------------------------------------------------------- formulas


def package(name, mirrored=False):
    """The package's estimator of the loss's gradient, on arrays of one shape.

    The page draws relaxed samples from a + logit u, the package from a - logit u: `mirrored` noise.
    """
    sampler = ESTIMATORS[name].kind == "sampler"

    def gradient(a, s, t, tau, u):
        column = lambda values: tf.constant(np.asarray(values)[..., None])  # noqa: E731  one unit
        options = {"slope": column(s)} if sampler else {}
        if mirrored:
            options["temperature"] = column(tau)
        if name == "variance-adjusted":
            return s * best_baseline(s * a, t, u)
        logits, noise = column(a if sampler else s * a), column(1 - u if mirrored else u)
        estimate, _ = estimators.gradient(name, lambda b: (b[..., 0] - t) ** 2, logits, noise, **options)
        return estimate.numpy()[..., 0] * (1 if sampler else s)

    return gradient


def best_baseline(a, t, u):
    """The variance-adjusted estimator, its moments such that the baseline is the best constant."""
    p = expit(a)
    b = (u < p).astype(float)
    squared = (b - p) ** 2
    best = ((1 - p) * p**2 * t**2 + p * (1 - p) ** 2 * (1 - t) ** 2) / (p * (1 - p))
    # moments that are `best` after the step's own sample and the floor have gone in
    denominator = np.ones_like(a)
    numerator = (best * (0.95 * denominator + 0.05 * squared + 1e-4) - 0.05 * squared * (b - t) ** 2) / 0.95
    state = tuple(tf.constant(moment[..., None]) for moment in (numerator, denominator))
    logits, noise = (tf.constant(value[..., None, None]) for value in (a, u))
    loss = lambda b: (b[..., 0] - t[..., None]) ** 2  # noqa: E731
    return estimators.gradient("variance-adjusted", loss, logits, noise, state)[0].numpy()[..., 0, 0]


# name -> gradient(a, s, t, tau, u) on arrays of one shape, from the package
REFERENCES = {
    name: package(name, mirrored=name in ("st-gumbel", "concrete"))
    for name in (
        "pass-through", "sigmoid-adjusted", "fires-only", "reinforce", "variance-adjusted", "reinmax",
        "st-gumbel", "concrete", "arm", "disarm",
    )
}  # fmt: skip
UNBIASED = {"reinforce", "variance-adjusted", "reinmax", "arm", "disarm"}  # ReinMax: the loss is a parabola
OF_NOISE = {"st-gumbel", "concrete", "arm", "disarm"}  # depend on u itself


def grid(logits, slopes, targets, temperatures):
    mesh = np.meshgrid(logits, slopes, targets, temperatures, indexing="ij")
    return types.SimpleNamespace(**{key: part.ravel() for key, part in zip(("a", "s", "t", "tau"), mesh)})


def rows(states):
    return [dict(zip("a s t tau".split(), map(float, row))) for row in zip(*vars(states).values())]


NOISES = np.random.default_rng(0).random(12)
STATES = grid([-6, -2.5, -0.7, 0, 0.4, 1.3, 6], [0.5, 1, 3], [0.45, 0.9], [0.2, 1, 3])
FEW = grid([-2.5, -0.7, 0, 1.3], [0.5, 2], [0.45, 0.9], [0.2, 1, 3])


@pytest.fixture(scope="module")
def script(browser, address):
    """Calls a function of the page's script."""
    page = browser.new_page()
    page.goto(address)
    yield lambda body, argument=None: page.evaluate(
        f"argument => {{ const P = bsnPlayground; {body} }}", argument
    )
    page.close()


def test_every_estimator_has_a_reference(script):
    assert script("return P.names") == list(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
def test_gradient(script, name):
    body = "return argument.states.map(x => argument.noises.map(u => P.gradient(argument.name, x, u)))"
    found = script(body, {"name": name, "states": rows(STATES), "noises": NOISES.tolist()})
    states = {key: np.repeat(part[:, None], len(NOISES), 1) for key, part in vars(STATES).items()}
    expected = REFERENCES[name](**states, u=np.broadcast_to(NOISES, states["a"].shape))
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)


def test_sample_is_the_packages(script):
    body = "return argument.states.map(x => argument.noises.map(u => P.sample('reinforce', x, u)))"
    found = script(body, {"states": rows(STATES), "noises": NOISES.tolist()})
    expected = sample(tf.constant(STATES.a[:, None]), tf.constant(NOISES), STATES.s[:, None])
    np.testing.assert_array_equal(found, expected.numpy())


def expectation(name, states, power=1):
    """E[g^power]: over both samples, or over the noise by quadrature between the jumps."""
    p = expit(states.s * states.a)
    if name not in OF_NOISE:
        of = lambda u: REFERENCES[name](**vars(states), u=u) ** power  # noqa: E731
        return p * of(p / 2) + (1 - p) * of((1 + p) / 2)
    place, weight = np.polynomial.legendre.leggauss(400)
    total = 0
    jump = np.abs(states.s * states.a)
    for low, high in ((-40 - 0 * jump, -jump), (-jump, jump), (jump, 40 + 0 * jump)):
        half = (high - low)[:, None] / 2
        z = (high + low)[:, None] / 2 + half * place  # the noise is u = sigmoid(z)
        wide = {key: np.broadcast_to(part[:, None], z.shape) for key, part in vars(states).items()}
        values = REFERENCES[name](**wide, u=expit(np.minimum(z, 36))) ** power  # never 1
        total = total + (weight * half * values * expit(z) * expit(-z)).sum(1)
    return total


def moments(script, name, states):
    found = script("return argument[1].map(x => P.moments(argument[0], x))", [name, rows(states)])
    return types.SimpleNamespace(**{key: np.array([row[key] for row in found]) for key in found[0]})


@pytest.mark.parametrize("name", REFERENCES)
def test_mean_bias_and_variance(script, name):
    found = moments(script, name, FEW)
    p, mean = expit(FEW.s * FEW.a), expectation(name, FEW)
    exact = FEW.s * p * (1 - p) * (1 - 2 * FEW.t)
    np.testing.assert_allclose(found.exact, exact, atol=1e-12)
    np.testing.assert_allclose(found.mean, mean, atol=1e-10)
    np.testing.assert_allclose(found.bias, mean - exact, atol=1e-10)
    np.testing.assert_allclose(found.variance, expectation(name, FEW, power=2) - mean**2, atol=1e-10)
    if name in UNBIASED:
        np.testing.assert_allclose(found.mean, exact, atol=1e-11)
        assert (found.bias == 0).all()
    else:
        assert (found.bias != 0).any()


def test_closed_forms(script):
    p = expit(STATES.s * STATES.a)
    adjusted = moments(script, "sigmoid-adjusted", STATES)
    np.testing.assert_allclose(adjusted.mean, 2 * STATES.s * p * (1 - p) * (p - STATES.t), atol=1e-12)
    assert (moments(script, "variance-adjusted", STATES).variance == 0).all()  # one neuron
    one, other = (moments(script, name, STATES).variance for name in ("arm", "disarm"))
    assert (other <= one + 1e-12).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_corners_stay_finite(script, name):
    corners = grid([-6, 6], [0.5, 8], [0, 0.5, 1], [0.1, 5])
    assert all(np.isfinite(part).all() for part in vars(moments(script, name, corners)).values())
    extremes = [0.5 / 2**32, 1 - 0.5 / 2**32]  # the least and the greatest noise that is drawn
    body = "return argument.states.flatMap(x => argument.noises.map(u => P.gradient(argument.name, x, u)))"
    values = script(body, {"name": name, "states": rows(corners), "noises": extremes})
    assert np.isfinite(np.array(values, dtype=float)).all()


def test_noise_and_summary(script):
    draws = np.array(script("return P.noise(7, 2000)"))
    assert (draws == script("return P.noise(7, 2000)")).all()
    assert (draws[:50] == script("return P.noise(7, 50)")).all()
    assert (draws != script("return P.noise(8, 2000)")).all()
    assert stats.kstest(draws, "uniform").pvalue > 0.01
    values = np.random.default_rng(1).normal(size=1500)
    found = types.SimpleNamespace(**script("return P.summary(argument)", values.tolist()))
    np.testing.assert_allclose([found.mean, found.variance], [values.mean(), values.var(ddof=1)], atol=1e-12)
    np.testing.assert_allclose(found.meanError, stats.sem(values), atol=1e-12)
    np.testing.assert_allclose(found.varianceError, values.var() * np.sqrt(2 / 1499), rtol=0.1)  # normal ones


@pytest.mark.parametrize("name", REFERENCES)
def test_sampled_numbers_agree_with_the_exact_ones(script, name):
    state = {"a": 0.7, "s": 1.5, "t": 0.3, "tau": 0.6}
    body = """const [name, x] = argument, values = P.noise(3, 20000).map(u => P.gradient(name, x, u));
        return [P.summary(values), P.moments(name, x)]"""
    drawn, exact = (types.SimpleNamespace(**part) for part in script(body, [name, state]))
    assert abs(drawn.mean - exact.mean) <= 4 * drawn.meanError + 1e-12
    assert abs(drawn.variance - exact.variance) <= 4 * drawn.varianceError + 1e-12


def test_hash_round_trip(script):
    state = {"e": "arm", "a": -1.5, "s": 2, "t": 0.3, "n": 500, "tau": 0.7, "seed": 9}
    assert script("return P.fromHash(P.toHash(argument))", state) == state
    start = script("return P.fromHash('')")
    assert start["t"] == 0.45
    for wrong in ("#a=x&e=toString&n=", "#e=__proto__&s=NaN", "#nothing"):
        assert script("return P.fromHash(argument)", wrong) == start
    assert script("return P.fromHash('#a=99&n=3.2&s=-1')") | {"e": 0} == start | {
        "a": 6,
        "n": 10,
        "s": 0.5,
        "e": 0,
    }


# --------------------------------------------------------------------- page

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
    assert len(labels) == 3 and all(re.search(r"\d", label) for label in labels)
    assert page.inner_text("#pg-gradient") in labels[1] and page.inner_text("#pg-mean") in labels[1]
    assert page.locator("#pg-strip tspan").count() == 200


@pytest.mark.parametrize("control", ["a", "s", "t", "n", "tau"])
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


def test_estimator_draw_anew_and_reset(visit):
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
    page = visit("#a=0.5&s=2&t=0.3&e=disarm&n=120&seed=5")
    assert [page.input_value(f"#pg-{key}") for key in "astne"] == ["0.5", "2", "0.3", "120", "disarm"]
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
    for _ in range(18):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    inputs = [f"pg-{key}{kind}" for key in ("tau", "a", "s", "t", "n") for kind in ("-number", "")]
    assert reached[:13] == ["pg-e", *inputs, "pg-draw", "pg-reset"]
    assert reached[13:18] == page.locator("#pg-presets button").all_inner_texts()
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


def serious(page, part=None):
    options = {"preload": False}  # it would fetch the style sheets, which a file may not
    results = Axe().run(page, context=part, options=options).response["violations"]
    return [
        (result["id"], result["nodes"]) for result in results if result["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("hash", ["", "#e=concrete", "#e=reinforce&a=1"])
def test_axe(visit, theme, width, hash):
    page = visit(hash, theme, width)
    page.wait_for_timeout(300)  # the borders' colours fade
    assert not serious(page)


def luminance(colour):
    channels = np.array([int(value) / 255 for value in re.findall(r"\d+", colour)[:3]])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_dark_theme_has_its_own_colours_and_both_stand_out(visit):
    seen = {}
    for theme in ("light", "dark"):
        page = visit(theme=theme)
        style = "(x, name) => getComputedStyle(x)[name]"
        ground = page.locator("html").evaluate(style, "backgroundColor")
        parts = [(".pg-bar", "fill"), ("path.pg-mean", "stroke"), ("path.pg-exact", "stroke")]
        seen[theme] = [page.locator(part).first.evaluate(style, name) for part, name in parts]
        assert all(contrast(colour, ground) > 3 for colour in seen[theme])
    assert all(one != other for one, other in zip(seen["light"], seen["dark"]))


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_horizontal_scroll(visit, width):
    for hash in ("", "#e=concrete&n=2000", "#a=-6&s=8&e=arm", "#e=st-gumbel&tau=0.1&s=8&a=0"):
        page = visit(hash, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = """all => all.map(x => x.getBoundingClientRect())
            .filter(box => box.left < -1 || box.right > innerWidth + 1).length"""
        assert page.locator("#playground svg text:not(:empty)").evaluate_all(outside) == 0


def test_figures_follow_the_width(visit):
    page = visit()
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_function("document.querySelector('.pg-handle').getBoundingClientRect().right < 391")


def test_reduced_motion(visit):
    duration = "getComputedStyle(document.getElementById('pg-draw')).transitionDuration"
    assert visit(reduced_motion="no-preference").evaluate(duration) != "0s"
    assert visit(reduced_motion="reduce").evaluate(duration) == "0s"


def test_without_javascript_the_page_says_so(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "needs JavaScript" in page.inner_text("#playground")
    context.close()


# --------------------------------------------------------------------- site


def test_the_page_is_no_chapter_to_run():
    assert "playground" not in book.chapters()


def test_the_built_page(smoke, visit):
    """In the site's own theme, from a file."""
    site = smoke[1] / "_build" / "html"
    url = (site / "playground.html").as_uri()
    loading = [path.name for path in site.glob("*.html") if "playground.js" in path.read_text()]
    assert loading == ["playground.html"]
    for theme in ("light", "dark"):
        for width in (1280, 390):
            page = visit("#a=1&e=concrete", theme, width, url)
            assert page.input_value("#pg-e") == "concrete" and page.locator("#playground svg").count() == 3
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.wait_for_timeout(300)
            assert not serious(page, "#playground")
    text = json.dumps(page.inner_text("article"))
    assert "[?]" not in text and "Williams" in text
