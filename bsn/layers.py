"""A Keras layer over the samplers, the estimators whose gradient flows back through the sample."""

from __future__ import annotations

from typing import Any

from bsn.backend import Scalar, Tensor, keras, tf
from bsn.errors import InputError, refusal
from bsn.estimators import ESTIMATORS
from bsn.spec import MAX_COUNT, MODES, check_choice, check_positive, check_whole
from bsn.training import DRAWS

SAMPLERS = tuple(name for name, entry in ESTIMATORS.items() if entry.kind == "sampler")
SLOPES = ("train_slope", "eval_slope")
MAX_SEED = 2**63 - 1


@keras.saving.register_keras_serializable(package="bsn")
class BinaryStochastic(keras.layers.Layer):
    """Binary stochastic units as an activation: logits in, samples out, of any shape, including ragged ones.

    The slopes for training and for evaluation are weights, `train_slope` and `eval_slope`, saved with the
    others.
    Assign a number to either, or to `slope` for both; a compiled model uses the new value.
    `SlopeAnnealing` does so after each epoch.

    Args:
        estimator: the name of a sampler; "gumbel-rao" uses K = 10. The gradient estimators need each
            example's loss, which a layer does not see: call them yourself, or `bsn.expectation`.
        slope: the initial value of s > 0 in sigmoid(s a).
        train_mode: the mode if `training` is true, "stochastic" or "deterministic"; "gumbel-rao" has no
            deterministic mode.
        eval_mode: the mode if `training` is false, as in `predict`, `evaluate` and a plain call.
        seed: for the sampling, a non-negative integer; None draws one.

    If the layer is called with `noise`, uniform and of the shape that the estimator takes, the stochastic
    mode uses this noise and draws none. Inside `tf.recompute_grad` you must pass the noise: resampled noise
    would give the gradient of a different sample.

    Raises:
        InputError: an argument has an invalid value.

    >>> BinaryStochastic(eval_mode="deterministic")(tf.constant([-1.0, 1.0])).numpy().tolist()
    [0.0, 1.0]

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
        super().__init__(autocast=False, **kwargs)  # noise would be cast to half precision too
        self.supports_masking = True
        self.estimator = check_choice(estimator, SAMPLERS, "BinaryStochastic: estimator")
        self.train_mode = check_choice(train_mode, MODES, "BinaryStochastic: train_mode")
        self.eval_mode = check_choice(eval_mode, MODES, "BinaryStochastic: eval_mode")
        if "deterministic" in (train_mode, eval_mode) and not ESTIMATORS[estimator].deterministic:
            raise InputError(f"BinaryStochastic: {estimator} has no deterministic mode; expected stochastic")
        self.seed = None if seed is None else check_whole(seed, 0, MAX_SEED, "BinaryStochastic: seed")
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.initial_slope = check_positive(slope, "BinaryStochastic: slope")
        initial = keras.initializers.Constant(self.initial_slope)
        scalar = dict(shape=(), initializer=initial, dtype="float32", trainable=False, autocast=False)
        self.train_slope = self.add_weight(name="train_slope", **scalar)
        self.eval_slope = self.add_weight(name="eval_slope", **scalar)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a slope to its weights; compiled steps would not see an attribute in their place."""
        if name not in (*SLOPES, "slope") or not hasattr(self, SLOPES[-1]):
            super().__setattr__(name, value)
            return
        value = check_positive(value, f"BinaryStochastic: {name}")
        for weight in SLOPES if name == "slope" else (name,):
            getattr(self, weight).assign(value)

    @property
    def slope(self) -> float:
        """The slope for training; assigning to it also sets the slope for evaluation."""
        return float(self.train_slope)

    def call(self, logits: Tensor, training: bool | None = None, noise: Scalar | None = None) -> Tensor:
        if isinstance(logits, tf.RaggedTensor):
            return logits.with_flat_values(self.call(logits.flat_values, training, noise))
        logits, entry = tf.cast(logits, self.compute_dtype), ESTIMATORS[self.estimator]
        # half precision has too few uniforms to get the rates right
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        if (self.train_mode if training else self.eval_mode) == "deterministic":
            noise = 0.5
        elif noise is None:
            shape = tf.shape(logits)
            if entry.noise == "1 + K":
                shape = tf.concat([[1 + DRAWS], shape], axis=0)
            noise = keras.random.uniform(shape, dtype=dtype, seed=self.seed_generator)
        slope = self.train_slope if training else self.eval_slope
        return entry.function(logits, tf.cast(noise, dtype), tf.cast(slope, dtype))

    def get_config(self) -> dict[str, Any]:
        names = ("estimator", "train_mode", "eval_mode", "seed")
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config, "slope": self.initial_slope}


class SlopeAnnealing(keras.callbacks.Callback):
    """Slope annealing: multiply the slopes of all `BinaryStochastic` layers in a model after each epoch.

    During epoch e = 1, 2, ... the slope is s rate^(e - 1). `fit` evaluates its `validation_data` at this
    slope too, because Keras evaluates before it ends the epoch; the evaluations within an epoch in R2RT's
    code use it too. An evaluation or a saved model after epoch e has the slope s rate^e. The slope is capped
    at 1000000.

    In the list of callbacks, put this one before those that save the model. A saved model then resumes with
    the slope of its next epoch.

    Args:
        rate: the factor, above 0; 1.1 in the post.
        in_training: whether the slope used in training is multiplied too. The post's code does not do so. In
            the book's experiment 3, annealing in training too lost accuracy compared with annealing in
            evaluation alone, and more at larger learning rates; pass False for what the post's code does.
        in_evaluation: whether the slope used in evaluation is multiplied.

    Raises:
        InputError: an argument has an invalid value, or the model has no such layer when `fit` starts.

    >>> import keras, numpy as np
    >>> from bsn import BinaryStochastic, SlopeAnnealing
    >>> unit = BinaryStochastic(seed=0)
    >>> model = keras.Sequential([keras.layers.Dense(16), unit, keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x = np.ones([8, 4], "float32")
    >>> annealing = SlopeAnnealing(1.1, in_training=False)
    >>> history = model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[annealing])
    >>> round(float(unit.train_slope), 4), round(float(unit.eval_slope), 4)
    (1.0, 1.21)

    Reference: Chung, Ahn, Bengio 2016, arXiv:1609.01704.
    """

    def __init__(self, rate: float, in_training: bool = True, in_evaluation: bool = True) -> None:
        super().__init__()
        self.rate = check_positive(rate, "SlopeAnnealing: rate")
        for name, value in dict(in_training=in_training, in_evaluation=in_evaluation).items():
            if not isinstance(value, bool):
                raise refusal(f"SlopeAnnealing: {name}", value, "true or false")
        self.in_training, self.in_evaluation = in_training, in_evaluation

    def on_train_begin(self, logs: Any = None) -> None:
        layers = self.model._flatten_layers()  # nested ones too, each once
        self.layers = [layer for layer in layers if isinstance(layer, BinaryStochastic)]
        if not self.layers:
            raise InputError("SlopeAnnealing: the model has no BinaryStochastic layer")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        slopes = [layer.train_slope for layer in self.layers if self.in_training]
        slopes += [layer.eval_slope for layer in self.layers if self.in_evaluation]
        for slope in slopes:
            slope.assign(min(self.rate * float(slope), MAX_COUNT))
