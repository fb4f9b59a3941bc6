"""Divergences against enumerated KL(q || p), values and gradients, in float64: no sampling error.

Both are linear in the units that are replaced by their means. So the expectation over samples is a finite sum: over
the left states of a directed posterior of two groups, over the right states of an RBM posterior.
"""

import numpy as np
import pytest
import tensorflow as tf

import reference
import reference_models
from models.directed_posterior import DirectedSample
from models.divergences import (
    directed_negative_entropy,
    directed_to_rbm,
    gaussian_integral_to_rbm,
    mixture_to_rbm,
    overlapping_to_rbm,
    rbm_negative_entropy_without_log_z_phi,
    rbm_to_rbm_without_log_z_phi,
    relaxed_directed_to_rbm,
    relaxed_rbm_to_rbm_without_log_z_phi,
)
from models.rbm_posterior import RBMSample
from reference import finite_differences
from samplers.log_partition import exact_log_z
from samplers.rbm import RBM

N, M = 3, 2
PRIOR, POSTERIOR = reference.machine(0, N, M), reference.machine(1, N, M)
LEFT, RIGHT = reference.all_states(N), reference.all_states(M)
STATES = reference.all_states(N + M)  # left units first: [left, right] in order
LOGITS = np.random.default_rng(2).normal(scale=1.5, size=N + M)
COUPLING = np.random.default_rng(3).normal(size=[N, M])  # of the second group's logits to the first group


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def as_rbm(machine):
    return RBM(*(tf.constant(parameter) for parameter in machine))


def divergence(function, sample, prior):
    return function(sample, as_rbm(prior), tf.constant(reference.log_z(prior)))


def kl(log_q, prior=PRIOR):
    """Enumerated, `sum_z q (log q - log p)`, of `log_q [2^(N + M)]`."""
    log_p = reference.log_joint(prior).ravel() - reference.log_z(prior)
    return np.sum(np.exp(log_q) * (log_q - log_p))


def log_machine(machine):
    return reference.log_joint(machine).ravel() - reference.log_z(machine)


# Directed posteriors.


def one_group(logits):
    """`zeta` is nonsense: the means stand for all units."""
    return DirectedSample(tf.fill([1, 1, N + M], np.float64(np.nan)), logits, tf.sigmoid(logits), None, None)


def log_factorial(logits):
    return np.array([reference_models.log_bernoulli(z, logits) for z in STATES])


def test_one_group_is_the_enumerated_kl():
    value = divergence(directed_to_rbm, one_group(tf.constant(LOGITS[None, None])), PRIOR)
    assert value.shape == [1, 1]
    np.testing.assert_allclose(value[0, 0], kl(log_factorial(LOGITS)), rtol=1e-12)


def test_one_group_gradient_is_that_of_the_enumerated_kl():
    logits = tf.constant(LOGITS[None, None])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = divergence(directed_to_rbm, one_group(logits), PRIOR)
    wanted = finite_differences(lambda logits: kl(log_factorial(logits)), LOGITS)
    np.testing.assert_allclose(tape.gradient(value, logits)[0, 0], wanted, rtol=1e-7, atol=1e-9)
    assert np.abs(wanted).min() > 1e-3


def two_groups_logits(left):
    return np.concatenate([np.broadcast_to(LOGITS[:N], left.shape), LOGITS[N:] + left @ COUPLING], axis=-1)


def test_two_groups_average_to_the_enumerated_kl():
    """Binary left units, right means, logits given the left units: `sum_left q(left) KL(left) = KL`."""
    logits = two_groups_logits(LEFT)
    means = np.concatenate([LEFT, sigmoid(logits[:, N:])], axis=-1)
    sample = DirectedSample(*(tf.constant(array[:, None]) for array in (means, logits, means)), None, None)
    value = divergence(directed_to_rbm, sample, PRIOR)[:, 0].numpy()
    q_left = np.exp([reference_models.log_bernoulli(left, LOGITS[:N]) for left in LEFT])
    log_q = [reference_models.log_bernoulli(z, two_groups_logits(z[:N])) for z in STATES]
    np.testing.assert_allclose(q_left @ value, kl(np.array(log_q)), rtol=1e-12)
    assert value.std() > 0.1


@pytest.mark.parametrize("function", [mixture_to_rbm, overlapping_to_rbm, gaussian_integral_to_rbm])
def test_a_transform_has_no_densities(function):
    """What needs them says so, where a relaxation is paired with another's divergence."""
    sample = one_group(tf.constant(LOGITS[None, None]))
    with pytest.raises(ValueError, match=r"\Alog_components=\(\): must be those of a mixture"):
        function(sample, as_rbm(PRIOR), tf.constant(0.0, tf.float64))


