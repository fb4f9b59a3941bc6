"""The functions of `models/` for the list of `tests/test_compiled.py`, with their gradients.

No case calls a network both in training, which moves its averages, and with these.
"""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import reference
import tiny
from dvae.building import build_conditional_model
from dvae.systems import LIKELIHOODS
from machines import as_rbm
from models import divergences, relaxed_prior
from models.directed_posterior import DirectedEncoding, DirectedSample
from models.free_layers import free_directed, free_rbm, no_input
from models.inputs import centred, logarithmic, standardised
from models.likelihood import Likelihood
from models.mixtures import (
    Gaussian,
    GaussianIntegral,
    OverlappingExponential,
    PowerFunction,
    UniformExponential,
    log_mixture,
)
from models.posterior import Mixture, PosteriorDraws
from models.rbm_posterior import RBMSample
from models.relaxations import Concrete, PiecewiseLinear, SpikeAndExponential
from models.relaxed_prior import GaussianIntegralPrior
from samplers.annealing_path import Schedule
from samplers.annealing_schedules import linear_betas

RNG = np.random.default_rng(6)
X = tf.constant(RNG.integers(0, 2, [3, 6]), tf.float32)
Z = tf.constant(RNG.integers(0, 2, [2, 3, 4]), tf.float32)  # [K, B, units]
ZETA = tf.constant(RNG.uniform(0.05, 0.95, size=[2, 3, 4]), tf.float32)
LOGITS = tf.constant(RNG.normal(size=[2, 3, 4]), tf.float32)
CHAINS = Z[..., :2]
PRIOR, LOG_Z = as_rbm(reference.machine(7, 2, 2)), tf.constant(1.25)
MACHINES = as_rbm(reference.machine(8, 2, 2, batch=(3,)))
SHORT = Schedule.of(linear_betas(2), tf.float32)
MIXTURE = Mixture(tf.constant([1.0, 3.0]), tf.constant(RNG.normal(size=[2, 3])))
DRAWS = PosteriorDraws(Z, LOGITS[..., 0] - 2, LOGITS[..., 1] / 5, MIXTURE)


class Noisy(Likelihood):
    """One of one's own, all of whose methods are the general ones."""

    def distribution(self, outputs):
        return tfd.Bernoulli(probs=0.02 + 0.96 * tf.sigmoid(outputs))


DIRECTED = {shared: tiny.model("pwl", num_groups=2, beta=1.0, shared_context=shared) for shared in (True, False)}
MIXED = tiny.model("dvaes_gauss_int", num_groups=2)
UNDIRECTED = tiny.model("dvaess", beta=1.0, num_gibbs_sweeps=2, num_relaxed_sweeps=2)
OWN = tiny.model("pwl", likelihood=Noisy)
CONDITIONAL = build_conditional_model(
    tiny.config("pwl", objective="structured"), tiny.EXAMPLES[:, :2], tiny.EXAMPLES[:, 2:]
)


VALUES = tf.constant(np.where(RNG.random([3, 6]) < 0.4, 0, RNG.random([3, 6])), tf.float32)  # of any likelihood
REAL = {
    name: tiny.model("pwl", likelihood=LIKELIHOODS[name], examples=VALUES.numpy())
    for name in ("continuous_bernoulli", "gaussian", "gaussian_per_pixel", "zero_inflated", "zero_inflated_per_pixel")
}


