"""The gradient laboratory: exact where it says so, within standard errors elsewhere, against closed forms."""

import dataclasses

import numpy as np
import oracle
import pandas as pd
import pytest

from bookkit import data
from bookkit.parameters import check
from bookkit.studies.laboratory import findings, measuring, settings
from bsn import InputError, Spec
from bsn.backend import tf
from bsn.curves import initial_layers
from bsn.estimators import ESTIMATORS

UNBIASED = oracle.UNBIASED
T = 0.45
NET_SEEDS = [1, 2]


@pytest.fixture(scope="module")
def unit():
    return settings.one_unit([T, 0.499], [0.0, -1.5, -3.0])


@pytest.fixture(scope="module")
def unit_options(unit):
    return measuring.caller_options(unit, steps=1)


@pytest.fixture(scope="module")
def quadratics():
    return settings.quadratics(3, 3, seed=2)


@pytest.fixture(scope="module")
def net():
    return settings.nets(NET_SEEDS, 4, data.load("digits"), [0, 200], 0.3)


@pytest.fixture(scope="module")
def measured(unit, quadratics, net):
    all_settings = {"unit": (unit, 50), "quadratics": (quadratics, 400), "net": (net, 400)}
    return {name: measuring.measure_all(*each, tuning=60) for name, each in all_settings.items()}


@pytest.mark.parametrize("name", ["unit", "quadratics", "net"])
def test_every_estimator_is_measured_at_every_point(measured, name):
    frame = measured[name]
    assert list(frame.estimator.unique()) == list(ESTIMATORS)
    assert frame.groupby("estimator").size().nunique() == 1
    numbers = frame[["bias", "bias_error", "deviation", "cosine"]]
    assert np.isfinite(numbers).all(axis=None) and (frame.cosine.abs() <= 1 + 1e-9).all()
    unbiased = frame[frame.estimator.isin(UNBIASED)]
    sampled = unbiased.bias_error > 0
    assert (unbiased.bias[~sampled] < 1e-9).all() and not (name == "unit" and sampled.any())
    # a length of many coordinates: about 1 standard error
    assert (unbiased.bias[sampled] < 2 * unbiased.bias_error[sampled]).all()


def test_a_wrong_gradient_is_caught(monkeypatch, quadratics, net):
    """By its bias, whether the mean is exact or drawn."""
    for name, setting in (("reinforce", quadratics), ("leave-one-out", net)):
        entry = ESTIMATORS[name]
        wrong = dataclasses.replace(entry, function=lambda *args, right=entry.function: 0.7 * right(*args))
        monkeypatch.setitem(ESTIMATORS, name, wrong)
        frame = measuring.measure(name, setting, 3000)
        assert (frame.bias > 0.2).all() and (frame.bias > 3 * frame.bias_error).all()


def test_closed_forms_of_one_unit(unit, measured):
    """On (b - t)^2: exact p q (1 - 2 t), and the mean of sigmoid-adjusted 2 p q (p - t)."""
    p, t = oracle.sigmoid(unit.logits[:, 0, 0]), unit.points.target.to_numpy()
    exact = p * (1 - p) * (1 - 2 * t)
    np.testing.assert_allclose(measuring.exact_gradient(unit)[:, 0, 0], exact, rtol=1e-12)
    means = {
        "sigmoid": 2 * p * (1 - p) * (p - t),
        "sigmoid-adjusted": 2 * p * (1 - p) * (p - t),
        "pass-through": 2 * (p - t),
        "fires-only": 2 * p * (1 - t),
        "reinmax": exact,
    }
    frame = measured["unit"].set_index("estimator")
    for name, mean in means.items():
        np.testing.assert_allclose(frame.bias[name], np.abs(mean - exact) / exact, rtol=1e-9, atol=1e-9)
    second = p * (1 - p) ** 2 * (1 - t) ** 4 + (1 - p) * p**2 * t**4
    np.testing.assert_allclose(frame.deviation["reinforce"], np.sqrt(second - exact**2) / exact, rtol=1e-9)


@pytest.mark.parametrize("name", ["arm", "leave-one-out", "st-gumbel", "rebar"])
def test_exact_moments_agree_with_draws(name, unit, unit_options):
    options = unit_options.get(name, {})
    exact = measuring.measure(name, unit, 2, **options)
    planes = 2 if name == "leave-one-out" else 1
    noise = np.random.default_rng(5).random([planes, 40_000, *unit.logits.shape])
    g = measuring.estimates(name, unit, noise, options)[..., 0, 0]
    size = np.abs(measuring.exact_gradient(unit)[:, 0, 0])
    np.testing.assert_allclose(g.std(0) / size, exact.deviation, rtol=0.05)


@pytest.mark.parametrize("name", ["reinforce", "leave-one-out"])
def test_exact_moments_of_several_units_agree_with_the_oracle(name, quadratics):
    nodes, weights = measuring.rule(name, quadratics, {})
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-12)
    mean, spread = measuring.moments(measuring.estimates(name, quadratics, nodes, {}), weights)

    def f(b):
        b = tf.convert_to_tensor(b)[..., None, None, :] + np.zeros_like(quadratics.logits)
        return quadratics.loss(b)[..., 1, 0]

    logits = quadratics.logits[1, 0]
    expected = oracle.moments(name, f, logits, oracle.rules_for(name, logits))
    np.testing.assert_allclose(mean[1, 0], expected[0], atol=1e-10)
    np.testing.assert_allclose(spread[1, 0], expected[1].sum(), rtol=1e-9)


