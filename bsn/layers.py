"""A Keras layer over the samplers, the estimators whose gradient flows back through the sample."""

from bsn.backend import load_tensorflow, tf

load_tensorflow()  # before Keras, which would import it with its noise
import keras  # noqa: E402

from bsn.errors import InputError
from bsn.estimators import ESTIMATORS
from bsn.spec import MODES, positive, refusal

SAMPLERS = [name for name, entry in ESTIMATORS.items() if entry.kind == "sampler" and entry.noise in (0, 1)]


@keras.saving.register_keras_serializable(package="bsn")
class BinaryStochastic(keras.layers.Layer):
    """Binary stochastic units as an activation: logits in, samples out.

    Args:
        estimator: the name of a sampler in `bsn.estimators.ESTIMATORS` that needs one uniform a unit.
            The gradient estimators need each example's loss, which a layer does not see: call them
            yourself, or `bookkit.runs.run`.
        slope: s > 0 in sigmoid(s a).
        train_mode, eval_mode: "stochastic" or "deterministic" for `training` true and false.
        seed: of the sampling; None draws one.

    Input and output: any shape, of the layer's floating type.

    Raises:
        InputError: a value outside what is allowed.

    >>> import keras, numpy as np
    >>> from bsn import BinaryStochastic
    >>> model = keras.Sequential(
    ...     [keras.layers.Dense(16), BinaryStochastic(seed=0), keras.layers.Dense(1)]
    ... )
    >>> model.compile("sgd", "mse", jit_compile=True)
    >>> x = np.ones([8, 4], "float32")
    >>> history = model.fit(x, x[:, :1], epochs=2, verbose=0)
    >>> hidden = model.layers[1](model.layers[0](x))
    >>> sorted(set(np.unique(hidden)) | {0.0, 1.0}) == [0.0, 1.0]
    True

    Reference: Bengio, Léonard, Courville 2013, arXiv:1308.3432.
    """

    def __init__(
        self,
        estimator="sigmoid-adjusted",
        slope=1.0,
        train_mode="stochastic",
        eval_mode="stochastic",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if estimator not in SAMPLERS:
            raise InputError(
                f"BinaryStochastic: estimator is {estimator!r}; expected one of {', '.join(SAMPLERS)}"
            )
        positive(slope, "BinaryStochastic: slope")
        for mode in (train_mode, eval_mode):
            if not isinstance(mode, str) or mode not in MODES:
                raise refusal("BinaryStochastic: mode", mode, " or ".join(MODES))
        self.estimator, self.slope, self.seed = estimator, slope, seed
        self.train_mode, self.eval_mode = train_mode, eval_mode
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, logits, training=None):
        mode = self.train_mode if training else self.eval_mode
        if mode == MODES[0]:
            noise = keras.random.uniform(tf.shape(logits), dtype=logits.dtype, seed=self.seed_generator)
        else:
            noise = tf.constant(0.5, logits.dtype)
        return ESTIMATORS[self.estimator].function(logits, noise, tf.cast(self.slope, logits.dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        names = ("estimator", "slope", "train_mode", "eval_mode", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