# RBM posteriors.


def right_states(posterior=POSTERIOR):
    """A sample for every right state, `K = 2^M`, left units at their conditional means; and `q(right)`."""
    a, _, w = posterior
    means = tf.constant(np.concatenate([sigmoid(a + RIGHT @ w.T), RIGHT], axis=-1)[:, None])
    batch = RBM(*(tf.constant(parameter[None]) for parameter in posterior))
    return RBMSample(means * np.nan, means, None, batch), reference.joint(posterior).sum(axis=0)


def test_value_matches_loops():
    """For relaxed units too, and with a machine for each example."""
    machines = reference.machine(4, N, M, batch=(3,))
    means = np.random.default_rng(5).uniform(size=[2, 3, N + M])
    sample = RBMSample(None, tf.constant(means), None, RBM(*map(tf.constant, machines)))
    value = rbm_to_rbm_without_log_z_phi(sample, as_rbm(PRIOR), tf.constant(2.5, tf.float64))
    assert value.shape == [2, 3]
    for k, b in np.ndindex(2, 3):
        left, right = means[k, b, :N], means[k, b, N:]
        cross_entropy = reference.energy(PRIOR, left, right) + 2.5
        wanted = cross_entropy - reference.energy(reference.member(machines, b), left, right)
        np.testing.assert_allclose(value[k, b], wanted, rtol=1e-12)


def test_averages_to_the_enumerated_kl_plus_log_z_phi():
    sample, q_right = right_states()
    value = divergence(rbm_to_rbm_without_log_z_phi, sample, PRIOR)[:, 0].numpy()
    wanted = kl(log_machine(POSTERIOR)) + reference.log_z(POSTERIOR)
    np.testing.assert_allclose(q_right @ value, wanted, rtol=1e-12)
    assert value.std() > 0.1


@pytest.mark.parametrize("function", [directed_to_rbm, rbm_to_rbm_without_log_z_phi])
def test_gradient_in_theta_is_that_of_the_enumerated_kl(function):
    """With log Z_theta and its gradient exact."""
    prior = as_rbm(PRIOR)
    with tf.GradientTape() as tape:
        tape.watch(prior)
        if function is directed_to_rbm:
            log_q = log_factorial(LOGITS)
            value = function(one_group(tf.constant(LOGITS[None, None])), prior, exact_log_z(prior))[0, 0]
        else:
            log_q = log_machine(POSTERIOR)
            sample, q_right = right_states()
            value = tf.reduce_sum(q_right * function(sample, prior, exact_log_z(prior))[:, 0])
    for number, gradient in enumerate(tape.gradient(value, prior)):
        replaced = lambda parameter: kl(log_q, (*PRIOR[:number], parameter, *PRIOR[number + 1 :]))  # noqa: B023, E731
        np.testing.assert_allclose(gradient, finite_differences(replaced, PRIOR[number]), rtol=1e-6, atol=1e-9)


def test_phi_is_stopped_in_its_own_energy():
    """No gradient reaches phi but through the sample: term I of eq. 9 is not there."""
    sample, _ = right_states()
    with tf.GradientTape() as tape:
        tape.watch(sample.encoding)
        value = divergence(rbm_to_rbm_without_log_z_phi, sample, PRIOR)
    assert tape.gradient(value, sample.encoding, unconnected_gradients="none") == RBM(None, None, None)


def test_gradient_through_the_sample_is_the_difference_of_the_fields():
    """`d/d m_left = (a_phi + W_phi m_right) - (a_theta + W_theta m_right)`, likewise on the right; by differences."""
    means = np.random.default_rng(6).uniform(size=N + M)

    def difference(m):
        return reference.energy(PRIOR, m[:N], m[N:]) - reference.energy(POSTERIOR, m[:N], m[N:])

    units = tf.constant(means[None, None])
    with tf.GradientTape() as tape:
        tape.watch(units)
        sample = RBMSample(None, units, None, right_states()[0].encoding)
        value = divergence(rbm_to_rbm_without_log_z_phi, sample, PRIOR)
    np.testing.assert_allclose(tape.gradient(value, units)[0, 0], finite_differences(difference, means), rtol=1e-8)


def test_gradient_vanishes_where_q_is_p():
    """Identically, sample by sample, whatever the relaxed units; and the value is log Z."""
    units = tf.constant(np.random.default_rng(7).uniform(size=[4, 1, N + M]))
    with tf.GradientTape() as tape:
        tape.watch(units)
        sample = RBMSample(None, units, None, RBM(*(tf.constant(parameter[None]) for parameter in PRIOR)))
        value = divergence(rbm_to_rbm_without_log_z_phi, sample, PRIOR)
    np.testing.assert_allclose(value, np.full([4, 1], reference.log_z(PRIOR)), rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(value, units), np.zeros([4, 1, N + M]), atol=1e-14)


