"""A Keras layer over the samplers, the estimators whose gradient flows back through the sample."""

from typing import Any

from bsn.backend import Tensor, keras, tf
from bsn.estimators import ESTIMATORS
from bsn.spec import MODES, check_choice, check_positive

SAMPLERS = tuple(name for name, entry in ESTIMATORS.items() if entry.deterministic)


@keras.saving.register_keras_serializable(package="bsn")
class BinaryStochastic(keras.layers.Layer):
    """Binary stochastic units as an activation: logits in, samples out, of any shape.

    Args:
        estimator: the name of a sampler of one uniform per unit. The gradient estimators need each example's
            loss, which a layer does not see: call them yourself.
        slope: s > 0 in sigmoid(s a).
        train_mode, eval_mode: "stochastic" or "deterministic" for `training` true and false.
        seed: of the sampling; None draws one.

    Raises:
        InputError: an argument has another value.

    >>> import keras, numpy as np
    >>> from bsn import BinaryStochastic
    >>> layers = [keras.layers.Dense(16), BinaryStochastic(seed=0), keras.layers.Dense(1)]
    >>> model = keras.Sequential(layers)
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
        estimator: str = "sigmoid-adjusted",
        slope: float = 1.0,
        train_mode: str = "stochastic",
        eval_mode: str = "stochastic",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.estimator = check_choice(estimator, SAMPLERS, "BinaryStochastic: estimator")
        self.slope = check_positive(slope, "BinaryStochastic: slope")
        self.train_mode = check_choice(train_mode, MODES, "BinaryStochastic: train_mode")
        self.eval_mode = check_choice(eval_mode, MODES, "BinaryStochastic: eval_mode")
        self.seed, self.seed_generator = seed, keras.random.SeedGenerator(seed)

    def call(self, logits: Tensor, training: bool | None = None) -> Tensor:
        if (self.train_mode if training else self.eval_mode) == "stochastic":
            noise = keras.random.uniform(tf.shape(logits), dtype=logits.dtype, seed=self.seed_generator)
        else:
            noise = tf.constant(0.5, logits.dtype)
        return ESTIMATORS[self.estimator].function(logits, noise, tf.cast(self.slope, logits.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("estimator", "slope", "train_mode", "eval_mode", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
