"""Expectations over an estimator's noise with none drawn: sums over states, exact or converged integrals.

The expected values here are NumPy's own; only the estimates come from `bsn.estimators`. A rule is a pair
(nodes, weights) of one uniform variable; rules of all units are combined to their product.
"""

import itertools

import numpy as np
from hypothesis import settings

from bsn.backend import tf
from bsn.estimators import ESTIMATORS, gradient

settings.register_profile("exact", max_examples=12, deadline=None, derandomize=True, database=None)
settings.load_profile("exact")

UNBIASED = [name for name, entry in ESTIMATORS.items() if entry.bias == "unbiased"]
SAMPLERS = [name for name, entry in ESTIMATORS.items() if entry.kind == "sampler"]


def sigmoid(a):
    return np.exp(-np.logaddexp(0, -np.asarray(a, float)))


def relaxed(logits, u, temperature):
    """The relaxed sample y = sigmoid(z / t), for z = a - logit(u)."""
    return sigmoid((logits - np.log(u) + np.log1p(-u)) / temperature)


def states(units):
    return np.array(list(itertools.product((0.0, 1.0), repeat=units)))


def probabilities(logits):
    """Of each state, [2^n]."""
    return np.prod(np.where(states(len(logits)) == 1, sigmoid(logits), sigmoid(np.negative(logits))), axis=1)


def exact_gradient(values, logits):
    """d E[f] / d a_i = p_i (1 - p_i) E over the others of [f(b_i = 1) - f(b_i = 0)], from f of all states."""
    b, p, q = states(len(logits)), sigmoid(logits), sigmoid(np.negative(logits))
    gradient = np.zeros(len(logits))
    for i in range(len(logits)):
        others = np.prod(np.delete(np.where(b == 1, p, q), i, axis=1), axis=1)
        gradient[i] = p[i] * q[i] * np.sum(others * (2 * b[:, i] - 1) * values)
    return gradient


def table(seed, units):
    """A loss that is any number for any state: (f for TensorFlow, values of all states)."""
    values = np.random.default_rng(seed).normal(size=2**units)
    place = 2 ** np.arange(units)[::-1]
    return lambda b: tf.gather(tf.constant(values), tf.reduce_sum(tf.cast(b, tf.int32) * place, -1)), values


def cubic(seed, units):
    """The same for a differentiable loss."""
    f = Cubic(seed, units)
    return f, f.value(states(units))


class Cubic:
    """c + w x + x Q x + (r x)^3 for x of any leading axes, in TensorFlow; value and derivative in NumPy."""

    def __init__(self, seed, units, degree=3):
        rng = np.random.default_rng(seed)
        self.c, self.w = rng.normal(), rng.normal(size=units)
        self.q = rng.normal(size=(units, units)) * (degree >= 2)
        self.r = rng.normal(size=units) * (degree >= 3)

    def __call__(self, x):
        square = tf.reduce_sum(tf.linalg.matvec(self.q, x, transpose_a=True) * x, -1)
        return self.c + tf.reduce_sum(self.w * x, -1) + square + tf.reduce_sum(self.r * x, -1) ** 3

    def value(self, x):
        return self.c + x @ self.w + np.sum(x @ self.q * x, -1) + (x @ self.r) ** 3

    def derivative(self, x):
        return self.w + x @ (self.q + self.q.T) + 3 * self.r * (x @ self.r)[..., None] ** 2


def state_rule(logit):
    """Exact for what depends on b alone: one node for each outcome, b = 1 first."""
    p = sigmoid(logit)
    return np.array([p / 2, min((1 + p) / 2, 1 - 1e-16)]), np.array([p, sigmoid(-logit)])


def gauss_rule(ends, nodes=2):
    """Exact for polynomials of degree 2 nodes - 1 between these ends."""
    (gauss, weight), half = np.polynomial.legendre.leggauss(nodes), np.diff(ends) / 2
    centre = (ends[1:] + ends[:-1]) / 2
    return (centre[:, None] + half[:, None] * gauss).ravel(), (half[:, None] * weight).ravel()


def piecewise_rule(logit):
    """Exact for cubics in u between 0, p, 1 - p and 1, as ARM's estimate and its square are."""
    return gauss_rule(np.array([0, *sorted([sigmoid(logit), sigmoid(-logit)]), 1]))


def smooth_rule(step=0.3, reach=36.0):
    """For what is analytic in t = logit(v): the trapezoidal rule in t converges exponentially."""
    t = np.arange(-reach, reach + step / 2, step)
    return sigmoid(t), step * sigmoid(t) * sigmoid(-t)


def split_rule(logit, **options):
    """The smooth rule on [0, p) and on [p, 1): for what jumps where b does, and is smooth elsewhere."""
    (v, weights), p, q = smooth_rule(**options), sigmoid(logit), sigmoid(-logit)
    return np.concatenate([v * p, p + v * q]), np.concatenate([weights * p, weights * q])


def product(rules):
    """Rules of several variables to one: nodes [M, variables], weights [M]."""
    nodes = np.stack([grid.ravel() for grid in np.meshgrid(*[rule[0] for rule in rules], indexing="ij")], -1)
    weights = np.prod(np.meshgrid(*[rule[1] for rule in rules], indexing="ij"), axis=0).ravel()
    return nodes, weights


def estimates(name, f, logits, noise, **options):
    """Estimates [M, n] for noise [M, n] or [uniforms, M, n], each a batch of one example."""
    noise = np.asarray(noise)[..., None, :]
    tiled = np.broadcast_to(np.asarray(logits, float), noise.shape[-3:])
    return gradient(name, f, tf.constant(tiled), tf.constant(noise), **options)[0].numpy()[:, 0]


def moments(name, f, logits, rules, **options):
    """Mean and variance of each unit's estimate; rules: for each uniform, one for each unit."""
    count = len(rules)
    nodes, weights = product([rule for unit_rules in rules for rule in unit_rules])
    noise = nodes.reshape(len(nodes), count, len(logits)).swapaxes(0, 1)
    g = estimates(name, f, logits, noise[0] if count == 1 else noise, **options)
    mean = weights @ g
    return mean, weights @ (g - mean) ** 2


def rules_for(name, logits, count=2):
    """Rules for each uniform and unit; the mean is exact, or converged to 1e-11 where the noise is smooth.

    count: samples of leave-one-out, uniforms of Gumbel-Rao.
    """
    by_state, smooth = [state_rule(a) for a in logits], [smooth_rule()] * len(logits)
    split = [split_rule(a) for a in logits]
    return {
        "leave-one-out": [by_state] * count,
        "arm": [[piecewise_rule(a) for a in logits]],
        "disarm": [[piecewise_rule(a) for a in logits]],
        "concrete": [smooth],
        "st-gumbel": [split],
        "gumbel-rao": [by_state] + [smooth] * (count - 1),
        "rebar": [split, smooth],
        "relax": [split, smooth],
    }.get(name, [by_state])
