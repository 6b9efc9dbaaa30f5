"""The same nets by the engines of this book, and as a user would train them without them.

Each peer is a function of the data that returns `train(steps)`, which trains on for that many mini-batches
and returns the nets' validation accuracies at their end; they are taken every 100 steps, too. The nets are
the post's: 784-100-10, sigmoid-adjusted straight-through, mini-batches of 50, plain SGD. In the usual
convention, mean cross-entropy, the post's learning rate counts five times.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import threadpoolctl

from bookkit import engines, runs
from bookkit.data import Data
from bookkit.settings import Settings
from bsn import curves
from bsn.spec import BATCH_SIZE, RECORD_EVERY, Spec

HIDDEN = 100
LEARNING_RATE = 0.3  # as the post counts it
USUAL_RATE = LEARNING_RATE * BATCH_SIZE / 10
SEED = 1

Train = Callable[[int], list[float]]


def rates(count: int, **fields: Any) -> list[Spec]:
    """Return nets that differ in their learning rates alone."""
    common = {"estimator": "sigmoid-adjusted", "seed": SEED, "epochs": 1, **fields}
    return [Spec(**common, learning_rate=LEARNING_RATE * (1 + i / 64)) for i in range(count)]


def ours(data: Data, nets: list[Spec], engine: str) -> Train:
    """Train as `bookkit.runs.run` does: nets side by side, one group per thread."""
    threads = Settings.from_environment().threads
    groups = [(specs, engines.nets_of(specs, data, engine)) for specs in runs.side_by_side(nets, threads)]

    def train(steps: int) -> list[float]:
        def of_group(specs: list[Spec], trained: Any) -> list[float]:
            longer = [dataclasses.replace(spec, steps_per_epoch=steps) for spec in specs]
            curves_of = curves.train(longer, data.parts, data.classes, engine=lambda _: trained)
            return [curve.points[-1][3] for curve in curves_of]

        with threadpoolctl.threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            return [accuracy for part in pool.map(of_group, *zip(*groups)) for accuracy in part]

    return train


def _batches(examples: int) -> Iterator[np.ndarray]:
    """Yield endless shuffled indices of mini-batches."""
    rng = np.random.default_rng(SEED)
    while True:
        yield from rng.permutation(examples)[: examples // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE)


def session_loop(data: Data) -> Train:
    """Train as in TensorFlow 1, and as the post does: a graph, placeholders and a session."""
    from bsn.backend import tf

    v1 = tf.compat.v1
    (x, labels), (eval_x, eval_labels) = (data.parts[part] for part in ("train", "validation"))
    one_hot = np.eye(10, dtype=np.float32)
    targets, eval_targets = one_hot[labels], one_hot[eval_labels]
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(SEED)
        images = v1.placeholder(tf.float32, [None, x.shape[1]])
        classes = v1.placeholder(tf.float32, [None, 10])

        def dense(h: Any, width: int) -> Any:
            weight = v1.get_variable(f"w{width}", [h.shape[1], width])
            return v1.matmul(h, weight) + v1.get_variable(f"b{width}", [width])

        p = tf.sigmoid(dense(images, HIDDEN))
        fires = tf.cast(v1.random_uniform(v1.shape(p)) < p, tf.float32)
        q = tf.nn.softmax(dense(p + tf.stop_gradient(fires - p), 10))
        loss = -tf.reduce_sum(tf.reduce_mean(classes * v1.log(q), axis=1))
        step = v1.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss)
        right = tf.equal(v1.argmax(q, 1), v1.argmax(classes, 1))
        accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
        session = v1.Session()
        session.run(v1.global_variables_initializer())
    batches = _batches(len(x))

    def train(steps: int) -> list[float]:
        for i in range(1, steps + 1):
            rows = next(batches)
            session.run(step, {images: x[rows], classes: targets[rows]})
            if i % RECORD_EVERY == 0:
                score = session.run(accuracy, {images: eval_x, classes: eval_targets})
        return [float(score)]

    return train


def jax_vmap_scan(data: Data, nets: int) -> Train:
    """Train in JAX: one net's training as a scan, mapped over the nets and compiled; mini-batches shared."""
    import jax
    import jax.numpy as jnp

    (x, labels), (eval_x, eval_labels) = [
        map(jnp.asarray, data.parts[part]) for part in ("train", "validation")
    ]

    @jax.custom_vjp
    def fires(p: Any, u: Any) -> Any:
        return (u < p).astype(p.dtype)

    # the sample is passed to p unchanged: sigmoid's own derivative adjusts it
    fires.defvjp(lambda p, u: (fires(p, u), None), lambda _, upstream: (upstream, None))

    def initial(key: Any) -> Any:
        glorot = jax.nn.initializers.glorot_uniform()
        shapes = (x.shape[1], HIDDEN), (HIDDEN, 10)
        return [(glorot(k, shape), jnp.zeros(shape[1])) for k, shape in zip(jax.random.split(key), shapes)]

    def forward(parameters: Any, images: Any, key: Any) -> Any:
        (w0, b0), (w1, b1) = parameters
        p = jax.nn.sigmoid(images @ w0 + b0)
        return fires(p, jax.random.uniform(key, p.shape)) @ w1 + b1

    def loss(parameters: Any, images: Any, classes: Any, key: Any) -> Any:
        log_q = jax.nn.log_softmax(forward(parameters, images, key))
        return -jnp.mean(jnp.take_along_axis(log_q, classes[:, None], axis=1))

    def step(carry: Any, rows: Any) -> Any:
        parameters, key = carry
        key, draw = jax.random.split(key)
        gradients = jax.grad(loss)(parameters, x[rows], labels[rows], draw)
        return (jax.tree.map(lambda p, g: p - USUAL_RATE * g, parameters, gradients), key), None

    def hundred(carry: Any, rows: Any) -> Any:
        (parameters, key), _ = jax.lax.scan(step, carry, rows)
        key, draw = jax.random.split(key)
        right = forward(parameters, eval_x, draw).argmax(1) == eval_labels
        return (parameters, key), right.mean()

    compiled = jax.jit(jax.vmap(functools.partial(jax.lax.scan, hundred), in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(SEED), nets)
    carry = (jax.vmap(initial)(keys), keys)
    batches = _batches(len(labels))

    def train(steps: int) -> list[float]:
        nonlocal carry
        order = np.stack([next(batches) for _ in range(steps)]).reshape(-1, RECORD_EVERY, BATCH_SIZE)
        carry, scores = compiled(carry, jnp.asarray(order.astype(np.int32)))
        return np.asarray(scores)[:, -1].tolist()

    return train
