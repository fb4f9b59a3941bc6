"""All numbers of the published set-ups, and nothing else: what stands in for a setting that is left out.

References:
  `PAPERS`. Numbers are from [DVAE##] and [DVAE#].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

PAPERS: Mapping[str, str] = {
    "DVAE##": "Vahdat, Andriyash & Macready, ICML 2020, arXiv:1901.03440",
    "DVAE#": "Vahdat, Andriyash & Macready, NeurIPS 2018, arXiv:1805.07445",
    "DVAE++": "Vahdat, Macready, Bian, Khoshaman & Andriyash, ICML 2018, arXiv:1802.04920",
    "DVAE": "Rolfe, ICLR 2017, arXiv:1609.02200",
    "GumBolt": "Khoshaman & Amin, NeurIPS 2018, arXiv:1805.07349",
    "PWL": "Andriyash, Vahdat & Macready, arXiv:1810.00116",
}


class Origin(NamedTuple):
    """Where a system is from.

    Attributes:
      title: as the papers write it.
      paper: of `PAPERS`.
      place: in it, section or algorithm; empty for the whole of it.
    """

    title: str
    paper: str
    place: str = ""


ORIGINS: Mapping[str, Origin] = {
    "dvae_spike_exp": Origin("DVAE", "DVAE", "section 2.1"),
    "dvaepp_exp": Origin("DVAE++ (exponential)", "DVAE++", "section 3.1"),
    "dvaepp_power": Origin("DVAE++ (power function)", "DVAE#"),
    "dvaes_gauss_int": Origin("DVAE# (Gaussian integral)", "DVAE#", "section 3.2"),
    "dvaes_gauss": Origin("DVAE# (Gaussian)", "DVAE#", "section 3"),
    "dvaes_exp": Origin("DVAE# (exponential)", "DVAE#", "section 3.1"),
    "dvaes_unexp": Origin("DVAE# (uniform + exponential)", "DVAE#", "section 3"),
    "dvaes_power": Origin("DVAE# (power function)", "DVAE#", "section 3"),
    "dvaess": Origin("DVAE##", "DVAE##", "algorithm 1"),
    "gumbolt": Origin("GumBolt", "GumBolt"),
    "pwl": Origin("PWL", "PWL"),
}

# Of every network.
BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON = 0.99, 1e-2
ADAM_EPSILON = 1e-3

# The learning rate as (fraction of training, divisor of the base rate): from there on.
LEARNING_RATE = ((0.0, 10.0), (0.02, 1.0), (0.60, 3.0), (0.75, 10.0), (0.95, 33.0))

# Structured prediction's entropy weight falls linearly from 1, towards 0 at this fraction of training, to the least.
LEAST_ENTROPY_WEIGHT, ENTROPY_WEIGHT_FRACTION = 0.05, 0.5

# Evaluations come every so many steps; in a training that is no longer than `SHORT_TRAINING`, ten times.
EVAL_EVERY, SHORT_TRAINING, EVALUATIONS_OF_SHORT_TRAINING = 20_000, 100_000, 10

# Where data set and objective say nothing else.
COMMON: Mapping[str, Any] = {
    "num_latents": 200,
    "hidden_layers": 2,
    "num_steps": 1_000_000,
    "num_particles": 1000,
    "prior_sweeps": 40,
    "batch_size": 100,
    "learning_rate": 3e-3,
    "coupling_start": 1.0,
    "prior_spins": False,
    "num_replicates": 1,
    "valid_examples": 1000,
    # Not as published (4000 samples, 500 temperatures from the biases), but nearly as good as that: an RBM posterior
    # with one mode is near its mean field. The same number of samples for all, so that curves can be compared.
    "valid_samples": 1000,
    "valid_temperatures": 10,
    "valid_base": "mean_field",
    "test_samples": 4000,
}
# digits and bars_and_stripes are small enough for a demonstration: their 16 latents can be enumerated, so that every
# number can be checked.
_SMALL = {"num_latents": 16, "num_steps": 5000}
BY_DATASET: Mapping[str, Mapping[str, Any]] = {
    "omniglot": {"valid_examples": 1345},
    "digits": _SMALL,
    "bars_and_stripes": _SMALL,
}
BY_OBJECTIVE: Mapping[str, Mapping[str, Any]] = {
    "mcmc": {"num_latents": 16},
    # Its posteriors have many modes, of which the mean field misses all but one.
    "structured": {
        "hidden_layers": 1,
        "learning_rate": 3e-4,
        "valid_samples": 100,
        "valid_temperatures": 100,
        "valid_base": "fields",
    },
}


class Beta(NamedTuple):
    """The published sharpness of a relaxation on one data set, by the structure of the directed posterior.

    Attributes:
      linear: one group without hidden layers.
      one_group: with hidden layers.
      more_groups: two groups or more.
    """

    linear: float
    one_group: float
    more_groups: float

    def of(self, *, num_groups: int, hidden_layers: int) -> float:
        """That of a structure."""
        if num_groups > 1:
            return self.more_groups
        return self.one_group if hidden_layers else self.linear


class Betas(NamedTuple):
    """The published sharpness of a system, on other data that of binarized MNIST.

    Attributes:
      mnist, omniglot: without shared context, or with it where nothing else was published.
      shared_mnist, shared_omniglot: with shared context, where it was published apart.
    """

    mnist: Beta
    omniglot: Beta
    shared_mnist: Beta | None = None
    shared_omniglot: Beta | None = None

    def of(self, dataset: str, *, shared_context: bool, num_groups: int, hidden_layers: int) -> float:
        """That of a data set and a structure."""
        mnist, omniglot = self.mnist, self.omniglot
        if shared_context and self.shared_mnist is not None and self.shared_omniglot is not None:
            mnist, omniglot = self.shared_mnist, self.shared_omniglot
        beta = omniglot if dataset == "omniglot" else mnist
        return beta.of(num_groups=num_groups, hidden_layers=hidden_layers)


def _same(beta: float) -> Beta:
    return Beta(beta, beta, beta)


BETAS: Mapping[str, Betas] = {
    "dvae_spike_exp": Betas(Beta(5.0, 5.0, 4.0), Beta(4.0, 4.0, 4.0)),
    "dvaepp_exp": Betas(Beta(12.0, 14.0, 10.0), Beta(14.0, 12.0, 10.0)),
    "dvaepp_power": Betas(Beta(40.0, 30.0, 30.0), Beta(40.0, 40.0, 30.0)),
    "dvaes_gauss_int": Betas(Beta(40.0, 30.0, 30.0), Beta(40.0, 30.0, 25.0)),
    "dvaes_gauss": Betas(Beta(40.0, 30.0, 25.0), Beta(40.0, 25.0, 25.0)),
    "dvaes_exp": Betas(Beta(12.0, 12.0, 10.0), Beta(12.0, 10.0, 8.0)),
    "dvaes_unexp": Betas(Beta(40.0, 30.0, 16.0), Beta(40.0, 16.0, 16.0)),
    "dvaes_power": Betas(Beta(40.0, 40.0, 30.0), Beta(40.0, 30.0, 20.0), _same(30.0), _same(30.0)),
    "dvaess": Betas(_same(4.0), _same(3.0)),
    "gumbolt": Betas(_same(10.0), _same(10.0)),
    "pwl": Betas(_same(4.0), _same(3.0)),
}
# The gradient of importance-weighted bounds: of [DVAE#]'s poster, whose structures have no shared context, and of
# [DVAE##]'s tables.
IW_GRADIENT_OF_POSTER, IW_GRADIENT = "iwae", "dreg"
# Whether a system was published with groups that share their hidden layers (those published both ways: True).
SHARED_CONTEXT: Mapping[str, bool] = {name: name in ("dvaes_power", "dvaess", "gumbolt", "pwl") for name in BETAS}
