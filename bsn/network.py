"""Many small classifiers side by side: parameters, forward pass, loss, one training step.

R nets of the same shape share a mini-batch and their noise, so that their first layers are one
wide matrix product. Shapes: batch B, inputs D, hidden widths H, classes C.
"""

import numpy as np

from bsn.backend import tf
from bsn.estimators import SAMPLERS, SCORE_FUNCTIONS, initial_moments, sample


def glorot_uniform(rng, shape):
    """Glorot-uniform initial values, TF1's default; a bias of n units counts as n in and n out."""
    limit = np.sqrt(6 / (shape[0] + shape[-1]))
    return rng.uniform(-limit, limit, shape)


def initial_parameters(seed, inputs, hidden, classes, dtype=np.float32):
    """One net's weights and biases, [(W [in, out], b [out]), ...], a function of seed and shape."""
    widths = [inputs, *hidden, classes]
    parameters = []
    for layer, shape in enumerate(zip(widths[:-1], widths[1:])):
        rng = np.random.Generator(np.random.Philox(key=[seed, layer]))
        parameters.append(
            (glorot_uniform(rng, shape).astype(dtype), glorot_uniform(rng, shape[1:]).astype(dtype))
        )
    return parameters


def side_by_side(nets):
    """Stack R nets' parameters: the first W is [D, R, H], the others [R, in, out], b is [R, out]."""
    stacked = []
    for layer, pairs in enumerate(zip(*nets)):
        weights, biases = zip(*pairs)
        stacked.append(
            (tf.constant(np.stack(weights, axis=1 if layer == 0 else 0)), tf.constant(np.stack(biases)))
        )
    return stacked


def forward(parameters, x, noise, slope, estimator):
    """Run R nets on one mini-batch.

    Args:
        parameters: as from `side_by_side`.
        x: images [B, D].
        noise: for each hidden layer, uniform numbers broadcastable to [R, B, H].
        slope: [R, 1, 1].
        estimator: a name in `SAMPLERS` or `SCORE_FUNCTIONS`.

    Returns:
        The hidden layers' logits, each [R, B, H], and the output logits [R, B, C].
    """
    hidden_logits, h = [], x
    for layer, (weight, bias) in enumerate(parameters):
        if layer == 0:
            d, r, width = weight.shape
            a = tf.reshape(tf.matmul(x, tf.reshape(weight, [d, r * width])), [-1, r, width])
            a = tf.transpose(a, [1, 0, 2]) + bias[:, None]  # R x B x H
        else:
            a = tf.matmul(h, weight) + bias[:, None]
        if layer == len(parameters) - 1:
            return hidden_logits, a
        hidden_logits.append(a)
        h = (
            SAMPLERS[estimator](a, noise[layer], slope)
            if estimator in SAMPLERS
            else sample(a, noise[layer], slope)
        )


@tf.custom_gradient
def log_of_softmax(logits):
    """The log of the softmax, broken where it is in the post: -inf where a probability underflows.

    TensorFlow's CPU kernels flush denormal numbers to zero and XLA's do so in part: hence the
    flush here, and a gradient spelt out, which is NaN for such a row (0 / 0), under XLA too.
    """
    q = tf.nn.softmax(logits)
    q = tf.where(q < np.finfo(q.dtype.as_numpy_dtype).tiny, tf.zeros_like(q), q)

    def gradient(upstream):
        upstream = upstream / q
        return q * (upstream - tf.reduce_sum(upstream * q, axis=-1, keepdims=True))

    return tf.math.log(q), gradient


def example_losses(logits, targets, stable):
    """Mean over the classes of -y log q, a tenth of the cross-entropy for ten classes (the post).

    Args:
        logits: [R, B, C]; targets: one-hot [B, C]; stable: log-softmax in one step, or the log of
            the softmax, with which the loss is NaN as soon as one probability underflows
            (0 * log 0), as in the post. The targets have to be data: of a one-hot made from labels
            in the same program XLA makes a selection, in which 0 * log 0 is 0.

    Returns:
        [R, B].
    """
    log_q = tf.nn.log_softmax(logits) if stable else log_of_softmax(logits)
    return -tf.reduce_mean(targets * log_q, axis=-1)


def accuracy(logits, targets):
    """Share of right answers, [R]; NaN answers class 0, as TensorFlow's argmax kernel does."""
    q = tf.nn.softmax(logits)  # NaN throughout the row as soon as one logit is
    q = tf.where(tf.math.is_nan(q), tf.constant(-1, q.dtype), q)
    right = tf.argmax(q, axis=-1, output_type=tf.int32) == tf.argmax(targets, axis=-1, output_type=tf.int32)
    return tf.reduce_mean(tf.cast(right, logits.dtype), axis=-1)


def train_step(parameters, moments, x, targets, noise, slope, learning_rate, estimator, stable):
    """One step of plain SGD on the sum of the batch's losses.

    Args:
        parameters, x, noise, slope, estimator: as in `forward`.
        moments: for each hidden layer, the state of the estimator's baseline, () where it has none.
        targets: one-hot [B, C]; learning_rate: [R]; stable: as in `example_losses`.

    Returns:
        New parameters, new moments, losses [R, B] and accuracy [R], both from before the step.
    """
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        hidden_logits, logits = forward(parameters, x, noise, slope, estimator)
        losses = example_losses(logits, targets, stable)
        objective = tf.reduce_sum(losses)
        if estimator in SCORE_FUNCTIONS:
            moments = list(moments)
            for layer, a in enumerate(hidden_logits):
                gradient, moments[layer] = SCORE_FUNCTIONS[estimator](
                    lambda b: losses, tf.stop_gradient(a), noise[layer], moments[layer]
                )
                # a term whose derivative in the logits is the estimate
                objective += tf.reduce_sum(tf.stop_gradient(gradient) * a)
    gradients = tape.gradient(objective, parameters)
    new = []
    for layer, pair in enumerate(zip(parameters, gradients)):
        (weight, bias), (weight_gradient, bias_gradient) = pair
        rate = learning_rate[None, :, None] if layer == 0 else learning_rate[:, None, None]
        new.append((weight - rate * weight_gradient, bias - learning_rate[:, None] * bias_gradient))
    return new, moments, losses, accuracy(logits, targets)


def start_moments(estimator, nets, hidden, dtype=tf.float32):
    """The baselines' state before the first step, one entry for each hidden layer."""
    if estimator != "variance-adjusted":
        return [()] * len(hidden)
    return [initial_moments([nets, width], dtype) for width in hidden]
