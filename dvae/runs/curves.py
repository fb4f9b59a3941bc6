"""What the curves of a training say, by their names in TensorBoard, which shows it beside them."""

from __future__ import annotations

from collections.abc import Mapping

_WEIGHTS = "of the importance weights, mean over examples: 1 to the number of samples. Below 10 the NLL is too high"

# Of a sampler from another package none are known.
DESCRIPTIONS: Mapping[str, str] = {
    "NLL/validation": "-mean log p(x), nats, by importance samples of the discrete model; the least is exported",
    "NLL/test": "-mean log p(x) of the exported model, nats, as in results.json",
    "NLL/test_exact": "the same, all latent states enumerated",
    "training/relaxed_log_likelihood": "log p(x | zeta) of relaxed samples, nats: no likelihood of the discrete model",
    "training/relaxed_bound": "log mean_k p(x_2 | zeta_k) of relaxed samples, nats: no bound of the discrete model",
    "training/log_likelihood_given_z": "log p(x | z), nats, z from Markov chains of the true posterior",
    "training/iw_effective_sample_size": "of the annealed importance weights of relaxed samples, 1 to K",
    "training/effective_sample_size": "of the likelihoods of relaxed samples, 1 to K",
    "training/kl_weight": "lambda, the weight of KL(q || p): the bound is the ELBO where it is 1",
    "training/entropy_weight": "lambda, the weight of the entropy of q(z | x_1)",
    "training/prior_effective_sample_size": "of the particles' weights from one step's prior to the next: 1 to all",
    "training/prior_num_families": "particles of the last evaluation that still have descendants",
    "training/prior_swap_acceptance": "of exchanges between neighbouring temperatures, the worst pair",
    "training/prior_effective_beta": "inverse temperature at which the sampler's states look like samples: must be 1",
    "training/weight_decay": "the part of the loss that keeps weights small, and regularisers of networks handed in",
    "training/learning_rate": "of Adam",
    "training/seconds_per_step": "since the last point, compilation left out",
    "validation/nll_standard_error": "of the mean over examples, nats; the bias of too few samples is no part of it",
    "validation/elbo": "evidence lower bound of the discrete model, nats; in structured prediction E_q log p(x_2 | z)",
    "validation/entropy": "of q(z | x), mean over examples, nats: 0 where q is sure of z",
    "validation/log_z": "of the prior by annealed importance sampling from two bases, nats",
    "validation/log_z_standard_error": "nats; missing where it cannot be known: log Z is then probably too low",
    "validation/log_z_effective_sample_size": "of the chains that estimate log Z",
    "validation/effective_sample_size": _WEIGHTS,
    "validation/tracked_log_z_drift": "how far log Z as carried along in training had strayed, nats; no result uses it",
    "validation/prior_free_energy": "mean over the prior's chains, nats",
    "validation/prior_autocorrelation_sweeps": "of the free energy of Gibbs chains of the prior: small is good",
    "validation/prior_split_r_hat": "of the same: near 1 where they mix",
    "validation/prior_smallest_eigenvalue": "of the matrix of energies: the more negative, the stronger the couplings",
    "validation/training_seconds": "spent on training steps until here",
    "validation/evaluation_seconds": "that this evaluation took",
}
