"""What some estimators leave to their caller, at its best: averages, baselines, control variates."""

import functools

import numpy as np

from bookkit.studies.laboratory.settings import adam
from bsn import estimators
from bsn.backend import tf

SURROGATE = 8  # tanh units of RELAX's surrogate, of each example its own


def granted(setting, temperature=0.5, steps=300, seed=0, rate=0.02):
    """What estimators want of their caller, at its best: name -> options of `bsn.estimators.gradient`.

    Averages of the past are what endless training at these parameters would make them; NVIL's baseline
    is the expected loss of each example. REBAR's scale and temperature, of each point, and RELAX's surrogate,
    a small net for each example, descend the variance for some steps by Adam.
    """
    logits = setting.logits
    p, (points, _, units) = 1 / (1 + np.exp(-logits)), logits.shape
    b = estimators.states(units, tf.float64).numpy()[:, None, None] + np.zeros_like(logits)
    weight = np.prod(np.where(b == 1, p, 1 - p), -1)  # 2^H x P x E
    loss = setting.loss(tf.constant(b)).numpy()
    squares = weight[..., None] * (b - p) ** 2
    mean = np.sum(weight * loss, 0)
    moments = [np.sum(s, 0).mean(1) for s in (squares * loss[..., None], squares)]
    heat = {"temperature": temperature}

    def rebar(logits, noise, values):
        temperature = tf.exp(values[1])[..., None]
        return estimators.rebar(setting.loss, logits, noise, values[0], temperature)

    def relax(logits, noise, values):
        return estimators.relax(setting.loss, logits, noise, functools.partial(_surrogate, values))

    rng = np.random.default_rng(seed)
    start = [rng.normal(size=(*logits.shape, SURROGATE)) * 0.5, np.zeros([*mean.shape, SURROGATE])]
    start += [np.zeros([*mean.shape, SURROGATE]), mean]
    tuned = _least_variance(
        rebar, setting, [np.ones([points, 1]), np.full([points, 1], np.log(temperature))], steps, rate, seed
    )
    learned = _least_variance(relax, setting, start, steps, rate, seed)
    return {
        "concrete": heat, "st-gumbel": heat, "gumbel-rao": heat,
        "moving-average": {"state": tf.constant(mean.mean(1))},
        "variance-adjusted": {"state": tuple(map(tf.constant, moments))},
        "nvil": {"baseline": tf.constant(mean)},
        "rebar": {"eta": tuned[0], "temperature": np.exp(tuned[1])[..., None]},
        "relax": {"surrogate": functools.partial(_surrogate, learned)},
    }  # fmt: skip


def _surrogate(values, z):
    inner, bias, outer, constant = values
    hidden = tf.tanh(tf.reduce_sum(z[..., None] * inner, -2) + bias)
    return tf.reduce_sum(hidden * outer, -1) + constant


def _least_variance(estimate, setting, values, steps, rate, seed, draws=16):
    rng, units = np.random.default_rng([seed, 1]), setting.logits.shape

    @tf.function
    def slopes(noise, values):
        logits, noise = tied_noise(setting, noise)
        return estimators.variance_gradient(lambda: estimate(logits, noise, values), values)[1]

    def drawn(values):
        return slopes(tf.constant(rng.random([draws, *units])), [tf.constant(v) for v in values])

    *_, last = adam(drawn, values, steps, rate, fading=True)
    return last


def tiled(setting, noise):
    """The logits, repeated for each draw of the noise [M, P, E, H]."""
    return tf.zeros_like(noise) + setting.logits


def tied_noise(setting, noise):
    """The logits as `tiled`, and two noises for REBAR and RELAX: the second leads back to the same z."""
    logits = tiled(setting, noise)
    return logits, tf.stack([noise, estimators.tied(logits, noise)])
