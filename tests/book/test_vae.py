"""The binary VAE: its bound by hand and by enumeration, and every estimator's gradient in a tiny one."""

import numpy as np
import oracle
import pandas as pd
import pytest
from scipy import stats

from bookkit import data, record, statistics
from bookkit.paths import VAE
from bookkit.settings import Settings
from bookkit.studies import vae
from bookkit.studies.vae import ARCHITECTURES, findings, model, runs
from bookkit.studies.vae.training import TEMPERATURE, Trainer
from bsn import InputError
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, concrete, states

PIXELS = 5
X = np.array([[1, 0, 0, 1, 1]])
UNBIASED = [name for name in vae.ESTIMATORS if ESTIMATORS[name].bias == "unbiased"]
SMOOTH = ("rebar", "relax")
# one of those that take f', one that does not
DEEP = [pytest.param(name, "nonlinear", marks=pytest.mark.slow) for name in ("muprop", "disarm")]


ZERO = tf.constant(0.0, tf.float64)


def tiny(name, latents, architecture="linear", free=0.3):
    """A trainer in float64 with nothing at zero; `free` scales what RELAX's hidden units get of z."""
    mean = np.linspace(0.2, 0.7, PIXELS)
    trainer = Trainer(name, model.initial_net(3, architecture, mean, latents), 3)
    rng = np.random.default_rng(7)
    trainer.net, trainer.learned = tf.nest.map_structure(
        lambda value: tf.Variable(value.numpy() + rng.normal(0, 0.3, value.shape)),
        (trainer.net, trainer.learned),
    )
    if name == "relax":
        inner, bias = trainer.learned[0]
        inner[PIXELS:].assign(free * inner[PIXELS:])
        bias.assign(50 * bias if free < 0.01 else bias)
    return trainer


def exact(net, x):
    """The ELBO, and minus its gradients in [encoder, decoder, prior], by the sum over all latent states."""
    b = states(net.prior.shape[0], x.dtype)[:, None]
    with tf.GradientTape() as tape:
        variables = [net.encoder, net.decoder, net.prior]
        tape.watch(variables)
        logits = model.encode(net, x)
        loss = model.negative_elbo(net, x, logits, b)
        loss = tf.reduce_mean(tf.reduce_sum(tf.exp(model.log_probability(logits, b)) * loss, 0))
    return -loss, flat(tape.gradient(loss, variables))


def flat(nested):
    return tf.concat([tf.reshape(value, [-1]) for value in tf.nest.flatten(nested)], 0)


def estimator_of(trainer, x):
    """Noise [planes, B, H] -> the net's gradients, flat, and last the ELBO."""

    @tf.function
    def estimate(u):
        (net, prior, _), _, elbo = trainer.gradients(x, u, tf.constant(0.3, tf.float64))
        return flat([net, prior, elbo])

    return estimate


def expected(trainer, rules):
    """ELBO and gradients, averaged over the noise; one rule per uniform, the second noise's last."""
    nodes, weights = oracle.product(rules)
    noise = nodes.reshape(len(nodes), trainer.planes, 1, trainer.net.prior.shape[0])
    estimates = tf.map_fn(estimator_of(trainer, tf.constant(X, tf.float64)), tf.constant(noise))
    *gradients, elbo = weights @ estimates.numpy()
    return elbo, gradients


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_elbo_by_hand(architecture):
    net = model.initial_net(1, architecture, np.full(PIXELS, 0.4), 3)
    b = np.random.default_rng(0).integers(0, 2, [4, 1, 3])

    def layers(h, parameters):
        for i, (weights, bias) in enumerate(parameters):
            h = np.where(h > 0, h, 0.3 * h) if i else h
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


@pytest.mark.parametrize("name, architecture", [(name, "linear") for name in UNBIASED] + DEEP)
def test_mean_gradient_is_the_elbos_without_drawing(name, architecture):
    """By sums over states, exact integrals, and quadrature for one latent of REBAR and RELAX."""
    trainer = tiny(name, 1 if name in SMOOTH else 2, architecture, free=0.005)
    x = tf.constant(X, tf.float64)
    logits = model.encode(trainer.net, x).numpy()[0]
    rule = oracle.split_rule if name in SMOOTH else oracle.state_rule
    rule = oracle.piecewise_rule if name in ("arm", "disarm") else rule
    elbo, gradients = expected(trainer, [rule(a) for a in logits] * trainer.planes)
    wanted_elbo, wanted = exact(trainer.net, x)
    assert elbo == pytest.approx(float(wanted_elbo), abs=1e-9)
    assert np.abs(wanted).min() < 0.5 < np.abs(wanted).max()
    np.testing.assert_allclose(gradients, wanted, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SMOOTH)
