"""What some estimators leave to their caller, at its best: averages, baselines, control variates."""

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

    @tf.function
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
    return {
        "rebar": {"eta": scale, "temperature": tf.exp(log_heat)},
        "relax": {"surrogate": surrogate},
    }
