"""One estimator at all points of a setting, against the exact gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bookkit.studies.laboratory.caller import caller_options, tied_noise
from bookkit.studies.laboratory.rules import moments, rule
from bookkit.studies.laboratory.settings import Setting
from bsn import estimators
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, lookup

CHUNK = 1_000_000  # numbers in the noise of one call


def exact_gradient(setting: Setting) -> np.ndarray:
    """Return the gradient [P, E, H], by enumeration."""
    return estimators.exact(setting.loss, tf.constant(setting.logits)).numpy()


def count(formula: int | str, units: int, samples: int) -> int:
    """Evaluate a formula of the registry for H units and K samples or noises."""
    if isinstance(formula, int):
        return formula
    return {"K": samples, "1 + K": 1 + samples, "H + 1": units + 1, "2^H": 2**units}[formula]


def estimates(name: str, setting: Setting, noise: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """Return g [M, P, E, H] for noise [uniforms, M, P, E, H], in calls of limited size."""
    entry, parts = lookup(name), []
    share = max(1, CHUNK // (noise[:, 0].size * count(entry.evaluations, setting.logits.shape[-1], 2)))
    for low in range(0, noise.shape[1], share):
        u = tf.constant(noise[:, low : low + share])
        logits = tf.zeros_like(u[0]) + setting.logits
        if entry.noise == 2:  # the second is made from the first, as by the authors of both estimators
            u = tied_noise(logits, u[0])
        elif entry.noise in (0, 1):
            u = u[0]
        parts.append(estimators.gradient(name, setting.loss, logits, u, **options)[0].numpy())
    return np.concatenate(parts)


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
        was sampled; `deviation`, the root of the variance; `cosine`, the mean over the draws, and
        `cosine_error`; `evaluations` of f.
    """
    entry, exact = lookup(name), exact_gradient(setting)
    evaluations = count(entry.evaluations, exact.shape[-1], 2)
    noises = noises if entry.noise == "1 + K" else 0
    planes = 1 if entry.noise in (0, 2) else count(entry.noise, 1, noises or 2)
    draws = samples if entry.noise else max(1, samples // evaluations)
    noise = np.random.default_rng(seed).random([planes, draws, *exact.shape])
    g = estimates(name, setting, noise, options)
    size = dot(setting, exact, exact)
    length = np.sqrt(dot(setting, g, g) * size)
    cosine = np.divide(dot(setting, g, exact), length, out=np.zeros_like(length), where=length > 0)
    nodes_and_weights = rule(name, setting)
    if nodes_and_weights:
        nodes, weights = nodes_and_weights
        mean, spread = moments(estimates(name, setting, nodes, options), weights, noises)
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
        cosine_error=cosine.std(0) / np.sqrt(draws),
        evaluations=evaluations,
    )


def measure_all(
    setting: Setting,
    samples: int,
    noises: int = 10,
    temperature: float = 0.5,
    tuning: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """Call `measure` for every estimator of the registry, in its order."""
    options = caller_options(setting, temperature, tuning, seed)
    parts = [measure(name, setting, samples, noises, seed, **options.get(name, {})) for name in ESTIMATORS]
    return pd.concat(parts, ignore_index=True)
