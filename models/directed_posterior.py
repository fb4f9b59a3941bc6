"""The directed posterior: groups of units, each factorial given the groups before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from models.networks import LayerFactory
from models.posterior import Posterior, PosteriorDraws
from models.relaxations import LogComponents, Relaxation
from samplers.weights import log_mean_exp


class GivenX(NamedTuple):
    """What the networks make of x alone.

    Attributes:
      context: `[B, hidden]`.
      outputs: of the first group, `[B, outputs]`.
    """

    context: tf.Tensor
    outputs: tf.Tensor


class DirectedSample(NamedTuple):
    """Relaxed samples of a directed posterior.

    Attributes:
      zeta: `[K, B, units]`, differentiable.
      logits: `[K, B, units]`: each group's logits given the sampled groups before it.
      means: `[K, B, units]`: what stands for z in terms that are linear in each unit. Units that no other group
        depends on within such a term are replaced by their conditional means (Rao-Blackwellised): all units if there
        is one group; otherwise the right half, while the left half is the relaxed sample.
      chains: passed through; a directed posterior is sampled from scratch.
      given_x: what the samples of an example share.
      log_components: densities of each zeta given its unit's binary value, `[K, B, units]`; `()` if zeta was drawn from
        no mixture.
    """

    zeta: tf.Tensor
    logits: tf.Tensor
    means: tf.Tensor
    chains: tf.Tensor
    given_x: GivenX
    log_components: LogComponents | tuple[()] = ()


class _Group(NamedTuple):
    """Relaxed units of one group; fields as in `DirectedSample`."""

    zeta: tf.Tensor
    logits: tf.Tensor
    log_components: LogComponents | tuple[()]


class DirectedPosterior(Posterior):
    """`q(z | x) = prod_{i=1..L} q(z_i | x, z_{<i})`, each factor a product of Bernoullis.

    Hidden layers are shared by the groups, or each has its own:

        context = hidden(x),   outputs_i = linear_i(hidden_i([context, z_1, ..., z_{i-1}]))

    With shared context `hidden_i` has no layers: a group is a linear map of the context and its parents [DVAE##,
    section 4]. Without, `hidden` has none: a group has a network of its own, on x and its parents [DVAE#]. A group's
    outputs are its logits, and what else its relaxation needs. The first half of all units is the prior's left side.

    Args:
      factory: makes the layers.
      relaxations: of the units of each group; L of them.
      mean_pixel: subtracted from x, `[D]`.
      num_units: latents, divisible by `2 * L`, or by 2 if there is one group.
      num_context_layers: hidden layers that the groups share.
      num_group_layers: hidden layers of each group's own.
    """

    chain_units = 0

    def __init__(
        self,
        factory: LayerFactory,
        relaxations: Sequence[Relaxation],
        *,
        mean_pixel: tf.Tensor,
        num_units: int,
        num_context_layers: int,
        num_group_layers: int,
    ) -> None:
        super().__init__()
        self.relaxations = list(relaxations)
        self.mean_pixel = mean_pixel
        self.num_units = num_units
        self.num_groups = len(self.relaxations)
        self.context = factory.hidden_stack(mean_pixel.shape[0], num_context_layers)
        self.group_size = num_units // self.num_groups
        self.group_hidden: list[keras.layers.Layer] = []
        self.group_outputs: list[keras.layers.Layer] = []
        for i, relaxation in enumerate(self.relaxations):
            hidden = factory.hidden_stack(self.context.num_outputs + i * self.group_size, num_group_layers)
            self.group_hidden.append(hidden)
            self.group_outputs.append(factory.dense(hidden.num_outputs, self.group_size * relaxation.outputs_per_unit))
        self.built = True

    def sample_relaxed(self, x, *, num_samples, seed, chains) -> DirectedSample:
        units, means, given_x = self._relaxed(x, num_samples=num_samples, seed=seed)
        return DirectedSample(units.zeta, units.logits, means, chains, given_x, units.log_components)

    @tf.function(jit_compile=True)
    def _relaxed(self, x: tf.Tensor, *, num_samples: int, seed: tf.Tensor) -> tuple[_Group, tf.Tensor, GivenX]:
        """Of all units together, and `means` and `given_x` of a `DirectedSample`."""
        given_x, seeds = self._given(x, training=True), self._seeds(seed)
        units = self._ancestral(
            given_x,
            num_samples,
            lambda i, outputs: self._relaxed_group(i, self.relaxations[i].sample(outputs, seeds[i]), outputs),
            training=True,
        )
        means = tf.sigmoid(units.logits)
        if self.num_groups > 1:
            half = self.num_units // 2
            means = tf.concat([units.zeta[..., :half], means[..., half:]], axis=-1)
        return units, means, given_x

    def frozen(self, sample: DirectedSample) -> DirectedSample:
        units = self._frozen(sample.given_x, sample.zeta)
        return sample._replace(logits=units.logits, means=sample.zeta, log_components=units.log_components)

    @tf.function(jit_compile=True)
    def _frozen(self, given_x: GivenX, zeta: tf.Tensor) -> _Group:
        given_x = tf.nest.map_structure(tf.stop_gradient, given_x)
        groups = tf.split(zeta, self.num_groups, axis=-1)
        # Within the scope variables have these values, and updates of moving averages go nowhere.
        stopped = [(variable, tf.stop_gradient(variable.value)) for variable in self.trainable_variables]
        with keras.StatelessScope(state_mapping=stopped):
            return self._ancestral(
                given_x,
                zeta.shape[0],
                lambda i, outputs: self._relaxed_group(i, groups[i], outputs),
                training=True,
            )

    def draw(self, x, *, num_samples, seed) -> PosteriorDraws:
        factors = tf.reshape(self.flattening, [-1, 1, 1, 1])
        of_sample = tf.repeat(factors[:, 0], num_samples // tf.shape(factors)[0], axis=0)  # [K, 1, 1]
        z, logits, _ = self._binary(x, num_samples, seed, divide_by=of_sample)
        log_q = _log_bernoulli(logits, z)
        # Every flattened q(z | x) has the same logits but for its factor, whichever of them z was drawn from.
        log_mixture = log_mean_exp(_log_bernoulli(logits / factors, z), axis=0)
        return PosteriorDraws(z, log_q, log_q - log_mixture)

    def sample(self, x, *, num_samples, seed):
        z, logits, _ = self._binary(x, num_samples, seed)
        return z, _log_bernoulli(logits, z)

    def unnormalised_log_prob(self, x, z):
        groups = tf.split(z, self.num_groups, axis=-1)
        given = lambda i, outputs: _Group(groups[i], outputs[..., : self.group_size], ())  # noqa: E731
        units = self._ancestral(self._given(x, training=False), tf.shape(z)[0], given, training=False)
        return _log_bernoulli(units.logits, z)

    @property
    def is_amortized_whole(self) -> bool:
        return self.num_groups == 1

    def parameters(self, x, *, seed):
        return {"logits": self._binary(x, 1, seed).logits[0]}

    def _binary(
        self, x: tf.Tensor, num_samples: tf.Tensor | int, seed: tf.Tensor, *, divide_by: tf.Tensor | float = 1.0
    ) -> _Group:
        """Binary draws of all units, moving averages in use; drawn from logits divided by `divide_by [K, 1, 1]`."""
        seeds = self._seeds(seed)

        def draw(i: int, outputs: tf.Tensor) -> _Group:
            logits = outputs[..., : self.group_size]
            flattened = tfd.Bernoulli(logits=logits / divide_by, dtype=logits.dtype)
            return _Group(flattened.sample(seed=seeds[i]), logits, ())

        return self._ancestral(self._given(x, training=False), num_samples, draw, training=False)

    def _seeds(self, seed: tf.Tensor) -> list[tf.Tensor]:
        """One for each group."""
        return tf.unstack(tf.random.split(seed, self.num_groups))

    def _given(self, x: tf.Tensor, *, training: bool) -> GivenX:
        context = self.context(x - self.mean_pixel, training=training)
        return GivenX(context, self.group_outputs[0](self.group_hidden[0](context, training=training)))

    def _ancestral(self, given_x: GivenX, num_samples, draw, *, training) -> _Group:
        """All groups in turn, each given those before it; `draw(i, outputs [K, B, outputs])` gives group i."""
        copy = lambda rows: tf.broadcast_to(rows, tf.concat([[num_samples], tf.shape(rows)], 0))  # noqa: E731
        groups = [draw(0, copy(given_x.outputs))]
        for i in range(1, self.num_groups):
            inputs = tf.concat([copy(given_x.context), *(group.zeta for group in groups)], axis=-1)
            # Samples and examples are one batch to a hidden layer, whose batch statistics are over both.
            rows = tf.reshape(inputs, [-1, self.context.num_outputs + i * self.group_size])
            outputs = self.group_outputs[i](self.group_hidden[i](rows, training=training))
            groups.append(draw(i, tf.reshape(outputs, [num_samples, -1, outputs.shape[-1]])))
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=-1), *groups)

    def _relaxed_group(self, i: int, zeta: tf.Tensor, outputs: tf.Tensor) -> _Group:
        return _Group(zeta, outputs[..., : self.group_size], self.relaxations[i].log_components(zeta, outputs))


def _log_bernoulli(logits: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Of all units together."""
    return tf.reduce_sum(tfd.Bernoulli(logits=logits).log_prob(z), axis=-1)
