"""What a task is: a model, its training and its use."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from dvae.building import PUBLISHED_NETWORKS, Networks, likelihood_class
from dvae.config import LIKELIHOODS, Config
from dvae.data import Dataset
from dvae.errors import UserError
from dvae.evaluation.estimates import Evaluation
from dvae.evaluation.functions import Functions
from dvae.evaluation.signatures import DrawSettings
from dvae.prior_samplers import prior_sampler, prior_sampler_reads
from dvae.published import ORIGINS
from dvae.systems import SYSTEMS
from dvae.training.losses import Loss
from dvae.training.prior_sampler import PriorSampler
from dvae.training.replicas import Replicas
from dvae.training.step import Step
from dvae.training.train_state import TrainState
from dvae.training.trainer import Trainer, new_optimizer, state_seed
from models.networks import synchronise

# The settings that play a part in every run; with a prior; by strategy; with an approximate posterior.
_ALWAYS = frozenset(
    {
        "likelihood",
        "valid_fraction",
        "test_fraction",
        "objective",
        "recipe",
        "num_latents",
        "hidden_layers",
        "weight_decay",
        "dataset",
        "data_dir",
        "num_steps",
        "batch_size",
        "learning_rate",
        "seed",
        "strategy",
        "log_dir",
        "report_every",
        "eval_every",
        "checkpoint_every",
        "valid_examples",
        "valid_pictures",
        "test_examples",
    }
)
_OF_PRIOR = frozenset(
    {
        "prior_spins",
        "prior_sampler",
        "num_particles",
        "prior_sweeps",
        "log_z_chains",
        "valid_log_z_temperatures",
        "test_log_z_temperatures",
    }
)
_OF_STRATEGY = {
    "one": frozenset(),
    "mirrored": frozenset({"num_devices", "batch_norm_statistics"}),
    "multi_worker": frozenset({"batch_norm_statistics"}),
}
_OF_POSTERIOR = frozenset({"model", "num_groups", "beta", "num_samples", "valid_samples", "test_samples"})


class Pictures(NamedTuple):
    """What a run shows, each for `dvae.pictures.save`.

    Attributes:
      samples: what the model draws.
      reconstructions: examples, beside what it makes of them.
    """

    samples: np.ndarray
    reconstructions: np.ndarray


class Task(abc.ABC):
    """What differs between autoencoding and its kin; run, trainer and evaluation know none of them by name.

    Attributes:
      has_prior, has_posterior: whether there is a p(z); an approximate q(z | x).
      likelihood_of: what the likelihood is of, in words; None if it is the whole example.

    Args:
      config: complete and checked.
      dataset: as named in it.
      networks: what is handed in in place of the published ones.

    Raises:
      UserError: the settings do not fit the data.
    """

    has_prior: ClassVar[bool] = True
    has_posterior: ClassVar[bool] = True
    likelihood_of: str | None = None

    def __init__(self, config: Config, dataset: Dataset, networks: Networks = PUBLISHED_NETWORKS) -> None:
        self.config, self.dataset, self.networks = config, dataset, networks
        if networks.likelihood is not None and config.likelihood != LIKELIHOODS[0]:
            name = networks.likelihood.__name__
            raise UserError(f"must be left out where {name} is handed in", likelihood=config.likelihood)
        wanted = likelihood_class(config, networks).values
        if dataset.values != wanted:
            raise UserError(
                f'is of values="{dataset.values}", the likelihood takes "{wanted}": make it with values="{wanted}"',
                dataset=dataset.name,
            )

    @classmethod
    def reads(cls, config: Config) -> frozenset[str]:
        """Names of the settings that play a part in a run of this task, given these."""
        names = _ALWAYS | ({"hidden_units"} if config.hidden_layers else frozenset())
        names |= _OF_STRATEGY[config.strategy]
        if cls.has_prior:
            names |= _OF_PRIOR | prior_sampler_reads(config)
        if cls.has_posterior:
            names |= _OF_POSTERIOR | SYSTEMS[config.model].reads
        return names

    @classmethod
    @abc.abstractmethod
    def described(cls, config: Config) -> str:
        """The model and what it is trained on, in words."""

    @property
    def checksum(self) -> str:
        """Of the data and of all else that the settings only point to; a run may continue with no other."""
        return self.dataset.checksum

    @property
    def num_draws(self) -> int:
        """Draws of the posterior for each example in a step."""
        return self.config.num_samples

    @abc.abstractmethod
    def new_model(self) -> Any:
        """The Keras model, its weights drawn with the seed of the settings.

        Raises:
          ValueError: networks that were handed in do not fit.
        """

    @abc.abstractmethod
    def chain_units(self, model: Any) -> int:
        """Units of the chain that is kept for each example; 0 for none."""

    @abc.abstractmethod
    def loss(self, model: Any, *, synchronised: bool = False) -> Loss:
        """What training minimises; `synchronised`: batch normalisation uses statistics of all replicas."""

    @abc.abstractmethod
    def functions(self, model: Any, settings: DrawSettings) -> Functions:
        """What the model can do, for evaluation and export."""

    @abc.abstractmethod
    def pictures(
        self, functions: Functions, originals: np.ndarray, seed: tf.Tensor, *, latents: tf.Tensor | None = None
    ) -> Pictures:
        """Of what the model makes by itself, and of `originals [n, D]`.

        Args:
          functions: of the model.
          originals: examples, `[n, D]`.
          seed: int32 `[2]`.
          latents: of the prior, `[m, units]`, to be shown; None for draws of the best kind, by annealing.
        """

    def latents_at_hand(self, state: TrainState, num: int, seed: tf.Tensor) -> tf.Tensor | None:
        """Draws of the prior that training has made anyhow, `[num, units]`; None where it makes none."""
        return None

    @abc.abstractmethod
    def parameters(self, model: Any, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Parameters whose distribution is of interest, by name, those of the posterior given `images [n, D]`."""

    def after_evaluation(self, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
        """Puts to use what an evaluation has found; further metrics by name."""
        return {}

    def new_state(self) -> TrainState:
        """The state before step 0."""
        config, model, sampler = self.config, self.new_model(), self._prior_sampler()

        def prior_state(seed: tf.Tensor) -> Any:
            if sampler is None:
                return ()
            return sampler.initial_state(model.prior.rbm(), num_chains=config.num_particles, seed=seed)

        return TrainState(
            model=model,
            optimizer=new_optimizer(config, model),
            num_examples=len(self.dataset.train),
            num_samples=self.num_draws,
            chain_units=self.chain_units(model),
            prior_state=prior_state,
            seed=state_seed(config),
        )

    def trainer(self, state: TrainState, replicas: Replicas | None = None) -> Trainer:
        """What changes the state.

        Args:
          state: of the first local replica; the others', which `Trainer.share_state` fills, are made here.
          replicas: left out, a single one.

        Raises:
          UserError: a network that was handed in is needed more than once.
        """
        replicas, steps = replicas or Replicas(), []
        synchronised = replicas.num > 1 and self.config.batch_norm_statistics == "synchronised"
        failures: list[Exception] = []
        if len(replicas.devices) > 1 and (self.networks.encoder or self.networks.decoder):
            raise UserError(
                "must be one, or multi_worker with one device a process, where a network is handed in: every device "
                "needs a copy of its own",
                strategy=self.config.strategy,
            )
        for number, device in enumerate(replicas.devices):
            with tf.device(device):
                of_device = self.new_state() if number else state
                if synchronised:
                    synchronise(of_device.model)
                step = Step(
                    self.config,
                    self.dataset,
                    of_device,
                    loss=self.loss(of_device.model, synchronised=synchronised),
                    prior_sampler=self._prior_sampler(),
                    replicas=replicas,
                    number=number,
                    failed=failures.append,
                )
            steps.append(step)
        return Trainer(self.config, steps, replicas=replicas, failures=failures)

    def _prior_sampler(self) -> PriorSampler | None:
        return prior_sampler(self.config) if self.has_prior else None


def described_system(config: Config) -> str:
    """A model with an approximate posterior, in words."""
    groups = f", {config.num_groups} groups" if config.num_groups > 1 else ""
    return f"{ORIGINS[config.model].title} with {config.num_latents} latents{groups}"


def described_samples(config: Config) -> str:
    """K, in words."""
    return f"K = {config.num_samples} sample{'s' if config.num_samples > 1 else ''}"
