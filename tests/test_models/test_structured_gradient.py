"""The mean of structured prediction's gradient against differences of its objective, by quadrature in float64.

A relaxed unit is 0 or 1 with known probabilities and uniform in between, so that expectations over a few of them are
sums over the nodes of a quadrature, without uniforms and without reparameterization.
"""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
import reference_models
import tiny
from dvae.building import build_conditional_model
from dvae.systems import SYSTEMS
from dvae.training import objectives

MEAN_OBSERVED, MEAN_TARGET = np.array([0.2, 0.7, 0.5]), np.array([0.3, 0.6, 0.8])
OBSERVED = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1]], float)
TARGET = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [1, 0, 0]], float)
ENTROPY_WEIGHT, BETA = 0.6, 2.0
NUM_BATCHES, COPIES = 100, 250  # of the four examples
LEVEL = 1e-5
CASES = {"pwl": (6, 1), "pwl, K = 2": (2, 2), "dvaess": (4, 1), "dvaess, K = 2": (2, 2)}


def law(logits):
    """Nodes and probabilities of relaxed units, `[..., 4]`; exact for polynomials of degree 3 in each unit."""
    q = special.expit(logits)[..., None]
    slope = BETA / (4 * (q * (1 - q) + 0.01))
    lowest, highest = np.maximum(0.5 - slope * (1 - q), 0), np.minimum(0.5 + slope * q, 1)  # at rho = 0 and 1
    points, weights = np.polynomial.legendre.leggauss(2)
    inner = lowest + (highest - lowest) * (1 + points) / 2
    nodes = np.concatenate([np.zeros_like(q), inner, np.ones_like(q)], axis=-1)
    off, on = (np.maximum(mass - 0.5 / slope, 0) for mass in (1 - q, q))
    return nodes, np.concatenate([off, (1 - off - on) * weights / 2, on], axis=-1)


def joint_law(logits):
    """That of independent units `[..., units]`: nodes `[..., 4^units, units]` and their probabilities."""
    nodes, shares = law(logits)
    choice = np.indices([4] * logits.shape[-1]).reshape(logits.shape[-1], -1)  # [units, 4^units]
    unit = np.arange(logits.shape[-1])[:, None]
    return np.moveaxis(nodes[..., unit, choice], -2, -1), np.prod(shares[..., unit, choice], axis=-2)


class ExactLoss:
    """`loss(weights)`, the mean over the four examples.

    Of an RBM posterior as Algorithm 1 has it: the distribution of the starting states and the machine in the entropy
    are those of `weights`, as they were in the beginning.
    """

    def __init__(self, weights, num_units, num_samples):
        self.num_units, self.num_samples = num_units, num_samples
        self.is_rbm = "encoder/coupling/gamma" in weights
        self.stopped = self.machines(weights) if self.is_rbm else None

    def machines(self, weights):
        half = self.num_units // 2
        return reference_models.rbm_posterior(weights, MEAN_OBSERVED, OBSERVED, half, half, training=True)

    def __call__(self, weights):
        losses = []
        if self.is_rbm:
            machines = self.machines(weights)
        else:
            logits = reference_models.dense(weights, "encoder/group/0", OBSERVED - MEAN_OBSERVED)
        for b in range(len(OBSERVED)):
            if self.is_rbm:
                zeta, shares, negative_entropy = self._after_a_sweep(machines[b], self.stopped[b])
            else:
                zeta, shares = joint_law(logits[b])
                negative_entropy = -reference_models.bernoulli_entropy(logits[b])
            values = reference_models.log_likelihood(
                weights, MEAN_TARGET, TARGET[b : b + 1], zeta[:, None], training=True
            )[:, 0]
            bound = shares @ values
            if self.num_samples == 2:
                pairs = np.logaddexp(values[:, None], values) - np.log(2)
                bound = shares @ pairs @ shares
            losses.append(-bound + ENTROPY_WEIGHT * negative_entropy)
        return np.mean(losses)

    @staticmethod
    def _after_a_sweep(machine, stopped):
        (a, b, w), starts = machine, reference.all_states(len(machine[0]))
        right, of_right = joint_law(b + starts @ w)
        right, of_right = right.reshape(-1, len(b)), (reference.p_left(stopped)[:, None] * of_right).ravel()
        logits = a + right @ w.T
        means = np.concatenate([special.expit(logits), right], axis=1)
        negative_entropy = -of_right @ reference_models.energies(stopped, means[:, None])[:, 0]
        left, of_left = joint_law(logits)
        zeta = np.concatenate([left, np.broadcast_to(right[:, None], left.shape)], axis=-1)
        return zeta.reshape(-1, 2 * len(a)), (of_right[:, None] * of_left).ravel(), negative_entropy