def test_mean_gradient_of_draws(name, architecture, seed_offset):
    """Four latents, with kinks in f and RELAX's surrogate; a right gradient fails once in a million runs."""
    trainer, calls, size = tiny(name, 4, architecture), 200, 300
    x = tf.constant(np.repeat(X, size, 0), tf.float64)
    noise = np.random.default_rng(11 + seed_offset).random([calls, trainer.planes, size, 4])
    estimate = estimator_of(trainer, x)
    estimates = np.array([estimate(tf.constant(u)) for u in noise])[:, :-1]
    wanted = exact(trainer.net, x[:1])[1].numpy()
    error = estimates.std(0, ddof=1) / np.sqrt(calls)
    random, deviation = error > 1e-12, estimates.mean(0) - wanted
    assert random.mean() > 0.9
    limit = stats.t.isf(1e-6 / 2 / random.sum(), calls - 1)  # Bonferroni: of 84,000 coordinates
    assert np.abs(deviation[random] / error[random]).max() < limit
    np.testing.assert_allclose(deviation[~random], 0, atol=1e-9)


def test_concrete_descends_the_relaxed_loss():
    """All parts at once: the derivative of f(y), the noise fixed, with respect to every parameter."""
    trainer, x = tiny("concrete", 3), tf.constant(X, tf.float64)
    u = tf.constant(np.random.default_rng(1).random([1, 1, 3]))
    net = trainer.net
    with tf.GradientTape() as tape:
        variables = [net.encoder, net.decoder, net.prior]
        tape.watch(variables)
        logits = model.encode(net, x)
        y = concrete(logits, u[0], temperature=TEMPERATURE)
        loss = tf.reduce_mean(model.negative_elbo(net, x, logits, y))
    gradients, _, elbo = trainer.gradients(x, u, ZERO)
    np.testing.assert_allclose(flat(gradients), flat(tape.gradient(loss, variables)), atol=1e-12)
    assert float(elbo) != pytest.approx(-float(loss), abs=1e-3)  # of the binary net all the same


def test_relax_begins_as_rebar():
    """Its surrogate's net outputs 0 at first, so the estimates are the same, not only their means."""
    net = model.initial_net(3, "linear", np.linspace(0.2, 0.7, PIXELS), 4)
    x, u = tf.constant(X, tf.float32), tf.constant([[[0.2, 0.4, 0.6, 0.8]]])
    rebar, relax = [Trainer(name, net, 3).gradients(x, u, tf.zeros([]))[0][:2] for name in SMOOTH]
    np.testing.assert_allclose(flat(relax), flat(rebar), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["arm", "disarm"])
def test_the_decoder_learns_from_both_samples_of_a_coupled_pair(name):
    """As with the two independent samples of leave-one-out."""
    trainer, x = tiny(name, 6), tf.constant(X, tf.float64)
    u = tf.constant(np.random.default_rng(4).random([1, 1, 6]))
    (_, decoder), prior, _ = trainer.gradients(x, u, ZERO)[0]
    (_, *both), prior_of_both, _ = tiny("leave-one-out", 6).gradients(x, tf.concat([u, 1 - u], 0), ZERO)[0]
    np.testing.assert_allclose(flat([decoder, prior]), flat([both, prior_of_both]), atol=1e-12)


