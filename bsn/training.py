"""The compiled training loop: `run(specs)`."""

import collections
import dataclasses
import functools
import time

import numpy as np
import pandas as pd

from bsn import data as datasets
from bsn import network
from bsn.backend import tf
from bsn.errors import InputError
from bsn.progress import training_progress
from bsn.spec import BATCH, MAX_LAYERS, RECORD_EVERY

# streams of random numbers under a net's seed
SHUFFLE_STREAM = 1 << 32  # Philox keys below it are the layers' initial values
TRAINING, RECORD, EPOCH = range(3)


def run(specs, progress=training_progress):
    """Train nets and return their learning curves.

    Nets that agree in all but learning rate, slopes and modes, and share a seed, are trained side
    by side on the same mini-batches and with the same noise, so that settings are compared in
    pairs. A net's result depends on its own spec alone, up to rounding.

    Args:
        specs: a list of `bsn.Spec`, without repeats.
        progress: called with the total number of steps; see `bsn.progress`.

    Returns:
        A tidy DataFrame: `net` (position in `specs`), every field of the spec, `after_epoch`
        (epochs completed), `step` (mini-batches trained on so far), `metric`, `value`,
        `diverged_step`, `seconds`. The
        metrics, all accuracies, are those of the post: "training", the sum of the batch
        accuracies since the last record divided by 100 (an epoch's first sum holds 101 of them);
        "validation", at the same points; "epoch", before the first epoch and after each, with the
        slope after its increase: the last of these is the final number. `diverged_step` is the
        step whose loss was first not finite, -1 where none was; such a net answers class 0 from
        then on. `seconds` is the net's share of the time spent training.

    Raises:
        InputError: no specs, or the same one twice, or data that cannot be had.
    """
    specs = list(specs)
    if not specs:
        raise InputError("run: no specs; allowed: at least one")
    if len(set(specs)) < len(specs):
        raise InputError("run: the same spec twice; allowed: different ones")
    batches = collections.defaultdict(list)
    for net, spec in enumerate(specs):
        batches[_batch_key(spec)].append(net)
    with progress(sum(spec.epochs * spec.steps_per_epoch for spec in specs)) as advance:
        frames = [
            frame
            for nets in batches.values()
            for frame in _train([specs[net] for net in nets], nets, advance)
        ]
    return pd.concat(frames, ignore_index=True).sort_values("net", kind="stable", ignore_index=True)


def final_accuracies(curves):
    """One row a net: the accuracy after its last epoch, as `final`, with the other columns kept."""
    ends = curves[curves.metric == "epoch"]
    last = ends.loc[ends.groupby("net").step.idxmax()]
    return last.rename(columns={"value": "final"}).drop(columns="metric").reset_index(drop=True)


def _batch_key(spec):
    """What nets trained side by side have in common."""
    return dataclasses.replace(
        spec,
        learning_rate=1.0,
        slope_rate=1.0,
        slope_in_training=False,
        train_mode="stochastic",
        eval_mode="stochastic",
    )


def _train(specs, nets, advance):
    """Train nets of one batch key; their curves, a frame each."""
    common = specs[0]
    data = datasets.load(common.dataset)
    (x, labels), (eval_x, eval_labels) = data.parts[common.train_on], data.parts[common.evaluate_on]
    count = len(specs)
    net = network.initial_parameters(common.seed, x.shape[1], common.hidden, data.classes)
    parameters = network.side_by_side([net] * count)
    moments = network.start_moments(common.estimator, count, common.hidden)
    order = shuffled_batches(common.seed, len(labels), common.epochs * common.steps_per_epoch)
    one_hot = np.eye(data.classes, dtype=np.float32)
    arrays = [tf.constant(a) for a in (x, one_hot[labels], eval_x, one_hot[eval_labels], order)]
    segment = functools.partial(_segment, estimator=common.estimator, stable=common.stable_loss)
    fixed = dict(
        seed=tf.constant(common.seed),
        learning_rate=_column(specs, "learning_rate", float),
        train_stochastic=_column(specs, "train_mode", lambda mode: mode == "stochastic"),
        eval_stochastic=_column(specs, "eval_mode", lambda mode: mode == "stochastic"),
    )
    rates = np.array([spec.slope_rate for spec in specs])
    in_training = np.array([spec.slope_in_training for spec in specs])
    diverged = tf.fill([count], -1)
    points, started = [], time.perf_counter()

    def evaluate(epoch, step, steps, kind):
        nonlocal parameters, moments, diverged
        slopes = rates**epoch
        parameters, moments, diverged, summed, valid = segment(
            *arrays, parameters, moments, diverged, tf.constant(step), tf.constant(steps),
            train_slope=tf.constant(np.where(in_training, slopes, 1.0), tf.float32),
            eval_slope=tf.constant(slopes, tf.float32), kind=tf.constant(kind), **fixed,
        )  # fmt: skip
        advance(count * steps)
        step += steps
        if kind == RECORD:
            points.append((epoch, step, "training", summed.numpy() / RECORD_EVERY))
        points.append((epoch, step, "validation" if kind == RECORD else "epoch", valid.numpy()))
        return step

    step = evaluate(0, 0, 0, EPOCH)
    for epoch in range(common.epochs):
        end = step + common.steps_per_epoch
        # the post records after the batches numbered 100, 200, ..., counting from 0
        for recorded in range(step + RECORD_EVERY + 1, end + 1, RECORD_EVERY):
            step = evaluate(epoch, step, recorded - step, RECORD)
        step = evaluate(epoch + 1, step, end - step, EPOCH)
    seconds = (time.perf_counter() - started) / count
    diverged = diverged.numpy()
    epochs, steps, metrics, values = zip(*points)
    return [
        pd.DataFrame(
            {"net": position, **_fields(spec), "after_epoch": epochs, "step": steps, "metric": metrics}
            | {"value": [float(value[i]) for value in values]}
            | {"diverged_step": int(diverged[i]), "seconds": seconds}
        )
        for i, (position, spec) in enumerate(zip(nets, specs))
    ]


