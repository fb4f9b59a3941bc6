"""The SavedModel: what a trained model can do, by signature, without this project's code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from dvae.data.observed import ObservedPart
from dvae.run_directory import partial_of
from models.autoencoder import DiscreteVAE
from models.conditional import ConditionalModel
from models.generative import GenerativeModel
from models.posterior import Posterior, PosteriorDraws
from samplers import annealed_importance, gibbs, population_annealing
from samplers.annealing_path import uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.weights import effective_sample_size, log_mean_exp

_ORIGIN = "assets.extra/run.json"
_ORIGIN_NAMES, _ORIGIN_SETTINGS = {"settings", "checksum", "step", "seconds"}, {"model", "dataset", "data_dir"}
_SEED = tf.TensorSpec([2], tf.int32, "seed")
_COUNT = tf.TensorSpec([], tf.int32, "num_samples")
_PRIOR_PARTICLES, _PRIOR_TEMPERATURES, _PRIOR_SWEEPS = 1000, 1000, 100
_POSTERIOR_SWEEPS = 100
Signatures = Mapping[Callable, Sequence[tf.TensorSpec]]


class ExportableModel(tf.Module):
    """A model's signatures as functions of named tensors, each returning a dictionary of tensors.

    Evaluation in training uses `functions` in place; `save` writes them as a SavedModel, whose `signatures` are the
    same functions.

    Args:
      model: with a `likelihood`.
      signatures: a subclass's own: methods, and the specifications of their inputs.

    Attributes:
      functions: by signature name.
    """

    def __init__(self, model: GenerativeModel | ConditionalModel, signatures: Signatures) -> None:
        super().__init__(name="exportable_model")
        self.model = model
        z = tf.TensorSpec([None, model.likelihood.num_units], tf.float32, "z")
        self.functions: Mapping[str, Callable[..., dict[str, tf.Tensor]]] = {
            method.__name__: tf.function(method, input_signature=inputs)
            for method, inputs in {self.decode: [z], **signatures}.items()
        }

    def decode(self, z):
        """Pixel logits of binary latents."""
        return {"logits": self.model.likelihood.logits(z, training=False)}

    def save(self, folder: Path, *, origin: dict[str, Any]) -> None:
        """Writes the SavedModel; what was in `folder` before stays whole until the new one is complete.

        Args:
          folder: where.
          origin: what is to be known of the run that made the model, kept beside it (see `read_origin`).
        """
        partial = partial_of(folder)
        shutil.rmtree(partial, ignore_errors=True)
        signatures = {name: function.get_concrete_function() for name, function in self.functions.items()}
        tf.saved_model.save(self, str(partial), signatures=signatures)
        (partial / _ORIGIN).parent.mkdir()
        (partial / _ORIGIN).write_text(json.dumps(origin, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


class _WithPosterior(tf.Module):
    """The signatures of an approximate posterior q(z | x)."""

    def _of_posterior(self, posterior: Posterior, num_pixels: int) -> Signatures:
        """For a posterior that is given so many pixels."""
        # At the top of the saved object, so that whoever loads it can flatten it, and anneal an RBM for longer.
        self.posterior_flattening = posterior.flattening
        if hasattr(posterior, "num_temperatures"):
            self.posterior_temperatures = posterior.num_temperatures
        x = tf.TensorSpec([None, num_pixels], tf.float32, "x")
        signatures = {self.sample_posterior: [x, _COUNT, _SEED]}
        return signatures | ({self.posterior_parameters: [x]} if posterior.is_amortized_whole else {})

    def sample_posterior(self, x, num_samples, seed):
        """Binary latents from q(z | x), equally weighted, and `log q(z | x)` in nats."""
        z, log_q = self.model.posterior.sample(x, num_samples=num_samples, seed=seed)
        return {"z": z, "log_q": log_q}

    def posterior_parameters(self, x):
        """The parameters of q(z | x), which depend on x alone."""
        return self.model.posterior.parameters(x, seed=tf.constant([0, 0]))


class _WithPrior(ExportableModel):
    """The signatures of p(z) and p(x | z)."""

    def __init__(self, model: GenerativeModel, signatures: Signatures) -> None:
        z = tf.TensorSpec([None, model.likelihood.num_units], tf.float32, "z")
        counts = [tf.TensorSpec([], tf.int32, name) for name in ("num_chains", "num_temperatures")]
        of_prior = {
            self.prior_energy: [z],
            self.sample_prior: [_COUNT, _SEED],
            self.generate: [_COUNT, _SEED],
            self.log_partition: [*counts, _SEED],
        }
        super().__init__(model, of_prior | signatures)

    def prior_energy(self, z):
        """`E(z)` in nats, `p(z) = exp(-E(z)) / Z`."""
        prior = self.model.prior.rbm()
        return {"energy": prior.energy(*prior.split(z))}

    def sample_prior(self, num_samples, seed):
        """Latents from p(z): population annealing, a random part of the population, and further sweeps."""
        anneal_seed, shuffle_seed, gibbs_seed = tf.unstack(tf.random.split(seed, 3))
        prior = self.model.prior.rbm()
        population = population_annealing.sample(
            prior,
            uniform_base(prior),
            betas=linear_betas(_PRIOR_TEMPERATURES),
            num_particles=tf.maximum(num_samples, _PRIOR_PARTICLES),
            seed=anneal_seed,
        )
        left = tf.random.experimental.stateless_shuffle(population.left, shuffle_seed)[:num_samples]
        state = gibbs.sweep(prior, left, gibbs_seed, num_sweeps=tf.constant(_PRIOR_SWEEPS))
        return {"z": tf.concat([state.left, state.right], axis=-1)}

    def generate(self, num_samples, seed):
        """Pixel probabilities of latents from the prior."""
        z = self.sample_prior(num_samples, seed)["z"]
        return {"probabilities": tf.sigmoid(self.model.likelihood.logits(z, training=False))}

    def log_partition(self, num_chains, num_temperatures, seed):
        """log Z of the prior by AIS from the uniform distribution, with its standard error, nats."""
        prior = self.model.prior.rbm()
        annealed = annealed_importance.sample(
            prior, uniform_base(prior), betas=linear_betas(num_temperatures), num_chains=num_chains, seed=seed
        )
        return {
            "log_z": tf.cast(annealed.log_z, tf.float32),
            "standard_error": tf.cast(annealed.standard_error, tf.float32),
        }


class InferenceModel(_WithPosterior, _WithPrior):
    """The signatures of an autoencoder."""

    def __init__(self, model: DiscreteVAE) -> None:
        x, log_z = _images(model), tf.TensorSpec([], tf.float32, "log_z")
        signatures = {self.reconstruct: [x, _SEED], self.log_likelihood: [x, _COUNT, log_z, _SEED]}
        super().__init__(model, signatures | self._of_posterior(model.posterior, model.likelihood.num_pixels))

    def reconstruct(self, x, seed):
        """Pixel probabilities of one sample of q(z | x)."""
        z, _ = self.model.posterior.sample(x, num_samples=1, seed=seed)
        return {"probabilities": tf.sigmoid(self.model.likelihood.logits(z[0], training=False))}

    def log_likelihood(self, x, num_samples, log_z, seed):
        """Importance-weighted `log p(x)` and its effective sample size; the ELBO; the entropy of q(z | x). Nats.

        Given the prior's log Z.
        """
        draws = self.model.posterior.draw(x, num_samples=num_samples, seed=seed)
        return _estimates(draws, self.model.log_joint(x, draws.z, log_z) - draws.log_q)


class MarkovChainModel(_WithPrior):
    """The signatures of a generative model whose posterior is sampled by Markov chains."""

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__(model, {self.reconstruct: [_images(model), _SEED]})

    def reconstruct(self, x, seed):
        """Pixel probabilities of one state of p(z | x), after sweeps of single-site Gibbs from fair coins."""
        start_seed, sweep_seed = tf.unstack(tf.random.split(seed, 2))
        coins = tf.random.stateless_uniform([1, tf.shape(x)[0], self.model.likelihood.num_units], start_seed) < 0.5
        num_sweeps = tf.constant(_POSTERIOR_SWEEPS)
        z = self.model.posterior_sweeps(x, tf.cast(coins, tf.float32), sweep_seed, num_sweeps=num_sweeps)
        return {"probabilities": tf.sigmoid(self.model.likelihood.logits(z[0], training=False))}


def _estimates(draws: PosteriorDraws, log_ratio: tf.Tensor) -> dict[str, tf.Tensor]:
    """`log E_q exp(log_ratio)`, `E_q log_ratio` and the entropy of q, each `[B]`, from `log_ratio [K, B]` of draws."""
    log_weights = draws.log_weights + log_ratio
    return {
        "log_likelihood": log_mean_exp(log_weights, axis=0),
        "effective_sample_size": effective_sample_size(log_weights, axis=0),
        "elbo": draws.mean(log_ratio),
        "entropy": draws.mean(-draws.log_q),
    }


def _images(model: GenerativeModel) -> tf.TensorSpec:
    return tf.TensorSpec([None, model.likelihood.num_pixels], tf.float32, "x")


class PredictionModel(_WithPosterior, ExportableModel):
    """The signatures of structured prediction: x_2, the target pixels of an example x, from x_1, the observed ones.

    `sample_posterior` and `posterior_parameters` are of q(z | x_1): their `x` is the observed part; `decode` gives the
    logits of the target.
    """

    def __init__(self, model: ConditionalModel, part: ObservedPart) -> None:
        self.part = ObservedPart(*(tf.constant(pixels) for pixels in part))
        num_observed, num_target = map(len, part)
        x = tf.TensorSpec([None, num_observed + num_target], tf.float32, "x")
        observed = tf.TensorSpec([None, num_observed], tf.float32, "observed")
        z = tf.TensorSpec([None, model.likelihood.num_units], tf.float32, "z")
        signatures = {
            self.pixels: [],
            self.predict: [observed, _COUNT, _SEED],
            self.log_likelihood: [x, _COUNT, _SEED],
            self.posterior_energy: [observed, z],
        }
        super().__init__(model, signatures | self._of_posterior(model.posterior, num_observed))

    def pixels(self):
        """Which pixels of an example are observed, and which are the target, by number."""
        return self.part._asdict()

    def predict(self, observed, num_samples, seed):
        """Target pixels given the observed ones: their probabilities, and draws from `p(x_2 | x_1)`.

        The probabilities `[B, D2]` are the mean over `num_samples` latents; each of the draws `[num_samples, B, D2]`
        has a latent of its own.
        """
        posterior_seed, pixel_seed = tf.unstack(tf.random.split(seed, 2))
        z, _ = self.model.posterior.sample(observed, num_samples=num_samples, seed=posterior_seed)
        probabilities = tf.sigmoid(self.model.likelihood.logits(z, training=False))
        uniform = tf.random.stateless_uniform(tf.shape(probabilities), pixel_seed)
        return {
            "probabilities": tf.reduce_mean(probabilities, axis=0),
            "samples": tf.cast(uniform < probabilities, tf.float32),
        }

    def log_likelihood(self, x, num_samples, seed):
        """`log p(x_2 | x_1) = log E_q p(x_2 | z)` by samples, their effective number, and the entropy of q; nats.

        Of an RBM posterior the weighted samples make it a ratio of two estimates: the error of log Z_phi does not
        cancel, as it does in an autoencoder's, and takes more temperatures to reduce.
        `E_q log p(x_2 | z)`, a lower bound, goes by the name of the autoencoder's.
        """
        observed, target = self.part.split(x)
        draws = self.model.posterior.draw(observed, num_samples=num_samples, seed=seed)
        return _estimates(draws, self.model.likelihood.log_prob(target, draws.z, training=False))

    def posterior_energy(self, observed, z):
        """`E(z)` of given latents, q(z | x_1) proportional to `exp(-E(z))`; nats, `[B, S]`."""
        latents = tf.broadcast_to(z[:, None], [tf.shape(z)[0], tf.shape(observed)[0], z.shape[-1]])
        return {"energy": -tf.transpose(self.model.posterior.unnormalised_log_prob(observed, latents))}


def read_origin(folder: Path) -> dict[str, Any]:
    """What `save` was told of the run: `settings`, `checksum`, `step`, `seconds`.

    Raises:
      OSError: there is no such file.
      ValueError: it is not JSON, or something is missing.
    """
    origin = json.loads((folder / _ORIGIN).read_text())
    if not isinstance(origin, dict) or not isinstance(origin.get("settings"), dict):
        raise ValueError(f"{_ORIGIN} is not of this program")  # noqa: TRY004 (the content is wrong, not the caller)
    for part, names in ((origin, _ORIGIN_NAMES), (origin["settings"], _ORIGIN_SETTINGS)):
        if missing := sorted(names - part.keys()):
            raise ValueError(f"{_ORIGIN} lacks {', '.join(missing)}")
    return origin
