"""The binary VAE: its bound by hand and by enumeration, and every estimator's gradient in a tiny one."""

import numpy as np
import oracle
import pandas as pd
import pytest

from bookkit import data, record, statistics
from bookkit.parameters import ARCHITECTURES, VAE_ESTIMATORS, check
from bookkit.settings import Settings
from bookkit.studies.vae import findings, model, runs, steps
from bsn import InputError
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, concrete, states

PIXELS = 5
X = np.array([[1, 0, 0, 1, 1]])
UNBIASED = [name for name in VAE_ESTIMATORS if ESTIMATORS[name].bias == "unbiased"]
COUPLED = ("arm", "disarm")
SMOOTH = ("rebar", "relax")


def tiny(name, latents, architecture="linear", free=0.3):
    """A state in float64 with nothing at zero; `free` scales what RELAX's hidden units get of z."""
    mean = np.linspace(0.2, 0.7, PIXELS)
    state = steps.initial_state(name, model.initial_net(3, architecture, mean, latents), 3)
    rng = np.random.default_rng(7)
    state = tf.nest.map_structure(
        lambda value: tf.constant(value.numpy() + rng.normal(0, 0.3, value.shape), tf.float64), state
    )
    if name == "relax":
        scale, heat, (inner, bias), last = state.caller
        inner = tf.concat([inner[:PIXELS], free * inner[PIXELS:]], 0)
        state = state._replace(caller=[scale, heat, (inner, 50 * bias if free < 0.01 else bias), last])
    return state


def exact(net, x, kind=tf.float64):
    """The ELBO, and minus its gradients in [encoder, decoder, prior], by the sum over all latent states."""
    b = states(net.prior.shape[0], kind)[:, None]
    with tf.GradientTape() as tape:
        variables = [net.encoder, net.decoder, net.prior]
        tape.watch(variables)
        logits = model.encode(net, x)
        loss = model.negative_elbo(net, x, logits, b)
        loss = tf.reduce_mean(tf.reduce_sum(tf.exp(model.bernoulli(logits, b)) * loss, 0))
    return -loss, tape.gradient(loss, variables)


def flat(nested):
    return np.concatenate([np.ravel(value) for value in tf.nest.flatten(nested)])