@pytest.mark.parametrize("name", ["nvil", *SMOOTH])
def test_what_the_caller_learns_descends_the_error_or_the_variance(name):
    """By differences along a direction; the encoder's last biases get the estimate itself."""
    trainer, x, rng = tiny(name, 3), tf.constant(X, tf.float64), np.random.default_rng(5)
    u, constant = tf.constant(rng.random([1, 1, 3])), tf.constant(0.3, tf.float64)
    learned = tf.nest.flatten(trainer.learned)
    direction = [rng.normal(size=value.shape) for value in learned]

    def objective(step):
        for value, change in zip(learned, direction):
            value.assign_add(step * change)
        ([encoder, _], *_), after, elbo = trainer.gradients(x, u, constant)
        if name != "nvil":
            return np.sum(np.square(encoder[-1][1]))
        assert float(after) == pytest.approx(0.8 * 0.3 - 0.2 * float(elbo))
        weights, biases, last, bias = (value.numpy() for value in learned)
        baseline = 0.3 + np.tanh((X - trainer.net.mean) @ weights + biases) @ last + bias
        return (-float(elbo) - baseline.item()) ** 2

    slopes = trainer.gradients(x, u, constant)[0][2]
    derivative = sum(np.sum(g * change) for g, change in zip(tf.nest.flatten(slopes), direction))
    assert derivative == pytest.approx((objective(1e-5) - objective(-2e-5)) / 2e-5, rel=1e-6)


def test_steps_are_adams_and_plain_descent(seed_offset):
    """Adam's for encoder, decoder and NVIL's baseline, plain descent for the prior; three steps, by hand."""
    rng = np.random.default_rng(6 + seed_offset)
    images = tf.constant(rng.integers(0, 2, [40, PIXELS]), tf.uint8)
    trainer = Trainer("nvil", model.initial_net(3, "linear", np.full(PIXELS, 0.4), 4), 3)
    first, second, state = [0, 0, 0], [0, 0, 0], tf.zeros([])
    for step in (1, 2, 3):
        chosen, u = np.arange(10) + 10 * step - 10, tf.constant(rng.random([1, 10, 4], np.float32))
        x = tf.cast(tf.gather(images, chosen), tf.float32)
        wanted, (slopes, *scalars) = trainer.variables(), trainer.gradients(x, u, state)
        slopes = [flat(part) for part in slopes]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slopes)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, slopes)]
        scale = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        changes = [scale * m / (np.sqrt(v) + 1e-7) for m, v in zip(first, second)]
        changes = 1e-4 * changes[0], 1e-2 * slopes[1], 1e-3 * changes[2]
        wanted = [flat(part) - change for part, change in zip(wanted, changes)]
        state, elbo = trainer.train(images, tf.constant(chosen[None], tf.int32), u[None], state)
        np.testing.assert_allclose([state, elbo], scalars, rtol=1e-5)
        for part, values in zip(trainer.variables(), wanted):
            np.testing.assert_allclose(flat(part), values, rtol=1e-6, atol=1e-7)


def test_bound_is_below_the_likelihood_and_rises_with_the_samples():
    net, rng = model.initial_net(3, "linear", np.full(PIXELS, 0.4), 4), np.random.default_rng(2)
    net = tf.nest.map_structure(lambda value: value + rng.normal(0, 0.7, value.shape), net)
    b, x = states(4), tf.constant(X, tf.float32)
    pixels = model.forward(net.decoder, 2 * b - 1)
    joint = model.log_probability(net.prior, b) + model.log_probability(pixels, x)
    likelihood = float(tf.reduce_logsumexp(joint))
    bounds = [model.bound(net, np.repeat(X, 4000, 0), samples, 5) for samples in (1, 5, 100)]
    means = [values.mean() for values in bounds]
    assert means[0] == pytest.approx(float(exact(net, x)[0]), abs=float(4 * bounds[0].std() / 4000**0.5))
    assert means[0] < means[1] - 0.05 < means[2] - 0.1 < likelihood
    assert means[2] == pytest.approx(likelihood, abs=0.05)


def test_images_are_drawn_once_and_batches_take_each_image_once():
    source = data.load("digits")
    binary, images = runs.binarised(source)["train"], source.parts["train"][0]
    assert set(np.unique(binary)) == {0, 1}
    assert (binary[images == 0] == 0).all() and (binary[images == 1] == 1).all()
    assert binary.mean() == pytest.approx(images.mean(), abs=0.005)
    order = runs.batches(1, len(images), 60)
    assert sorted(order[:25].ravel()) == list(range(1250)) == sorted(order[25:50].ravel())
    np.testing.assert_array_equal(order[:30], runs.batches(1, len(images), 30))


