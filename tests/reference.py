"""The network of the post in plain NumPy, gradients by hand: an independent reference."""

import numpy as np

DECAY, FLOOR = 0.95, 1e-4


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def train_step(parameters, moments, x, y, noise, slope, rate, estimator):
    """One SGD step on the sum over the batch of -mean_k(y log q), for one net.

    Args:
        parameters: [(W, b), ...]; moments: for each hidden layer (N, D) or ().
        x: [B, D]; y: one-hot [B, C]; noise: for each hidden layer [B, H].

    Returns:
        New parameters, new moments, losses [B], accuracy.
    """
    outputs, logits = [x], []
    for (weight, bias), u in zip(parameters, noise):
        a = outputs[-1] @ weight + bias
        p = sigmoid(slope * a)
        logits.append(a)
        outputs.append(p if estimator == "sigmoid" else (u < p).astype(float))
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
        elif estimator == "reinforce":
            upstream = (b - sigmoid(logits[hidden])) * losses[:, None]
        else:
            score = b - sigmoid(logits[hidden])
            n, d = moments[hidden]
            n = n * DECAY + (1 - DECAY) * (score**2 * losses[:, None]).mean(0)
            d = d * DECAY + (1 - DECAY) * (score**2).mean(0)
            new_moments[hidden] = (n, d)
            upstream = score * (losses[:, None] - n / (d + FLOOR))
    return new, new_moments, losses, (z.argmax(1) == y.argmax(1)).mean()
