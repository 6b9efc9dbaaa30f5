"""Steps of several passes: against `bsn.estimators` at the same noise, and their mean against enumeration."""

import itertools

import numpy as np
import pytest
import reference

from bookkit import parameters
from bookkit.compiled import network, sparse, steps, units
from bsn import estimators
from bsn.backend import tf
from bsn.estimators import ESTIMATORS

CLASSES, BATCH = 4, 6


def trained(name, net, x, labels, noise, second, stable=True, baseline=0.0):
    """What one step at a rate of 1 subtracts from one net's parameters, [(W, b), ...]."""
    nets = network.side_by_side([net])
    before, _ = reference.state(nets, 0, name)
    nets.moments[:, 0] = baseline
    one = np.ones(1, np.float32)
    options = network.Options(units.CODES[name], stable, one, one, np.full(1, True))
    examples = network.Examples(sparse.rows(np.float32(x)), np.int32(labels))
    order, drawn = np.arange(len(x), dtype=np.int32)[None], (np.float32(u)[None] for u in (noise, second))
    steps.train(nets, options, examples, order, *drawn, 0)
    assert nets.diverged == -1
    after, _ = reference.state(nets, 0, name)
    return [old - new for pairs in zip(before, after) for old, new in zip(*pairs)]


def problem(seed, hidden, inputs=5, batch=BATCH, scale=2.0):
    """Weights larger than the initial ones, so that the layers matter to each other."""
    rng = np.random.default_rng(seed)
    net = [
        (scale * weights, scale * biases)
        for weights, biases in reference.initial_parameters(seed, [inputs, *hidden, CLASSES])
    ]
    x = np.float32(rng.random((batch, inputs)))
    drawn = np.float32(rng.random((2, batch, sum(hidden))))
    return net, x, rng.integers(0, CLASSES, batch), *drawn


class Above:
    """The net above a hidden layer in float64: losses from its outputs, at the noise of one pass."""

    def __init__(self, layer, net, labels, noise, unit):
        self.weights = net[layer + 1 :]
        self.noise = noise[layer + 1 :]
        self.labels, self.unit = labels, unit

    def __call__(self, h):
        for (weights, biases), u in zip(self.weights, self.noise):
            h = self.unit(tf.einsum("...i,ij->...j", h, weights) + biases, u)
        weights, biases = self.weights[-1]
        z = tf.einsum("...i,ij->...j", h, weights) + biases
        return -tf.reduce_mean(tf.one_hot(self.labels, CLASSES, dtype=z.dtype) * tf.nn.log_softmax(z), -1)


def mean_field(a, _):
    return tf.sigmoid(a)


def library(name, net, x, labels, noise, second):
    """The same step by the plain functions, layer for layer, in float64."""
    net = [[tf.constant(np.float64(array)) for array in pair] for pair in net]
    cuts = np.cumsum([weights.shape[1] for weights, _ in net[:-1]])[:-1]
    both = [[tf.constant(u) for u in np.split(np.float64(u), cuts, axis=-1)] for u in (noise, second)]
    passes = [sampled(net, x, u) for u in (both if name == "leave-one-out" else both[:1])]
    f = [Above(-1, net, labels, u, estimators.sample)(tf.constant(np.float64(x))) for u in both]
    gradients = [np.zeros(array.shape) for pair in net for array in pair]
    for k, (logits, outputs) in enumerate(passes):
        for layer, a in enumerate(logits):
            g, u = None, both[0]
            above = [Above(layer, net, labels, u, unit) for unit in (estimators.sample, estimators.concrete)]
            if name == "leave-one-out":  # the library's has one p for both samples, as the first layer here
                score = outputs[layer + 1] - tf.sigmoid(a)
                g = score * (f[k] - f[1 - k])[:, None] / 2
                stacked = [tf.stack(pair) for pair in zip(*both)]
                hard = Above(layer, net, labels, stacked, estimators.sample)
                if layer == 0 and k == 0:
                    expected = estimators.leave_one_out(hard, a, stacked[0])
                    other = passes[1][1][1] - tf.sigmoid(a)
                    np.testing.assert_allclose(expected, g + other * (f[1] - f[0])[:, None] / 2, atol=1e-12)
            elif name == "muprop":
                g = muprop(layer, net, x, labels, u, a)
            elif name == "rebar":
                tied = tf.stack([u[layer], estimators.tied(a, u[layer])])
                soft = above[1]
                g = estimators.relax(above[0], a, tied, lambda z, soft=soft: soft(tf.sigmoid(z / 0.5)))
                if layer == len(logits) - 1:
                    rebar = estimators.rebar(above[0], a, tied)
                    np.testing.assert_allclose(g, rebar, atol=1e-12)
            else:
                g, _ = estimators.gradient(name, above[0], a, u[layer])
            gradients[2 * layer] += outputs[layer].numpy().T @ g.numpy()
            gradients[2 * layer + 1] += g.numpy().sum(0)
        with tf.GradientTape() as tape:
            tape.watch(net[-1])
            loss = tf.reduce_sum(Above(len(net) - 2, net, labels, both[k], None)(outputs[-1])) / len(passes)
        for i, g in enumerate(tape.gradient(loss, net[-1])):
            gradients[i - 2] += g.numpy()
    return gradients


def sampled(net, x, noise):
    """Logits of the hidden layers, and x and their samples."""
    outputs, logits = [tf.constant(np.float64(x))], []
    for (weights, biases), u in zip(net, noise):
        logits.append(outputs[-1] @ weights + biases)
        outputs.append(estimators.sample(logits[-1], u))
    return logits, outputs


