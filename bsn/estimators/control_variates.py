"""Control variates: REINFORCE less something correlated with it, whose mean is added in a better form.

All are unbiased, whatever the control variate; how good it is decides the variance alone.
"""

from bsn.backend import tf
from bsn.estimators.registry import register
from bsn.estimators.sampling import conditional_logistic, logistic, sample


@register(
    title="MuProp",
    kind="gradient",
    bias="unbiased",
    evaluations=2,
    derivative="p",
    noise=1,
    reference="Gu et al. 2016, arXiv:1511.05176",
)
def muprop(f, logits, noise):
    """MuProp: f's first-order expansion around p as control variate. Two evaluations, at b and p.

    g = (f(b) - f(p) - f'(p) (b - p)) (b - p) + f'(p) p (1 - p), with f'(p) (b - p) summed over units.
    f must be differentiable, and is differentiated at p alone. No variance where f is linear. In a net
    of several layers the paper's f(p) is the mean-field pass, p in place of b in all layers.

    Reference: Gu, Levine, Sutskever, Mnih 2016, arXiv:1511.05176.

    >>> import tensorflow as tf
    >>> muprop(lambda b: 3.0 * b[..., 0], tf.zeros([1, 1]), tf.constant([[0.3]])).numpy().tolist()
    [[0.75]]
    """
    b, p = sample(logits, noise), tf.stop_gradient(tf.sigmoid(logits))
    with tf.GradientTape() as tape:
        tape.watch(p)
        at_mean = f(p)
    derivative = tape.gradient(at_mean, p, unconnected_gradients="zero")
    residual = f(b) - at_mean - tf.reduce_sum(derivative * (b - p), axis=-1)
    return residual[..., None] * (b - p) + derivative * p * (1 - p)


@register(
    title="REBAR",
    kind="gradient",
    bias="unbiased",
    evaluations=3,
    derivative="y, y~",
    noise=2,
    reference="Tucker et al. 2017, arXiv:1703.07370",
    state="eta and temperature, its caller's",
)
def rebar(f, logits, noise, eta=1.0, temperature=0.5):
    """REBAR: f at the relaxed sample as control variate. Three evaluations, at b, y and y~.

    g = (f(b) - eta f(y~)) (b - p) + eta d/da (f(y) - f(y~)), for y = sigmoid(z / t) and y~ of z~. This is
    `relax` with the surrogate c(z) = eta f(sigmoid(z / t)). f must be differentiable between 0 and 1.

    Args:
        noise: [2, ..., H], for b and z, and for z~; see `sampling.tied` for the paper's coupled noise.
        eta, temperature: scale of the control variate and t > 0; `variance_gradient` gives the
            gradient that the paper tunes them by. Its experiments relax to
            sigmoid(z / t + a t / (t + 1)) instead, which as t grows nears MuProp's point p.

    Reference: Tucker et al. 2017, arXiv:1703.07370.
    """
    return relax(f, logits, noise, lambda z: eta * f(tf.sigmoid(z / temperature)))


@register(
    title="RELAX",
    kind="gradient",
    bias="unbiased",
    evaluations=1,
    derivative="",
    noise=2,
    reference="Grathwohl et al. 2018, arXiv:1711.00123",
    state="surrogate, its caller's",
    caller="surrogate",
)
def relax(f, logits, noise, surrogate):
    """RELAX: a learned function of z as control variate. One evaluation of f, at b; two of the surrogate.

    g = (f(b) - c(z~)) (b - p) + d/da (c(z) - c(z~)), for z = a - logit(u), of which b is the sign, and z~
    another such z given b, whose noise depends on a: the derivative goes through that too (see
    `conditional_logistic`). f need not be differentiable, c must be.

    Args:
        noise: as in `rebar`.
        surrogate: c, maps z [..., H] to [...]. Its parameters are its caller's, learned by descending the
            estimate's variance; see `variance_gradient`.

    Reference: Grathwohl et al. 2018, arXiv:1711.00123.
    """
    b = sample(logits, noise[0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        conditional = surrogate(conditional_logistic(logits, b, noise[1]))
        difference = surrogate(logistic(logits, noise[0])) - conditional
    correction = tape.gradient(difference, logits, unconnected_gradients="zero")
    return (f(b) - conditional)[..., None] * (b - tf.sigmoid(logits)) + correction


def variance_gradient(estimate, variables):
    """An estimate, and the gradient of its variance in the parameters of its control variate.

    Since these don't change the mean, the gradient of g^2, summed over all units and examples, is an
    unbiased estimate of the gradient of their variances' sum.

    Args:
        estimate: a function without arguments that returns g, say a call of `relax`.
        variables: list of tensors or variables that it depends on.

    Returns:
        g, and a list of gradients as `variables`.

    >>> import tensorflow as tf
    >>> eta = tf.Variable(0.5)
    >>> u = tf.constant([[[0.3]], [[0.8]]])
    >>> g, [slope] = variance_gradient(
    ...     lambda: rebar(lambda b: (b[..., 0] - 0.45) ** 2, tf.zeros([1, 1]), u, eta), [eta]
    ... )
    >>> g.shape, slope.shape
    (TensorShape([1, 1]), TensorShape([]))
    """
    with tf.GradientTape() as tape:
        tape.watch(variables)
        g = estimate()
        squared = tf.reduce_sum(tf.square(g))
    return g, tape.gradient(squared, variables)
