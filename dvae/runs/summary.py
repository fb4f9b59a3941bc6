"""A run in words, for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dvae.config import Config
from dvae.data import Dataset
from dvae.errors import UserError
from dvae.tasks import TASKS


def describe_run(config: Config, dataset: Dataset, *, num_replicas: int = 1) -> str:
    """What is about to be trained, on what."""
    replicas = ""
    if num_replicas > 1:
        statistics = "the whole batch's" if config.batch_norm_statistics == "synchronised" else "each its own"
        replicas = f" on {num_replicas} replicas, batch norm with {statistics} statistics"
    return (
        f"{TASKS[config.objective].described(config)}, on {config.dataset}: "
        f"{len(dataset.train)} / {len(dataset.valid)} / {len(dataset.test)} examples of {dataset.num_pixels} pixels, "
        f"{dataset.described}\n"
        f"{config.num_steps} steps of {config.batch_size}{replicas}, {config.recipe} recipe, seed {config.seed}; "
        f"all is written to {config.log_dir}"
    )


def unused_fractions(config: Config, dataset: Dataset) -> list[UserError]:
    """One line for each fraction of the settings by which nothing was set aside: the data have that split."""
    lines = []
    for name, fraction in (("valid", config.valid_fraction), ("test", config.test_fraction)):
        if fraction is not None and name not in dataset.set_aside:
            given: dict[str, Any] = {f"{name}_fraction": fraction}
            lines.append(UserError(f"has no effect: {dataset.name} has a {name} split", **given))
    return lines


def evaluated_by(num_samples: int | None) -> str:
    """How a log-likelihood was had."""
    return "all latent states enumerated" if num_samples is None else f"{num_samples} importance samples each"


def describe_results(results: dict[str, Any], folder: Path, *, likelihood_of: str | None) -> str:
    """The final evaluation, of the likelihood of what (None: of the whole example), and where its files lie."""
    return "\n".join(
        [
            described_evaluation(results, likelihood_of=likelihood_of),
            f"results: {folder}/results.json   of each example: {folder}/test_examples.csv",
            f"pictures: {folder}/samples.png, {folder}/reconstructions.png",
            f"model: {folder}/saved_model   curves: tensorboard --logdir {folder}",
        ]
    )


def described_evaluation(results: dict[str, Any], *, likelihood_of: str | None) -> str:
    """An evaluation, of the likelihood of what (None: of the whole example): the exact NLL first where it is known."""
    over = f"standard error over {results['num_examples']} examples"
    what = f"{results['split']} NLL" + (f" of {likelihood_of}:" if likelihood_of else "")
    estimated = _with_error(results["nll"], results["nll_standard_error"])
    of_samples = _of_samples(results)
    if results["exact_nll"] is None or results["num_samples"] is None:
        lines = [f"{what} {estimated} ({over}; {of_samples})"]
    else:
        exact = _with_error(results["exact_nll"], results.get("exact_nll_standard_error"))
        lines = [
            f"{what} {exact}, exact ({over}; {evaluated_by(None)})",
            f"estimated: {estimated} (the same examples; {of_samples})",
        ]
    elbo = "" if results["elbo"] is None else f"ELBO {results['elbo']:.3f} nats; "
    of_prior = ""
    if results["log_z"] is not None:
        known = results["log_z_standard_error"]
        spread = "of unknown error" if known is None else f"+- {known:.3f} nats"
        of_prior = (
            f"log Z of the prior {results['log_z']:.3f} {spread} by AIS "
            f"(effective sample size {results['log_z_effective_sample_size']:.0f} of {results['log_z_chains']}); "
        )
    return "\n".join([*lines, f"{elbo}{of_prior}model of step {results['step']}"])


def _with_error(nll: float, error: float | None) -> str:
    return f"{nll:.3f} nats" if error is None else f"{nll:.3f} +- {error:.3f} nats"


def _of_samples(results: dict[str, Any]) -> str:
    """How an NLL was had, and how many of its samples count."""
    size = results["effective_sample_size"]
    how = evaluated_by(results["num_samples"])
    return how if size is None else f"{how}, effective sample size {size:.1f}"


def described_pilot(base: str, temperatures: int, found: dict[str, Any]) -> str:
    """How an annealed posterior will be drawn from, and why."""
    return (
        f"q(z | x) is annealed by {temperatures} temperatures from {base}: {found['effective_sample_size']:.0%} of the "
        f"chains count, log Z_phi is within {found['disagreement']:.2f} nats of a long run from the "
        f"fields ({found['examples']} examples)"
    )
