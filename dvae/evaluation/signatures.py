"""What a trained model can do, as functions of named tensors that return dictionaries of named tensors.

Evaluation in training calls them in place; `dvae.evaluation.saved_model` writes them as a SavedModel, whose signatures
they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from dvae.compiling import compiled
from dvae.data.observed import ObservedPart
from dvae.data.values import BINARY
from dvae.evaluation.functions import Functions
from models.autoencoder import DiscreteVAE
from models.conditional import ConditionalModel
from models.generative import GenerativeModel
from models.likelihood import BernoulliLikelihood, Likelihood
from models.posterior import Posterior
from models.rbm_posterior import RBMPosterior
from samplers import gibbs, population_annealing, random, two_bases
from samplers.annealing_path import Schedule, uniform_base
from samplers.annealing_schedules import linear_betas

_SEED = tf.TensorSpec([2], tf.int32, "seed")
_COUNT = tf.TensorSpec([], tf.int32, "num_samples")
_LOG_Z = tf.TensorSpec([], tf.float32, "log_z")
_TEMPERATURES = tf.TensorSpec([], tf.int32, "posterior_temperatures")
_BASE = tf.TensorSpec([], tf.int32, "posterior_base")
_FLATTENING = tf.TensorSpec([None], tf.float32, "flattening")
_TRUE_TEMPERATURES = tf.TensorSpec([], tf.int32, "true_posterior_temperatures")
_PRIOR_PARTICLES, _PRIOR_TEMPERATURES, _PRIOR_SWEEPS = 1000, 1000, 100
_POSTERIOR_SWEEPS = 100


class DrawSettings(tf.Module):
    """How the posterior is drawn from where a signature has no input for it; part of the SavedModel.

    Attributes:
      temperatures: of AIS through an RBM posterior.
      base: where that starts, a number in `models.posterior.BASES`.
      flattening: factors; see `models.posterior.Posterior.draw`.
    """

    def __init__(self, *, temperatures: int, base: int) -> None:
        super().__init__(name="draw_settings")
        self.temperatures = tf.Variable(temperatures, trainable=False, dtype=tf.int32, name="temperatures")
        self.base = tf.Variable(base, trainable=False, dtype=tf.int32, name="base")
        self.flattening = tf.Variable([1.0], shape=[None], trainable=False, name="flattening")

    @property
    def annealing(self) -> dict[str, tf.Tensor]:
        """As arguments of `Posterior.sample`."""
        return {"num_temperatures": self.temperatures, "base": self.base}

    def asked_for(self) -> dict[str, tf.Tensor]:
        """As arguments of `Posterior.draw`."""
        return self.annealing | {"flattening": self.flattening}


def autoencoder_functions(model: DiscreteVAE, settings: DrawSettings) -> Functions:
    """Those of an autoencoder."""
    posterior, x = model.posterior, _rows("x", model.likelihood.num_pixels)
    estimate = compiled(model.log_likelihood, autograph=True)
    anneal = compiled(model.annealed_log_likelihood, autograph=True)

    @_signature(x, _SEED)
    def reconstruct(x, seed):
        """Expected pixels of one sample of q(z | x)."""
        encoding = posterior.encode(x, training=False)
        z, _ = posterior.sample(encoding, num_samples=1, seed=seed, **settings.annealing)
        return _means(model.likelihood, z[0])

    def estimated(x, log_z, **draw):
        draws = posterior.draw(posterior.encode(x, training=False), **draw)
        return _in_float32(estimate(x, draws, log_z)._asdict())

    @_signature(x, _COUNT, _LOG_Z, _SEED)
    def log_likelihood(x, num_samples, log_z, seed):
        """Importance-weighted `log p(x)` and its effective sample size; the ELBO; the entropy of q(z | x). Nats.

        Given the prior's log Z.
        """
        return estimated(x, log_z, num_samples=num_samples, seed=seed, **settings.asked_for())

    @_signature(x, _COUNT, _LOG_Z, _TEMPERATURES, _BASE, _FLATTENING, _SEED)
    def estimate_log_likelihood(  # noqa: PLR0917
        x, num_samples, log_z, posterior_temperatures, posterior_base, flattening, seed
    ):
        """`log_likelihood` with draws of the posterior as they are asked for."""
        draw = _as_asked(posterior_temperatures, posterior_base, flattening)
        return estimated(x, log_z, num_samples=num_samples, seed=seed, **draw)

    @_signature(x, _COUNT, _LOG_Z, _TEMPERATURES, _BASE, _FLATTENING, _TRUE_TEMPERATURES, _SEED)
    def anneal_log_likelihood(  # noqa: PLR0917
        x,
        num_samples,
        log_z,
        posterior_temperatures,
        posterior_base,
        flattening,
        true_posterior_temperatures,
        seed,
    ):
        """`estimate_log_likelihood` with the draws annealed from q to the true posterior: without the error of q."""
        draw = _as_asked(posterior_temperatures, posterior_base, flattening)
        encoding, [draw_seed, move_seed] = posterior.encode(x, training=False), random.split(seed, 2)
        draws = posterior.draw(encoding, num_samples=num_samples, seed=draw_seed, **draw)
        schedule = _schedule(true_posterior_temperatures)
        return _in_float32(anneal(x, encoding, draws, log_z, schedule=schedule, seed=move_seed)._asdict())

    return (
        _prior_functions(model)
        | _posterior_functions(posterior, model.likelihood.num_pixels, settings)
        | _named(reconstruct, log_likelihood, estimate_log_likelihood, anneal_log_likelihood)
    )


def markov_chain_functions(model: GenerativeModel) -> Functions:
    """Those of a generative model whose posterior is sampled by Markov chains."""
    sweeps = compiled(model.posterior_sweeps, autograph=True)

    @_signature(_rows("x", model.likelihood.num_pixels), _SEED)
    def reconstruct(x, seed):
        """Expected pixels of one state of p(z | x), after sweeps of single-site Gibbs from fair coins."""
        start_seed, sweep_seed = random.split(seed, 2)
        coins = random.bernoulli(tf.zeros([1, tf.shape(x)[0], model.likelihood.num_units]), start_seed)
        z = sweeps(x, coins, sweep_seed, num_sweeps=tf.constant(_POSTERIOR_SWEEPS))
        return _means(model.likelihood, z[0])

    return _prior_functions(model) | _named(reconstruct)


def prediction_functions(model: ConditionalModel, part: ObservedPart, settings: DrawSettings) -> Functions:
    """Those of structured prediction: x_2, the target pixels of an example x, from x_1, the observed ones.

    `sample_posterior` and `posterior_parameters` are of q(z | x_1): their `x` is the observed part; `decode` gives the
    logits of the target.
    """
    posterior, likelihood = model.posterior, model.likelihood
    num_observed, num_target = map(len, part)
    x, observed = _rows("x", num_observed + num_target), _rows("observed", num_observed)
    estimate = compiled(model.log_likelihood, autograph=True)
    anneal = compiled(model.annealed_log_likelihood, autograph=True)
    constant_part = ObservedPart(*(tf.constant(numbers) for numbers in part))

    @_signature()
    def pixels():
        """Which pixels of an example are observed, and which are the target, by number."""
        return {name: tf.identity(numbers) for name, numbers in constant_part._asdict().items()}

    @_signature(observed, _COUNT, _SEED)
    def predict(observed, num_samples, seed):
        """Target pixels given the observed ones: their means, and draws from `p(x_2 | x_1)`.

        The means `[B, D2]` are over `num_samples` latents; each of the draws `[num_samples, B, D2]` has a latent of
        its own.
        """
        posterior_seed, pixel_seed = random.split(seed, 2)
        encoding = posterior.encode(observed, training=False)
        z, _ = posterior.sample(encoding, num_samples=num_samples, seed=posterior_seed, **settings.annealing)
        return {
            **{name: tf.reduce_mean(of_draws, axis=0) for name, of_draws in _means(likelihood, z).items()},
            "samples": likelihood.sample(z, pixel_seed),
        }

    def estimated(x, **draw):
        observed, target = constant_part.split(x)
        draws = posterior.draw(posterior.encode(observed, training=False), **draw)
        return _in_float32(estimate(target, draws)._asdict())

    @_signature(x, _COUNT, _SEED)
    def log_likelihood(x, num_samples, seed):
        """`log p(x_2 | x_1)` by samples, their effective number, and the entropy of q; nats.

        `E_q log p(x_2 | z)`, a lower bound, goes by the name of the autoencoder's ELBO.
        """
        return estimated(x, num_samples=num_samples, seed=seed, **settings.asked_for())

    @_signature(x, _COUNT, _TEMPERATURES, _BASE, _FLATTENING, _SEED)
    def estimate_log_likelihood(  # noqa: PLR0917
        x, num_samples, posterior_temperatures, posterior_base, flattening, seed
    ):
        """`log_likelihood` with draws of the posterior as they are asked for."""
        draw = _as_asked(posterior_temperatures, posterior_base, flattening)
        return estimated(x, num_samples=num_samples, seed=seed, **draw)

    @_signature(x, _COUNT, _TEMPERATURES, _BASE, _FLATTENING, _TRUE_TEMPERATURES, _SEED)
    def anneal_log_likelihood(  # noqa: PLR0917
        x, num_samples, posterior_temperatures, posterior_base, flattening, true_posterior_temperatures, seed
    ):
        """`estimate_log_likelihood` with the draws annealed from `q(z | x_1)` to `p(z | x)`."""
        draw = _as_asked(posterior_temperatures, posterior_base, flattening)
        observed, target = constant_part.split(x)
        encoding, [draw_seed, move_seed] = posterior.encode(observed, training=False), random.split(seed, 2)
        draws = posterior.draw(encoding, num_samples=num_samples, seed=draw_seed, **draw)
        schedule = _schedule(true_posterior_temperatures)
        return _in_float32(anneal(target, encoding, draws, schedule=schedule, seed=move_seed)._asdict())

    @_signature(observed, _rows("z", likelihood.num_units))
    def posterior_energy(observed, z):
        """`E(z)` of given latents, q(z | x_1) proportional to `exp(-E(z))`; nats, `[B, S]`."""
        latents = tf.broadcast_to(z[:, None], [tf.shape(z)[0], tf.shape(observed)[0], z.shape[-1]])
        encoding = posterior.encode(observed, training=False)
        return _in_float32({"energy": -tf.transpose(posterior.unnormalised_log_prob(encoding, latents))})

    return (
        _likelihood_functions(likelihood)
        | _posterior_functions(posterior, num_observed, settings)
        | _named(pixels, predict, log_likelihood, estimate_log_likelihood, anneal_log_likelihood, posterior_energy)
    )


def _likelihood_functions(likelihood: Likelihood) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
    """Those of p(x | z)."""
    outputs_name = "logits" if isinstance(likelihood, BernoulliLikelihood) else "outputs"

    @_signature(_rows("z", likelihood.num_units))
    def decode(z):
        """What the decoder makes of binary latents: pixel logits, or the outputs of a likelihood of another kind."""
        return {outputs_name: likelihood.outputs(z, training=False)}

    @_signature(_rows("x", likelihood.num_pixels), _rows("outputs", likelihood.num_outputs))
    def log_prob_of_pairs(x, outputs):
        """`log p(x_n | z_s)`, nats, float64 `[S, n]`, from what `decode` makes of `z_s`."""
        return {"log_prob": likelihood.log_prob_of_pairs(x, outputs)}

    @_signature(_rows("z", likelihood.num_units))
    def render(z):
        """Expected pixels of binary latents, of whatever origin."""
        return _means(likelihood, z)

    @_signature(_rows("z", likelihood.num_units))
    def pixel_parameters(z):
        """What a pixel is distributed by given binary latents, by the names of its likelihood, each `[B, D]`."""
        return likelihood.parameters(likelihood.outputs(z, training=False))

    return _named(decode, log_prob_of_pairs, render, pixel_parameters)


def _posterior_functions(
    posterior: Posterior, num_pixels: int, settings: DrawSettings
) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
    """Those of an approximate posterior that is given so many pixels."""
    x = _rows("x", num_pixels)

    @_signature(x, _COUNT, _SEED)
    def sample_posterior(x, num_samples, seed):
        """Binary latents from q(z | x), equally weighted, and `log q(z | x)` in nats."""
        encoding = posterior.encode(x, training=False)
        z, log_q = posterior.sample(encoding, num_samples=num_samples, seed=seed, **settings.annealing)
        return _in_float32({"z": z, "log_q": log_q})

    @_signature()
    def posterior_settings():
        """Whether q is annealed, and what `log_likelihood` has no inputs for: temperatures, base and flattening.

        The base is a number: 0 the biases, 1 the fields, 2 the mean-field fixed point.
        """
        return {
            "is_annealed": tf.constant(posterior.is_annealed),
            "temperatures": tf.identity(settings.temperatures),
            "base": tf.identity(settings.base),
            "flattening": tf.identity(settings.flattening),
        }

    @_signature(x)
    def posterior_parameters(x):
        """The parameters of q(z | x), which depend on x alone."""
        return posterior.parameters(posterior.encode(x, training=False), seed=tf.constant([0, 0]))

    functions = _named(sample_posterior, posterior_settings)
    functions |= _named(posterior_parameters) if posterior.is_amortized_whole else {}
    if isinstance(posterior, RBMPosterior):

        @_signature(x, _COUNT, _TEMPERATURES, _BASE, _SEED)
        def posterior_log_partition(x, num_samples, posterior_temperatures, posterior_base, seed):
            """log Z_phi of q(z | x) by AIS with its standard error, nats, and the effective number of its chains."""
            found = posterior.log_partition(
                posterior.encode(x, training=False),
                num_chains=num_samples,
                num_temperatures=posterior_temperatures,
                base=posterior_base,
                seed=seed,
            )
            return _in_float32(found._asdict())

        functions |= _named(posterior_log_partition)
    return functions


def _prior_functions(model: GenerativeModel) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
    """Those of p(z) and p(x | z)."""

    def prior_samples(num_samples, seed):
        anneal_seed, shuffle_seed, gibbs_seed = random.split(seed, 3)
        prior = model.prior.rbm()
        population = population_annealing.sample(
            prior,
            uniform_base(prior),
            betas=linear_betas(_PRIOR_TEMPERATURES),
            num_particles=tf.maximum(num_samples, _PRIOR_PARTICLES),
            seed=anneal_seed,
        )
        left = random.shuffle(population.left, shuffle_seed)[:num_samples]
        state = gibbs.sweep(prior, left, gibbs_seed, num_sweeps=tf.constant(_PRIOR_SWEEPS))
        return tf.concat([state.left, state.right], axis=-1)

    @_signature(_rows("z", model.likelihood.num_units))
    def prior_energy(z):
        """`E(z)` in nats, `p(z) = exp(-E(z)) / Z`."""
        prior = model.prior.rbm().astype(tf.float64)
        return _in_float32({"energy": prior.energy(*prior.split(tf.cast(z, tf.float64)))})

    @_signature()
    def prior_parameters():
        """Of `E(z) = -bias_left . z_left - bias_right . z_right - z_left' weights z_right`."""
        return model.prior.rbm()._asdict()

    @_signature(_COUNT, _SEED)
    def sample_prior(num_samples, seed):
        """Latents from p(z): population annealing, a random part of the population, and further sweeps."""
        return {"z": prior_samples(num_samples, seed)}

    @_signature(_COUNT, _SEED)
    def generate(num_samples, seed):
        """Expected pixels of latents from the prior."""
        return _means(model.likelihood, prior_samples(num_samples, seed))

    @_signature(_COUNT, _SEED)
    def sample_examples(num_samples, seed):
        """Draws `x [num_samples, D]` of the model: pixels, not their means, of latents from the prior."""
        prior_seed, pixel_seed = random.split(seed, 2)
        return {"x": model.likelihood.sample(prior_samples(num_samples, prior_seed), pixel_seed)}

    @_signature(*(tf.TensorSpec([], tf.int32, name) for name in ("num_chains", "num_temperatures")), _SEED)
    def log_partition(num_chains, num_temperatures, seed):
        """log Z of the prior by AIS, with its standard error, nats, and the effective sample size of the chains.

        Half of the chains start from the uniform distribution, half from the prior's own means; where the two disagree,
        or too few chains count, the error is infinite. What either half says is told too.
        """
        prior = model.prior.rbm()
        found = two_bases.from_two_bases(
            prior, uniform_base(prior), betas=linear_betas(num_temperatures), num_chains=num_chains, seed=seed
        )
        by_base = {"from_uniform": found.first.log_z, "from_own_means": found.means.log_z}
        return _in_float32(found.together._asdict() | by_base)

    return _likelihood_functions(model.likelihood) | _named(
        prior_energy, prior_parameters, sample_prior, generate, sample_examples, log_partition
    )


def _means(likelihood: Likelihood, z: tf.Tensor) -> dict[str, tf.Tensor]:
    """Expected pixels of latents; of binary ones, the probability of a 1."""
    name = "probabilities" if likelihood.values == BINARY else "means"
    return {name: likelihood.mean(z, training=False)}


def _as_asked(temperatures: tf.Tensor, base: tf.Tensor, flattening: tf.Tensor) -> dict[str, tf.Tensor]:
    """As arguments of `Posterior.draw`."""
    return {"num_temperatures": temperatures, "base": base, "flattening": flattening}


def _schedule(num_temperatures: tf.Tensor) -> Schedule:
    return Schedule.of(linear_betas(num_temperatures), tf.float32)


def _rows(name: str, width: int) -> tf.TensorSpec:
    return tf.TensorSpec([None, width], tf.float32, name)


def _signature(*inputs: tf.TensorSpec) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A graph with these inputs, traced when it is first used."""
    return lambda function: tf.function(function, input_signature=inputs)


def _in_float32(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a signature returns; sums are made in float64."""
    return {name: tf.cast(tensor, tf.float32) for name, tensor in tensors.items()}


def _named(*functions: Any) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
    """By their own names."""
    return {function.__name__: function for function in functions}