def expected(name, state, rules):
    """Mean of the gradients over the noise; a rule for each uniform, those of the second noise last."""
    nodes, weights = oracle.product(rules)
    latents = state.net.prior.shape[0]
    noise = nodes.reshape(len(nodes), steps.planes(name), 1, latents)

    @tf.function
    def each(u):
        found, _, _, elbo = steps.gradients(name, state, tf.constant(X, tf.float64), tf.unstack(u))
        return tf.concat([tf.reshape(value, [-1]) for value in [*tf.nest.flatten(found), elbo]], 0)

    found = weights @ tf.map_fn(each, tf.constant(noise)).numpy()
    return found[-1], found[:-1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_elbo_by_hand(architecture):
    net = model.initial_net(1, architecture, np.full(PIXELS, 0.4), 3)
    b = np.random.default_rng(0).integers(0, 2, [4, 1, 3])

    def layers(h, parameters):
        for place, (weights, bias) in enumerate(parameters):
            h = np.where(h > 0, h, 0.3 * h) if place else h
            h = h @ weights.numpy() + bias.numpy()
        return h

    def log_probability(logits, value):
        p = 1 / (1 + np.exp(-logits))
        return np.sum(np.log(np.where(value == 1, p, 1 - p)), -1)

    logits = layers(X - 0.4, net.encoder)
    wanted = log_probability(logits, b) - log_probability(net.prior.numpy(), b)
    wanted -= log_probability(layers(2 * b - 1, net.decoder), X)
    x, b = tf.constant(X, tf.float32), tf.constant(b, tf.float32)
    np.testing.assert_allclose(model.negative_elbo(net, x, model.encode(net, x), b), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "name, architecture",
    [(name, one) for name in UNBIASED for one in ARCHITECTURES if name not in SMOOTH or one == "linear"],
)
def test_mean_gradient_is_the_elbos_without_drawing(name, architecture):
    """By sums over states, exact integrals, and quadrature for one latent of REBAR and RELAX."""
    state = tiny(name, 1 if name in SMOOTH else 2, architecture, free=0.005)
    x = tf.constant(X, tf.float64)
    logits = model.encode(state.net, x).numpy()[0]
    rule = oracle.piecewise_rule if name in COUPLED else oracle.state_rule
    rule = oracle.split_rule if name in SMOOTH else rule
    rules = [rule(a) for a in logits] * (2 if name == "leave-one-out" else 1)
    elbo, found = expected(name, state, rules)
    wanted_elbo, wanted = exact(state.net, x)
    assert elbo == pytest.approx(float(wanted_elbo), abs=1e-9)
    assert np.abs(flat(wanted)).min() < 0.5 < np.abs(flat(wanted)).max()
    np.testing.assert_allclose(found, flat(wanted), atol=1e-9)


@pytest.mark.parametrize(
    "name, architecture",
    [(name, one) for name in UNBIASED for one in ARCHITECTURES if name in SMOOTH or one == "linear"],
)
def test_mean_gradient_of_draws(name, architecture):
    """Within 4.5 standard errors in each coordinate, four latents, with kinks in f and RELAX's surrogate."""
    state, calls, size = tiny(name, 4, architecture), 200, 100
    x = tf.constant(np.repeat(X, size, 0), tf.float64)
    rng = np.random.default_rng(11)

    @tf.function
    def each(u):
        found = tf.nest.flatten(steps.gradients(name, state, x, tf.unstack(u))[0])
        return tf.concat([tf.reshape(value, [-1]) for value in found], 0)

    found = np.array([each(tf.constant(rng.random([steps.planes(name), size, 4]))) for _ in range(calls)])
    wanted = flat(exact(state.net, x[:1])[1])
    error = found.std(0, ddof=1) / np.sqrt(calls)
    seen = error > 1e-12
    assert seen.mean() > 0.9
    assert np.abs((found.mean(0) - wanted)[seen] / error[seen]).max() < 4.5
    np.testing.assert_allclose(found.mean(0)[~seen], wanted[~seen], atol=1e-9)


def test_concrete_descends_the_relaxed_loss():
    """All parts at once: the derivative of f(y), the noise fixed, in every parameter."""
    state, x = tiny("concrete", 3), tf.constant(X, tf.float64)
    u = tf.constant(np.random.default_rng(1).random([1, 1, 3]))
    net = state.net
    with tf.GradientTape() as tape:
        variables = [net.encoder, net.decoder, net.prior]
        tape.watch(variables)
        logits = model.encode(net, x)
        y = concrete(logits, u[0], temperature=steps.TEMPERATURE)
        loss = tf.reduce_mean(model.negative_elbo(net, x, logits, y))
    found, _, _, elbo = steps.gradients("concrete", state, x, [u[0]])
    np.testing.assert_allclose(flat(found), flat(tape.gradient(loss, variables)), atol=1e-12)
    assert float(elbo) != pytest.approx(-float(loss), abs=1e-3)  # of the binary net all the same


@pytest.mark.parametrize("name", ["sigmoid-adjusted", "reinmax"])
def test_straight_through_means(name):
    """p q (p f'(1) + q f'(0)), or p q (f'(0) + f'(1)) / 2, in one latent's logit."""
    state, x = tiny(name, 1), tf.constant(X, tf.float64)
    logits = model.encode(state.net, x)
    p = float(tf.sigmoid(logits)[0, 0])
    ends = tf.constant([[[1.0]], [[0.0]]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(ends)
        loss = model.negative_elbo(state.net, x, logits, ends)
    one, zero = tape.gradient(loss, ends).numpy().ravel()
    wanted = p * (1 - p) * ((one + zero) / 2 if name == "reinmax" else p * one + (1 - p) * zero)
    _, found = expected(name, state, [oracle.state_rule(float(logits[0, 0]))])
    np.testing.assert_allclose(found[PIXELS], wanted, atol=1e-12)  # the logit's bias


def test_bound_is_below_the_likelihood_and_rises_with_the_samples():
    net = model.initial_net(3, "linear", np.full(PIXELS, 0.4), 4)
    net = tf.nest.map_structure(
        lambda value: value + np.random.default_rng(2).normal(0, 0.7, value.shape), net
    )
    net = tf.nest.map_structure(lambda value: tf.cast(value, tf.float32), net)
    b, x = states(4), tf.constant(X, tf.float32)
    joint = model.bernoulli(net.prior, b) + model.bernoulli(model.forward(net.decoder, 2 * b - 1), x)
    likelihood = float(tf.reduce_logsumexp(joint))
    found = {k: model.bound(net, np.repeat(X, 4000, 0), k, 5) for k in (1, 5, 100)}
    means = [values.mean() for values in found.values()]
    assert means[0] == pytest.approx(
        float(exact(net, x, tf.float32)[0]), abs=4 * float(found[1].std()) / 4000**0.5
    )
    assert means[0] < means[1] - 0.05 < means[2] - 0.1 < likelihood
    assert means[2] == pytest.approx(likelihood, abs=0.05)


def test_images_are_drawn_once_and_batches_take_each_image_once():
    parts = runs.binarised(data.load("digits"))
    images = data.load("digits").parts["train"][0]
    assert set(np.unique(parts["train"])) == {0, 1}
    assert (parts["train"][images == 0] == 0).all() and (parts["train"][images == 1] == 1).all()
    assert parts["train"].mean() == pytest.approx(images.mean(), abs=0.005)
    order = runs.batches(1, len(images), 60)
    assert sorted(order[:25].ravel()) == list(range(1250)) == sorted(order[25:50].ravel())
    np.testing.assert_array_equal(order[:30], runs.batches(1, len(images), 30))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two estimators at two seeds on the digits, in a record of their own."""
    where = tmp_path_factory.mktemp("record")
    settings = [("linear", name, seed, 200) for seed in (1, 2) for name in ("arm", "disarm")]
    environment = Settings(record=where, threads=2)
    first, again = (runs.train(data.load("digits"), settings, environment) for _ in range(2))
    return where, settings, first, again


def test_a_build_with_nothing_changed_trains_nothing(trained):
    _, settings, (rows, count), (again, none) = trained
    assert (count, none) == (4, 0) and again == rows
    assert [tuple(made[name] for name in runs.SETTINGS) for made in rows] == settings
    assert all(len(made["curve"]) == 2 and made["curve"][1] > made["curve"][0] + 0.5 for made in rows)
    assert all(made["test_bound"] > made["curve"][1] for made in rows)


def test_the_same_in_this_process_and_paired(trained):
    rows = trained[2][0]
    made = runs.train_one(data.load("digits"), *trained[1][0])
    np.testing.assert_allclose(made["curve"], rows[0]["curve"], atol=1e-4)
    assert made["test_bound"] == pytest.approx(rows[0]["test_bound"], abs=1e-4)
    starts = [made["curve"][0] for made in rows]
    assert abs(starts[0] - starts[1]) < abs(starts[0] - starts[2])  # the seed moves more than the estimator


@pytest.mark.parametrize("how", ["cut", "edited", "version", "alien"])
def test_a_damaged_record_is_refused_in_a_line(trained, tmp_path, how):
    path, rows = tmp_path / "vae.parquet", trained[2][0]
    if how == "edited":
        rows = [{**rows[0], "test_bound": 0.0}]
    if how == "version":
        newer = {**rows[0], "version": runs.VERSION + 1}
        rows = [{**newer, "digest": record.digest(newer)}]
    if how == "alien":
        record.write(str(path), [])
    else:
        record.write(str(path), rows, runs.SCHEMA)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    before = path.read_bytes()
    said = {"cut": "damaged", "edited": "changed after", "version": "version", "alien": "not a record"}[how]
    with pytest.raises(InputError, match=said) as refusal:
        runs.read(path)
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)
    assert path.read_bytes() == before


def nets(gaps, seeds=(1, 2, 3)):
    """Rows of made-up nets, an estimator's bounds at -100 less its gap, with a shift that seeds share."""
    rows = [
        {"architecture": "linear", "estimator": name, "seed": seed, "steps": 2000, "every": 100}
        | {"curve": np.linspace(-300, -100, 20) + 5 * seed - gap * (1 + 0.01 * seed)}
        | {"test_bound": -95 + 5 * seed - gap}
        for name, gap in gaps.items()
        for seed in seeds
    ]
    return pd.DataFrame(rows)


def test_orderings_are_paired_and_corrected():
    made = nets({"relax": 0.0, "concrete": 2.0, "rebar": 1.0, "disarm": 0.0, "arm": 3.0})
    table = findings.orderings(made).set_index(["first", "second", "measure"])
    assert len(table) == 4
    assert table.verdict.to_dict() == {
        ("relax", "concrete", "train"): statistics.HOLDS,
        ("concrete", "rebar", "train"): statistics.FAILS,
        ("disarm", "arm", "train"): statistics.HOLDS,
        ("disarm", "arm", "test"): statistics.HOLDS,
    }
    row = table.loc[("relax", "concrete", "train")]
    gaps = 2 * (1 + 0.01 * np.array([1, 2, 3]))
    low, high = statistics.mean_interval(gaps, 1 - 0.05 / 4)
    assert (row.effect, row.low, row.high) == pytest.approx((gaps.mean(), low, high))
    assert len(findings.orderings(made, 1000)) == 3  # the test bound is known at the end alone
    columns = ["effect", "low", "high", "verdict"]  # the last step is the end, with the same intervals
    end = findings.orderings(made, 2000)[columns].values.tolist()
    assert end == table[table.index.get_level_values("measure") == "train"][columns].values.tolist()


def test_ranking_has_the_best_first_and_bounds_over_the_last_steps():
    made = nets({"arm": 3.0, "nvil": 1.0, "disarm": 0.0})
    table = findings.ranking(made)
    assert list(table.index) == ["disarm", "nvil", "arm"]
    assert table.behind["arm"] == pytest.approx(3.06) and np.isnan(table.low["disarm"])
    assert findings.training_bound(made).iloc[-1] == pytest.approx(
        np.linspace(-300, -100, 20)[-10:].mean() + 15
    )
    assert findings.slope(made) == pytest.approx(200 * 10 / 19)


def test_the_books_record_is_balanced_and_its_settings_are_the_makers():
    rows = runs.frame(runs.read(runs.BOOK_RECORD))
    wanted = {
        (one, name, seed, runs.BOOK_STEPS)
        for one, (names, seeds) in runs.BOOK_RUNS.items()
        for name in names
        for seed in seeds
    }
    assert set(rows[list(runs.SETTINGS)].itertuples(index=False, name=None)) == wanted
    assert rows.data.nunique() == 1 and (rows.curve.map(len) == rows.steps // rows.every).all()
    for made in rows.itertuples():
        assert made.key == runs.key(made.data, *(getattr(made, name) for name in runs.SETTINGS))


def test_names_are_the_same_everywhere():
    assert set(VAE_ESTIMATORS) <= set(ESTIMATORS) and tuple(model.ARCHITECTURES) == ARCHITECTURES
    table = findings.published()
    assert set(table["first"]) | set(table["second"]) <= set(VAE_ESTIMATORS)
    assert set(table.architecture) <= set(ARCHITECTURES) and set(table.measure) <= set(findings.MEASURES)
    known = table.dropna()
    assert (known.first_bound > known.second_bound).all()


@pytest.mark.parametrize(
    "name, value",
    [
        ("vae_steps", 150), ("vae_steps", 0), ("vae_estimators", ["exact"]), ("vae_estimators", []),
        ("vae_estimators", ["arm", "arm"]), ("architectures", "linear"), ("architectures", ["deep"]),
        ("architectures", [["linear"]]),
    ],
)  # fmt: skip
def test_parameters_that_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        check(name, value)
