"""The playground's formulas against the package."""

import types

import numpy as np
import pytest
from conftest import HANG
from scipy import stats
from scipy.special import expit

from bsn import estimators
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, sample


def package(name):
    """The package's estimator of the loss's gradient, on arrays of one shape."""
    sampler = ESTIMATORS[name].kind == "sampler"

    def gradient(a, s, t, tau, u):
        column = lambda values: tf.constant(np.asarray(values)[..., None])  # noqa: E731  one unit
        options = {"slope": column(s)} if sampler else {}
        if name in RELAXED:
            options["temperature"] = column(tau)
        if name == "variance-adjusted":
            return s * best_baseline(s * a, t, u)
        logits, noise = column(a if sampler else s * a), column(u)
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


RELAXED = {"st-gumbel", "concrete"}
# name -> gradient(a, s, t, tau, u) on arrays of one shape, from the package
REFERENCES = {
    name: package(name)
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
def script(browser, playground):
    """Calls a function of the page's script."""
    page = browser.new_page()
    page.set_default_timeout(HANG)
    page.goto(playground)
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


@pytest.mark.parametrize("name", ["reinforce", "st-gumbel", "concrete"])
def test_sample_is_the_packages(script, name):
    body = "return argument.states.map(x => argument.noises.map(u => P.sample(argument.name, x, u)))"
    found = np.array(script(body, {"name": name, "states": rows(STATES), "noises": NOISES.tolist()}))
    b = sample(tf.constant(STATES.a[:, None]), tf.constant(NOISES), STATES.s[:, None]).numpy()
    np.testing.assert_array_equal(found > 0.5, b == 1)  # the relaxed sample rounds to b
    if name == "concrete":
        logits = tf.constant(STATES.s[:, None] * STATES.a[:, None] + 0 * NOISES)
        noise = tf.constant(NOISES + 0 * STATES.a[:, None])
        y = estimators.concrete(logits, noise, temperature=STATES.tau[:, None])
        np.testing.assert_allclose(found, y, rtol=1e-9)


def numpy_gradient(name, a, s, t, tau, u):
    """The formulas of the page's table, in NumPy."""
    p, f = expit(s * a), lambda b: (b - t) ** 2
    b1, b2 = float(u < p), float(1 - u < p)
    y = expit((s * a - np.log(u / (1 - u))) / tau)
    c = (1 - p) * f(1) + p * f(0)
    return {
        "exact": s * p * (1 - p) * (1 - 2 * t),
        "pass-through": 2 * (b1 - t),
        "sigmoid-adjusted": 2 * (b1 - t) * s * p * (1 - p),
        "fires-only": 2 * (b1 - t) * b1,
        "reinforce": f(b1) * s * (b1 - p),
        "variance-adjusted": (f(b1) - c) * s * (b1 - p),
        "reinmax": (b1 - t) * s * abs(b1 - p),
        "st-gumbel": 2 * (b1 - t) * y * (1 - y) * s / tau,
        "concrete": 2 * (y - t) * y * (1 - y) * s / tau,
        "arm": (f(b2) - f(b1)) * s * (u - 0.5),
        "disarm": 0.5 * (f(b1) - f(b2)) * (b1 - b2) * s * expit(abs(s * a)),
    }[name]


@pytest.mark.parametrize("name", ["exact", *REFERENCES])
def test_descent(script, name):
    for a, s, t, tau, rate in [(-1, 1, 0.45, 0.5, 1.0), (2, 2.5, 0.3, 1.5, 0.4)]:
        state = {"a": a, "s": s, "t": t, "tau": tau, "r": rate}
        noises = np.random.default_rng(2).random(60)
        body = "return P.descent(argument.name, argument.state, argument.noises)"
        found = script(body, {"name": name, "state": state, "noises": noises.tolist()})
        logits = [a]
        for u in noises:
            logits.append(logits[-1] - rate * numpy_gradient(name, logits[-1], s, t, tau, u))
        np.testing.assert_allclose(found, logits, atol=1e-8)


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
        x = (high + low)[:, None] / 2 + half * place  # the noise is u = sigmoid(x)
        wide = {key: np.broadcast_to(part[:, None], x.shape) for key, part in vars(states).items()}
        values = REFERENCES[name](**wide, u=expit(np.minimum(x, 36))) ** power  # never 1
        total = total + (weight * half * values * expit(x) * expit(-x)).sum(1)
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
    assert (found.variance == 0).all() == (name == "variance-adjusted")  # one neuron: the best baseline


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


def test_a_wrong_hash(script):
    start = script("return P.fromHash('')")
    assert start["t"] == 0.45
    assert (start["e"], start["e2"], start["r"]) == ("sigmoid-adjusted", "reinforce", 1)
    for wrong in ("#a=x&e=toString&n=", "#e=__proto__&s=NaN&e2=no&r=", "#nothing"):
        assert script("return P.fromHash(argument)", wrong) == start
    clipped = {"a": 6, "n": 10, "s": 0.5, "r": 10}
    assert script("return P.fromHash('#a=99&n=3.2&s=-1&r=1e9')") == start | clipped
    given = start | {"e2": "arm", "r": 2.5}
    assert script("return P.fromHash(P.toHash(argument))", given) == given
