"""Straight-through estimators: sample forward, pretend a smooth function backward.

All are samplers (see `bsn.estimators`), biased, evaluate f once, at b, and use its derivative there.
The slope s is 1 unless given; shapes are as in `sample`.
"""

from bsn.backend import tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import sample


def straight_through(logits, value, derivative):
    """`value` forward, `derivative` in place of its derivative in the logits backward."""

    @tf.custom_gradient
    def unit(logits):
        del logits
        return value, lambda upstream: upstream * derivative

    return unit(logits)


@register(
    title="Sigmoid",
    kind="sampler",
    bias="biased, except where f is linear in each unit",
    evaluations=1,
    derivative="p",
    noise=0,
    reference="",
)
def sigmoid(logits, noise, slope=1.0):
    """The deterministic unit p = sigmoid(s a), no sample: g = f'(p) s p (1 - p), exact for f(p).

    For E[f(b)] it is biased, except where f is linear in each unit. The noise is not used.
    """
    del noise
    return tf.sigmoid(slope * logits)


@register(
    title="Pass-through",
    kind="sampler",
    bias="biased",
    evaluations=1,
    derivative="b",
    noise=1,
    reference="Bengio, Léonard, Courville 2013, arXiv:1308.3432",
)
def pass_through(logits, noise, slope=1.0):
    """Straight-through estimator with the identity as derivative: g = f'(b).

    With a slope, only the forward pass uses it. Biased: even where f is linear, by 1 / (p (1 - p)).

    Reference: Bengio, Léonard, Courville 2013, arXiv:1308.3432.

    >>> import tensorflow as tf
    >>> a = tf.constant([0.0, 0.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(a)
    ...     loss = tf.reduce_sum(3.0 * pass_through(a, noise=tf.constant([0.4, 0.6])))
    >>> float(loss), tape.gradient(loss, a).numpy().tolist()
    (3.0, [3.0, 3.0])
    """
    b = sample(logits, noise, slope)
    return straight_through(logits, b, tf.ones_like(b))


@register(
    title="Sigmoid-adjusted",
    kind="sampler",
    bias="biased, except where f is linear in each unit",
    evaluations=1,
    derivative="b",
    noise=1,
    reference="Bengio, Léonard, Courville 2013, arXiv:1308.3432",
)
def sigmoid_adjusted(logits, noise, slope=1.0):
    """Straight-through estimator with the sigmoid's derivative: g = f'(b) s p (1 - p).

    Biased, except where f is linear in each unit: in the mean p f'(1) + (1 - p) f'(0) stands in place of
    f(1) - f(0). A slope that grows during training is *slope annealing*.

    References: Bengio, Léonard, Courville 2013, arXiv:1308.3432; for the slope (of a hard sigmoid),
    Chung, Ahn, Bengio 2016, arXiv:1609.01704.
    """
    p = tf.sigmoid(slope * logits)
    return straight_through(logits, sample(logits, noise, slope), slope * p * (1 - p))


@register(
    title="Fires-only",
    kind="sampler",
    bias="biased",
    evaluations=1,
    derivative="b",
    noise=1,
    reference="R2RT 2016",
)
def fires_only(logits, noise, slope=1.0):
    """Straight-through estimator that passes only where the unit fired: g = f'(b) b.

    Biased: its mean is p f'(1). This is what R2RT's code computed before January 2017.
    """
    b = sample(logits, noise, slope)
    return straight_through(logits, b, b)


@register(
    title="ReinMax",
    kind="sampler",
    bias="biased, except where f is quadratic in each unit",
    evaluations=1,
    derivative="b",
    noise=1,
    reference="Liu et al. 2023, arXiv:2304.08612",
)
def reinmax(logits, noise, slope=1.0):
    """ReinMax for binary units at temperature 1: ``g = f'(b) s |b - p| / 2``.

    In the mean (f'(0) + f'(1)) / 2 stands in place of f(1) - f(0), the trapezoidal rule: biased,
    except where f is at most quadratic in each unit; of a cubic, by s p (1 - p) f''' / 12. The same as DARN's
    estimator, a REINFORCE whose baseline f(b) + f'(b) (1/2 - b) extends f from b to 1/2.

    References: Liu et al. 2023, arXiv:2304.08612; Gregor et al. 2014, arXiv:1310.8499.

    >>> import tensorflow as tf
    >>> a = tf.constant([0.0])
    >>> with tf.GradientTape() as tape:  # of a square, whose derivative is 2 at b = 1
    ...     tape.watch(a)
    ...     loss = tf.reduce_sum(reinmax(a, noise=tf.constant([0.4])) ** 2)
    >>> tape.gradient(loss, a).numpy().tolist()
    [0.5]
    """
    b = sample(logits, noise, slope)
    return straight_through(logits, b, slope * tf.abs(b - tf.sigmoid(slope * logits)) / 2)
