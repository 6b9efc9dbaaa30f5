"""Estimators at all points of a setting, against the exact gradient, and what they expect of their caller."""

from typing import Any

import numpy as np
import pandas as pd

from bookkit.studies.laboratory.settings import Setting
from bsn import estimators
from bsn.backend import Tensor, keras, tf
from bsn.estimators import ESTIMATORS, lookup

CHUNK = 1_000_000  # numbers in the noise of one call
MAX_UNIFORMS = 12  # with two values each, that are enumerated
SURROGATE_UNITS = 8  # tanh units of RELAX's surrogate, one small net per example
DRAWS = 16  # per step of the tuning
Rule = tuple[np.ndarray, np.ndarray]  # nodes, in place of the noise, and their weights


def exact_gradient(setting: Setting) -> np.ndarray:
    """Return the gradient [P, E, H], by enumeration."""
    return estimators.exact(setting.loss, tf.constant(setting.logits)).numpy()


def evaluations(name: str, units: int) -> int:
    """Return how many times an estimator evaluates f for an example of some units, with two samples for K."""
    formula = lookup(name).evaluations
    return formula if isinstance(formula, int) else {"K": 2, "H + 1": units + 1, "2^H": 2**units}[formula]


def estimates(name: str, setting: Setting, noise: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """Return g [M, P, E, H] for noise [uniforms, M, P, E, H], in calls of limited size."""
    entry, parts = lookup(name), []
    share = max(1, CHUNK // (noise[:, 0].size * evaluations(name, noise.shape[-1])))
    for low in range(0, noise.shape[1], share):
        u = tf.constant(noise[:, low : low + share])
        logits = tf.zeros_like(u[0]) + setting.logits
        if entry.noise == 2:  # the second is made from the first, as by the authors of both estimators
            u = tf.stack([u[0], estimators.tied(logits, u[0])])
        elif entry.noise in (0, 1):
            u = u[0]
        parts.append(estimators.gradient(name, setting.loss, logits, u, **options)[0].numpy())
    return np.concatenate(parts)


def rule(name: str, setting: Setting, options: dict[str, Any]) -> Rule | None:
    """Return nodes [uniforms, M, P, E, H] and weights [M, P, E]; None if the noise must be sampled.

    Sums over them are expectations over the noise: with one unit for all but Gumbel-Rao, else for those whose
    estimate depends on the samples alone, unless a baseline knows the batch and couples its examples.
    """
    entry, p = lookup(name), 1 / (1 + np.exp(-setting.logits))
    if entry.noise == 0:
        return np.full([1, 1, *p.shape], 0.5), np.ones([1, *p.shape[:2]])
    if entry.noise == "1 + K" or (entry.state and entry.bias != "unbiased" and p.shape[1] > 1):
        return None
    planes, units = 2 if entry.noise == "K" else 1, p.shape[-1]
    noise = np.random.default_rng(0).random([planes, 8, *p.shape])
    same_samples = np.where(noise < p, p / 2, (1 + p) / 2)
    g, again = (estimates(name, setting, u, options) for u in (noise, same_samples))
    if np.allclose(g, again, rtol=1e-9, atol=0):
        if planes * units > MAX_UNIFORMS:
            return None
        b = estimators.states(planes * units, tf.float64).numpy().reshape(-1, planes, 1, 1, units)
        b = b.swapaxes(0, 1)
        nodes, weights = np.where(b == 1, p / 2, (1 + p) / 2), np.where(b == 1, p, 1 - p)
        return nodes, weights.prod((0, -1))
    return _integral(p) if units == 1 else None


def _integral(p: np.ndarray) -> Rule:
    """Return the rule of one unit for an estimate smooth between 0, p, 1 - p and 1."""
    t = np.arange(-33, 33.1, 0.3)[:, None, None, None]
    v, weight = 1 / (1 + np.exp(-t)), 0.3 / (2 + 2 * np.cosh(t))  # trapezoids in logit(v) converge fast
    ends = np.stack([0 * p, np.minimum(p, 1 - p), np.maximum(p, 1 - p), 0 * p + 1])[:, None]
    low, width = ends[:-1], np.diff(ends, axis=0)
    return (low + width * v).reshape(1, -1, *p.shape), (width * weight).reshape(-1, *p.shape[:2])


def moments(g: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [P, E, H] and summed variance [P, E] of estimates g [M, P, E, H] at a rule's nodes."""
    mean = np.sum(weights[..., None] * g, 0)
    return mean, np.sum(weights[..., None] * (g - mean) ** 2, (0, -1))


def dot(setting: Setting, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return dot products [..., P] of the weights' gradients, from those of the logits, [..., P, E, H]."""
    return np.sum(np.matmul(setting.gram, a) * b, axis=(-1, -2))


def measure(
    name: str, setting: Setting, samples: int = 1000, noises: int = 10, seed: int = 0, **options: Any
) -> pd.DataFrame:
    """Measure one estimator at every point of a setting; lengths are relative to the exact gradient's.

    Args:
        samples: draws of the noise, of all points at once; the same for all estimators.
        noises: K of Gumbel-Rao.
        options: as from `caller_options`.

    Returns:
        `points` with the columns `estimator`; `bias` and `bias_error`, its standard error, 0 if nothing
        was sampled; `deviation`, the root of the variance; `cosine`, the mean over the draws;
        `evaluations` of f.
    """
    entry, exact = lookup(name), exact_gradient(setting)
    planes = {"K": 2, "1 + K": 1 + noises}.get(str(entry.noise), 1)
    draws = samples if entry.noise else 1
    noise = np.random.default_rng(seed).random([planes, draws, *exact.shape])
    g = estimates(name, setting, noise, options)
    size = dot(setting, exact, exact)
    length = np.sqrt(dot(setting, g, g) * size)
    cosine = np.divide(dot(setting, g, exact), length, out=np.zeros_like(length), where=length > 0)
    nodes_and_weights = rule(name, setting, options)
    if nodes_and_weights:
        nodes, weights = nodes_and_weights
        mean, spread = moments(estimates(name, setting, nodes, options), weights)
        variance = np.sum(np.diagonal(setting.gram, axis1=1, axis2=2) * spread, -1)
        error = 0 * variance
    else:
        mean = g.mean(0)
        variance = dot(setting, g - mean, g - mean).sum(0) / (draws - 1)
        error = np.sqrt(variance / draws)
    bias = dot(setting, mean - exact, mean - exact)
    return setting.points.assign(
        estimator=name,
        bias=np.sqrt(bias / size),
        bias_error=error / np.sqrt(size),
        deviation=np.sqrt(np.maximum(variance, 0) / size),
        cosine=cosine.mean(0),
        evaluations=evaluations(name, exact.shape[-1]),
    )


def measure_all(
    setting: Setting, draws: int, noises: int = 10, temperature: float = 0.5, tuning: int = 300, seed: int = 0
) -> pd.DataFrame:
    """Call `measure` for every estimator of the registry, in its order."""
    options = caller_options(setting, temperature, tuning, seed)
    parts = [measure(name, setting, draws, noises, seed, **options.get(name, {})) for name in ESTIMATORS]
    return pd.concat(parts, ignore_index=True)


def caller_options(
    setting: Setting, temperature: float = 0.5, steps: int = 300, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return what estimators expect of their caller, at its best: name -> options of `gradient`.

    Averages of the past are what endless training at these parameters would make them; NVIL's baseline
    is the expected loss of each example. REBAR's scale and temperature, per point, and RELAX's surrogate,
    a small net per example, descend the variance for some steps by Adam.
    """
    logits = setting.logits
    p = 1 / (1 + np.exp(-logits))
    b = estimators.states(p.shape[-1], tf.float64).numpy()[:, None, None] + np.zeros_like(logits)
    loss = np.prod(np.where(b == 1, p, 1 - p), -1) * setting.loss(tf.constant(b)).numpy()  # [2^H, P, E]
    mean = loss.sum(0)
    moments = np.sum(loss[..., None] * (b - p) ** 2, 0).mean(1), (p * (1 - p)).mean(1)
    relaxed = [name for name, entry in ESTIMATORS.items() if "temperature" in entry.options]
    return dict.fromkeys(relaxed, {"temperature": temperature}) | {
        "moving-average": {"state": tf.constant(mean.mean(1))},
        "variance-adjusted": {"state": tuple(map(tf.constant, moments))},
        "nvil": {"baseline": tf.constant(mean)},
        **_control_variates(setting, mean, temperature, steps, seed),
    }


def _control_variates(
    setting: Setting, mean: np.ndarray, temperature: float, steps: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Tune the control variates of REBAR and RELAX, starting from `temperature` and the `mean` loss."""
    points, examples, units = setting.logits.shape
    scale = tf.Variable(np.ones([points, 1]))
    log_heat = tf.Variable(np.full([points, 1, 1], np.log(temperature)))
    initial = np.random.default_rng(seed).normal(size=[points, examples, units, SURROGATE_UNITS])
    inner, constant = tf.Variable(initial * 0.5), tf.Variable(mean)
    bias, outer = (tf.Variable(np.zeros([points, examples, SURROGATE_UNITS])) for _ in range(2))
    learned = [scale, log_heat, inner, bias, outer, constant]
    rate = keras.optimizers.schedules.PolynomialDecay(0.02, steps, 0.0)
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-12)
    optimizer.build(learned)

    def surrogate(z: Tensor) -> Tensor:
        hidden = tf.tanh(tf.reduce_sum(z[..., None] * inner, -2) + bias)
        return tf.reduce_sum(hidden * outer, -1) + constant

    @tf.function(autograph=False)
    def step(noise: Tensor) -> None:
        logits = tf.zeros_like(noise) + setting.logits
        tied = tf.stack([noise, estimators.tied(logits, noise)])

        def estimates() -> Tensor:
            rebar = estimators.rebar(setting.loss, logits, tied, scale, tf.exp(log_heat))
            return tf.stack([rebar, estimators.relax(setting.loss, logits, tied, surrogate)])

        optimizer.apply(estimators.variance_gradient(estimates, learned)[1], learned)

    rng = np.random.default_rng([seed, 1])
    for _ in range(steps):
        step(tf.constant(rng.random([DRAWS, *setting.logits.shape])))
    return {"rebar": {"eta": scale, "temperature": tf.exp(log_heat)}, "relax": {"surrogate": surrogate}}
