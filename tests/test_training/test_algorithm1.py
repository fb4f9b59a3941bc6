"""One training iteration of each published system against a slow NumPy implementation with the same random numbers.

Everything but the uniforms and the seeds is computed anew, in float64: the prior's population, the encoder, the binary
and the relaxed sweeps, the decoder, the loss, the gradients by central finite differences, Adam's update.

Tolerances: float32 rounds to 6e-8; gradients come after some hundred roundings and slopes of PWL up to 25 beta = 100.
They were right to 2e-5 of the largest entry of their tensor; 1e-4 leaves room and is far below any wrong term.
"""

import types

import numpy as np
import pytest
import tensorflow as tf

import reference
import reference_models
import tiny
from dvae.data import make_dataset
from dvae.tasks.autoencoding import Autoencoding
from reference_iteration import Iteration
from samplers.persistent_chains import PersistentState, number_chains
from samplers.rbm import RBM

INDEX = np.array([5, 0, 3, 6])  # of 7 examples
OLD_PRIOR, LOG_Z = reference.machine(9, 2, 2), 2.5
SIZES = {"prior_sweeps": 2, "num_gibbs_sweeps": 2, "num_steps": 1000, "weight_decay": 0.02, "seed": 3}
WEIGHED = {"objective": "iw", "num_samples": 2, "iw_gradient": "dreg"}
# Name: system, step, learning rate at that step, settings, whether the data are grey.
CASES = {
    "dvaess": ("dvaess", 150, 3e-3, {}, False),
    "dvaess-K2-t2-pcd-dreg": (
        "dvaess",
        150,
        3e-3,
        {"hidden_layers": 1, "num_relaxed_sweeps": 2, "prior_sampler": "pcd", "beta": 1.0} | WEIGHED,
        False,
    ),
    "pwl-L2-K2-grey": ("pwl", 10, 3e-4, {"hidden_layers": 1, "num_groups": 2, "num_samples": 2}, True),
    "pwl-L2-K2-separate-dreg": (
        "pwl",
        210,
        3e-3,
        {"hidden_layers": 1, "num_groups": 2, "shared_context": False} | WEIGHED,
        False,
    ),
    "gumbolt-L2-K2-iwae": (
        "gumbolt",
        210,
        3e-3,
        {"hidden_layers": 1, "num_groups": 2} | WEIGHED | {"iw_gradient": "iwae"},
        False,
    ),
    "dvae_spike_exp-L1": ("dvae_spike_exp", 210, 3e-3, {"hidden_layers": 1}, False),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def iteration(request):
    """The code's state after the step, its metrics, and the NumPy iteration `slow`, which starts where the code did."""
    system, step, rate, settings, grey = request.param
    config = tiny.config(system, learning_rate=3e-3, **SIZES, **settings)
    rng = np.random.default_rng(0)
    train = rng.uniform(size=[7, 6]) if grey else rng.integers(0, 2, [7, 6]).astype(float)
    train[:, 2] = 1
    dataset = make_dataset("tiny", train=train, valid=train, test=train)
    task = Autoencoding(config, dataset)
    state = task.new_state()

    reference_models.randomize(state.model, 2)
    state.global_step.assign(step)
    state.optimizer.iterations.assign(step)
    particles = rng.integers(0, 2, [config.num_particles, 2]).astype(float)
    old = RBM(*(tf.constant(parameter, tf.float32) for parameter in OLD_PRIOR))
    left = tf.constant(particles, tf.float32)
    state.write_prior(PersistentState(left, old, tf.constant(LOG_Z, tf.float64), number_chains(left)))
    table = chains_of(state)
    slow = Iteration(
        config,
        reference_models.weights_of(state.model),
        step,
        grey=train[INDEX],
        mean_pixel=dataset.train.mean(axis=0, dtype=float),
        table=table[INDEX],
        particles=particles,
        old_prior=OLD_PRIOR,
        log_z=LOG_Z,
    )
    trainer = task.trainer(state)
    metrics = trainer.run_steps(tf.constant(INDEX[None], tf.int32)).totals
    return types.SimpleNamespace(slow=slow, state=state, metrics=metrics, table=table, step=step, rate=rate)


def chains_of(state):
    """`[examples, K, N]`."""
    return np.moveaxis(state.chains.read(tf.range(7)).numpy().astype(float), 0, 1)


def gradients(iteration):
    """By name. After one step from zero Adam's first moment is `(1 - 0.9)` times the gradient."""
    model, optimizer = iteration.state.model, iteration.state.optimizer
    moments = [variable.numpy() / 0.1 for variable in optimizer.variables if variable.path.endswith("_momentum")]
    by_id = {id(v): moment for v, moment in zip(model.trainable_variables, moments, strict=True)}
    return {name: by_id[id(v)] for name, v in reference_models.variables_of(model).items() if id(v) in by_id}


def test_metrics(iteration):
    wanted = {
        "relaxed_log_likelihood": iteration.slow.log_likelihood(iteration.slow.weights),
        "kl_weight": iteration.slow.kl_weight,
        "prior_effective_sample_size": iteration.slow.effective_sample_size,
        "prior_num_families": iteration.slow.num_families,
    }
    if iteration.slow.config.objective == "iw":
        of_weights = 1 / np.sum(iteration.slow.normalised_weights() ** 2, axis=0)
        wanted["iw_effective_sample_size"] = of_weights.mean()
        assert 1.1 < of_weights.mean() < 1.9
    assert set(iteration.metrics) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(iteration.metrics[name], value, rtol=1e-5, err_msg=name)
    assert 1.1 < iteration.slow.effective_sample_size < 4.9  # weights that matter


def test_population_is_moved_to_the_parameters_before_the_update(iteration):
    left, rbm, log_z, _ = iteration.state.read_prior()
    np.testing.assert_array_equal(left, iteration.slow.particles)
    np.testing.assert_allclose(log_z, iteration.slow.log_z, rtol=1e-6)
    for parameter, wanted in zip(rbm, reference_models.prior_of(iteration.slow.weights), strict=True):
        np.testing.assert_allclose(parameter, wanted, rtol=1e-6)


def test_chains_move_for_the_visited_examples_only(iteration):
    wanted = iteration.table.copy()
    if iteration.slow.config.model == "dvaess":
        wanted[INDEX] = np.moveaxis(iteration.slow.chains, 0, 1)
        assert np.any(wanted != iteration.table)
    np.testing.assert_array_equal(chains_of(iteration.state), wanted)


def test_gradients_are_those_of_the_numpy_loss(iteration):
    """Every entry of every trainable tensor."""
    slow, found, step = iteration.slow, gradients(iteration), 1e-6
    assert set(found) == {name for name in slow.weights if "moving" not in name}
    for name, gradient in found.items():
        wanted = np.zeros_like(gradient, float)
        for entry in np.ndindex(gradient.shape):
            shift = np.zeros_like(wanted)
            shift[entry] = step
            above, below = (slow.loss(slow.weights | {name: slow.weights[name] + sign * shift}) for sign in (1, -1))
            wanted[entry] = (above - below) / (2 * step)
        scale = max(np.abs(wanted).max(), 0.1)
        np.testing.assert_allclose(gradient, wanted, atol=1e-4 * scale, err_msg=name)
        assert np.abs(wanted).max() > 1e-3 or name.endswith("bias")  # batch normalisation takes biases away


def test_weights_follow_adam_at_the_scheduled_rate(iteration):
    """Number `step` of Adam's published update from moments of 0, epsilon 1e-3; float32 rounds weights of 1 by 6e-8."""
    after, t = reference_models.weights_of(iteration.state.model), iteration.step + 1
    rate = iteration.rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    for name, gradient in gradients(iteration).items():
        moved = -rate * 0.1 * gradient / (np.sqrt(0.001 * gradient**2) + 1e-3)
        np.testing.assert_allclose(
            after[name] - iteration.slow.weights[name], moved, rtol=1e-3, atol=3e-7, err_msg=name
        )
        assert np.abs(moved).max() > 1e-6 or name.endswith("bias")


def test_moving_averages_move_once(iteration):
    before, after = iteration.slow.weights, reference_models.weights_of(iteration.state.model)
    zeta = iteration.slow.sample(before)[0].reshape(-1, 4)
    of_x = iteration.slow.x - iteration.slow.mean_pixel
    inputs = {"encoder/hidden": of_x, "decoder/hidden": zeta}
    if not iteration.slow.config.shared_context:
        with_parents = np.concatenate([np.tile(of_x, [2, 1]), zeta[:, :2]], axis=1)
        inputs = {"encoder/group/0/hidden": of_x, "encoder/group/1/hidden": with_parents, "decoder/hidden": zeta}
    for network, rows in inputs.items():
        rows = reference_models.dense(before, f"{network}/0", rows)
        for statistic, value in (("mean", rows.mean(axis=0)), ("variance", rows.var(axis=0))):
            name = f"{network}/0/norm/moving_{statistic}"
            np.testing.assert_allclose(after[name], 0.99 * before[name] + 0.01 * value, atol=1e-5, err_msg=name)


def test_step_is_counted(iteration):
    assert int(iteration.state.global_step) == int(iteration.state.optimizer.iterations) == iteration.step + 1
