"""The training step: any estimator through `bsn.expectation`, and what the estimator leaves to its caller.

Inside f the logits are constants. What f's own dependence on them adds, E[b - p] by log q, is 0 for samples b
and left out for them, as in DisARM's code; Concrete's relaxed y has another mean, and there it is added.
The decoder and the prior descend f at the same samples. ARM and DisARM estimate the same from noise u and
1 - u, so the mean of both losses leaves their estimate as it is, and the decoder learns from their pair.
"""

import functools
from typing import Any

import numpy as np

from bookkit.studies.vae.model import Net, encode, forward, glorot, negative_elbo
from bsn import expectation
from bsn.backend import Loss, Tensor, keras, tf
from bsn.estimators import ESTIMATORS, gradient, sample, variance_gradient
from bsn.training import further_noise

RATE, PRIOR_RATE = 1e-4, 1e-2  # Adam's for encoder and decoder; plain descent's for the prior
CALLER_RATE = 1e-3  # Adam's for what the caller learns: baseline, scale, temperature, surrogate
TEMPERATURE = 0.5  # Concrete's, by default, and where REBAR and RELAX begin
BASELINE, SURROGATE = 100, 137  # hidden units: NVIL's paper's, DisARM's code's
DECAY = 0.8  # of the constant part of NVIL's baseline


class Trainer:
    """Trains a net by one estimator."""

    def __init__(self, estimator: str, net: Net, seed: int) -> None:
        self.estimator, self.net = estimator, net
        self.planes = 2 if ESTIMATORS[estimator].noise == "K" else 1  # uniforms per latent and step
        self.has_control_variate = estimator in ("rebar", "relax")
        pixels, latents = net.mean.shape[0], net.prior.shape[0]
        widths = {"nvil": [pixels, BASELINE, 1], "relax": [pixels + latents, SURROGATE, 1]}.get(estimator, [])
        # what the estimator leaves to its caller; a net among it outputs 0 at first
        self.learned: list[Any] = glorot(np.random.default_rng([seed, 2]), widths)
        if self.learned:
            self.learned[-1][0].assign(tf.zeros_like(self.learned[-1][0]))
        if self.has_control_variate:
            self.learned += [tf.Variable(1.0), tf.Variable(tf.math.log(TEMPERATURE))]
        adam, descent = keras.optimizers.Adam, keras.optimizers.SGD
        self.optimizers = [adam(RATE), descent(PRIOR_RATE), adam(CALLER_RATE)]
        for optimizer, variables in zip(self.optimizers, self.variables()):
            optimizer.build(tf.nest.flatten(variables))

    def variables(self) -> list[Any]:
        """Return what is trained, in the order of `optimizers`."""
        return [[self.net.encoder, self.net.decoder], self.net.prior, self.learned]

    def options(self, x: Tensor, f: Loss, state: Tensor) -> dict[str, Any]:
        """Return the options of `bsn.expectation` that are computed from `learned`."""
        if self.estimator == "nvil":
            return {"baseline": state + forward(self.learned, x - self.net.mean, tf.tanh)[:, 0]}
        if not self.has_control_variate:
            return {}
        *net, scale, log_temperature = self.learned
        temperature = tf.exp(log_temperature)
        if self.estimator == "rebar":
            return {"eta": scale, "temperature": temperature}

        def surrogate(z: Tensor) -> Tensor:
            return scale * f(tf.sigmoid(z / temperature)) + forward(net, tf.concat([x, z], -1))[:, 0]

        return {"surrogate": surrogate}

    def gradients(self, x: Tensor, u: Tensor, state: Tensor) -> tuple[list[Any], Tensor, Tensor]:
        """Estimate one step's gradients.

        Args:
            x, u: images [B, D], and uniform noise [planes, B, H].
            state: the estimator's, or the constant part of NVIL's baseline; 0 at first.

        Returns:
            The gradients of `variables`, the new state, and the ELBO, averaged over the batch.
        """
        with tf.GradientTape() as tape:
            logits = encode(self.net, x)
            constant = tf.stop_gradient(logits)
            noise = further_noise(self.estimator, constant, u if self.planes > 1 else u[0])
            inside = logits if self.estimator == "concrete" else constant
            f = functools.partial(negative_elbo, self.net, x, inside)
            options = self.options(x, f, state)
            noises = [noise, 1 - noise] if self.estimator in ("arm", "disarm") else [noise]
            results = [expectation(f, logits, self.estimator, u, state, **options) for u in noises]
            loss, after = tf.reduce_mean([loss for loss, _ in results], 0), results[0][1]
            objective = tf.reduce_mean(loss)
            if self.estimator == "nvil":  # its baseline descends the squared error
                objective += tf.reduce_mean(tf.square(tf.stop_gradient(loss) - options["baseline"]))
                after = DECAY * state + (1 - DECAY) * tf.reduce_mean(loss)
        slopes = tape.gradient(objective, self.variables())
        if self.has_control_variate:  # it descends the variance
            _, slopes[-1] = variance_gradient(
                lambda: gradient(self.estimator, f, constant, noise, **self.options(x, f, state))[0],
                tf.nest.flatten(self.learned),
            )
        if self.estimator == "concrete":  # the bound is the binary net's
            loss = f(sample(logits, noise))
        return slopes, after, -tf.reduce_mean(loss)

    @tf.function(jit_compile=True, autograph=False)
    def train(self, images: Tensor, batches: Tensor, noise: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step for each row of `batches`, [steps, B], which has positions of images [N, D].

        Noise is uniform, [steps, planes, B, H], the state as in `gradients`. Returns the new state and the
        mean of the ELBO over these steps, each at the parameters before it.
        """

        def step(before: tuple[Tensor, Tensor], batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            x = tf.cast(tf.gather(images, batch[0]), tf.float32)
            slopes, state, elbo = self.gradients(x, batch[1], before[0])
            for optimizer, values, variables in zip(self.optimizers, slopes, self.variables()):
                optimizer.apply(tf.nest.flatten(values), tf.nest.flatten(variables))
            return state, elbo

        states, elbos = tf.scan(step, (batches, noise), (state, 0.0))
        return states[-1], tf.reduce_mean(elbos)
