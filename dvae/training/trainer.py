"""The inner loop of training: a graph of many steps, of all replicas of this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

import keras
import tensorflow as tf

from dvae.config import Config
from dvae.errors import UserError
from dvae.published import ADAM_EPSILON
from dvae.training import schedules
from dvae.training.replicas import Replicas
from dvae.training.step import Step
from samplers.tracing import plain

# A stream of random numbers that belongs to a run's seed: (run seed, stream) is an int32[2] seed.
_STATE_STREAM = 1


def state_seed(config: Config) -> tf.Tensor:
    """The seed of the state before step 0."""
    return tf.constant([config.seed, _STATE_STREAM])


def new_optimizer(config: Config, model: keras.Model) -> keras.optimizers.Optimizer:
    """Adam with the published epsilon and schedule, built."""
    rate = schedules.learning_rate(base=config.learning_rate, num_steps=config.num_steps)
    optimizer = keras.optimizers.Adam(rate, epsilon=ADAM_EPSILON)
    optimizer.build(model.trainable_variables)
    return optimizer


class Sums(NamedTuple):
    """What a number of steps measured, by name.

    Attributes:
      num_steps: how many there were.
      totals: sums over them, of float32.
      finite_steps: for how many of them the sum stayed finite; all of them, or it is the next one that was not.
    """

    num_steps: int
    totals: Mapping[str, float]
    finite_steps: Mapping[str, int]


class Trainer:
    """Runs training steps on the devices of this process.

    Args:
      config: validated.
      steps: of each local replica, each made on its device.
      replicas: all of them.
      failures: what a sampler that runs in Python has raised, filled by the steps.

    Attributes:
      state: of the first local replica; all have the same bits.
      metrics: names of what a step returns, float32 scalars.
    """

    def __init__(self, config: Config, steps: Sequence[Step], *, replicas: Replicas, failures: list[Exception]) -> None:
        self.config, self.replicas = config, replicas
        self._steps, self._failures = steps, failures
        self.state, self.metrics = steps[0].state, steps[0].metrics

    def share_state(self) -> None:
        """Gives all replicas the state of the first, of all processes; each must call it."""
        self.replicas.share([step.state.variables() for step in self._steps])

    def run_steps(self, indices: tf.Tensor, before: Sums | None = None) -> Sums:
        """One step for each row of `indices [steps, B]`.

        Args:
          before: the sums of steps before these, to be continued. However steps are divided among calls, the same
            numbers are added in the same order.

        Raises:
          UserError: a sampler of the prior that runs in Python has raised an error.
          PeerError: another process has ended.
        """
        before = before or Sums(0, dict.fromkeys(self.metrics, 0.0), dict.fromkeys(self.metrics, 0))
        try:
            with self.replicas.telling_of_peers():
                totals, finite_steps = self.steps(
                    indices,
                    tf.constant([before.totals[name] for name in self.metrics], tf.float32),
                    tf.constant([before.finite_steps[name] for name in self.metrics]),
                )
        except tf.errors.OpError:
            if not self._failures:
                raise
            self._raise_failure()
        return Sums(
            before.num_steps + len(indices),
            dict(zip(self.metrics, totals.numpy().tolist(), strict=True)),
            dict(zip(self.metrics, finite_steps.numpy().tolist(), strict=True)),
        )

    def _raise_failure(self) -> NoReturn:
        error = self._failures.pop()
        raise UserError(
            f"failed ({type(error).__name__}: {error}); the same command goes on from the last checkpoint",
            prior_sampler=self.config.prior_sampler,
        ) from error

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def steps(self, indices: tf.Tensor, totals: tf.Tensor, finite_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The graph of `run_steps`: `totals` and `finite_steps` are `[metrics]`."""
        for row in tf.range(tf.shape(indices)[0]):
            index = tf.ensure_shape(indices[row], [self.config.batch_size])
            totals = totals + tf.stack(list(self._step(index)))
            finite_steps = finite_steps + tf.cast(tf.math.is_finite(totals), tf.int32)
        return totals, finite_steps

    @plain
    def _step(self, index: tf.Tensor) -> Sequence[tf.Tensor]:
        """One step on a batch `index [B]`; its metrics."""
        found = self.replicas.run(lambda number: self._steps[number].differentiate(index))
        # Not within `run`: Keras' optimiser would ask the strategy for a reduction of its own.
        for device, step, of_batch in zip(self.replicas.devices, self._steps, found, strict=True):
            with tf.device(device):
                step.update(index, of_batch)
        return found[0].metrics
