"""Training steps, and the inner loop: a graph of many steps."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from dvae.compiling import compiled
from dvae.config import Config
from dvae.data import Dataset
from dvae.published import ADAM_EPSILON
from dvae.training import schedules
from dvae.training.losses import Loss, PriorParticles
from dvae.training.objectives import Objective
from dvae.training.prior_sampler import PriorSampler
from dvae.training.train_state import TrainState
from samplers import random
from samplers.tracing import plain

# Streams of random numbers that belong to a run's seed: (run seed, stream) is an int32[2] seed.
_STATE_STREAM, _STEP_STREAM = 1, 2


def state_seed(config: Config) -> tf.Tensor:
    """The seed of the state before step 0."""
    return tf.constant([config.seed, _STATE_STREAM])


def new_optimizer(config: Config, model: keras.Model) -> keras.optimizers.Optimizer:
    """Adam with the published epsilon and schedule, built."""
    rate = schedules.learning_rate(base=config.learning_rate, num_steps=config.num_steps)
    optimizer = keras.optimizers.Adam(rate, epsilon=ADAM_EPSILON)
    optimizer.build(model.trainable_variables)
    return optimizer


class StepSeeds(NamedTuple):
    """The seeds of one step, named for their consumers."""

    binarization: tf.Tensor
    prior: tf.Tensor
    posterior: tf.Tensor

    @classmethod
    def of(cls, run_seed: int, step: tf.Tensor) -> StepSeeds:
        step_seed = random.fold_in(tf.constant([run_seed, _STEP_STREAM]), tf.cast(step, tf.int32))
        return cls(*random.split(step_seed, len(cls._fields)))


class Trainer:
    """Runs training steps on the device.

    Args:
      config: validated.
      dataset: its training split stays in memory in its own type.
      state: what the steps change.
      loss: of the model in `state`.
      prior_sampler: of the model's prior; None if it has none.

    Attributes:
      metrics: names of what a step returns, float32 scalars.
    """

    def __init__(
        self, config: Config, dataset: Dataset, state: TrainState, *, loss: Loss, prior_sampler: PriorSampler | None
    ) -> None:
        self.config = config
        self.state = state
        self._loss = loss
        self.metrics = loss.metrics
        self._prior_step = prior_sampler.step if prior_sampler is not None else None
        if prior_sampler is not None:
            self.metrics += tuple(f"prior_{name}" for name in prior_sampler.info)
        self._encoder_variables = loss.encoder.trainable_variables if loss.encoder else []
        numbers = set(map(id, self._encoder_variables))
        self._generator_variables = [v for v in state.model.trainable_variables if id(v) not in numbers]
        self._update = compiled(self._decay_and_apply)
        self._examples = tf.constant(dataset.train)
        self._dynamic = dataset.dynamic

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def run_steps(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step for each row of `indices [steps, B]`; the *sums* over the steps of what `step` returns."""
        totals = {name: tf.constant(0.0) for name in self.metrics}
        for row in tf.range(tf.shape(indices)[0]):
            index = tf.ensure_shape(indices[row], [self.config.batch_size])
            seeds = StepSeeds.of(self.config.seed, self.state.global_step)
            metrics = self.step(index, self._batch(index, seeds.binarization), seeds)
            self.state.global_step.assign_add(1)
            totals = {name: totals[name] + metrics[name] for name in self.metrics}
        return totals

    @plain
    def step(self, index: tf.Tensor, x: tf.Tensor, seeds: StepSeeds) -> dict[str, tf.Tensor]:
        """Moves the prior's particles, then updates all parameters given them.

        Args:
          index: numbers of the examples in the training split, `[B]`.
          x: the examples, `[B, D]`.
          seeds: of this step.

        Returns:
          The step's metrics.
        """
        state = self.state
        prior, prior_metrics = self._move_prior(seeds.prior)
        chains = self._loss.move_chains(x, state.chains.read(index), seeds.posterior)
        with tf.GradientTape(persistent=self._loss.has_two_losses) as tape:
            objective, chains = self._loss.objective(x, chains, prior, step=state.global_step, seed=seeds.posterior)
        self._descend(tape, objective)
        state.chains.write(index, chains)
        return objective.metrics | prior_metrics

    def _move_prior(self, seed: tf.Tensor) -> tuple[PriorParticles | None, dict[str, tf.Tensor]]:
        """Brings the prior's particles to its current parameters; what its sampler says of that."""
        if self._prior_step is None:
            return None, {}
        rbm, sweeps = self.state.model.prior.rbm(), self.config.prior_sweeps
        prior_state, info = self._prior_step(rbm, self.state.read_prior(), seed, num_sweeps=sweeps)
        self.state.write_prior(prior_state)
        metrics = {f"prior_{name}": tf.cast(value, tf.float32) for name, value in info._asdict().items()}
        return PriorParticles(prior_state.left, prior_state.log_z), metrics

    def _descend(self, tape: tf.GradientTape, objective: Objective) -> None:
        """Differentiates an objective that `tape` has recorded, and updates all parameters.

        The tape must be persistent if the losses for encoder and generator differ. (If not, it had better not be:
        TensorFlow compiles costlier backward functions then.)
        """
        generator, encoder = (
            [v.value for v in variables] for variables in (self._generator_variables, self._encoder_variables)
        )
        if objective.inference_loss is objective.generative_loss:
            gradients = tape.gradient(objective.generative_loss, generator + encoder)
        else:
            gradients = tape.gradient(objective.generative_loss, generator)
            gradients += tape.gradient(objective.inference_loss, encoder)
        self._update(gradients)

    def _decay_and_apply(self, gradients: list[tf.Tensor]) -> None:
        """Adds the gradient of the weight decay and updates the parameters, the generator's first.

        Compiled as one piece, so that large kernels pass through memory once for all of it.
        """
        model, optimizer = self.state.model, self.state.optimizer
        variables = [*self._generator_variables, *self._encoder_variables]
        with tf.GradientTape() as tape:
            weight_decay = tf.add_n(model.losses)
        decay = tape.gradient(weight_decay, [v.value for v in variables], unconnected_gradients="zero")
        optimizer.apply([g + d for g, d in zip(gradients, decay, strict=True)], variables)

    def _batch(self, index: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The examples as binary float32 `[B, D]`; grey ones are binarized afresh."""
        x = tf.cast(tf.gather(self._examples, index), tf.float32)
        if self._dynamic:
            x = tf.cast(random.uniform(tf.shape(x), seed) < x, tf.float32)
        return x
