"""How a loss is put together: what each part of it is given."""

import numpy as np
import tensorflow as tf

import reference
import reference_models
import tiny
from dvae.training.losses import AutoencodingLoss, PriorParticles, TrainingObjective
from dvae.training.objectives import Objective

X = np.random.default_rng(0).integers(0, 2, [3, 6]).astype(np.float32)
SEED = tf.constant([2, 3])
STEP, NUM_STEPS, WARMUP = 120, 1000, 0.3


def test_every_part_of_an_autoencoders_loss_gets_what_it_needs():
    """zeta goes to the decoder, in training mode; the whole sample, the smoothed prior and log Z to the divergence.

    The divergence is a sum with different coefficients of all that it is given, its encoding too, which goes around the
    compiled piece.
    """
    config = tiny.config("pwl", num_groups=2, num_samples=2, num_steps=NUM_STEPS, kl_warmup=WARMUP)
    model, twin = (tiny.model("pwl", num_groups=2) for _ in range(2))
    weights, rng = reference_models.weights_of(model), np.random.default_rng(1)
    of_zeta, of_logits, of_means, of_context = (rng.normal(size=size) for size in (4, 4, 4, 3))
    handed = []

    def divergence(sample, prior, log_z):
        rbm, smoothness = prior
        of_sample = sum(
            tf.linalg.matvec(units, tf.constant(coefficients, tf.float32))
            for units, coefficients in (
                (sample.zeta, of_zeta),
                (sample.logits, of_logits),
                (sample.means, of_means),
                (sample.encoding.context[None], of_context),
            )
        )
        return of_sample + rbm.energy(*rbm.split(sample.zeta)) * smoothness + log_z

    def combine(*arguments, kl_weight):
        handed.append((*arguments, kl_weight))
        loss = tf.reduce_mean(arguments[0]) + tf.reduce_mean(arguments[1])
        return Objective(loss, loss, {"seen": tf.constant(3.0)})

    objective = TrainingObjective(combine, divergence, ("seen",), smoothed=lambda rbm: (rbm, tf.constant(0.25)))
    loss, chains = AutoencodingLoss(config, model, objective), tf.zeros([2, 3, 0])
    particles = PriorParticles(tf.zeros([5, 2]), tf.constant(1.5, tf.float64))
    step = tf.constant(STEP, tf.int64)
    result, kept = loss.objective(tf.constant(X), chains, particles, step=step, seed=SEED)

    sample = twin.posterior.sample_relaxed(
        twin.posterior.encode(X, training=True), num_samples=2, seed=SEED, chains=chains
    )
    zeta, logits, means, context = (
        part.numpy().astype(float) for part in (sample.zeta, sample.logits, sample.means, sample.encoding.context)
    )
    [(log_likelihood, found, kl_weight)] = handed
    wanted = reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, X, zeta, training=True)
    np.testing.assert_allclose(log_likelihood, wanted, rtol=1e-4)
    energies = reference_models.energies(reference_models.prior_of(weights), zeta)
    wanted = zeta @ of_zeta + logits @ of_logits + means @ of_means + context @ of_context + 0.25 * energies + 1.5
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(kl_weight, STEP / (WARMUP * NUM_STEPS), rtol=1e-6)
    assert set(result.metrics) == set(loss.metrics) == {"seen", "kl_weight"}
    np.testing.assert_allclose(result.metrics["kl_weight"], kl_weight)
    assert kept.shape == [2, 3, 0]
    assert loss.encoder is model.posterior


def test_log_z_has_its_tracked_value_and_the_gradient_of_the_particles():
    """In every parameter of the prior: minus the mean derivative of the particles' free energies, by differences."""
    config, model = tiny.config("pwl", num_samples=2), tiny.model("pwl")
    objective = TrainingObjective(
        combine=lambda log_likelihood, divergence, *, kl_weight: Objective(divergence, divergence, {}),
        divergence=lambda sample, prior, log_z: log_z,
        metrics=(),
        smoothed=lambda rbm: rbm,
    )
    left = np.random.default_rng(2).integers(0, 2, [5, 2]).astype(float)
    particles = PriorParticles(tf.constant(left, tf.float32), tf.constant(1.5, tf.float64))
    variables = [model.prior.bias_left.value, model.prior.bias_right.value, model.prior.pairwise.value]
    loss, chains = AutoencodingLoss(config, model, objective), tf.zeros([2, 3, 0])
    with tf.GradientTape() as tape:
        value = loss.objective(tf.constant(X), chains, particles, step=tf.constant(0), seed=SEED)[0].generative_loss
    np.testing.assert_allclose(value, 1.5)
    prior = reference_models.prior_of(reference_models.weights_of(model))
    for number, gradient in enumerate(tape.gradient(value, variables)):

        def log_z(parameter, number=number):
            machine = (*prior[:number], parameter, *prior[number + 1 :])
            return -np.mean([reference.free_energy(machine, row) for row in left])

        np.testing.assert_allclose(gradient, reference.finite_differences(log_z, prior[number]), rtol=1e-4, atol=1e-6)