def with_gradient(function, *inputs):
    """The value, and the gradient of its sum in all the inputs."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return value, tape.gradient(value, inputs, unconnected_gradients="zero")


def with_gradient_in(layer, function):
    """The same in the trainable variables of a layer."""
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        value = function()
    return value, tape.gradient(value, variables, unconnected_gradients="zero")


def of_relaxation(relaxation):
    """Draws with their derivatives, and of a mixture its densities at a given zeta with theirs."""
    outputs = tf.concat([LOGITS] * relaxation.outputs_per_unit, axis=-1)

    def case(seed):
        drawn = with_gradient(lambda outputs: relaxation.sample(outputs, seed), outputs)
        if not hasattr(relaxation, "log_prob"):
            return drawn
        return (
            drawn,
            with_gradient(lambda *of: tuple(relaxation.log_components(*of)), ZETA, outputs),
            with_gradient(relaxation.log_prob, ZETA, outputs),
            with_gradient(lambda outputs: relaxation.reparameterize(ZETA, outputs), outputs),
        )

    return case


def of_posterior(posterior, chains):
    """By name."""
    encode = lambda training=False: posterior.encode(X, training=training)  # noqa: E731

    def relaxed(seed):
        return posterior.sample_relaxed(encode(True), num_samples=2, seed=seed, chains=chains)

    def frozen(seed):
        def of_zeta(zeta):
            found = posterior.frozen(relaxed(seed)._replace(zeta=zeta))
            return [part for part in tf.nest.flatten(found._replace(chains=(), encoding=())) if part is not zeta]

        return with_gradient(of_zeta, ZETA)

    many = {"num_samples": 4, "num_temperatures": 2}
    return {
        "encode": lambda seed: encode(),
        "encode (training)": lambda seed: with_gradient_in(posterior, lambda: tuple(encode(True))),
        "sample_relaxed": lambda seed: with_gradient_in(posterior, lambda: relaxed(seed).zeta),
        "sample_relaxed (all)": relaxed,
        "frozen": frozen,
        "draw": lambda seed: posterior.draw(encode(), seed=seed, flattening=[1.0, 2.0], **many),
        "sample": lambda seed: posterior.sample(encode(), seed=seed, **many),
        "reverse_log_weights": lambda seed: posterior.reverse_log_weights(encode(), Z, seed=seed, num_temperatures=2),
        "parameters": lambda seed: posterior.parameters(encode(), seed=seed),
        "unnormalised_log_prob": lambda seed: posterior.unnormalised_log_prob(encode(), Z),
        "log_densities": lambda seed: posterior.log_densities(encode(), Z, MIXTURE),
    }


def of_free(posterior):
    """A posterior without an encoder, its parameters anything but 0."""
    for number, variable in enumerate(posterior.trainable_variables):
        variable.assign(np.random.default_rng(number).normal(size=variable.shape))
    return lambda seed: with_gradient_in(
        posterior, lambda: posterior.unnormalised_log_prob(posterior.encode(no_input(3), training=False), Z)
    )


def of_directed(divergence, relaxation=None):
    """Of a divergence of directed samples from a machine, or of what takes the samples alone."""

    def value(zeta, logits, *prior):
        components = () if relaxation is None else relaxation.log_components(zeta, logits)
        means = tf.sigmoid(logits) * zeta
        sample = DirectedSample(zeta, logits, means, CHAINS, DirectedEncoding(zeta[0], logits[0]), components)
        return divergence(sample, type(PRIOR)(*prior), LOG_Z)

    return lambda seed: with_gradient(value, ZETA, LOGITS, *PRIOR)


def of_rbm(divergence):
    def value(zeta, parameters, prior):
        machines = type(MACHINES)(*parameters)
        return divergence(RBMSample(zeta, zeta**2, CHAINS, machines), type(PRIOR)(*prior), LOG_Z)

    return lambda seed: with_gradient(value, ZETA, tuple(MACHINES), tuple(PRIOR))


def smoothed(rbm):
    return GaussianIntegralPrior.smoothing(rbm, least_beta=3.0)


def of_likelihood(likelihood, x=X):
    outputs = lambda: likelihood.outputs(Z[0], training=False)  # noqa: E731
    return {
        "log_prob": lambda seed: likelihood.log_prob(x, Z, training=False),
        "log_prob (training)": lambda seed: (
            with_gradient(lambda zeta: likelihood.log_prob(x, zeta, training=True), ZETA),
            with_gradient_in(likelihood, lambda: likelihood.log_prob(x, ZETA, training=True)),
        ),
        "log_prob_of_draws": lambda seed: likelihood.log_prob_of_draws(x, Z),
        "log_prob_of_pairs": lambda seed: likelihood.log_prob_of_pairs(x, outputs()),
        "mean": lambda seed: likelihood.mean(Z, training=False),
        "outputs": lambda seed: outputs(),
        "parameters": lambda seed: likelihood.parameters(outputs()),
    }


def under(prefix, cases):
    return {f"{prefix}.{name}": case for name, case in cases.items()}


exponential, stack = OverlappingExponential(5.0), UNDIRECTED.posterior.encoder
TRANSFORMS = PiecewiseLinear(1.0), Concrete(2.0), SpikeAndExponential(3.0)
MIXTURES = exponential, UniformExponential(5.0), PowerFunction(5.0), Gaussian(8.0), GaussianIntegral(4)
# Name, `models.module.function`: a function of a seed.
MODEL_CASES = {
    **under("models.relaxations", {type(r).__name__: of_relaxation(r) for r in TRANSFORMS}),
    **under("models.mixtures", {type(r).__name__: of_relaxation(r) for r in MIXTURES}),
    "models.mixtures.log_mixture": lambda seed: with_gradient(
        lambda logits: log_mixture(logits, exponential.log_components(ZETA, logits)), LOGITS
    ),
    **under("models.directed_posterior", of_posterior(DIRECTED[True].posterior, CHAINS[..., :0])),
    **under("models.directed_posterior.separate", of_posterior(DIRECTED[False].posterior, CHAINS[..., :0])),
    **under("models.directed_posterior.mixture", of_posterior(MIXED.posterior, CHAINS[..., :0])),
    "models.free_layers.directed": of_free(free_directed(3, 4, 2)),
    "models.free_layers.rbm": of_free(free_rbm(3, 4)),
    **under("models.rbm_posterior", of_posterior(UNDIRECTED.posterior, CHAINS)),
    **under(
        "models.divergences",
        {
            "directed_to_rbm": of_directed(divergences.directed_to_rbm),
            "relaxed_directed_to_rbm": of_directed(divergences.relaxed_directed_to_rbm),
            "spike_and_exponential_to_rbm": of_directed(
                lambda *of: divergences.spike_and_exponential_to_rbm(*of, num_groups=2)
            ),
            "mixture_to_rbm": of_directed(divergences.mixture_to_rbm, exponential),
            "overlapping_to_rbm": of_directed(divergences.overlapping_to_rbm, exponential),
            "gaussian_integral_to_rbm": of_directed(
                lambda sample, prior, log_z: divergences.gaussian_integral_to_rbm(sample, smoothed(prior), log_z),
                Gaussian(8.0),
            ),
            "directed_negative_entropy": of_directed(
                lambda sample, prior, log_z: divergences.directed_negative_entropy(sample)
            ),
            "rbm_to_rbm_without_log_z_phi": of_rbm(divergences.rbm_to_rbm_without_log_z_phi),
            "relaxed_rbm_to_rbm_without_log_z_phi": of_rbm(divergences.relaxed_rbm_to_rbm_without_log_z_phi),
            "rbm_negative_entropy_without_log_z_phi": of_rbm(
                lambda sample, prior, log_z: divergences.rbm_negative_entropy_without_log_z_phi(sample)
            ),
        },
    ),
    "models.relaxed_prior.overlapping_bound": lambda seed: with_gradient(
        lambda zeta, *prior: relaxed_prior.overlapping_bound(
            type(PRIOR)(*prior), exponential.log_components(zeta, LOGITS), LOG_Z
        ),
        ZETA,
        *PRIOR,
    ),
    "models.relaxed_prior.gaussian_integral": lambda seed: with_gradient(
        lambda zeta, *prior: relaxed_prior.gaussian_integral(smoothed(type(PRIOR)(*prior)), zeta, LOG_Z), ZETA, *PRIOR
    ),
    "models.relaxed_prior.smoothing": lambda seed: (smoothed(PRIOR), relaxed_prior.smallest_eigenvalue(PRIOR)),
    **under("models.likelihood", of_likelihood(UNDIRECTED.likelihood)),
    "models.likelihood.sample": lambda seed: UNDIRECTED.likelihood.sample(Z, seed),
    **under("models.likelihood.own", of_likelihood(OWN.likelihood)),
    **{
        f"models.continuous_likelihoods.{name}.{case}": function
        for name, model in REAL.items()
        for case, function in (
            of_likelihood(model.likelihood, VALUES)
            | {"sample": lambda seed, likelihood=model.likelihood: likelihood.sample(Z, seed)}
        ).items()
    },
    "models.inputs": lambda seed: [
        with_gradient(inputs, X)
        for inputs in (
            centred(VALUES.numpy()),
            standardised(VALUES.numpy(), np.float32(0.3)),
            logarithmic(VALUES.numpy(), 0.2),
        )
    ],
    "models.generative.log_joint": lambda seed: UNDIRECTED.log_joint(X, Z, LOG_Z),
    "models.generative.joint_terms": lambda seed: with_gradient_in(
        UNDIRECTED.prior, lambda: UNDIRECTED.joint_terms(X, Z, LOG_Z, training=True)
    ),
    "models.generative.posterior_sweeps": lambda seed: UNDIRECTED.posterior_sweeps(
        X, Z, seed, num_sweeps=tf.constant(2)
    ),
    "models.autoencoder.call": lambda seed: DIRECTED[True](X, seed=seed),
    "models.autoencoder.call (undirected)": lambda seed: UNDIRECTED(X, seed=seed),
    "models.autoencoder.log_likelihood": lambda seed: UNDIRECTED.log_likelihood(X, DRAWS, LOG_Z),
    "models.autoencoder.annealed_log_likelihood": lambda seed: DIRECTED[True].annealed_log_likelihood(
        X,
        DIRECTED[True].posterior.encode(X, training=False),
        DRAWS,
        LOG_Z,
        schedule=SHORT,
        seed=seed,
    ),
    "models.autoencoder.annealed_backward": lambda seed: UNDIRECTED.annealed_backward(
        X, UNDIRECTED.posterior.encode(X, training=False), Z, LOG_Z, schedule=SHORT, seed=seed
    ),
    "models.annealed_likelihood": lambda seed: CONDITIONAL.annealed_log_likelihood(
        X[:, 2:], CONDITIONAL.posterior.encode(X[:, :2], training=False), DRAWS, schedule=SHORT, seed=seed
    ),
    "models.conditional.call": lambda seed: CONDITIONAL(X[:, :2], seed=seed),
    "models.conditional.log_likelihood": lambda seed: CONDITIONAL.log_likelihood(X[:, 2:], DRAWS),
    "models.networks.hidden_stack": lambda seed: stack(X, training=False),
    "models.networks.hidden_stack (training)": lambda seed: (
        with_gradient(lambda x: stack(x, training=True), X),
        with_gradient_in(stack, lambda: stack(X, training=True)),
    ),
    "models.posterior.estimate": lambda seed: (DRAWS.estimate(LOGITS[..., 2]), DRAWS.mean(LOGITS[..., 3])),
    "models.prior.rbm": lambda seed: with_gradient_in(UNDIRECTED.prior, lambda: tuple(UNDIRECTED.prior.rbm())),
}
# AIS pads a schedule by an amount that XLA does not know.
MODEL_CASES_IN_PARTS = {
    "models.rbm_posterior.draw", "models.rbm_posterior.sample", "models.rbm_posterior.reverse_log_weights",
    "models.autoencoder.call (undirected)",
}  # fmt: skip
