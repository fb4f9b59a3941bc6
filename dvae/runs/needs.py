"""What a run needs of memory, at the least: refused before anything is built, where there is not so much."""

from __future__ import annotations

from dvae import memory
from dvae.building import Networks
from dvae.config import Config
from dvae.data import Dataset
from dvae.errors import UserError
from dvae.systems import SYSTEMS
from dvae.tasks.task import Task

FLOAT = 4  # bytes
# Of every weight: itself, its gradient, Adam's two moments, the best so far.
_PER_WEIGHT = 5 * FLOAT


def check_memory(task: Task) -> None:
    """Raises `UserError` if a run cannot fit into the memory that is free; it names the setting that takes the most."""
    needed = needs(task)
    if reason := memory.too_much(sum(needed.values())):
        name = max(needed, key=lambda name: needed[name])
        taken = memory.in_words(needed[name])
        raise UserError(f"the run {reason}; this takes {taken}", **{name: getattr(task.config, name)})


def needs(task: Task) -> dict[str, int]:
    """Bytes at the least, by the setting that decides most about them.

    What is held throughout, and the larger of a step and an evaluation. Compiled code and intermediate results come
    on top of it, so a run that is let in may still be too large; one that is refused is.
    """
    config, dataset = task.config, task.dataset
    half, rows = config.num_left, config.batch_size * task.num_draws
    is_undirected = task.has_posterior and SYSTEMS[config.model].is_undirected
    held = {
        "dataset": dataset.train.nbytes,  # TensorFlow's; NumPy has its own already
        "hidden_units": _PER_WEIGHT * _hidden_weights(config, dataset, task.networks, has_posterior=task.has_posterior),
        "num_latents": _PER_WEIGHT * _latent_weights(config, is_undirected=is_undirected, has_prior=task.has_prior),
    }
    if is_undirected:
        held["num_samples"] = len(dataset.train) * task.num_draws * half // 8
    step = {"batch_size": FLOAT * rows * (dataset.num_pixels + config.num_latents)}
    if is_undirected:
        step["batch_size"] += 2 * FLOAT * config.batch_size * half**2
    evaluation = {}
    if task.has_prior:
        levels = config.tempering_levels if config.prior_sampler == "parallel_tempering" else 1
        held["num_particles"] = 2 * FLOAT * config.num_particles * levels * half
        evaluation["log_z_chains"] = 2 * FLOAT * config.log_z_chains * config.num_latents
        evaluation["test_log_z_temperatures"] = 2 * FLOAT * config.test_log_z_temperatures
        evaluation["valid_log_z_temperatures"] = 2 * FLOAT * config.valid_log_z_temperatures
    larger = step if sum(step.values()) > sum(evaluation.values()) else evaluation
    return held | larger


def _hidden_weights(config: Config, dataset: Dataset, networks: Networks, *, has_posterior: bool) -> int:
    """Of the hidden layers, and from the last of them to pixels and latents; none of networks that were handed in."""
    layers, units, latents = config.hidden_layers, config.hidden_units, config.num_latents

    def stack(num_inputs: int) -> int:
        return num_inputs * units + (layers - 1) * units**2 if layers else 0

    number = 0
    if networks.decoder is None:
        number += stack(latents) + (units if layers else latents) * dataset.num_pixels
    if networks.encoder is None and has_posterior:
        width = units if layers else dataset.num_pixels
        copies = 1 if config.shared_context or SYSTEMS[config.model].is_undirected else config.num_groups
        number += copies * stack(dataset.num_pixels) + width * latents
        if SYSTEMS[config.model].is_undirected:
            rank = config.coupling_rank
            number += width * (config.num_left**2 if rank is None else rank * latents)
    return number


def _latent_weights(config: Config, *, is_undirected: bool, has_prior: bool) -> int:
    """Of the prior; and the scales of an RBM posterior's couplings."""
    half = config.num_left
    return has_prior * half**2 + is_undirected * (half**2 if config.coupling_rank is None else 0)
