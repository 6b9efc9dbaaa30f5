"""The network of the post in plain NumPy, gradients by hand: an independent reference."""

import numpy as np

from bookkit import engines
from bookkit.compiled import kernels
from bsn import curves
from bsn.backend import tf

DECAY, FLOOR = 0.95, 1e-4


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def relaxed(a, u, temperature):
    return sigmoid((a - np.log(u) + np.log(1 - u)) / temperature)


def draws_that_fit(p, u, k=10):
    """Gumbel-Rao's k noises for the outcome that u led to: evenly spaced, each on its side of p."""
    v = (np.where(u < p, u / p, (u - p) / (1 - p)) + np.arange(k).reshape(-1, 1, 1) / k) % 1
    return np.where(u < p, v * p, p + v * (1 - p))


def state(nets, i, estimator):
    """Return net i's [(W, b), ...] and, for each hidden layer, what the estimator averages, in float64."""
    if isinstance(nets, curves.Nets):
        layers = [tuple(map(np.float64, pair)) for pair in engines.layers_of(nets, i)]
        return layers, [tuple(np.float64(m[i]) for m in tf.nest.flatten(s)) for s in nets.states]
    stacked = nets.nets
    layers = [tuple(map(np.float64, pair)) for pair in kernels.net(stacked, i)]
    moments = np.split(np.float64(stacked.moments[i]), np.cumsum(stacked.widths[:-1])[:-1], axis=1)
    averaged = {"variance-adjusted": tuple, "moving-average": lambda m: (m[0, 0],)}
    return layers, [averaged.get(estimator, lambda m: ())(m) for m in moments]


def train_step(parameters, moments, x, y, noise, slope, rate, estimator, temperature=0.5):
    """One SGD step on the sum over the batch of -mean_k(y log q), for one net and one pass.

    Args:
        parameters: [(W, b), ...]; moments: for each hidden layer (N, D), (mean loss,) or ().
        x: [B, D]; y: one-hot [B, C]; noise: for each hidden layer [B, H]; temperature: of relaxed units.

    Returns:
        New parameters, new moments, and which predictions are right [B].
    """
    outputs, logits = [x], []
    for (weight, bias), u in zip(parameters, noise):
        a = outputs[-1] @ weight + bias
        p = sigmoid(slope * a)
        logits.append(a)
        b = (u < p).astype(float)
        outputs.append({"sigmoid": p, "concrete": relaxed(slope * a, u, temperature)}.get(estimator, b))
    weight, bias = parameters[-1]
    z = outputs[-1] @ weight + bias
    q = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    losses = -(y * np.log(q)).mean(1)

    upstream = (q - y) / y.shape[1]
    new, new_moments = [], list(moments)
    for layer in reversed(range(len(parameters))):
        weight, bias = parameters[layer]
        below = outputs[layer]
        new.insert(0, (weight - rate * below.T @ upstream, bias - rate * upstream.sum(0)))
        if layer == 0:
            continue
        hidden, b = layer - 1, outputs[layer]
        p = sigmoid(slope * logits[hidden])
        through = upstream @ weight.T
        if estimator in ("sigmoid", "sigmoid-adjusted"):
            upstream = through * slope * p * (1 - p)
        elif estimator == "pass-through":
            upstream = through
        elif estimator == "fires-only":
            upstream = through * b
        elif estimator == "reinmax":
            upstream = through * slope * np.abs(b - p) / 2
        elif estimator in ("concrete", "st-gumbel"):
            soft = relaxed(slope * logits[hidden], noise[hidden], temperature)
            upstream = through * slope * soft * (1 - soft) / temperature
        elif estimator == "gumbel-rao":
            soft = relaxed(slope * logits[hidden], draws_that_fit(p, noise[hidden]), temperature)
            upstream = through * slope * (soft * (1 - soft)).mean(0) / temperature
        elif estimator == "reinforce":
            upstream = (b - sigmoid(logits[hidden])) * losses[:, None]
        elif estimator == "moving-average":
            (mean,) = moments[hidden]
            new_moments[hidden] = (DECAY * mean + (1 - DECAY) * losses.mean(),)
            upstream = (b - sigmoid(logits[hidden])) * (losses - mean)[:, None]
        else:
            score = b - sigmoid(logits[hidden])
            n, d = moments[hidden]
            n = n * DECAY + (1 - DECAY) * (score**2 * losses[:, None]).mean(0)
            d = d * DECAY + (1 - DECAY) * (score**2).mean(0)
            new_moments[hidden] = (n, d)
            upstream = score * (losses[:, None] - n / (d + FLOOR))
    return new, new_moments, z.argmax(1) == y.argmax(1)