@pytest.mark.slow
def test_training_rises_is_paired_and_recorded(tmp_path):
    """On the digits; a second call trains nothing."""
    chosen = [runs.Run("linear", name, seed, 200) for name, seed in (("arm", 1), ("disarm", 1), ("arm", 2))]
    source, settings = data.load("digits"), Settings(record=tmp_path, threads=2)
    nets, count = runs.train(chosen, source, settings)
    again, count_again = runs.train(chosen, source, settings)
    assert (count, count_again) == (3, 0)
    pd.testing.assert_frame_equal(again, nets)
    here, _ = runs.train(chosen[:1], source, Settings(record=None, threads=1))  # in no process of its own
    assert (here.curve[0], here.test_bound[0]) == (nets.curve[0], nets.test_bound[0])
    assert list(nets[list(runs.Run._fields)].itertuples(index=False, name=None)) == chosen
    curves = np.stack(nets.curve)
    assert curves.shape == (3, 2) and (curves[:, 1] > curves[:, 0] + 0.5).all()
    assert (nets.test_bound > curves[:, 1]).all()
    arm, disarm, other_seed = curves[:, 0]
    assert abs(arm - disarm) < abs(arm - other_seed)  # the seed moves more than the estimator


@pytest.mark.parametrize("change, reason", [("edited", "changed after"), ("alien", "not a record")])
def test_another_record_is_refused(tmp_path, change, reason):
    path, schema = tmp_path / "vae.parquet", runs.SCHEMA
    if change == "alien":
        schema = schema.remove(schema.get_field_index("test_bound"))
    record.write(path, runs.read(VAE)[:1].assign(seconds=0.0).to_dict("records"), schema)
    with pytest.raises(InputError, match=reason):
        runs.read(path)


def nets_with(gaps):
    """Nets of made-up bounds: an estimator's at -100 minus its gap, with a shift that seeds share."""
    rows = [
        {"architecture": "linear", "estimator": name, "seed": seed, "steps": 2000, "every": 100}
        | {"curve": np.linspace(-300, -100, 20) + 5 * seed - gap * (1 + 0.01 * seed)}
        | {"test_bound": -95 + 5 * seed - gap}
        for name, gap in gaps.items()
        for seed in (1, 2, 3)
    ]
    return pd.DataFrame(rows)


def test_orderings_are_paired_and_corrected():
    nets = nets_with({"relax": 0.0, "concrete": 2.0, "rebar": 1.0, "disarm": 0.0, "arm": 3.0})
    table = findings.orderings(nets).set_index(["first", "second", "measure"])
    assert table.verdict.to_dict() == {
        ("relax", "concrete", "train"): statistics.HOLDS,
        ("concrete", "rebar", "train"): statistics.NOT_REPRODUCED,
        ("disarm", "arm", "train"): statistics.HOLDS,
        ("disarm", "arm", "test"): statistics.HOLDS,
    }
    row = table.loc[("relax", "concrete", "train")]
    gaps = 2 * (1 + 0.01 * np.array([1, 2, 3]))
    low, high = statistics.mean_interval(gaps, 1 - 0.05 / 4)
    assert (row.effect, row.low, row.high) == pytest.approx((gaps.mean(), low, high))


def test_ranking_has_the_best_first_and_bounds_over_the_last_steps():
    nets = nets_with({"arm": 3.0, "nvil": 1.0, "disarm": 0.0})
    table = findings.ranking(nets)
    assert list(table.index) == ["disarm", "nvil", "arm"]
    assert table.behind["arm"] == pytest.approx(3.06) and np.isnan(table.low["disarm"])
    gaps = 3 * (1 + 0.01 * np.array([1, 2, 3]))
    interval = statistics.mean_interval(gaps, 1 - 0.05 / 2)
    assert (table.low["arm"], table.high["arm"]) == pytest.approx(interval)
    tail = np.linspace(-300, -100, 20)[-10:].mean() + 15
    assert findings.training_bound(nets).iloc[-1] == pytest.approx(tail)