def test_what_is_enumerated_depends_on_the_samples_alone(quadratics, net):
    """The rest is sampled: relaxed samples, pairs, a baseline that couples the examples of a batch."""
    options = measuring.caller_options(net, steps=1)
    drawn = {name for name in ESTIMATORS if measuring.rule(name, net, options.get(name, {})) is None}
    relaxed = {"concrete", "st-gumbel", "gumbel-rao", "rebar", "relax"}
    assert drawn == relaxed | {"arm", "disarm", "variance-adjusted"}
    assert measuring.rule("arm", quadratics, {}) is None


def test_the_gram_matrix_measures_the_weights_gradients(net):
    """Against gradients of the weights and biases themselves, made of the images."""
    inputs = np.c_[data.load("digits").parts["train"][0][:50], np.ones(50)].astype(float)
    a, b = np.random.default_rng(0).normal(size=(2, *net.logits.shape))
    weights = [np.einsum("ed,peh->pdh", inputs, g) for g in (a, b)]
    np.testing.assert_allclose(measuring.dot(net, a, b), np.sum(weights[0] * weights[1], axis=(1, 2)))


def test_the_nets_loss_and_gradient(net):
    """The post's loss, and its exact gradient against differences of the expected loss."""
    exact, step = measuring.exact_gradient(net), 1e-5

    def expected(logits):
        return measuring.caller_options(net._replace(logits=logits), steps=1)["nvil"]["baseline"].numpy()

    change = step * np.eye(net.logits.shape[-1])[3]
    slope = (expected(net.logits + change) - expected(net.logits - change)) / (2 * step)
    np.testing.assert_allclose(exact[..., 3], slope, atol=1e-8)
    losses = net.loss(tf.zeros(net.logits.shape, tf.float64)).numpy()
    assert (losses > 0).all() and losses[0].mean() == pytest.approx(np.log(10) / 10, rel=0.1)


def test_a_net_is_trained_as_bsn_run_trains(net):
    """Its hidden units' weights are those of the same seed's net, and training has moved them."""
    images = data.load("digits").parts["train"][0][:50].astype(float)
    spec = Spec(estimator="sigmoid", learning_rate=1.0, hidden=(4,), seed=NET_SEEDS[0])
    (weights, bias), _ = initial_layers(spec, 64, 10)
    np.testing.assert_allclose(net.logits[0], images @ weights.astype(float) + bias, atol=1e-5)
    assert np.abs(net.logits[1] - net.logits[0]).max() > 0.1


def test_what_the_papers_prove(measured):
    """And that tuned control variates lower the variance."""
    for name, frame in measured.items():
        frame = frame.set_index("estimator").deviation
        slack = 1e-9 if name == "unit" else 0.1
        assert (frame["disarm"].to_numpy() <= frame["arm"].to_numpy() * (1 + slack)).all()
        assert (frame["gumbel-rao"].to_numpy() <= frame["st-gumbel"].to_numpy() * (1 + slack)).all()
        assert (frame["local-expectation"].to_numpy() <= frame["nvil"].to_numpy() + 1e-9).all()
        for tuned in ("rebar", "relax") if name != "unit" else ():
            assert (frame[tuned].to_numpy() < frame["reinforce"].to_numpy()).all()
    for name in ("unit", "quadratics"):
        assert (measured[name].query("estimator == 'reinmax'").bias < 1e-9).all()
    assert (measured["net"].query("estimator == 'reinmax' and step == 200").bias > 1e-3).all()


def test_bias_and_error():
    rows = [("sigmoid-adjusted", 0.5, 0, 2, 1), ("disarm", 0.3, 0.3, 3, 2), ("gumbel-rao", 0.5, 0.3, 0, 1)]
    frame = pd.DataFrame(rows, columns=["estimator", "bias", "bias_error", "deviation", "evaluations"])
    np.testing.assert_allclose(findings.bias(frame), [0.5, 0, 0.4])  # none of the unbiased's is real
    np.testing.assert_allclose(findings.error(frame), np.sqrt([0.25 + 4, 18, 0.16]))
    np.testing.assert_allclose(findings.error(frame, 10), np.sqrt([0.25 + 0.4, 1.8, 0.16]))


def test_ranking(measured):
    table = findings.ranking(measured["quadratics"], "problem")
    assert (
        set(table.index) == ESTIMATORS.keys() - {"sigmoid", "exact"} and table.error.is_monotonic_increasing
    )
    assert ((table.low <= table.error) & (table.error <= table.high)).all()
    assert "nan" not in findings.show_ranking(table).to_html()


def test_figures(measured):
    net = measured["net"]
    for figure in (
        findings.profile(net, "step"), findings.budgets(net, ["sigmoid-adjusted", "local-expectation"])
    ):  # fmt: skip
        assert figure.svg.startswith("<svg") and np.isfinite(figure.data.select_dtypes("number")).all(
            axis=None
        )
    errors = figure.data[figure.data.estimator == "Local expectation"]
    assert errors.evaluations.min() >= 5 and errors.error.is_monotonic_decreasing  # it takes 4 + 1


@pytest.mark.parametrize(
    "name, value",
    [
        ("targets", [0.5]), ("targets", [1.0]), ("units", 7), ("units", 1), ("layer_width", 9), ("draws", 1),
        ("net_seeds", [1]), ("checkpoints", [-1]), ("problems", 1), ("points", 1),
        ("noises", 0), ("temperature", 0), ("tuning_steps", 0),
    ],
)  # fmt: skip
def test_parameters_that_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        check(name, value)
