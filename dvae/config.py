"""The settings of a training and of an evaluation: two plain records.

A setting is one field: its type, its help, and the bounds of its value. The flags of the command lines, the checks and
the files that show what was used follow from it (`dvae.settings`). Nothing here imports TensorFlow, so that help comes
at once; what the names of choices stand for is elsewhere (`dvae.systems`, `dvae.tasks`), and a test sees that they do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dvae import plugins
from dvae.published import BETAS
from dvae.recipes import RECIPES as _RECIPES

MODELS = tuple(BETAS)
RECIPES = tuple(_RECIPES)
OBJECTIVES = ("elbo", "iw", "structured", "mcmc")
LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "gaussian_per_pixel",
    "zero_inflated",
    "zero_inflated_per_pixel",
)
PRIOR_SAMPLERS = ("population_annealing", "pcd", "parallel_tempering")  # built in
DIMOD = "dimod:"  # before the path of a dimod sampler
BASES = ("biases", "fields", "mean_field")  # as in `models.posterior`
PROTOCOLS = ("pilot", "published")
STRATEGIES = ("one", "mirrored", "multi_worker")
BATCH_NORM_STATISTICS = ("replica", "synchronised")


def prior_samplers() -> tuple[str, ...]:
    """Names that `--prior_sampler` takes: built in, of packages that are installed now, and what begins a path."""
    others = (name for name in plugins.installed() if name not in PRIOR_SAMPLERS)
    return (*PRIOR_SAMPLERS, *others, f"{DIMOD}MODULE.NAME")


def setting(group: str, help_text: str, default: Any = dataclasses.MISSING, **bounds: Any) -> Any:
    """A field.

    Args:
      group: heading under which `--help` lists it.
      help_text: one line.
      default: left out where it depends on other settings: its recipe's value (`dvae.settings.complete`), or that of
        the evaluated model.
      bounds: `least` and `most` are allowed themselves, `above` is not; `choices`, names, or a function that finds them
        when they are asked for; `prefix`, of further values.
    """
    return dataclasses.field(default=default, metadata={"group": group, "help": help_text, **bounds})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a training run. `dvae.configure` makes one from those that are given, and checks it."""

    model: str = setting("Model", "published system", "dvaess", choices=MODELS)
    likelihood: str = setting(
        "Model", "how pixels are distributed given the latents (docs/likelihoods.md)", "bernoulli", choices=LIKELIHOODS
    )
    num_latents: int = setting("Model", "binary latents, both sides of the prior together", least=2)
    num_groups: int = setting("Model", "L, groups of a directed posterior (dvaess has 1)", 1, least=1, most=1000)
    shared_context: bool = setting(
        "Model", "groups of a directed posterior share one hidden network; if not, each has its own"
    )
    hidden_units: int = setting("Model", "width of the hidden layers", 200, least=1)
    hidden_layers: int = setting("Model", "hidden layers of encoder and decoder", least=0, most=1000)
    beta: float = setting("Model", "sharpness of the relaxation (dvaes_gauss_int: the least)", above=0.0)
    num_gibbs_sweeps: int = setting("Model", "s, binary sweeps of dvaess's (or mcmc's) chains in a step", 10, least=1)
    num_relaxed_sweeps: int = setting(
        "Model", "t, relaxed sweeps of dvaess's posterior in a step", 1, least=1, most=1000
    )
    coupling_rank: int | None = setting(
        "Model",
        "r, dvaess's couplings as sums of r outer products, for many latents (not published); if left out, each is an "
        "output of the encoder",
        None,
        least=1,
    )
    coupling_start: float = setting(
        "Model",
        "scale of dvaess's couplings at the start: J is about 1.5 / sqrt(N) times that",
        least=0.0,
    )
    prior_spins: bool = setting(
        "Model", "the prior is learned as fields and couplings of spins -1 and 1; if not, as biases and weights"
    )

    dataset: str = setting(
        "Data",
        "digits, bars_and_stripes, binarized_mnist, omniglot, or the path of a file (.npz, .npy, .csv, idx) or of a "
        "folder (docs/data.md)",
        "digits",
    )
    valid_fraction: float | None = setting(
        "Data", "part of the training examples set aside for validation, where the data have no such split", None,
        above=0.0, most=0.5,
    )  # fmt: skip
    test_fraction: float | None = setting(
        "Data", "part of the examples set aside for the test, where the data have no such split", None,
        above=0.0, most=0.5,
    )  # fmt: skip
    data_dir: str = setting("Data", "folder of the data files; what is missing there is downloaded", "data")

    objective: str = setting("Objective", "what is maximised", "elbo", choices=OBJECTIVES)
    iw_gradient: str = setting("Objective", "gradient of the iw objective in the encoder", choices=("dreg", "iwae"))
    stopped_log_q: bool = setting(
        "Objective", "log q in the ELBO of dvaes_* at stopped parameters (the DVAE# column of DVAE##'s table 1)", False
    )
    num_samples: int = setting("Objective", "K, samples per example in training (iw: 5 or 25)", 1, least=1)
    num_replicates: int = setting(
        "Objective",
        "R, bounds of an example that structured prediction averages in a step, of K samples each",
        least=1,
    )
    term_1: bool = setting(
        "Objective",
        "the gradient's term I (DVAE##, eq. 9), which Algorithm 1 leaves out: how the law of dvaess's chains depends "
        "on the encoder, by covariances over R replicates (structured prediction)",
        False,
    )
    observed: str = setting(
        "Objective",
        "what structured prediction is given: top or left half, a fraction of the pixels row by row, or an .npy mask",
        "top",
    )
    kl_warmup: float = setting(
        "Objective", "fraction of training in which the KL weight of elbo and iw rises", 0.3, least=0, most=1
    )
    weight_decay: float = setting(
        "Objective", "c in the penalty c * sum(w^2) / 2 of kernels, scales and couplings", 1e-4, least=0
    )

    prior_sampler: str = setting(
        "Prior sampler", "sampler of p(z)", PRIOR_SAMPLERS[0], choices=prior_samplers, prefix=DIMOD
    )
    num_particles: int = setting("Prior sampler", "particles or chains", least=2)
    tempering_levels: int = setting(
        "Prior sampler", "temperatures of parallel_tempering, each with num_particles chains", 10, least=2
    )
    prior_sweeps: int = setting("Prior sampler", "Gibbs sweeps of the particles in a step", least=1)
    sampler_arguments: str = setting(
        "Prior sampler", 'arguments of a sampler from outside, as JSON, {"num_sweeps_per_beta": 2}', "{}"
    )
    sampler_beta: float = setting(
        "Prior sampler",
        "inverse temperature at which a dimod sampler draws; energies are divided by it, so that p(z) is drawn",
        1.0,
        above=0.0,
    )

    recipe: str = setting("Training", "what stands in for the settings that are left out", RECIPES[0], choices=RECIPES)
    num_steps: int = setting("Training", "parameter updates", least=1)
    batch_size: int = setting("Training", "examples in a step", least=2)
    learning_rate: float = setting("Training", "base rate of Adam; scheduled as published", above=0.0)
    seed: int = setting("Training", "of the weights, the data's order and all sampling", 0, least=0, most=2**31 - 1)
    strategy: str = setting(
        "Training",
        "devices that share every batch: one, all of this machine, or those of several processes, by TF_CONFIG "
        "(docs/many_machines.md)",
        STRATEGIES[0],
        choices=STRATEGIES,
    )
    num_devices: int | None = setting(
        "Training",
        "GPUs of mirrored, or logical CPUs without any; if left out, all",
        None,
        least=1,
        most=1024,
    )
    batch_norm_statistics: str = setting(
        "Training",
        "whose mean and variance batch normalisation uses in training, with several devices: each its rows', or all "
        "the whole batch's, as one device would",
        BATCH_NORM_STATISTICS[0],
        choices=BATCH_NORM_STATISTICS,
    )

    log_dir: str = setting("Run directory", "where everything is written")
    report_every: int = setting("Run directory", "steps between lines of metrics, at the most", 100, least=1)
    eval_every: int = setting("Run directory", "steps between evaluations on validation data", least=1)
    checkpoint_every: int = setting("Run directory", "steps between checkpoints", 1000, least=1)

    valid_examples: int = setting("Evaluation in training", "validation examples, spread evenly", least=1)
    valid_samples: int = setting("Evaluation in training", "importance samples per example", least=1)
    valid_temperatures: int = setting("Evaluation in training", "AIS temperatures of an RBM posterior", least=1)
    valid_base: str = setting("Evaluation in training", "where AIS of an RBM posterior starts", choices=BASES)
    valid_log_z_temperatures: int = setting(
        "Evaluation in training", "AIS temperatures of the prior's log Z", 1000, least=1
    )
    valid_pictures: int = setting(
        "Evaluation in training",
        "examples reconstructed, and half of the samples shown, in TensorBoard; 0 for none",
        40,
        least=0,
    )

    test_examples: int = setting("Final evaluation", "test examples, spread evenly", 500, least=1)
    test_samples: int = setting("Final evaluation", "importance samples per example", least=1)
    test_protocol: str = setting(
        "Final evaluation",
        "how an RBM posterior is annealed: by as few temperatures as a pilot on validation examples finds enough, or "
        "by 500 from its biases, as published",
        "pilot",
        choices=PROTOCOLS,
    )
    test_temperatures: int | None = setting(
        "Final evaluation", "AIS temperatures of an RBM posterior; if left out, by --test_protocol", None, least=1
    )
    test_base: str | None = setting(
        "Final evaluation", "where AIS of an RBM posterior starts; if left out, by --test_protocol", None, choices=BASES
    )
    test_log_z_temperatures: int = setting("Final evaluation", "AIS temperatures of the prior's log Z", 10000, least=1)
    log_z_chains: int = setting(
        "Final evaluation", "AIS chains for the prior's log Z, here and in training", 1024, least=2
    )

    @property
    def num_left(self) -> int:
        """Units on each side of the prior: half of the latents."""
        return self.num_latents // 2

    def for_validation(self) -> EvaluationSettings:
        """How the model is evaluated in training."""
        return EvaluationSettings(
            num_examples=self.valid_examples,
            num_samples=self.valid_samples,
            posterior_temperatures=self.valid_temperatures,
            posterior_base=self.valid_base,
            log_z_chains=self.log_z_chains,
            log_z_temperatures=self.valid_log_z_temperatures,
            seed=self.seed,
        )

    def for_test(self, *, temperatures: int, base: str) -> EvaluationSettings:
        """How the model is evaluated in the end, given how an RBM posterior is annealed."""
        return EvaluationSettings(
            num_examples=self.test_examples,
            num_samples=self.test_samples,
            posterior_temperatures=temperatures,
            posterior_base=base,
            log_z_chains=self.log_z_chains,
            log_z_temperatures=self.test_log_z_temperatures,
            seed=self.seed,
        )


