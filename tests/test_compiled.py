"""Compiled equals uncompiled, for every module of `samplers/` and `models/`, by one list.

Each case is a function of a seed that returns a structure of tensors. It is called with every function of the project
run eagerly, as it stands, and compiled by XLA as a whole. Random words agree bit for bit; floats to rounding, so binary
states agree too, unless a uniform lies within rounding of a probability, which at these seeds none does.
"""

import importlib
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

import models
import reference
import samplers
from compiled_cases_models import MODEL_CASES, MODEL_CASES_IN_PARTS
from machines import as_rbm
from samplers import (
    annealed_importance,
    annealing_path,
    annealing_schedules,
    diagnostics,
    dimod_bridge,
    effective_temperature,
    gibbs,
    informed_annealing,
    log_partition,
    log_z_estimates,
    mean_field,
    parallel_tempering,
    pcd,
    persistent_chains,
    population_annealing,
    random,
    two_bases,
    weights,
)
from samplers.rbm import RBM
from samplers.transition_kernel import BlockGibbs

MACHINE = as_rbm(reference.machine(3, 3, 2))
BATCH = as_rbm(reference.machine(4, 3, 2, batch=(2,)))
OTHER = as_rbm(reference.machine(5, 3, 2, batch=(2,)))
LEFT = tf.constant(np.random.default_rng(0).integers(0, 2, [4, 2, 3]), tf.float32)  # [chains, machines, N]
BETAS = annealing_schedules.linear_betas(3)
SHORT = annealing_path.Schedule.of(BETAS, tf.float32)
LOG_WEIGHTS = tf.constant(np.random.default_rng(1).normal(size=[6, 2]))


def table(seed):
    chains = persistent_chains.ChainTable(num_examples=5, num_chains=2, num_units=9, seed=seed)
    return chains.read(tf.constant([3, 0]))


def adaptive(seed):
    base = annealing_path.uniform_base(MACHINE)
    return annealing_schedules.adaptive_betas(MACHINE, base, ess_fraction=0.5, num_particles=20, seed=seed)


def refined(seed):
    base = annealing_path.biases_base(MACHINE)

    def estimate(num_temperatures, seed):
        betas = annealing_schedules.linear_betas(num_temperatures)
        found = annealed_importance.sample(MACHINE, base, betas=betas, num_chains=5, seed=seed)
        return log_z_estimates.LogZ.of(found)

    return log_z_estimates.refine(
        estimate, standard_error=1e-9, seed=seed, first_temperatures=2, most_temperatures=4
    ).estimate


def bracket(seed):
    base = annealing_path.uniform_base(BATCH)
    return log_z_estimates.bracket(BATCH, base, LEFT, betas=BETAS, num_chains=4, seed=seed)


def bridged(seed):
    sampler = dimod_bridge.DimodSampler(dimod_bridge.find_sampler("dwave.samplers.SimulatedAnnealingSampler"))
    return sampler.step(MACHINE, sampler.initial_state(MACHINE, num_chains=4, seed=seed), seed, num_sweeps=2)