def _fields(spec):
    fields = dataclasses.asdict(spec)
    return {**fields, "hidden": "-".join(map(str, spec.hidden))}


def _column(specs, field, convert):
    return tf.constant([convert(getattr(spec, field)) for spec in specs])


def shuffled_batches(seed, examples, steps):
    """Indices [steps, 50]: the data shuffled, walked through once, shuffled again, and so on.

    A batch may straddle two passes, as in the reader of the old TensorFlow tutorial.
    """
    passes = -(-steps * BATCH // examples)
    rngs = (np.random.Generator(np.random.Philox(key=[seed, SHUFFLE_STREAM + i])) for i in range(passes))
    order = np.concatenate([rng.permutation(examples) for rng in rngs])
    return order[: steps * BATCH].reshape(steps, BATCH).astype(np.int32)


def uniform_noise(seed, step, kind, rows, hidden, dtype=tf.float32):
    """Uniform noise [rows, H] for each hidden layer: a function of seed, step, use and shape."""
    return [
        tf.random.stateless_uniform(
            [rows, width], tf.stack([seed, (step * MAX_LAYERS + layer) * 3 + kind]), dtype=dtype, alg="philox"
        )
        for layer, width in enumerate(hidden)
    ]


def _unless_deterministic(noise, stochastic):
    """[R, B, H]: noise for a stochastic net, 1/2 for a deterministic one."""
    return [tf.where(stochastic[:, None, None], u, tf.constant(0.5, u.dtype)) for u in noise]


@tf.function(jit_compile=True, autograph=False)
def _segment(
    x, targets, eval_x, eval_targets, order, parameters, moments, diverged, start, steps,
    train_slope, eval_slope, kind, seed, learning_rate, train_stochastic, eval_stochastic,
    estimator, stable,
):  # fmt: skip
    """Train for `steps` mini-batches from number `start`, then evaluate; all on the device."""
    hidden = [weight.shape[-1] for weight, _ in parameters[:-1]]
    train_slope, eval_slope = train_slope[:, None, None], eval_slope[:, None, None]

    def step(t, parameters, moments, diverged, summed):
        rows = order[t]
        noise = uniform_noise(seed, t, TRAINING, BATCH, hidden)
        parameters, moments, losses, right = network.train_step(
            parameters, moments, tf.gather(x, rows), tf.gather(targets, rows),
            _unless_deterministic(noise, train_stochastic), train_slope, learning_rate, estimator, stable,
        )  # fmt: skip
        finite = tf.math.is_finite(tf.reduce_sum(losses, axis=-1))
        diverged = tf.where((diverged < 0) & ~finite, t, diverged)
        return t + 1, parameters, moments, diverged, summed + right

    end = start + steps
    _, parameters, moments, diverged, summed = tf.while_loop(
        lambda t, *_: t < end, step, (start, parameters, moments, diverged, tf.zeros_like(learning_rate))
    )
    noise = uniform_noise(seed, end, kind, eval_x.shape[0], hidden)
    _, logits = network.forward(
        parameters, eval_x, _unless_deterministic(noise, eval_stochastic), eval_slope, estimator
    )
    return parameters, moments, diverged, summed, network.accuracy(logits, eval_targets)
