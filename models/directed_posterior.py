"""The directed posterior: groups of units, each factorial given the groups before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from models.inputs import Inputs
from models.networks import LayerFactory, feature_width
from models.posterior import PUBLISHED_TEMPERATURES, Densities, Mixture, Posterior, PosteriorDraws, checked_factors
from models.relaxations import LogComponents, Relaxation
from samplers import random
from samplers.weights import log_mean_exp


class DirectedEncoding(NamedTuple):
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
      encoding: what the samples of an example share.
      log_components: densities of each zeta given its unit's binary value, `[K, B, units]`; `()` if zeta was drawn from
        no mixture.
    """

    zeta: tf.Tensor
    logits: tf.Tensor
    means: tf.Tensor
    chains: tf.Tensor
    encoding: DirectedEncoding
    log_components: LogComponents | tuple[()] = ()

    @property
    def densities(self) -> LogComponents:
        """`log_components` of units that are a mixture.

        Raises:
          ValueError: they are none.
        """
        if not isinstance(self.log_components, LogComponents):
            raise ValueError(  # noqa: TRY004 - it depends on the relaxation, not on the caller
                "log_components=(): must be those of a mixture; this relaxation is a transform"
            )
        return self.log_components


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
      encoder: any Keras layer from `inputs(x)`, `[B, D]`, to the context that the groups share, `[B, width]`.
      relaxations: of the units of each group; L of them.
      layers: makes the groups' hidden layers and their linear maps.
      inputs: what the encoder is shown of x.
      num_units: latents, divisible by `2 * L`, or by 2 if there is one group.
      num_group_layers: hidden layers of each group's own.
    """

    chain_units = 0
    is_annealed = False

    def __init__(
        self,
        encoder: keras.layers.Layer,
        relaxations: Sequence[Relaxation],
        *,
        layers: LayerFactory,
        inputs: Inputs,
        num_units: int,
        num_group_layers: int,
    ) -> None:
        super().__init__(name="posterior")
        self.relaxations = tuple(relaxations)
        self.inputs = inputs
        self.num_units = num_units
        self.num_groups = len(self.relaxations)
        self.group_size = num_units // self.num_groups
        self.encoder = encoder
        self.context_width = feature_width("encoder", encoder, inputs.num_pixels)
        group_hidden: list[keras.layers.Layer] = []
        group_heads: list[keras.layers.Layer] = []
        for i, relaxation in enumerate(self.relaxations):
            with keras.name_scope(f"group_{i}"):
                num_inputs = self.context_width + i * self.group_size
                hidden = layers.hidden_stack(num_inputs, num_group_layers, name="hidden")
                width = feature_width("encoder", hidden, num_inputs)
                group_hidden.append(hidden)
                group_heads.append(layers.dense(width, self.group_size * relaxation.outputs_per_unit, name="outputs"))
        self.group_hidden, self.group_heads = tuple(group_hidden), tuple(group_heads)
        self.built = True

    @property
    def has_sampling_networks(self) -> bool:
        return any(hidden.layers for hidden in self.group_hidden[1:])

    @property
    def is_amortized_whole(self) -> bool:
        return self.num_groups == 1

    def encode(self, x: tf.Tensor, *, training: bool) -> DirectedEncoding:
        context = self.encoder(self.inputs(x), training=training)
        return DirectedEncoding(context, self.group_heads[0](self.group_hidden[0](context, training=training)))

    def sample_relaxed(
        self, encoding: DirectedEncoding, *, num_samples: int, seed: tf.Tensor, chains: tf.Tensor
    ) -> DirectedSample:
        """Ancestral: `zeta_i ~ r(zeta_i | outputs_i)`, `outputs_i` given the relaxed groups before."""
        seeds = random.split(seed, self.num_groups)
        units = self._ancestral(
            encoding,
            num_samples,
            lambda i, outputs: self._relaxed_group(i, self.relaxations[i].sample(outputs, seeds[i]), outputs),
            training=True,
        )
        means = tf.sigmoid(units.logits)
        if self.num_groups > 1:
            half = self.num_units // 2
            means = tf.concat([units.zeta[..., :half], means[..., half:]], axis=-1)
        return DirectedSample(units.zeta, units.logits, means, chains, encoding, units.log_components)

    def frozen(self, sample: DirectedSample) -> DirectedSample:
        encoding = tf.nest.map_structure(tf.stop_gradient, sample.encoding)
        groups = tf.split(sample.zeta, self.num_groups, axis=-1)
        # Within the scope variables have these values, and updates of moving averages go nowhere.
        stopped = [(variable, tf.stop_gradient(variable.value)) for variable in self.trainable_variables]
        with keras.StatelessScope(state_mapping=stopped):
            units = self._ancestral(
                encoding,
                tf.shape(sample.zeta)[0],
                lambda i, outputs: self._relaxed_group(i, groups[i], outputs),
                training=True,
            )
        return sample._replace(logits=units.logits, means=sample.zeta, log_components=units.log_components)

    def draw(self, encoding, *, num_samples, seed, flattening=(1.0,), num_temperatures=PUBLISHED_TEMPERATURES, base=0):
        """Exact draws, of each flattened q as many; `num_temperatures` and `base` play no part."""
        factors = checked_factors(flattening, num_samples, encoding.context.dtype)
        of_sample = tf.repeat(factors, num_samples // tf.size(factors))[:, None, None]
        z, logits, _ = self._binary(encoding, num_samples, seed, divide_by=of_sample)
        normalised = tf.zeros([tf.size(factors), tf.shape(encoding.context)[0]], tf.float64)
        log_q, log_mixture = _log_densities(logits, z, factors)
        return PosteriorDraws(z, log_q, log_q - log_mixture, Mixture(factors, normalised))

    def sample(self, encoding, *, num_samples, seed, num_temperatures=PUBLISHED_TEMPERATURES, base=0):
        z, logits, _ = self._binary(encoding, num_samples, seed)
        return z, _log_bernoulli(logits, z)

    def parameters(self, encoding, *, seed):
        return {"logits": self._binary(encoding, 1, seed).logits[0]}

    def unnormalised_log_prob(self, encoding, z):
        return _log_bernoulli(self._logits(encoding, z), z)

    def log_densities(self, encoding, z, mixture):
        return _log_densities(self._logits(encoding, z), z, mixture.factors)

    def reverse_log_weights(self, encoding, z, *, seed, num_temperatures=PUBLISHED_TEMPERATURES, base=0):
        """Exactly 0: `unnormalised_log_prob` is normalised."""
        return tf.zeros(tf.shape(z)[:-1], tf.float64)

    def _binary(
        self,
        encoding: DirectedEncoding,
        num_samples: tf.Tensor | int,
        seed: tf.Tensor,
        *,
        divide_by: tf.Tensor | float = 1.0,
    ) -> _Group:
        """Binary draws of all units, moving averages in use; drawn from logits divided by `divide_by [K, 1, 1]`."""
        seeds = random.split(seed, self.num_groups)

        def draw(i: int, outputs: tf.Tensor) -> _Group:
            logits = outputs[..., : self.group_size]
            return _Group(random.bernoulli(logits / divide_by, seeds[i]), logits, ())

        return self._ancestral(encoding, num_samples, draw, training=False)

    def _logits(self, encoding: DirectedEncoding, z: tf.Tensor) -> tf.Tensor:
        """Of each group given the units `z [K, B, units]` of those before, moving averages in use."""
        groups = tf.split(z, self.num_groups, axis=-1)
        given = lambda i, outputs: _Group(groups[i], outputs[..., : self.group_size], ())  # noqa: E731
        return self._ancestral(encoding, tf.shape(z)[0], given, training=False).logits

    def _ancestral(
        self, encoding: DirectedEncoding, num_samples: tf.Tensor | int, draw: Callable[..., _Group], *, training: bool
    ) -> _Group:
        """All groups in turn, each given those before it; `draw(i, outputs [K, B, outputs])` gives group i."""
        copy = lambda rows: tf.broadcast_to(rows, tf.concat([[num_samples], tf.shape(rows)], 0))  # noqa: E731
        groups = [draw(0, copy(encoding.outputs))]
        for i in range(1, self.num_groups):
            inputs = tf.concat([copy(encoding.context), *(group.zeta for group in groups)], axis=-1)
            # Samples and examples are one batch to a hidden layer, whose batch statistics are over both.
            rows = tf.reshape(inputs, [-1, self.context_width + i * self.group_size])
            outputs = self.group_heads[i](self.group_hidden[i](rows, training=training))
            groups.append(draw(i, tf.reshape(outputs, [num_samples, -1, outputs.shape[-1]])))
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=-1), *groups)

    def _relaxed_group(self, i: int, zeta: tf.Tensor, outputs: tf.Tensor) -> _Group:
        return _Group(zeta, outputs[..., : self.group_size], self.relaxations[i].log_components(zeta, outputs))


def _log_densities(logits: tf.Tensor, z: tf.Tensor, factors: tf.Tensor) -> Densities:
    """Every flattened q(z | x) has the same logits but for its factor, whichever of them z was drawn from."""
    of_each = _log_bernoulli(logits / tf.reshape(factors, [-1, 1, 1, 1]), z)
    return Densities(_log_bernoulli(logits, z), log_mean_exp(of_each, axis=0))


def _log_bernoulli(logits: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Of all units together, float64."""
    return tf.reduce_sum(tf.cast(tfd.Bernoulli(logits=logits).log_prob(z), tf.float64), axis=-1)
