"""Everything that changes in training, checkpointed as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from models.conditional import ConditionalModel
from models.generative import GenerativeModel
from samplers.persistent_chains import ChainTable


class TrainState:
    """Weights, optimiser, step, chains, population and the best model so far.

    A checkpoint of this object is all that a run needs to continue bit for bit: the seeds of a step and the order of
    the data are functions of the run's seed and the step.

    Args:
      num_examples, num_samples, chain_units: rows of the table of chains, chains in a row, units in a chain.
      prior_state: makes the initial state of the prior's sampler from a seed; `()` where there is no prior.
      seed: int32 `[2]`.

    Attributes:
      model, optimizer: built.
      global_step: parameter updates done, int64.
      chains: the posterior's persistent chains, one row an example.
      best_step, best_nll: of the evaluation with the lowest NLL on validation data.
    """

    def __init__(
        self,
        *,
        model: GenerativeModel | ConditionalModel,
        optimizer: keras.optimizers.Optimizer,
        num_examples: int,
        num_samples: int,
        chain_units: int,
        prior_state: Callable[[tf.Tensor], NamedTuple | tuple[()]],
        seed: tf.Tensor,
    ) -> None:
        chains_seed, population_seed = tf.unstack(tf.random.split(seed, 2))
        self.model = model
        self.optimizer = optimizer
        self.global_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="global_step")
        self.chains = ChainTable(
            num_examples=num_examples, num_chains=num_samples, num_units=chain_units, seed=chains_seed
        )
        self._prior_structure = prior_state(population_seed)
        self._prior_variables = [tf.Variable(t, trainable=False) for t in tf.nest.flatten(self._prior_structure)]
        self.best_nll = tf.Variable(float("inf"), trainable=False, name="best_nll")
        self.best_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="best_step")
        self._best_weights = [tf.Variable(v.value, trainable=False) for v in model.weights]

    def checkpoint(self, **others: tf.Variable) -> tf.train.Checkpoint:
        """All of the state, and `others`, as one checkpoint.

        The variables are listed by hand: tf.train.Checkpoint does not follow lists of Keras layers, and what it does
        not follow (the moving averages of batch normalisation, say) it leaves out without a word.
        """
        return tf.train.Checkpoint(
            weights=[v.value for v in self.model.weights],
            optimizer=[v.value for v in self.optimizer.variables],
            global_step=self.global_step,
            chains=self.chains.table,
            prior=self._prior_variables,
            best_nll=self.best_nll,
            best_step=self.best_step,
            best_weights=self._best_weights,
            **others,
        )

    def read_prior(self) -> NamedTuple:
        """The state of the prior's sampler."""
        return tf.nest.pack_sequence_as(self._prior_structure, [tf.convert_to_tensor(v) for v in self._prior_variables])

    def write_prior(self, state: NamedTuple) -> None:
        """Stores the state of the prior's sampler."""
        for variable, value in zip(self._prior_variables, tf.nest.flatten(state), strict=True):
            variable.assign(value)

    def keep_if_best(self, nll: float) -> bool:
        """Remembers the current weights if `nll`, measured on validation data, is the lowest so far."""
        if not nll < float(self.best_nll):
            return False
        self.best_nll.assign(nll)
        self.best_step.assign(self.global_step)
        for best, current in zip(self._best_weights, self.model.weights, strict=True):
            best.assign(current.value)
        return True

    def use_best(self) -> None:
        """Puts the remembered weights into the model."""
        for best, current in zip(self._best_weights, self.model.weights, strict=True):
            current.assign(best)
