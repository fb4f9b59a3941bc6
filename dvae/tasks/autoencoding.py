"""Autoencoding: a discrete VAE with a Boltzmann prior, trained on the ELBO or on importance-weighted bounds."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dvae import pictures
from dvae.building import build_autoencoder
from dvae.config import Config
from dvae.data import Dataset
from dvae.evaluation.estimates import Evaluation
from dvae.evaluation.functions import Functions, means
from dvae.evaluation.signatures import DrawSettings, autoencoder_functions
from dvae.systems import SYSTEMS, training_objective
from dvae.tasks.task import Pictures, Task, described_samples, described_system
from dvae.training.losses import AutoencodingLoss
from dvae.training.train_state import TrainState
from models import relaxed_prior
from models.autoencoder import DiscreteVAE
from models.generative import GenerativeModel
from samplers import diagnostics, random

_MIXING_SWEEPS = 50


class Autoencoding(Task):
    """Learns p(x) = sum_z p(z) p(x | z), p(z) an RBM."""

    @classmethod
    def reads(cls, config: Config) -> frozenset[str]:
        names = super().reads(config) | {"kl_warmup"}
        if config.objective == "iw":
            return names | {"iw_gradient"}
        return names | ({"stopped_log_q"} if SYSTEMS[config.model].has_log_q else frozenset())

    @classmethod
    def described(cls, config: Config) -> str:
        bound = "ELBO" if config.objective == "elbo" else "importance-weighted bound"
        return f"{described_system(config)}, trained on the {bound}, {described_samples(config)}"

    def new_model(self) -> DiscreteVAE:
        return build_autoencoder(self.config, self.dataset.train, self.networks)

    def chain_units(self, model: DiscreteVAE) -> int:
        return model.posterior.chain_units

    def loss(self, model: DiscreteVAE, *, synchronised: bool = False) -> AutoencodingLoss:
        objective = training_objective(self.config, model.posterior)
        return AutoencodingLoss(self.config, model, objective, synchronised=synchronised)

    def functions(self, model: DiscreteVAE, settings: DrawSettings) -> Functions:
        return autoencoder_functions(model, settings)

    def pictures(self, functions, originals, seed, *, latents=None):
        return generated_and_reconstructed(functions, originals, self.dataset, seed, latents)

    def latents_at_hand(self, state, num, seed):
        return particles(state, num, seed)

    def parameters(self, model: DiscreteVAE, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        encoding = model.posterior.encode(tf.constant(images, tf.float32), training=False)
        values = model.posterior.parameters(encoding, seed=seed)
        return prior_parameters(model) | {f"posterior/{name}": value for name, value in values.items()}

    def after_evaluation(self, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
        return anchor_prior(self.config, state, evaluation)


def generated_and_reconstructed(
    functions: Functions,
    originals: np.ndarray,
    dataset: Dataset,
    seed: tf.Tensor,
    latents: tf.Tensor | None,
) -> Pictures:
    """Examples that the model draws, and `originals [n, D]` beside their reconstructions; see `Task.pictures`."""
    if latents is None:
        samples = means(functions["generate"](num_samples=tf.constant(2 * len(originals)), seed=seed))
    else:
        samples = means(functions["render"](z=latents))
    reconstructions = means(functions["reconstruct"](x=tf.constant(originals, tf.float32), seed=seed))
    pairs, grey, shape = pictures.beside(originals, reconstructions), dataset.grey_levels, dataset.image_shape
    return Pictures(
        samples=pictures.grid(grey(samples), shape),
        reconstructions=pictures.grid(grey(pairs), shape, columns=min(len(originals), pictures.COLUMNS)),
    )


def particles(state: TrainState, num: int, seed: tf.Tensor) -> tf.Tensor:
    """Latents from the prior's chains in training, from all over them, `[num, units]`."""
    rbm, chains = state.model.prior.rbm(), state.read_prior().left
    left = tf.gather(chains, tf.range(num) * len(chains) // num)
    return tf.concat([left, random.bernoulli(rbm.right_logits(left), seed)], axis=-1)


def prior_parameters(model: GenerativeModel) -> dict[str, tf.Tensor]:
    """Of the prior, by name, for histograms."""
    return {f"prior/{name}": value for name, value in model.prior.rbm()._asdict().items()}


def anchor_prior(config: Config, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
    """Anchors the tracked log Z. How far it was off, how well the prior's chains mix, how strong its couplings are.

    Mixing is that of Gibbs chains that start from the sampler's.
    """
    if evaluation.log_z is None:
        return {}
    prior_state, prior = state.read_prior(), state.model.prior.rbm()
    drift = float(prior_state.log_z) - evaluation.log_z
    state.write_prior(prior_state.anchored(evaluation.log_z))
    seed = tf.constant([config.seed, int(state.global_step)])
    values = diagnostics.mixing(prior, prior_state.left, num_sweeps=_MIXING_SWEEPS, seed=seed)._asdict()
    values["smallest_eigenvalue"] = relaxed_prior.smallest_eigenvalue(prior)
    return {"tracked_log_z_drift": drift} | {f"prior_{name}": float(value) for name, value in values.items()}
