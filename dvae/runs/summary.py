"""A run in words, for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dvae.config import Config
from dvae.data import Dataset
from dvae.errors import UserError
from dvae.tasks import TASKS


def describe_run(config: Config, dataset: Dataset) -> str:
    """What is about to be trained, on what."""
    binarization = "binarized afresh in every batch" if dataset.dynamic else "static binary"
    return (
        f"{TASKS[config.objective].described(config)}, on {config.dataset}: "
        f"{len(dataset.train)} / {len(dataset.valid)} / {len(dataset.test)} examples of {dataset.num_pixels} pixels, "
        f"{binarization}\n"
        f"{config.num_steps} steps of {config.batch_size}, {config.recipe} recipe, seed {config.seed}; "
        f"all is written to {config.log_dir}"
    )


def evaluated_by(num_samples: int | None) -> str:
    """How a log-likelihood was had."""
    return "all latent states enumerated" if num_samples is None else f"{num_samples} importance samples each"


def describe_results(results: dict[str, Any], folder: Path, *, likelihood_of: str | None) -> str:
    """The final evaluation, of the likelihood of what (None: of the whole example), and where its files lie."""
    of = f" of {likelihood_of}:" if likelihood_of else ""
    error = "" if results["nll_standard_error"] is None else f" +- {results['nll_standard_error']:.3f}"
    elbo = "" if results["elbo"] is None else f"ELBO {results['elbo']:.3f} nats; "
    of_prior = ""
    if results["log_z"] is not None:
        known = results["log_z_standard_error"]
        spread = "of unknown error" if known is None else f"+- {known:.3f} nats"
        of_prior = (
            f"log Z of the prior {results['log_z']:.3f} {spread} by AIS "
            f"(effective sample size {results['log_z_effective_sample_size']:.0f} of {results['log_z_chains']}); "
        )
    lines = [
        f"{results['split']} NLL{of} {results['nll']:.3f}{error} nats "
        f"(standard error over {results['num_examples']} examples; {evaluated_by(results['num_samples'])})",
        f"{elbo}{of_prior}model of step {results['step']}",
    ]
    if results["exact_nll"] is not None and results["num_samples"] is not None:
        lines.append(f"exact NLL of the same examples, all latent states enumerated: {results['exact_nll']:.3f} nats")
    lines.append(f"results: {folder}/results.json   of each example: {folder}/test_examples.csv")
    lines.append(f"pictures: {folder}/samples.png, {folder}/reconstructions.png")
    lines.append(f"model: {folder}/saved_model   curves: tensorboard --logdir {folder}")
    return "\n".join(lines)


def described_pilot(base: str, temperatures: int, found: dict[str, Any]) -> str:
    """How an annealed posterior will be drawn from, and why."""
    return (
        f"q(z | x) is annealed by {temperatures} temperatures from {base}: {found['effective_sample_size']:.0%} of the "
        f"chains count, log Z_phi is within {found['disagreement']:.2f} nats of a long run from the "
        f"fields ({found['examples']} examples)"
    )


def unknown_error(results: dict[str, Any], temperatures: str) -> UserError | None:
    """What is wrong with an estimate of log Z whose error is not known, and what to try; None if all is well.

    Args:
      results: the content of a results.json.
      temperatures: the setting that they came from.
    """
    if results["log_z"] is None or results["log_z_standard_error"] is not None:
        return None
    size, chains = results["log_z_effective_sample_size"], results["log_z_chains"]
    halves = results["log_z_from_uniform"], results["log_z_from_own_means"]
    return UserError(
        f"the error of log Z is not known: the effective sample size is {size:.1f} of {chains} chains, those from the "
        f"uniform distribution say {halves[0]:.2f}, those from the prior's own means {halves[1]:.2f}. The largest is "
        "reported; log Z is probably higher, and so is the NLL. More temperatures help",
        **{temperatures: results["log_z_temperatures"]},
    )