# Entropies.


def entropy(log_q):
    return -np.sum(np.exp(log_q) * log_q)


def test_negative_entropies_average_to_the_enumerated_ones():
    value = directed_negative_entropy(one_group(tf.constant(LOGITS[None, None])))
    np.testing.assert_allclose(value[0, 0], -entropy(log_factorial(LOGITS)), rtol=1e-12)
    sample, q_right = right_states()
    value = rbm_negative_entropy_without_log_z_phi(sample)[:, 0].numpy()
    wanted = reference.log_z(POSTERIOR) - entropy(log_machine(POSTERIOR))
    np.testing.assert_allclose(q_right @ value, wanted, rtol=1e-12)
    assert value.std() > 0.1


def test_rbm_negative_entropy_has_a_gradient_through_the_sample_only():
    """`d/d m_left = a + W m_right` of the machine, likewise on the right, by differences; none in phi itself."""
    means = np.random.default_rng(6).uniform(size=N + M)
    units, rbm = tf.constant(means[None, None]), right_states()[0].encoding
    with tf.GradientTape() as tape:
        tape.watch([units, rbm])
        value = rbm_negative_entropy_without_log_z_phi(RBMSample(None, units, None, rbm))
    of_units, of_rbm = tape.gradient(value, [units, rbm], unconnected_gradients="none")
    wanted = finite_differences(lambda m: -reference.energy(POSTERIOR, m[:N], m[N:]), means)
    np.testing.assert_allclose(of_units[0, 0], wanted, rtol=1e-8)
    assert of_rbm == RBM(None, None, None)


# Single relaxed samples, for importance weights.

ZETA = np.random.default_rng(8).uniform(size=[3, 2, N + M])


def cross_entropies():
    return [[reference.energy(PRIOR, z[:N], z[N:]) + reference.log_z(PRIOR) for z in row] for row in ZETA]


def test_ratio_of_a_directed_posterior_matches_loops():
    """Extended to relaxed units; and on binary ones, averaged over q, it is the enumerated KL."""
    logits = np.random.default_rng(9).normal(size=ZETA.shape)
    sample = DirectedSample(tf.constant(ZETA), tf.constant(logits), None, None, None)
    log_q = reference_models.log_bernoulli(ZETA, logits)
    value = divergence(relaxed_directed_to_rbm, sample, PRIOR)
    np.testing.assert_allclose(value, log_q + cross_entropies(), rtol=1e-12)

    states = tf.constant(STATES[:, None])
    sample = DirectedSample(states, tf.constant(LOGITS) + tf.zeros_like(states), None, None, None)
    value = divergence(relaxed_directed_to_rbm, sample, PRIOR)[:, 0].numpy()
    np.testing.assert_allclose(np.exp(log_factorial(LOGITS)) @ value, kl(log_factorial(LOGITS)), rtol=1e-12)


def test_ratio_of_an_rbm_posterior_and_the_gradient_of_its_log_z_match_loops():
    """In each machine's parameters: its relaxed energy, and log Z_phi by the mean over that example's chains."""
    machines = reference.machine(4, N, M, batch=(2,))
    chains = np.random.default_rng(5).integers(0, 2, [3, 2, N]).astype(float)
    rbm = RBM(*map(tf.constant, machines))
    with tf.GradientTape() as tape:
        tape.watch(rbm)
        sample = RBMSample(tf.constant(ZETA), None, tf.constant(chains), rbm)
        value = divergence(relaxed_rbm_to_rbm_without_log_z_phi, sample, PRIOR)
        total = tf.reduce_sum(value)
    members = [reference.member(machines, b) for b in range(2)]
    log_q = [[-reference.energy(member, z[:N], z[N:]) for member, z in zip(members, row, strict=True)] for row in ZETA]
    np.testing.assert_allclose(value, np.array(log_q) + cross_entropies(), rtol=1e-12)

    def log_q_with_chains(member, b):
        log_z = -np.mean([reference.free_energy(member, left) for left in chains[:, b]])
        return sum(-reference.energy(member, z[:N], z[N:]) - log_z for z in ZETA[:, b])

    for number, gradient in enumerate(tape.gradient(total, rbm)):
        for b, member in enumerate(members):
            replaced = lambda parameter: log_q_with_chains((*member[:number], parameter, *member[number + 1 :]), b)  # noqa: B023, E731
            np.testing.assert_allclose(gradient[b], finite_differences(replaced, member[number]), rtol=1e-6, atol=1e-8)
