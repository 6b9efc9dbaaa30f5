"""What some estimators leave to their caller, at its best: averages, baselines, control variates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bookkit.studies.laboratory.settings import Setting, adam
from bsn import estimators
from bsn.backend import Tensor, tf

SURROGATE_UNITS = 8  # tanh units of RELAX's surrogate, one small net per example
DRAWS = 16  # per step of the tuning
Values = list[np.ndarray]
Estimate = Callable[[Tensor, Tensor, list[Tensor]], Tensor]  # logits, noise, values to g


def caller_options(
    setting: Setting, temperature: float = 0.5, steps: int = 300, seed: int = 0, rate: float = 0.02
) -> dict[str, dict[str, Any]]:
    """Return what estimators expect of their caller, at its best: name -> options of `gradient`.

    Averages of the past are what endless training at these parameters would make them; NVIL's baseline
    is the expected loss of each example. REBAR's scale and temperature, per point, and RELAX's surrogate,
    a small net per example, descend the variance for some steps by Adam.
    """
    logits = setting.logits
    p, (points, _, units) = 1 / (1 + np.exp(-logits)), logits.shape
    b = estimators.states(units, tf.float64).numpy()[:, None, None] + np.zeros_like(logits)
    weight = np.prod(np.where(b == 1, p, 1 - p), -1)  # [2^H, P, E]
    loss = setting.loss(tf.constant(b)).numpy()
    squares = weight[..., None] * (b - p) ** 2
    mean = np.sum(weight * loss, 0)
    moments = [np.sum(s, 0).mean(1) for s in (squares * loss[..., None], squares)]

    def rebar(logits: Tensor, noise: Tensor, values: list[Tensor]) -> Tensor:
        return estimators.rebar(setting.loss, logits, noise, values[0], tf.exp(values[1])[..., None])

    def relax(logits: Tensor, noise: Tensor, values: list[Tensor]) -> Tensor:
        return estimators.relax(setting.loss, logits, noise, functools.partial(_surrogate, values))

    rng = np.random.default_rng(seed)
    start = [rng.normal(size=(*logits.shape, SURROGATE_UNITS)) * 0.5]
    start += [np.zeros([*mean.shape, SURROGATE_UNITS]), np.zeros([*mean.shape, SURROGATE_UNITS]), mean]
    scale, log_heat = np.ones([points, 1]), np.full([points, 1], np.log(temperature))
    scale, log_heat = _least_variance(rebar, setting, [scale, log_heat], steps, rate, seed)
    surrogate = functools.partial(_surrogate, _least_variance(relax, setting, start, steps, rate, seed))
    relaxed = {name: {"temperature": temperature} for name in ("concrete", "st-gumbel", "gumbel-rao")}
    return relaxed | {
        "moving-average": {"state": tf.constant(mean.mean(1))},
        "variance-adjusted": {"state": tuple(map(tf.constant, moments))},
        "nvil": {"baseline": tf.constant(mean)},
        "rebar": {"eta": scale, "temperature": np.exp(log_heat)[..., None]},
        "relax": {"surrogate": surrogate},
    }


def _surrogate(values: list[Any], z: Tensor) -> Tensor:
    inner, bias, outer, constant = values
    hidden = tf.tanh(tf.reduce_sum(z[..., None] * inner, -2) + bias)
    return tf.reduce_sum(hidden * outer, -1) + constant


def _least_variance(
    estimate: Estimate, setting: Setting, values: Values, steps: int, rate: float, seed: int
) -> Values:
    rng, shape = np.random.default_rng([seed, 1]), setting.logits.shape

    @tf.function
    def slopes(noise: Tensor, values: list[Tensor]) -> list[Tensor]:
        logits = tf.zeros_like(noise) + setting.logits
        tied = tied_noise(logits, noise)
        return estimators.variance_gradient(lambda: estimate(logits, tied, values), values)[1]

    def sampled(values: Values) -> list[Tensor]:
        return slopes(tf.constant(rng.random([DRAWS, *shape])), [tf.constant(v) for v in values])

    *_, last = adam(sampled, values, steps, rate, fading=True)
    return last


def tied_noise(logits: Tensor, noise: Tensor) -> Tensor:
    """Return two noises for REBAR and RELAX from one: the second leads back to the same z."""
    return tf.stack([noise, estimators.tied(logits, noise)])
