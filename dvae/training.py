"""Training steps, and the inner loop: a graph of many steps."""

from __future__ import annotations

import abc
from typing import NamedTuple

import keras
import tensorflow as tf

from dvae import schedules
from dvae.config import Config
from dvae.data import Dataset
from dvae.objectives import Objective
from dvae.train_state import TrainState

# Streams of random numbers that belong to a run's seed: (run seed, stream) is an int32[2] seed.
_STATE_STREAM, _STEP_STREAM = 1, 2


def state_seed(config: Config) -> tf.Tensor:
    """The seed of the state before step 0."""
    return tf.constant([config.seed, _STATE_STREAM])


def new_optimizer(config: Config, model: keras.Model) -> keras.optimizers.Optimizer:
    """Adam with the published epsilon and schedule, built."""
    rate = schedules.learning_rate(base=config.learning_rate, num_steps=config.num_steps)
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-3)
    optimizer.build(model.trainable_variables)
    return optimizer


class StepSeeds(NamedTuple):
    """The seeds of one step, named for their consumers."""

    binarization: tf.Tensor
    prior: tf.Tensor
    posterior: tf.Tensor

    @classmethod
    def of(cls, run_seed: int, step: tf.Tensor) -> StepSeeds:
        step_seed = tf.random.fold_in(tf.constant([run_seed, _STEP_STREAM]), tf.cast(step, tf.int32))
        return cls(*tf.unstack(tf.random.split(step_seed, len(cls._fields))))


class Trainer(abc.ABC):
    """Runs training steps on the device.

    Args:
      config: validated.
      dataset: its training split stays in memory in its own type.
      state: what the steps change.
      encoder: the part of the model whose variables have the inference loss; None where there is none.
      metrics: names of what a step returns, float32 scalars.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        state: TrainState,
        *,
        encoder: keras.layers.Layer | None,
        metrics: tuple[str, ...],
    ) -> None:
        self.config = config
        self.state = state
        self.metrics = metrics
        self._of_encoder = encoder.trainable_variables if encoder else []
        numbers = set(map(id, self._of_encoder))
        self._of_generator = [v for v in state.model.trainable_variables if id(v) not in numbers]
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

    @abc.abstractmethod
    def step(self, index: tf.Tensor, x: tf.Tensor, seeds: StepSeeds) -> dict[str, tf.Tensor]:
        """One parameter update on examples `x [B, D]`, number `index [B]` of the training split; its metrics."""

    def _descend(self, tape: tf.GradientTape, objective: Objective) -> None:
        """Differentiates an objective that `tape` has recorded, and updates all parameters.

        The tape must be persistent if the losses for encoder and generator differ. (If not, it had better not be:
        TensorFlow compiles costlier backward functions then.)
        """
        generator, encoder = ([v.value for v in variables] for variables in (self._of_generator, self._of_encoder))
        if objective.inference_loss is objective.generative_loss:
            gradients = tape.gradient(objective.generative_loss, generator + encoder)
        else:
            gradients = tape.gradient(objective.generative_loss, generator)
            gradients += tape.gradient(objective.inference_loss, encoder)
        self._apply(gradients)

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
