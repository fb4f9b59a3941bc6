"""The best member of a family of posteriors for single examples: q* = argmax_q L[q; x], the generator held fixed.

    L[q; x] = E_q[log p(x, z) - log q(z)]

by a covariance over draws of the same q (scores with leave-one-out baselines), which is the gradient without bias for
every family, an unnormalised one too:

    dL/dphi = Cov_q(f, d log q~ / dphi),    f = log p(x, z) - log q~(z)
            ~ 1 / (K - 1) sum_k (f_k - mean f) d log q~(z_k) / dphi

Every example has parameters of its own (`models.free_layers`), and a pace of its own, after [Cremer, Li & Duvenaud
2018]: when its mean objective over a window of steps has not been better than the best so far for some windows, it goes
back to the mean of its parameters over the best window, and on with a third of the rate; after so many rates its search
is over.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dvae.bars import progress_bar
from dvae.compiling import compiled
from models.directed_posterior import DirectedPosterior
from models.free_layers import free_directed, free_rbm, no_input
from models.posterior import BASES, Posterior
from models.rbm_posterior import RBMPosterior
from samplers import gibbs, random

# Of states `[K, B, units]`: `log p(x, z)` of the examples of a block, nats, `[K, B]`.
LogJoint = Callable[[tf.Tensor], tf.Tensor]

_SWEEPS = 5  # of the chains of machines, a step
_SLOWER = 3.0  # a rate, than the one before
_CHAINS_OF_LOG_Z, _TEMPERATURES_OF_LOG_Z = 100, 20


class Family(abc.ABC):
    """Members for the examples of a block: free parameters, and how states are drawn while these change.

    Attributes:
      posterior: of free layers.
      num_examples: B.
    """

    posterior: Posterior
    num_examples: int

    def encoding(self) -> Any:
        """What stands in place of an encoder's, differentiable in the free parameters."""
        return self.posterior.encode(no_input(self.num_examples), training=False)

    @abc.abstractmethod
    def start_at(self, logits: tf.Tensor) -> None:
        """Makes all members factorial, with logits `[B, units]`; they belong to every family."""

    @abc.abstractmethod
    def first_chains(self, num_samples: int, seed: tf.Tensor) -> tf.Tensor:
        """Chains to begin with, `[K, B, ...]`."""

    @abc.abstractmethod
    def draw(self, encoding: Any, chains: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """States `[K, B, units]` of the members, and the chains after them."""

    @abc.abstractmethod
    def log_normaliser(self, encoding: Any, seed: tf.Tensor) -> tf.Tensor:
        """Of `posterior.unnormalised_log_prob`, nats, float64 `[B]`."""


class Directed(Family):
    """`q(z) = prod_i q(z_i | z_<i)`, each group's logits linear in the groups before; one group is factorial."""

    posterior: DirectedPosterior

    def __init__(self, num_examples: int, num_units: int, num_groups: int) -> None:
        self.num_examples = num_examples
        self.posterior = free_directed(num_examples, num_units, num_groups)

    def start_at(self, logits):
        heads = self.posterior.group_heads
        for head, of_group in zip(heads, tf.split(logits, len(heads), axis=-1), strict=True):
            head.kernel.assign(tf.zeros_like(head.kernel))
            head.bias.assign(of_group)

    def first_chains(self, num_samples, seed):
        return tf.zeros([num_samples, self.num_examples, 0])

    def draw(self, encoding, chains, seed):
        z, _ = self.posterior.sample(encoding, num_samples=tf.shape(chains)[0], seed=seed)
        return z, chains

    def log_normaliser(self, encoding, seed):
        return tf.zeros([self.num_examples], tf.float64)


class Boltzmann(Family):
    """`q(z) = exp(-E_phi(z)) / Z_phi`, a restricted Boltzmann machine; states by persistent chains."""

    posterior: RBMPosterior

    def __init__(self, num_examples: int, num_units: int) -> None:
        self.num_examples = num_examples
        self.posterior = free_rbm(num_examples, num_units)

    def start_at(self, logits):
        head = self.posterior.head
        couplings = tf.zeros([self.num_examples, head.num_outputs - self.posterior.num_units])
        head.bias.assign(tf.concat([logits / 2, couplings], axis=-1))

    def first_chains(self, num_samples, seed):
        machines = self.encoding()
        left = random.bernoulli(tf.zeros([num_samples, *machines.bias_left.shape]), seed)
        return gibbs.sweep(machines, left, random.fold_in(seed, 1), num_sweeps=tf.constant(_SWEEPS)).left

    def draw(self, encoding, chains, seed):
        left, right = gibbs.sweep(encoding, chains, seed, num_sweeps=tf.constant(_SWEEPS))
        return tf.concat([left, right], axis=-1), tf.ensure_shape(left, chains.shape)

    def log_normaliser(self, encoding, seed):
        found = self.posterior.log_partition(
            encoding,
            num_chains=_CHAINS_OF_LOG_Z,
            num_temperatures=_TEMPERATURES_OF_LOG_Z,
            base=BASES.index("mean_field"),
            seed=seed,
        )
        return found.log_z


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """How q* is searched.

    Attributes:
      num_samples: K, of a step, for each example.
      learning_rate: of Adam, the first.
      num_rates: each a third of the one before.
      window: steps.
      patience: windows without a new best after which a rate is done with.
      most_windows: in any case.
    """

    num_samples: int
    learning_rate: float
    num_rates: int
    window: int
    patience: int
    most_windows: int


class Found(NamedTuple):
    """Of a search.

    Attributes:
      objective: the mean of L over the best window, nats, float64 `[B]`: chosen as a largest, so a little too high.
      windows: that were searched, `[B]`.
    """

    objective: np.ndarray
    windows: np.ndarray


def search(family: Family, log_joint: LogJoint, how: Search, *, seed: tf.Tensor, description: str) -> Found:
    """Makes the members of a family the best for their examples.

    Args:
      family: whose parameters are where the search starts, and at its end q*.
      log_joint: of the block's examples.
      how: settings.
      seed: int32 `[2]`.
      description: for the progress bar.
    """
    variables = family.posterior.trainable_variables
    optimizer = keras.optimizers.Adam(how.learning_rate)
    optimizer.build(variables)
    chain_seed, step_seed, partition_seed = random.split(seed, 3)
    chains = family.first_chains(how.num_samples, chain_seed)
    window = _window(family, log_joint, optimizer, how.window)
    log_normaliser = tf.function(lambda seed: family.log_normaliser(family.encoding(), seed), autograph=False)
    num = family.num_examples
    best, objective = [tf.identity(variable) for variable in variables], np.full(num, -np.inf)
    rate, waited, windows = np.zeros(num, np.int64), np.zeros(num, np.int64), np.zeros(num, np.int64)
    with progress_bar(total=how.most_windows, desc=description, unit=" windows") as bar:
        for number in range(how.most_windows):
            is_searched = rate < how.num_rates
            pace = tf.constant(np.where(is_searched, _SLOWER ** -rate.astype(float), 0), tf.float32)
            chains, f, means = window(chains, pace, random.fold_in(step_seed, number))
            present = [tf.identity(variable) for variable in variables]
            _assign(variables, means)
            found = f.numpy() + log_normaliser(random.fold_in(partition_seed, number)).numpy()
            is_best = is_searched & (found > objective)
            objective, windows = np.where(is_best, found, objective), windows + is_searched
            best = [_where(is_best, new, old) for new, old in zip(means, best, strict=True)]
            waited = np.where(is_best, 0, waited + 1)
            is_done = is_searched & (waited >= how.patience)
            rate, waited = rate + is_done, np.where(is_done, 0, waited)
            _assign(variables, [_where(is_done, new, old) for new, old in zip(best, present, strict=True)])
            bar.update()
            bar.set_postfix_str(f"{np.sum(rate >= how.num_rates)} of {num} done, L {objective.mean():.2f}")
            if np.all(rate >= how.num_rates):
                break
    _assign(variables, best)
    return Found(objective, windows)


def _window(family: Family, log_joint: LogJoint, optimizer: keras.optimizers.Optimizer, num_steps: int):
    """So many steps: from chains, paces `[B]` and a seed, chains, the mean of f `[B]`, the means of the variables."""
    variables = family.posterior.trainable_variables

    def step(chains, pace, seed):
        with tf.GradientTape() as tape:
            encoding = family.encoding()
            z, chains = family.draw(tf.nest.map_structure(tf.stop_gradient, encoding), chains, seed)
            log_q = family.posterior.unnormalised_log_prob(encoding, z)
            f = tf.stop_gradient(tf.cast(log_joint(z), log_q.dtype) - log_q)
            mean = tf.reduce_mean(f, axis=0)
            # Examples share no parameter, so the sum of their objectives trains each by its own.
            loss = -tf.reduce_sum((f - mean) * log_q) / (tf.cast(tf.shape(z)[0], log_q.dtype) - 1)
        before = [tf.identity(variable) for variable in variables]
        optimizer.apply(tape.gradient(loss, variables), variables)
        for variable, old in zip(variables, before, strict=True):  # Adam's step is proportional to its rate
            variable.assign(old + _by_example(pace, old) * (variable - old))
        return chains, mean

    def window(chains, pace, seed):
        total = tf.zeros([family.num_examples], tf.float64)
        sums = [tf.zeros_like(variable) for variable in variables]
        for number in tf.range(num_steps):
            chains, mean = step(chains, pace, random.fold_in(seed, number))
            total += mean
            sums = [part + variable for part, variable in zip(sums, variables, strict=True)]
        return chains, total / num_steps, [part / num_steps for part in sums]

    return compiled(window, autograph=True)


def _assign(variables: list[Any], values: list[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _where(is_new: np.ndarray, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """By example, `[B]`, of tensors `[B, ...]`."""
    return tf.where(_by_example(is_new, new), new, old)


def _by_example(values: Any, like: tf.Tensor) -> tf.Tensor:
    """`[B]` as `[B, 1, ...]`."""
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))