def muprop(layer, net, x, labels, noise, a):
    """The paper's, with the mean-field pass's expansion point; the library's where that is p."""
    m = tf.constant(np.float64(x))
    for weights, biases in net[: layer + 1]:
        m = tf.sigmoid(m @ weights + biases)
    b, p = estimators.sample(a, noise[layer]), tf.sigmoid(a)
    hard, mean = (Above(layer, net, labels, noise, unit) for unit in (estimators.sample, mean_field))
    with tf.GradientTape() as tape:
        tape.watch(m)
        at_mean = mean(m)
    slopes = tape.gradient(at_mean, m)
    residual = hard(b) - at_mean - tf.reduce_sum(slopes * (b - m), -1)
    g = residual[:, None] * (b - p) + slopes * p * (1 - p)
    if layer == 0:
        f = lambda h: hard(h) if set(np.unique(h)) <= {0, 1} else mean(h)  # noqa: E731
        np.testing.assert_allclose(g, estimators.muprop(f, a, noise[0]), atol=1e-12)
    return g


@pytest.mark.parametrize("hidden", [(5,), (5, 4), (4, 5, 3)], ids=str)
@pytest.mark.parametrize("name", parameters.SEVERAL_PASSES)
def test_a_step_against_the_plain_functions(name, hidden, seed_offset):
    for seed in range(seed_offset, seed_offset + 3):
        task = problem(seed, hidden)
        for stable in (True, False):
            reference.assert_close(trained(name, *task, stable), library(name, *task), atol=2e-6)


def exact_gradient(net, x, label):
    """That of the expected loss of one image, summed over all states of all hidden layers."""
    net = [[tf.constant(np.float64(array)) for array in pair] for pair in net]
    widths = [weights.shape[1] for weights, _ in net[:-1]]
    with tf.GradientTape() as tape:
        tape.watch(net)
        expected = 0.0
        for state in itertools.product((0.0, 1.0), repeat=sum(widths)):
            h, log_probability = tf.constant(np.float64(x)), 0.0
            for (weights, biases), b in zip(net, np.split(np.array(state), np.cumsum(widths)[:-1])):
                a = h @ weights + biases
                log_probability += tf.reduce_sum(b * a - tf.math.softplus(a))
                h = tf.constant(b[None])
            expected += tf.exp(log_probability) * Above(len(widths) - 1, net, [label], [], None)(h)[0]
    return [g.numpy() for g in tf.nest.flatten(tape.gradient(expected, net))]


def rules(net, x, mirrored, nodes):
    """For each unit nodes and weights that are exact for what is polynomial in its noise between all p.

    Where p depends on the layer below, those given all its states; with `mirrored` the 1 - p too.
    """
    found, below = [], np.float64(x)
    gauss, weight = np.polynomial.legendre.leggauss(nodes)
    for weights, biases in net[:-1]:
        p = 1 / (1 + np.exp(-(below @ weights + biases)))
        for column in p.T:
            ends = np.unique(np.concatenate([[0, 1], column, 1 - column if mirrored else []]))
            half, centre = np.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
            found.append(
                ((centre[:, None] + half[:, None] * gauss).ravel(), (half[:, None] * weight).ravel())
            )
        below = np.array(list(itertools.product((0.0, 1.0), repeat=weights.shape[1])))
    return found


def mean_gradient(name, net, x, label, mirrored=False, nodes=1, **options):
    """The step's mean over all noise, by quadrature."""
    unit_rules = rules(net, x, mirrored, nodes)
    units_ = len(unit_rules)
    unit_rules = unit_rules * (2 if name == "leave-one-out" else 1)
    total = 0.0
    for chosen in itertools.product(*(list(zip(*rule)) for rule in unit_rules)):
        u = np.array([node for node, _ in chosen])
        weight = np.prod([weight for _, weight in chosen])
        changes = trained(name, net, x, [label], u[None, :units_], u[None, -units_:], **options)
        total = total + weight * np.concatenate([change.ravel() for change in changes])
    return total


# muprop's and leave-one-out's estimates depend on the states alone; ARM's is linear in u in between;
# those that go through the layers above anew are so too, as these' p are among the rules' ends
CASES = {
    "reinforce": dict(hidden=(2, 2)),
    "moving-average": dict(hidden=(2, 2), baseline=0.3),
    "leave-one-out": dict(hidden=(2, 1)),
    "muprop": dict(hidden=(2, 2)),
    "rebar": dict(hidden=(2, 1), nodes=8),
    "arm": dict(hidden=(2, 2), mirrored=True),
    "disarm": dict(hidden=(2, 2), mirrored=True),
    "local-expectation": dict(hidden=(2, 2)),
}


@pytest.mark.parametrize("name", [n for n in parameters.ESTIMATORS if ESTIMATORS[n].bias == "unbiased"])
def test_the_mean_step_of_two_layers_is_the_exact_gradient(name):
    """Every weight and bias, the biased estimator's gap beside it."""
    options = dict(CASES[name])
    net, x, [label], *_ = problem(2, options.pop("hidden"), inputs=2, batch=1, scale=3.0)
    exact = np.concatenate([g.ravel() for g in exact_gradient(net, x, label)])
    biased = mean_gradient("sigmoid-adjusted", net, x, label)
    assert np.abs(biased - exact).max() > 0.02
    np.testing.assert_allclose(mean_gradient(name, net, x, label, **options), exact, atol=3e-6)
