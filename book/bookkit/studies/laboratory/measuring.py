"""One estimator at all points of a setting, against the exact gradient."""

import time

import numpy as np
import pandas as pd

from bookkit.studies.laboratory.caller import granted, tied_noise, tiled
from bookkit.studies.laboratory.rules import moments, rule
from bsn import estimators
from bsn.backend import tf

CHUNK = 1_000_000  # numbers in the noise of one call
TIED = {"rebar", "relax"}  # their second noise is made of the first, as by their authors


def exact_gradient(setting):
    """[P, E, H], by enumeration."""
    return estimators.exact(setting.loss, tf.constant(setting.logits)).numpy()


def count(formula, units, noises):
    """A formula of the table in numbers: H units, K noises."""
    return {"K": noises, "H + 1": units + 1, "2^H": 2**units}.get(formula, formula)


def estimates(name, setting, noise, options):
    """g [M, P, E, H] for noise [uniforms, M, P, E, H], in calls of limited size."""
    entry, made = estimators.ESTIMATORS[name], []
    share = max(1, CHUNK // (noise[:, 0].size * count(entry.evaluations, setting.logits.shape[-1], 2)))
    for low in range(0, noise.shape[1], share):
        u = tf.constant(noise[:, low : low + share])
        logits = tiled(setting, u[0])
        if name in TIED:
            logits, u = tied_noise(setting, u[0])
        elif entry.noise in (0, 1):
            u = u[0]
        made.append(estimators.gradient(name, setting.loss, logits, u, **options)[0].numpy())
    return np.concatenate(made)


def dot(setting, a, b):
    """Dot products [..., P] of gradients in the weights below, from those in the logits, [..., P, E, H]."""
    return np.sum(np.matmul(setting.gram, a) * b, axis=(-1, -2))


def measure(name, setting, samples=1000, noises=10, seed=0, **options):
    """One estimator at every point of a setting; all lengths are relative to the exact gradient's.

    Args:
        samples: draws of the noise, of all points at once; the same for all estimators.
        noises: K of Gumbel-Rao.
        options: as from `granted`.

    Returns:
        `points` with the columns `estimator`; `bias` and `bias_error`, its standard error, 0 where nothing
        was drawn; `deviation`, the root of the variance; `cosine`, the mean over the draws, and
        `cosine_error`; `evaluations` of f; `microseconds` for an estimate of one point's batch.
    """
    entry, wanted = estimators.ESTIMATORS[name], exact_gradient(setting)
    size = dot(setting, wanted, wanted)
    planes = 1 + noises if name == "gumbel-rao" else 2 if name == "leave-one-out" else 1
    drawn = samples if entry.noise else max(1, samples // count(entry.evaluations, wanted.shape[-1], 2))
    noise = np.random.default_rng(seed).random([planes, drawn, *wanted.shape])
    estimates(name, setting, noise[:, :1], options)  # so that what is timed has been called before
    started = time.perf_counter()
    g = estimates(name, setting, noise, options)
    seconds = time.perf_counter() - started
    length = np.sqrt(dot(setting, g, g) * size)
    cosine = np.divide(dot(setting, g, wanted), length, out=np.zeros_like(length), where=length > 0)
    found = rule(name, setting)
    if found:
        nodes, weights = found
        g = estimates(name, setting, nodes, options)
        mean, spread = moments(g, weights, noises if name == "gumbel-rao" else 0)
        variance = np.sum(np.diagonal(setting.gram, axis1=1, axis2=2) * spread, -1)
        error = 0 * variance
    else:
        mean = g.mean(0)
        variance = dot(setting, g - mean, g - mean).sum(0) / (drawn - 1)
        error = np.sqrt(variance / drawn)
    bias = dot(setting, mean - wanted, mean - wanted)
    return setting.points.assign(
        estimator=name,
        bias=np.sqrt(bias / size),
        bias_error=error / np.sqrt(size),
        deviation=np.sqrt(np.maximum(variance, 0) / size),
        cosine=cosine.mean(0),
        cosine_error=cosine.std(0) / np.sqrt(drawn),
        evaluations=count(entry.evaluations, wanted.shape[-1], 2),
        microseconds=1e6 * seconds / drawn / len(size),
    )


def measure_all(setting, samples=1000, noises=10, temperature=0.5, tuning=300, seed=0):
    """`measure` for every estimator of the table, in its order."""
    options = granted(setting, temperature, tuning, seed)
    parts = [
        measure(name, setting, samples, noises, seed, **options.get(name, {}))
        for name in estimators.ESTIMATORS
    ]
    return pd.concat(parts, ignore_index=True)