# Of AIS to the true posterior, where they are left out: chains, and the mixture in which they start. Its factors are a
# ladder from q to what is nearly uniform, the same for every model: what a q that is sure of itself leaves out, one of
# the flattened ones does not, and where q is good its own share of the chains is enough.
ANNEALED_CHAINS, ANNEALED_FLATTENING = 64, (1.0, 2.0, 4.0, 8.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Every setting of an evaluation on given data; `results.json` shows all of them."""

    num_examples: int | None = setting(
        "Data", "examples, spread evenly over the split; if left out, all", None, least=1
    )
    num_samples: int = setting("Evaluation", "importance samples per example", 4000, least=1)
    posterior_temperatures: int = setting("Evaluation", "AIS temperatures of an RBM posterior", least=1)
    posterior_base: str = setting("Evaluation", "where AIS of an RBM posterior starts", choices=BASES)
    flattening: tuple[float, ...] = setting(
        "Evaluation",
        "factors 1,F,...: importance samples come from an equal mixture of q(z | x) and of q with its logits or "
        "energies divided by each (1,2,4,8 with true_posterior_temperatures if left out)",
        (1.0,),
        least=1,
    )
    true_posterior_temperatures: int = setting(
        "Evaluation",
        "temperatures of AIS from that mixture to the true posterior, by which the NLL is without the error of q as a "
        "proposal (num_samples is 64 then if left out); with example_error, the most; 0 for importance samples alone",
        0,
        least=0,
    )
    example_error: float | None = setting(
        "Evaluation",
        "wanted standard error of an example's log p(x), nats: temperatures are doubled until it is reached",
        None,
        above=0.0,
    )
    log_z_chains: int = setting("The prior's log Z", "AIS chains", 1024, least=2)
    log_z_temperatures: int = setting(
        "The prior's log Z", "AIS temperatures; with log_z_error, the most", 10000, least=1
    )
    log_z_error: float | None = setting(
        "The prior's log Z", "standard error wanted, nats: temperatures double until it is met", None, above=0.0
    )
    seed: int = setting("Evaluation", "of all sampling", 0, least=0, most=2**31 - 1)
