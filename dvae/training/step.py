"""A training step of one replica: what it finds on its rows of the batch, and what all have found put to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from dvae.compiling import compiled
from dvae.config import Config
from dvae.data import Dataset
from dvae.training.losses import Loss, PriorParticles
from dvae.training.objectives import Objective
from dvae.training.prior_sampler import PriorSampler, graph_step
from dvae.training.replicas import Replicas
from dvae.training.train_state import TrainState
from samplers import random
from samplers.random import Seed
from samplers.tracing import plain

# A stream of random numbers that belongs to a run's seed: (run seed, stream) is an int32[2] seed.
_STEP_STREAM = 2


class StepSeeds(NamedTuple):
    """The seeds of one step, named for their consumers."""

    binarization: tf.Tensor
    prior: tf.Tensor
    posterior: tf.Tensor

    @classmethod
    def of(cls, run_seed: int, step: tf.Tensor) -> StepSeeds:
        step_seed = random.fold_in(tf.constant([run_seed, _STEP_STREAM]), tf.cast(step, tf.int32))
        return cls(*random.split(step_seed, len(cls._fields)))


class Found(NamedTuple):
    """What all replicas have found of a batch.

    Attributes:
      gradients: of all parameters, the generator's first.
      averages: the moving averages of batch normalisation; none where there is one replica, which has them in place.
      metrics: float32 scalars, by the names of the step, in their order.
      chains: as `ChainTable.packed` has them, `[rows, K, bytes]`.
    """

    gradients: Sequence[tf.Tensor]
    averages: Sequence[tf.Tensor]
    metrics: Sequence[tf.Tensor]
    chains: tf.Tensor


class Step:
    """Steps of one replica.

    Args:
      config: validated.
      dataset: its training split stays in memory in its own type.
      state: what the steps change.
      loss: of the model in `state`.
      prior_sampler: of the model's prior; None if it has none.
      replicas: all of them.
      number: of this one among those of this process.
      failed: told what a sampler that runs in Python has raised.

    Attributes:
      metrics: names of what a step measures.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        state: TrainState,
        *,
        loss: Loss,
        prior_sampler: PriorSampler | None,
        replicas: Replicas,
        number: int,
        failed: Callable[[Exception], None],
    ) -> None:
        self.state = state
        self._config, self._loss, self._replicas, self._number = config, loss, replicas, number
        self.metrics = loss.metrics
        self._prior_step = graph_step(prior_sampler, failed=failed) if prior_sampler else None
        if prior_sampler is not None:
            self.metrics += tuple(f"prior_{name}" for name in prior_sampler.info)
        self._encoder_variables = loss.encoder.trainable_variables if loss.encoder else []
        numbers = set(map(id, self._encoder_variables))
        self._generator_variables = [v for v in state.model.trainable_variables if id(v) not in numbers]
        self._averages = [] if replicas.num == 1 else state.moving_averages()
        self._update = compiled(self._decay_and_apply)
        self._examples = tf.constant(dataset.train)
        self._dynamic = dataset.dynamic

    @plain
    def differentiate(self, index: tf.Tensor) -> Found:
        """Moves the prior's particles, and differentiates this replica's part of the objective.

        Args:
          index: numbers of the batch's examples in the training split, `[B]`.

        Returns:
          What all replicas have found.
        """
        config, state = self._config, self.state
        seeds = StepSeeds.of(config.seed, state.global_step)
        rows = self._replicas.rows(self._number, index)
        x = self._batch(rows, self._of_rows(seeds.binarization))
        prior, prior_metrics = self._move_prior(seeds.prior)
        posterior_seed = self._of_rows(seeds.posterior)
        chains = self._loss.move_chains(x, state.chains.read(rows), posterior_seed)
        with tf.GradientTape(persistent=self._loss.has_two_losses) as tape:
            objective, chains = self._loss.objective(x, chains, prior, step=state.global_step, seed=posterior_seed)
        gradients = self._gradients(tape, objective)
        metrics = objective.metrics | prior_metrics
        measured = [metrics[name] for name in self.metrics]
        averages = [tf.convert_to_tensor(average) for average in self._averages]
        packed = tf.ensure_shape(state.chains.packed(chains), [rows.shape[0], *state.chains.table.shape[1:]])
        means, packed = self._replicas.exchange(self._number, [*gradients, *averages, *measured], packed)
        of_gradients, of_averages = len(gradients), len(gradients) + len(averages)
        return Found(means[:of_gradients], means[of_gradients:of_averages], means[of_averages:], packed)

    @plain
    def update(self, index: tf.Tensor, found: Found) -> None:
        """Updates all of the state, given what was found of the whole batch `index [B]`."""
        self._update(found.gradients)
        for average, value in zip(self._averages, found.averages, strict=True):
            average.assign(value)
        self.state.chains.store(index, found.chains)
        self.state.global_step.assign_add(1)

    @plain
    def _of_rows(self, seed: tf.Tensor) -> Seed:
        return self._replicas.seed(self._number, seed, self._config.batch_size)

    @plain
    def _move_prior(self, seed: tf.Tensor) -> tuple[PriorParticles | None, dict[str, tf.Tensor]]:
        """Brings the prior's particles to its current parameters; what its sampler says of that."""
        if self._prior_step is None:
            return None, {}
        rbm, sweeps = self.state.model.prior.rbm(), self._config.prior_sweeps
        prior_state, info = self._prior_step(rbm, self.state.read_prior(), seed, num_sweeps=sweeps)
        self.state.write_prior(prior_state)
        metrics = {f"prior_{name}": tf.cast(value, tf.float32) for name, value in info._asdict().items()}
        return PriorParticles(prior_state.left, prior_state.log_z), metrics

    @plain
    def _gradients(self, tape: tf.GradientTape, objective: Objective) -> list[tf.Tensor]:
        """Of an objective that `tape` has recorded, in all parameters, the generator's first.

        The tape must be persistent if the losses for encoder and generator differ. (If not, it had better not be:
        TensorFlow compiles costlier backward functions then.)
        """
        generator, encoder = (
            [v.value for v in variables] for variables in (self._generator_variables, self._encoder_variables)
        )
        if objective.inference_loss is objective.generative_loss:
            return tape.gradient(objective.generative_loss, generator + encoder)
        gradients = tape.gradient(objective.generative_loss, generator)
        return gradients + tape.gradient(objective.inference_loss, encoder)

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

    @plain
    def _batch(self, index: tf.Tensor, seed: Seed) -> tf.Tensor:
        """The examples as binary float32 `[B, D]`; grey ones are binarized afresh."""
        x = tf.cast(tf.gather(self._examples, index), tf.float32)
        if self._dynamic:
            x = tf.cast(random.uniform(tf.shape(x), seed) < x, tf.float32)
        return x
