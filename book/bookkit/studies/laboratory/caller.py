"""What some estimators leave to their caller, at its best: averages, baselines, control variates."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from bookkit.studies.laboratory.settings import Setting
from bsn import estimators
from bsn.backend import Tensor, keras, tf
from bsn.estimators import ESTIMATORS

SURROGATE_UNITS = 8  # tanh units of RELAX's surrogate, one small net per example
DRAWS = 16  # per step of the tuning


def caller_options(
    setting: Setting, temperature: float = 0.5, steps: int = 300, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return what estimators expect of their caller, at its best: name -> options of `gradient`.

    Averages of the past are what endless training at these parameters would make them; NVIL's baseline
    is the expected loss of each example. REBAR's scale and temperature, per point, and RELAX's surrogate,
    a small net per example, descend the variance for some steps by Adam.
    """
    logits = setting.logits
    p, (points, examples, units) = 1 / (1 + np.exp(-logits)), logits.shape
    b = estimators.states(units, tf.float64).numpy()[:, None, None] + np.zeros_like(logits)
    weight = np.prod(np.where(b == 1, p, 1 - p), -1)  # [2^H, P, E]
    loss = weight * setting.loss(tf.constant(b)).numpy()
    mean = np.sum(loss, 0)
    moments = np.sum(loss[..., None] * (b - p) ** 2, 0).mean(1), (p * (1 - p)).mean(1)

    scale = tf.Variable(np.ones([points, 1]))
    log_heat = tf.Variable(np.full([points, 1, 1], np.log(temperature)))
    rng = np.random.default_rng(seed)
    inner = tf.Variable(rng.normal(size=(*logits.shape, SURROGATE_UNITS)) * 0.5)
    bias, outer = (tf.Variable(np.zeros([points, examples, SURROGATE_UNITS])) for _ in range(2))
    constant = tf.Variable(mean)

    def rebar(logits: Tensor, noise: Tensor) -> Tensor:
        return estimators.rebar(setting.loss, logits, noise, scale, tf.exp(log_heat))

    def surrogate(z: Tensor) -> Tensor:
        hidden = tf.tanh(tf.reduce_sum(z[..., None] * inner, -2) + bias)
        return tf.reduce_sum(hidden * outer, -1) + constant

    def relax(logits: Tensor, noise: Tensor) -> Tensor:
        return estimators.relax(setting.loss, logits, noise, surrogate)

    _minimise_variance(rebar, [scale, log_heat], setting, steps, seed)
    _minimise_variance(relax, [inner, bias, outer, constant], setting, steps, seed)
    relaxed = {
        name: {"temperature": temperature}
        for name, entry in ESTIMATORS.items()
        if "temperature" in inspect.signature(entry.function).parameters
    }
    return relaxed | {
        "moving-average": {"state": tf.constant(mean.mean(1))},
        "variance-adjusted": {"state": tuple(map(tf.constant, moments))},
        "nvil": {"baseline": tf.constant(mean)},
        "rebar": {"eta": scale, "temperature": tf.exp(log_heat)},
        "relax": {"surrogate": surrogate},
    }


def _minimise_variance(
    estimate: Callable[[Tensor, Tensor], Tensor], learned: list[Any], setting: Setting, steps: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, 1])
    rate = keras.optimizers.schedules.PolynomialDecay(0.02, steps, 0.0)
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-12)
    optimizer.build(learned)

    @tf.function
    def step(noise: Tensor) -> None:
        logits = tf.zeros_like(noise) + setting.logits
        tied = tied_noise(logits, noise)
        _, slopes = estimators.variance_gradient(lambda: estimate(logits, tied), learned)
        optimizer.apply(slopes, learned)

    for _ in range(steps):
        step(tf.constant(rng.random([DRAWS, *setting.logits.shape])))


def tied_noise(logits: Tensor, noise: Tensor) -> Tensor:
    """Return two noises for REBAR and RELAX from one: the second leads back to the same z."""
    return tf.stack([noise, estimators.tied(logits, noise)])
