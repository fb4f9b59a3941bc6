"""Everything that changes in training, checkpointed as a whole."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from dvae.errors import UserError
from models.conditional import ConditionalModel
from models.generative import GenerativeModel
from samplers import random
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
        prior_state: Callable[[tf.Tensor], Any],
        seed: tf.Tensor,
    ) -> None:
        chains_seed, population_seed = random.split(seed, 2)
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
        self._variables = variables_by_path(model)
        self._best = {path: tf.Variable(v.value, trainable=False) for path, v in self._variables.items()}

    def checkpoint(self, **others: tf.Variable) -> tf.train.Checkpoint:
        """All of the state, and `others`, as one checkpoint, weights by the path of their layers.

        The variables are listed by hand: tf.train.Checkpoint does not follow lists of Keras layers, and what it does
        not follow (the moving averages of batch normalisation, say) it leaves out without a word.
        """
        return tf.train.Checkpoint(
            weights={path: variable.value for path, variable in self._variables.items()},
            best_weights=self._best,
            optimizer=self._optimizer_variables(),
            global_step=self.global_step,
            chains=self.chains.table,
            prior=self._prior_variables,
            best_nll=self.best_nll,
            best_step=self.best_step,
            **others,
        )

    def variables(self) -> list[tf.Variable]:
        """What replicas must have the same of: all that a step reads or changes."""
        weights = [variable.value for variable in self._variables.values()]
        optimizer = list(self._optimizer_variables().values())
        return [*weights, *optimizer, self.global_step, self.chains.table, *self._prior_variables]

    def moving_averages(self) -> list[tf.Variable]:
        """Of the model's layers: what changes in a step and is not trained."""
        averages = [variable.value for variable in self._variables.values() if not variable.trainable]
        return [average for average in averages if average.dtype.is_floating]

    def not_finite(self) -> list[str]:
        """Names of what has a NaN or an infinity in it, moving averages and moments too.

        The best NLL is infinite until there is one.
        """
        checked = {f"weights/{path}": variable.value for path, variable in self._variables.items()}
        checked |= {f"optimizer/{name}": variable for name, variable in self._optimizer_variables().items()}
        checked |= {f"best_weights/{path}": variable for path, variable in self._best.items()}
        checked |= {f"prior/{number}": variable for number, variable in enumerate(self._prior_variables)}
        floats = {name: variable for name, variable in checked.items() if variable.dtype.is_floating}
        are_finite = self._are_finite(list(floats.values())).numpy()
        return [name for name, is_finite in zip(floats, are_finite, strict=True) if not is_finite]

    @tf.function(autograph=False)
    def _are_finite(self, variables: list[tf.Variable]) -> tf.Tensor:
        return tf.stack([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])

    def _optimizer_variables(self) -> dict[str, tf.Variable]:
        """Moments by the path of the weight they are of; the optimiser's own variables by their names."""
        paths = {id(variable): path for path, variable in self._variables.items()}
        trained = [paths[id(variable)] for variable in self.model.trainable_variables]
        by_slot: dict[str, list[tf.Variable]] = {}
        for variable in self.optimizer.variables:
            own_name = variable.path.rsplit("/", 1)[
                -1
            ]  # before it stands the optimiser's, numbered through the process
            by_slot.setdefault(own_name.rsplit("_", 1)[-1], []).append(variable.value)
        found: dict[str, tf.Variable] = {}
        for slot, variables in by_slot.items():
            names = [f"{slot}/{path}" for path in trained] if len(variables) == len(trained) else [slot]
            found |= dict(zip(names, variables, strict=True))
        return found

    def read_prior(self) -> Any:
        """The state of the prior's sampler."""
        return tf.nest.pack_sequence_as(self._prior_structure, [tf.convert_to_tensor(v) for v in self._prior_variables])

    def write_prior(self, state: Any) -> None:
        """Stores the state of the prior's sampler."""
        for variable, value in zip(self._prior_variables, tf.nest.flatten(state), strict=True):
            variable.assign(value)

    def keep_if_best(self, nll: float) -> bool:
        """Remembers the current weights if `nll`, measured on validation data, is the lowest so far."""
        if not nll < float(self.best_nll):
            return False
        self.best_nll.assign(nll)
        self.best_step.assign(self.global_step)
        for path, variable in self._variables.items():
            self._best[path].assign(variable.value)
        return True

    @contextlib.contextmanager
    def best_weights(self) -> Iterator[None]:
        """Within it the model has the remembered weights; after it those that it had before."""
        before = {path: variable.numpy() for path, variable in self._variables.items()}
        self._put(self._best)
        try:
            yield
        finally:
            self._put(before)

    def _put(self, values: dict[str, Any]) -> None:
        for path, variable in self._variables.items():
            variable.assign(values[path])


def variables_by_path(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables of a model by the names of the layers that own them: `posterior/encoder/dense_1/kernel`.

    Keras numbers layers without names through the whole process, `conv2d_3`; here the number is that within the layer
    around it, so that another process finds the same.

    Raises:
      UserError: two variables have one path, or one is of two parts; only in networks that were handed in.
    """
    found: dict[str, keras.Variable] = {}
    for part in ("prior", "posterior", "likelihood"):
        variables = getattr(model, part).variables if hasattr(model, part) else []
        if any(variable is other for variable in variables for other in found.values()):
            raise UserError(f"{part}: shares weights with another part of the model: hand in networks of their own")
        paths = [variable.path.removeprefix(f"{part}/") for variable in variables]
        for path, variable in zip(_renumbered(paths), variables, strict=True):
            if f"{part}/{path}" in found:
                raise UserError(
                    f"{part}: two weights are called {path}: give the layers of your network names of their own"
                )
            found[f"{part}/{path}"] = variable
    if len(found) != len(model.variables):
        raise AssertionError(f"{len(model.variables) - len(found)} variables are in no part of the model")
    return found


def _renumbered(paths: Sequence[str]) -> list[str]:
    """`[conv2d_3/kernel, conv2d_3/bias, conv2d_5/kernel]` as `[conv2d/kernel, conv2d/bias, conv2d_1/kernel]`."""
    seen: dict[
        tuple[str, str], list[str]
    ] = {}  # the names that occurred, by the new path above and the base of the name
    renumbered = []
    for path in paths:
        above = ""
        *layers, variable = path.split("/")
        for name in layers:
            base = re.sub(r"_\d+$", "", name)
            names = seen.setdefault((above, base), [])
            if name not in names:
                names.append(name)
            number = names.index(name)
            above += f"{base}_{number}/" if number else f"{base}/"
        renumbered.append(above + variable)
    return renumbered
