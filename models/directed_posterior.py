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


class DirectedSample(NamedTuple):
    """Relaxed samples of a directed posterior.

    Attributes:
      zeta: `[K, B, units]`, differentiable.
      logits: `[K, B, units]`: each group's logits given the sampled groups before it.
      means: `[K, B, units]`: what stands for z in terms that are linear in each unit. Units that no other group
        depends on within such a term are replaced by their conditional means (Rao-Blackwellised): all units if there
        is one group; otherwise the right half, while the left half is the relaxed sample.
      chains: passed through; a directed posterior is sampled from scratch.
      log_components: densities of each zeta given its unit's binary value, `[K, B, units]`; `()` if zeta was drawn from
        no mixture.
    """

    zeta: tf.Tensor
    logits: tf.Tensor
    means: tf.Tensor
    chains: tf.Tensor
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
        units, means = self._relaxed(x, num_samples=num_samples, seed=seed)
        return DirectedSample(units.zeta, units.logits, means, chains, units.log_components)

    @tf.function(jit_compile=True)
    def _relaxed(self, x: tf.Tensor, *, num_samples: int, seed: tf.Tensor) -> tuple[_Group, tf.Tensor]:
        """Of all units together, and `means` of a `DirectedSample`."""
        units = self._ancestral(x, num_samples, seed, draw=self._draw_relaxed, training=True)
        means = tf.sigmoid(units.logits)
        if self.num_groups > 1:
            half = self.num_units // 2
            means = tf.concat([units.zeta[..., :half], means[..., half:]], axis=-1)
        return units, means

    def draw(self, x, *, num_samples, seed) -> PosteriorDraws:
        z, log_q = self.sample(x, num_samples=num_samples, seed=seed)
        return PosteriorDraws(z, log_q, tf.zeros_like(log_q))

    def sample(self, x, *, num_samples, seed):
        z, logits, _ = self._ancestral(x, num_samples, seed, draw=self._draw_binary, training=False)
        return z, tf.reduce_sum(tfd.Bernoulli(logits=logits).log_prob(z), axis=-1)

    @property
    def is_amortized_whole(self) -> bool:
        return self.num_groups == 1

    def parameters(self, x, *, seed):
        units = self._ancestral(x, 1, seed, draw=self._draw_binary, training=False)
        return {"logits": units.logits[0]}

    def _ancestral(self, x, num_samples, seed, *, draw, training) -> _Group:
        """All groups in turn, each given the draws of those before it; `draw(i, outputs, seed)` gives group i."""
        context = self.context(x - self.mean_pixel, training=training)  # [B, hidden]
        groups: list[_Group] = []
        for i, group_seed in enumerate(tf.unstack(tf.random.split(seed, self.num_groups))):
            outputs = self._outputs(i, context, [group.zeta for group in groups], num_samples, training=training)
            groups.append(draw(i, outputs, group_seed))
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=-1), *groups)

    def _outputs(self, i, context, parents, num_samples, *, training):
        """The network's outputs for group `i`, `[K, B, outputs]`."""
        hidden, linear = self.group_hidden[i], self.group_outputs[i]
        inputs = context[None]  # the first group's are the same for all samples, and computed once
        if parents:
            copies = tf.broadcast_to(context, tf.concat([[num_samples], tf.shape(context)], 0))  # [K, B, hidden]
            inputs = tf.concat([copies, *parents], axis=-1)
        # Samples and examples are one batch to a hidden layer, whose batch statistics are over both.
        rows = tf.reshape(inputs, [-1, self.context.num_outputs + i * self.group_size])
        outputs = linear(hidden(rows, training=training))
        outputs = tf.reshape(outputs, [tf.shape(inputs)[0], -1, linear.units])
        return tf.broadcast_to(outputs, tf.concat([[num_samples], tf.shape(outputs)[1:]], 0))

    def _draw_relaxed(self, i: int, outputs: tf.Tensor, seed: tf.Tensor) -> _Group:
        relaxation = self.relaxations[i]
        zeta = relaxation.sample(outputs, seed)
        return _Group(zeta, outputs[..., : self.group_size], relaxation.log_components(zeta, outputs))

    def _draw_binary(self, i: int, outputs: tf.Tensor, seed: tf.Tensor) -> _Group:
        logits = outputs[..., : self.group_size]
        return _Group(tfd.Bernoulli(logits=logits, dtype=logits.dtype).sample(seed=seed), logits, ())