@pytest.mark.parametrize("case", CASES)
def test_mean_gradient_is_that_of_the_exact_objective(case):
    """Every trainable entry, 25,000 draws for each of four examples; false-failure rate 1e-5 for a case.

    Power: an error of a tenth of the largest entry is noticed with a probability above 0.999 in any entry. The encoder
    and the decoder are linear: batch statistics of random latents would make the mean depend on the size of a batch.
    """
    name, (num_units, num_samples) = case.split(",")[0], CASES[case]
    settings = {"num_latents": num_units, "hidden_layers": 0, "beta": BETA, "num_gibbs_sweeps": 1}
    config = tiny.config(name, objective="structured", num_samples=num_samples, observed="0.5", **settings)
    model = build_conditional_model(config, MEAN_OBSERVED[None], MEAN_TARGET[None])
    reference_models.randomize(model, 1)
    weights = reference_models.weights_of(model)
    loss = ExactLoss(weights, num_units, num_samples)
    variables = {key: variable for key, variable in reference_models.variables_of(model).items() if variable.trainable}
    observed, target = (tf.constant(np.tile(x, [COPIES, 1]), tf.float32) for x in (OBSERVED, TARGET))

    negative_entropy, weight = SYSTEMS[name].negative_entropy, tf.constant(ENTROPY_WEIGHT)

    @tf.function(jit_compile=True)
    def gradients(seed, chains):
        with tf.GradientTape() as tape:
            encoding = model.posterior.encode(observed, training=True)
            sample = model.posterior.sample_relaxed(encoding, num_samples=num_samples, seed=seed, chains=chains)
            log_likelihood = model.likelihood.log_prob(target, sample.zeta, training=True)
            objective = objectives.structured(log_likelihood, negative_entropy(sample), entropy_weight=weight)
        return tape.gradient(objective.generative_loss, [variable.value for variable in variables.values()])

    rng, draws = np.random.default_rng(0), {key: [] for key in variables}
    for number in range(NUM_BATCHES):
        chains = np.zeros([num_samples, len(OBSERVED) * COPIES, model.posterior.chain_units])
        if name == "dvaess":
            starts = reference.all_states(num_units // 2)
            for b, machine in enumerate(loss.stopped):
                drawn = rng.choice(len(starts), p=reference.p_left(machine), size=[num_samples, COPIES])
                chains[:, b :: len(OBSERVED)] = starts[drawn]
        found = gradients(tf.constant([1, number]), tf.constant(chains, tf.float32))
        for key, value in zip(variables, found, strict=True):
            draws[key].append(value.numpy().astype(float))

    limit = reference.z_limit(LEVEL, sum(variable.numpy().size for variable in variables.values()))
    wanted = {
        key: reference.finite_differences(lambda value: loss(weights | {key: value}), weights[key], step=1e-4)  # noqa: B023
        for key in variables
    }
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    for key, gradient in wanted.items():
        error = np.maximum(reference.standard_error(draws[key]), 1e-6)  # 0 for biases that batch statistics take away
        assert np.all(np.abs(np.mean(draws[key], axis=0) - gradient) < limit * error), key
        assert np.all((limit + reference.z_limit(2e-3)) * error < 0.1 * largest), key
