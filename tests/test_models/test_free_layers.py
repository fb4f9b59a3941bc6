"""Posteriors of free parameters: each example by its own, against loops."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from models.free_layers import FreeLinear, free_directed, free_rbm, no_input

STATES = reference.all_states(4)
Z = np.repeat(STATES[:, None], 3, axis=1).astype(np.float32)  # [16, 3, 4]


def randomized(posterior):
    rng = np.random.default_rng(0)
    for variable in posterior.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return posterior


def log_prob(posterior):
    """Of all states under each of 3 members, float64 `[16, 3]`."""
    encoding = posterior.encode(no_input(3), training=False)
    return posterior.unnormalised_log_prob(encoding, tf.constant(Z)).numpy()


def test_a_free_linear_map_is_one_for_each_example():
    layer, rng = FreeLinear(3, 2, 5, name="free"), np.random.default_rng(0)
    assert not np.any(layer(tf.ones([6, 2])))
    kernel, bias, rows = (rng.normal(size=shape) for shape in ([3, 2, 5], [3, 5], [6, 2]))
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    expected = [row @ kernel[place % 3] / np.sqrt(2) + bias[place % 3] for place, row in enumerate(rows)]
    np.testing.assert_allclose(layer(tf.constant(rows, tf.float32)), expected, atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: free_directed(3, 4, 1), lambda: free_directed(3, 4, 2), lambda: free_rbm(3, 4)]
)
def test_every_member_is_uniform_at_first(make):
    log_q = log_prob(make())
    np.testing.assert_allclose(log_q, np.broadcast_to(log_q[0], log_q.shape), atol=1e-6)


@pytest.mark.parametrize("num_groups", [1, 2, 4])
def test_a_directed_member_is_normalised_and_linear_in_the_groups_before(num_groups):
    posterior, size = randomized(free_directed(3, 4, num_groups)), 4 // num_groups
    log_q = log_prob(posterior)
    np.testing.assert_allclose(np.exp(log_q).sum(axis=0), 1, atol=1e-5)
    for member in range(3):
        expected = np.zeros(16)
        for group, head in enumerate(posterior.group_heads):
            before, own = STATES[:, : group * size], STATES[:, group * size : (group + 1) * size]
            kernel = head.kernel.numpy()[member] / np.sqrt(max(1, group * size))
            logits = before @ kernel + head.bias.numpy()[member]
            expected += (own * logits - np.logaddexp(0, logits)).sum(axis=1)
        np.testing.assert_allclose(log_q[:, member], expected, atol=1e-5)


def test_a_machine_has_fields_and_couplings_of_its_own():
    """In spins `s = 2 z - 1`: `u . s + s_left' J s_right` up to a constant, J from outputs by the posterior's scale."""
    posterior = randomized(free_rbm(3, 4))
    log_q, spins, outputs = log_prob(posterior), 2 * STATES - 1, posterior.head.bias.numpy()
    for member in range(3):
        fields, couplings = outputs[member, :4], outputs[member, 4:].reshape(2, 2) * 1.5 / np.sqrt(2)
        expected = spins @ fields + np.einsum("si,ij,sj->s", spins[:, :2], couplings, spins[:, 2:])
        difference = log_q[:, member] - expected
        np.testing.assert_allclose(difference, np.full(16, difference[0]), atol=1e-5)


def test_examples_share_no_gradient():
    posterior = randomized(free_directed(3, 4, 2))
    with tf.GradientTape() as tape:
        encoding = posterior.encode(no_input(3), training=False)
        first = tf.reduce_sum(posterior.unnormalised_log_prob(encoding, tf.constant(Z))[:, 0])
    for gradient in tape.gradient(first, posterior.trainable_variables):
        assert not np.any(gradient[1:])