STATE = persistent_chains.PersistentState(
    LEFT, OTHER, persistent_chains.uniform_log_z(BATCH), persistent_chains.number_chains(LEFT)
)
SEED = tf.constant([6, -7])
# Name, `module.function`: a function of a seed.
CASES = {
    "samplers.random.words": lambda seed: random.words([3, 5], seed),
    "samplers.random.uniform": lambda seed: (random.uniform([3, 5], seed), random.uniform([3], seed, tf.float64)),
    "samplers.random.half_uniforms": lambda seed: random.half_uniforms([3, 5], seed),
    "samplers.random.bernoulli": lambda seed: random.bernoulli(tf.zeros([3, 5]), seed),
    "samplers.random.shuffle": lambda seed: random.shuffle(tf.range(9), seed),
    "samplers.random.split": lambda seed: (random.split(seed, 3), random.fold_in(seed, 4)),
    "samplers.rbm.energy": lambda seed: (BATCH.energy(LEFT, LEFT[..., :2]), BATCH.free_energy(LEFT)),
    "samplers.gibbs.sweep": lambda seed: gibbs.sweep(BATCH, LEFT, seed, num_sweeps=tf.constant(2)),
    "samplers.gibbs.sweep (float64)": lambda seed: gibbs.sweep(
        RBM(*(tf.cast(p, tf.float64) for p in BATCH)), tf.cast(LEFT, tf.float64), seed, num_sweeps=tf.constant(2)
    ),
    "samplers.gibbs.sweep (one machine)": lambda seed: gibbs.sweep(
        MACHINE, LEFT[:, 0], seed, num_sweeps=tf.constant(2)
    ),
    "samplers.mean_field": lambda seed: mean_field.mean_field(BATCH, LEFT, num_updates=2),
    "samplers.weights.resample": lambda seed: weights.resample(LOG_WEIGHTS, seed),
    "samplers.weights.effective_sample_size": lambda seed: weights.effective_sample_size(LOG_WEIGHTS, axis=0),
    "samplers.annealing_path.sample_left": lambda seed: annealing_path.biases_base(BATCH).sample_left(4, seed),
    "samplers.annealing_schedules.adaptive_betas": adaptive,
    "samplers.annealed_importance.sample": lambda seed: annealed_importance.sample(
        BATCH, annealing_path.biases_base(BATCH), betas=BETAS, num_chains=4, seed=seed
    ),
    "samplers.annealed_importance.reverse": lambda seed: annealed_importance.reverse(
        BATCH, annealing_path.biases_base(BATCH), LEFT, betas=BETAS, seed=seed
    ),
    "samplers.informed_annealing": lambda seed: [
        walk(
            informed_annealing.Densities(
                lambda z: tf.reduce_sum(z, -1) ** 2, lambda z: tf.cast(tf.reduce_prod(z + 1, -1), tf.float64)
            ),
            LEFT,
            schedule=SHORT,
            seed=seed,
            moves=2,
        )
        for walk in (informed_annealing.forward, informed_annealing.backward)
    ],
    "samplers.population_annealing.sample": lambda seed: population_annealing.sample(
        BATCH, annealing_path.uniform_base(BATCH), betas=BETAS, num_particles=6, seed=seed
    ),
    "samplers.population_annealing.step": lambda seed: population_annealing.step(BATCH, STATE, seed, num_sweeps=2),
    "samplers.pcd.step": lambda seed: pcd.step(BATCH, STATE, seed, num_sweeps=2),
    "samplers.persistent_chains.initial_state": lambda seed: pcd.initial_state(BATCH, num_chains=5, seed=seed),
    "samplers.persistent_chains.ChainTable": table,
    "samplers.parallel_tempering.step": lambda seed: parallel_tempering.step(
        BATCH, parallel_tempering.initial_state(BATCH, num_chains=4, seed=seed, num_levels=3), seed, num_sweeps=3
    ),
    "samplers.log_partition.exact_log_z": lambda seed: log_partition.exact_log_z(BATCH),
    "samplers.log_partition.exact_sample": lambda seed: log_partition.exact_sample(BATCH, 5, seed),
    "samplers.log_partition.log_z_with_gradient": lambda seed: log_partition.log_z_with_gradient(
        BATCH, LEFT, tf.constant([1.0, 2.0])
    ),
    "samplers.log_z_estimates.refine": refined,
    "samplers.log_z_estimates.bracket": bracket,
    "samplers.log_z_estimates.estimate_many": lambda seed: log_z_estimates.estimate_many(
        BATCH, annealing_path.biases_base(BATCH), betas=BETAS, num_chains=4, seed=seed, machines_at_once=1
    ),
    "samplers.two_bases.from_two_bases": lambda seed: two_bases.from_two_bases(
        BATCH, annealing_path.biases_base(BATCH), betas=BETAS, num_chains=4, seed=seed
    ),
    "samplers.transition_kernel.one_step": lambda seed: BlockGibbs(BATCH).one_step(
        LEFT, BlockGibbs(BATCH).bootstrap_results(LEFT), seed=seed
    ),
    "samplers.effective_temperature.effective_beta": lambda seed: effective_temperature.effective_beta(
        BATCH, LEFT, LEFT[..., :2]
    ),
    "samplers.dimod_bridge.step": bridged,
    "samplers.diagnostics.mixing": lambda seed: diagnostics.mixing(BATCH, LEFT, num_sweeps=6, seed=seed),
} | MODEL_CASES
# What steps or draws through Python or makes variables, pads a schedule by an amount that XLA does not know, or
# enumerates in blocks cannot be compiled as a whole.
IN_PARTS = {
    "samplers.annealed_importance.sample", "samplers.annealed_importance.reverse",
    "samplers.population_annealing.sample", "samplers.annealing_schedules.adaptive_betas",
    "samplers.log_z_estimates.refine", "samplers.log_z_estimates.bracket", "samplers.log_z_estimates.estimate_many",
    "samplers.two_bases.from_two_bases", "samplers.dimod_bridge.step",
    "samplers.persistent_chains.ChainTable", "samplers.log_partition.exact_log_z",
    "samplers.log_partition.exact_sample", *MODEL_CASES_IN_PARTS,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_uncompiled(name):
    function = CASES[name]
    tf.config.run_functions_eagerly(True)
    try:
        eagerly = function(SEED)
    finally:
        tf.config.run_functions_eagerly(False)
    assert_alike(function(SEED), eagerly)
    if name not in IN_PARTS:
        assert_alike(tf.function(function, jit_compile=True)(SEED), eagerly)


# Draws nothing and computes nothing.
WITHOUT_NUMBERS = {"samplers.arguments", "samplers.tracing"}


def assert_alike(found, wanted):
    tf.nest.assert_same_structure(found, wanted)
    for got, expected in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.dtype == expected.dtype
        if np.issubdtype(got.dtype, np.floating):
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
        else:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("package", [samplers, models], ids=lambda package: package.__name__)
def test_every_module_has_a_case(package):
    modules = [module.name for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    for module in modules:
        importlib.import_module(module)
        assert module in WITHOUT_NUMBERS or any(name == module or name.startswith(f"{module}.") for name in CASES), (
            f"{module} has no case"
        )