def test_fit_trains_the_net_that_is_measured():
    binary = runs.binarised(data.load("digits"))
    run = runs.Run("linear", "disarm", 1, 100)
    net, curve = runs.fit(run, binary["train"])
    row = runs.measure(run, binary["train"], binary["test"])
    assert curve == row["curve"] and len(curve) == 1
    assert row["test_bound"] == model.bound(net, binary["test"], runs.SAMPLES, runs.TEST_SEED).mean()
    x, b = tf.constant(binary["test"][:3], tf.float32), tf.ones([3, model.LATENTS])
    pixels = model.decode(net, b)
    likelihood = tf.reduce_sum(tf.math.log(x * pixels + (1 - x) * (1 - pixels)), -1)
    rest = model.log_probability(model.encode(net, x), b) - model.log_probability(net.prior, b)
    loss = model.negative_elbo(net, x, model.encode(net, x), b)
    np.testing.assert_allclose(loss, rest - likelihood, rtol=1e-4)


@pytest.mark.slow
def test_five_nets_train_without_a_warning(caplog):
    """With one core they do so in one process; TensorFlow's advice would stand on the page."""
    images = runs.binarised(data.load("digits"))["train"]
    for seed in range(5):
        runs.fit(runs.Run("linear", "disarm", seed, 100), images)
    assert not caplog.messages


def test_curves_are_averaged_over_stretches():
    nets = nets_with({"arm": 3.0, "disarm": 0.0})
    whole, few = findings.learning_curves(nets), findings.learning_curves(nets, 4)
    assert list(whole.step.unique()) == list(range(100, 2001, 100))
    assert list(few.step.unique()) == [500, 1000, 1500, 2000]
    first = whole[(whole.estimator == "arm") & (whole.seed == 2)].bound
    assert few[(few.estimator == "arm") & (few.seed == 2)].bound.iloc[1] == pytest.approx(first[5:10].mean())


def test_the_books_record_shows_what_the_page_says_of_it():
    nets = runs.read(VAE)
    linear, nonlinear = (findings.ranking(nets[nets.architecture == name]) for name in ARCHITECTURES)
    assert linear.index[0] == "reinmax" and linear.index[-1] == "moving-average"
    unbiased = [name for name in linear.index if name in UNBIASED]
    assert set(unbiased[:2]) == set(SMOOTH) and unbiased[2:5] == ["disarm", "arm", "leave-one-out"]
    assert linear.test.idxmax() == "concrete" and list(nonlinear.index[:2]) == ["relax", "disarm"]
    verdicts = (
        findings.orderings(nets)
        .set_index(["first", "second", "architecture", "measure"])
        .verdict.sort_index()
    )
    for other in ("arm", "leave-one-out"):
        assert (verdicts["disarm", other, "linear"] == statistics.HOLDS).all()
        assert nonlinear.train["disarm"] > nonlinear.train[other]
        assert nonlinear.test["disarm"] > nonlinear.test[other]
    assert verdicts["rebar", "muprop", "linear", "train"] == statistics.HOLDS
    assert verdicts["muprop", "nvil", "linear", "train"] == statistics.NOT_REPRODUCED
    assert (verdicts["disarm"] != statistics.NOT_REPRODUCED).all()
    gaps = linear.test - linear.train
    assert gaps["concrete"] > 1.2 * gaps.drop("concrete").max()
    curves = findings.learning_curves(nets[nets.architecture == "linear"], findings.POINTS)
    means = curves.groupby(["step", "estimator"]).bound.mean().unstack()
    leads = means.sub(means["leave-one-out"], axis=0)[["reinmax", "concrete", "sigmoid-adjusted"]]
    assert (leads.max() > 1.5 * leads.iloc[-1]).all() and (leads.idxmax() < 10_000).all()


def test_the_books_record_is_balanced_and_its_settings_are_the_makers():
    nets = runs.read(VAE)
    recorded = [runs.Run(*row) for row in nets[list(runs.Run._fields)].itertuples(index=False)]
    assert sorted(recorded) == sorted(runs.BOOK_RUNS)
    assert nets.data.nunique() == 1 and (nets.curve.map(len) == nets.steps // nets.every).all()
    assert list(nets.key) == [runs.key(nets.data[0], run) for run in recorded]
    assert len(findings.orderings(nets)) == len(findings.published())  # no name is misspelt
