"""One training step, and the inner loop: a graph of many steps."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from dvae import schedules
from dvae.config import Config
from dvae.data import Dataset
from dvae.systems import PRIOR_SAMPLERS, build_model, objective_of
from dvae.train_state import TrainState
from samplers.log_partition import log_z_with_gradient

# Streams of random numbers that belong to a run's seed: (run seed, stream) is an int32[2] seed.
_STATE_STREAM, _STEP_STREAM = 1, 2


class StepSeeds(NamedTuple):
    """The seeds of one step, named for their consumers."""

    binarization: tf.Tensor
    prior: tf.Tensor
    posterior: tf.Tensor

    @classmethod
    def of(cls, run_seed: int, step: tf.Tensor) -> StepSeeds:
        step_seed = tf.random.fold_in(tf.constant([run_seed, _STEP_STREAM]), tf.cast(step, tf.int32))
        return cls(*tf.unstack(tf.random.split(step_seed, len(cls._fields))))


def new_state(config: Config, dataset: Dataset) -> TrainState:
    """The state before step 0."""
    model = build_model(config, dataset.mean_pixel)
    rate = schedules.learning_rate(base=config.learning_rate, num_steps=config.num_steps)
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-3)
    optimizer.build(model.trainable_variables)
    sampler = PRIOR_SAMPLERS[config.prior_sampler](config)
    return TrainState(
        model=model,
        optimizer=optimizer,
        num_examples=len(dataset.train),
        num_samples=config.num_samples,
        prior_state=lambda rbm, seed: sampler.initial_state(rbm, num_chains=config.num_particles, seed=seed),
        seed=tf.constant([config.seed, _STATE_STREAM]),
    )


class Trainer:
    """Runs training steps on the device.

    Args:
      config: validated.
      dataset: its training split stays in memory in its own type.
      state: what the steps change.

    Attributes:
      metrics: names of what a step returns, float32 scalars.
    """

    def __init__(self, config: Config, dataset: Dataset, state: TrainState) -> None:
        self.config = config
        self.state = state
        self._examples = tf.constant(dataset.train)
        self._dynamic = dataset.dynamic
        sampler = PRIOR_SAMPLERS[config.prior_sampler](config)
        self._prior_step = tf.function(sampler.step, jit_compile=True)
        self._objective = objective_of(config)
        model = state.model
        self._of_encoder = model.posterior.trainable_variables
        self._of_generator = [*model.prior.trainable_variables, *model.likelihood.trainable_variables]
        self.metrics = (*self._objective.metrics, "kl_weight", *(f"prior_{name}" for name in sampler.info))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def run_steps(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step for each row of `indices [steps, B]`; the *sums* over the steps of what `step` returns."""
        totals = {name: tf.constant(0.0) for name in self.metrics}
        for row in tf.range(tf.shape(indices)[0]):
            metrics = self.step(tf.ensure_shape(indices[row], [self.config.batch_size]))
            totals = {name: totals[name] + metrics[name] for name in self.metrics}
        return totals

    def step(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """One parameter update on examples `index [B]`: Algorithm 1 of [DVAE##], its kin by objective and posterior."""
        config, state = self.config, self.state
        seeds = StepSeeds.of(config.seed, state.global_step)
        x = self._batch(index, seeds.binarization)
        kl_weight = schedules.kl_weight(state.global_step, warmup=config.kl_warmup, num_steps=config.num_steps)

        prior_state, prior_info = self._move_prior(seeds.prior)
        metrics, chains = self._update(
            x, state.chains.read(index), prior_state.left, prior_state.log_z, kl_weight=kl_weight, seed=seeds.posterior
        )
        state.chains.write(index, chains)
        state.global_step.assign_add(1)
        of_prior = {f"prior_{name}": tf.cast(value, tf.float32) for name, value in prior_info._asdict().items()}
        return metrics | {"kl_weight": kl_weight} | of_prior

    def _update(self, x, chains, particles, log_z, *, kl_weight, seed):
        """Gradients and parameter update, given the prior's particles; returns metrics and the next chains.

        A graph of a few compiled pieces, which run at the same time where they can: the particles are needed for the
        divergence only, so encoder and decoder compute beside the prior's sweeps.
        """
        model = self.state.model
        generator, encoder = ([v.value for v in variables] for variables in (self._of_generator, self._of_encoder))
        with tf.GradientTape(persistent=True) as tape:
            sample = model.posterior.sample_relaxed(x, num_samples=self.config.num_samples, seed=seed, chains=chains)
            prior = model.prior.rbm()
            terms = model.relaxed_terms(x, sample, prior=prior, log_z=log_z_with_gradient(prior, particles, log_z))
            objective = self._objective.combine(terms.log_likelihood, terms.divergence, kl_weight=kl_weight)
        if objective.inference_loss is objective.generative_loss:
            gradients = tape.gradient(objective.generative_loss, generator + encoder)
        else:
            gradients = tape.gradient(objective.generative_loss, generator)
            gradients += tape.gradient(objective.inference_loss, encoder)
        self._apply(gradients)
        return objective.metrics, sample.chains

    @tf.function(jit_compile=True)
    def _apply(self, gradients: list[tf.Tensor]) -> None:
        """Adds the gradient of the weight decay and updates the parameters, the generator's first.

        Compiled, so that large kernels pass through memory once for all of it.
        """
        model, optimizer = self.state.model, self.state.optimizer
        variables = [*self._of_generator, *self._of_encoder]
        with tf.GradientTape() as tape:
            weight_decay = tf.add_n(model.losses)
        decay = tape.gradient(weight_decay, [v.value for v in variables], unconnected_gradients="zero")
        optimizer.apply([g + d for g, d in zip(gradients, decay, strict=True)], variables)

    def _batch(self, index: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The examples as binary float32 `[B, D]`; grey ones are binarized afresh."""
        x = tf.cast(tf.gather(self._examples, index), tf.float32)
        if self._dynamic:
            x = tf.cast(tf.random.stateless_uniform(tf.shape(x), seed) < x, tf.float32)
        return x

    def _move_prior(self, seed: tf.Tensor):
        """Brings the prior's particles to its current parameters."""
        rbm, sweeps = self.state.model.prior.rbm(), self.config.prior_sweeps
        prior_state, info = self._prior_step(rbm, self.state.read_prior(), seed, num_sweeps=sweeps)
        self.state.write_prior(prior_state)
        return prior_state, info
