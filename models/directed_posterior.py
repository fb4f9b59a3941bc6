"""The directed posterior: groups of units, each factorial given the groups before it."""

from __future__ import annotations

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


class DirectedPosterior(Posterior):
    """`q(z | x) = prod_{i=1..L} q(z_i | c(x), z_{<i})`, each factor a product of Bernoullis, with shared context.

    The context `c(x)` is a stack of hidden layers; each group's logits are a linear map of `[c, z_1, ..., z_{i-1}]`.
    The first half of all units is the prior's left side. [DVAE##, section 4]

    Args:
      factory: makes the layers.
      relaxation: of each unit.
      mean_pixel: subtracted from x, `[D]`.
      num_units: latents, divisible by `2 * num_groups`, or by 2 if there is one group.
      num_groups: L.
      num_hidden_layers: of the context.
    """

    chain_units = 0

    def __init__(
        self,
        factory: LayerFactory,
        relaxation: Relaxation,
        *,
        mean_pixel: tf.Tensor,
        num_units: int,
        num_groups: int,
        num_hidden_layers: int,
    ) -> None:
        super().__init__()
        self.relaxation = relaxation
        self.mean_pixel = mean_pixel
        self.num_units = num_units
        self.num_groups = num_groups
        self.context = factory.hidden_stack(mean_pixel.shape[0], num_hidden_layers)
        size = num_units // num_groups
        self.group_logits: list[keras.layers.Layer] = [
            factory.dense(self.context.num_outputs + i * size, size) for i in range(num_groups)
        ]
        self.built = True

    def sample_relaxed(self, x, *, num_samples, seed, chains) -> DirectedSample:
        return DirectedSample(*self._relaxed(x, num_samples=num_samples, seed=seed), chains)

    @tf.function(jit_compile=True)
    def _relaxed(self, x: tf.Tensor, *, num_samples: int, seed: tf.Tensor):
        """`zeta`, `logits` and `means` of a `DirectedSample`."""
        zeta, logits = self._ancestral(x, num_samples, seed, draw=self.relaxation.sample, training=True)
        means = tf.sigmoid(logits)
        if self.num_groups > 1:
            half = self.num_units // 2
            means = tf.concat([zeta[..., :half], means[..., half:]], axis=-1)
        return zeta, logits, means

    def draw(self, x, *, num_samples, seed) -> PosteriorDraws:
        z, log_q = self.sample(x, num_samples=num_samples, seed=seed)
        return PosteriorDraws(z, log_q, tf.zeros_like(log_q))

    def sample(self, x, *, num_samples, seed):
        z, logits = self._ancestral(x, num_samples, seed, draw=_draw_binary, training=False)
        return z, tf.reduce_sum(tfd.Bernoulli(logits=logits).log_prob(z), axis=-1)

    @property
    def is_amortized_whole(self) -> bool:
        return self.num_groups == 1

    def parameters(self, x, *, seed):
        _, logits = self._ancestral(x, 1, seed, draw=_draw_binary, training=False)
        return {"logits": logits[0]}

    def _ancestral(self, x, num_samples, seed, *, draw, training):
        context = self.context(x - self.mean_pixel, training=training)
        context = tf.broadcast_to(context, tf.concat([[num_samples], tf.shape(context)], 0))  # [K, B, hidden]
        context.set_shape([None, None, self.context.num_outputs])
        samples, logits = [], []
        for linear, group_seed in zip(
            self.group_logits, tf.unstack(tf.random.split(seed, self.num_groups)), strict=True
        ):
            logits.append(linear(tf.concat([context, *samples], axis=-1)))  # [K, B, units / L]
            samples.append(draw(logits[-1], group_seed))
        return tf.concat(samples, axis=-1), tf.concat(logits, axis=-1)


def _draw_binary(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tfd.Bernoulli(logits=logits, dtype=logits.dtype).sample(seed=seed)
