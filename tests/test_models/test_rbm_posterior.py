"""The RBM posterior: its parameters by loops, its draws against enumeration, Algorithm 1's sampling by NumPy.

3 left and 2 right units, so that exchanged sides are noticed. Statistical tests draw for many copies of one example:
the copies are independent replicates of everything, whatever the dependence between the draws of one copy.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import reference
import reference_models
import tiny
from dvae.compiling import compiled
from models import rbm_posterior
from models.autoencoder import DiscreteVAE
from models.inputs import centred
from models.likelihood import BernoulliLikelihood
from models.networks import LayerFactory
from models.posterior import BASES
from models.prior import RBMPrior
from models.rbm_posterior import RBMPosterior
from models.relaxations import PiecewiseLinear
from samplers import annealed_importance
from samplers.annealing_path import biases_base

N, M, S = 3, 2, 3  # left and right units, binary sweeps
X = np.random.default_rng(0).integers(0, 2, [3, 6]).astype(np.float32)
STATES = reference.all_states(N + M)
COPIES = np.repeat(X[:1], 50, axis=0)
SEED = tf.constant([6, 7])
LEVEL = 1e-5


def new_model(*, num_relaxed_sweeps=1, **couplings):
    seeds = keras.random.SeedGenerator(0)
    layers = LayerFactory(hidden_units=3, weight_decay=0.0, momentum=0.99, epsilon=0.01, seeds=seeds)
    sizes = {"num_left": N, "num_right": M, "num_gibbs_sweeps": S, "num_relaxed_sweeps": num_relaxed_sweeps}
    encoder, decoder = layers.hidden_stack(6, 2, name="encoder"), layers.hidden_stack(N + M, 1, name="decoder")
    return DiscreteVAE(
        prior=RBMPrior(N, M),
        posterior=RBMPosterior(
            encoder, PiecewiseLinear(1.0), layers=layers, inputs=centred(tiny.EXAMPLES), **sizes, **couplings
        ),
        likelihood=BernoulliLikelihood(decoder, layers=layers, examples=tiny.EXAMPLES, num_units=N + M),
    )


def make_model(**given):
    """With weights of no special values."""
    model = new_model(**given)
    reference_models.randomize(model, 3, scale=0.3)
    return model


def test_low_rank_couplings_are_sums_of_outer_products():
    """J by loops over the factors that the network makes, batch statistics in use; the same fields."""
    posterior = make_model(coupling_rank=2).posterior
    assert posterior.head.kernel.shape[1] == (N + M) + 2 * (N + M)
    rbm = posterior.encode(X, training=True)
    outputs = np.asarray(posterior.head(posterior.encoder(X - tiny.MEAN_PIXEL, training=True)), np.float64)
    fields, factors = outputs[:, : N + M], outputs[:, N + M :]
    gamma, beta = (np.asarray(v) for v in (posterior.coupling_norm.gamma, posterior.coupling_norm.beta))
    factors = (factors - factors.mean(0)) / np.sqrt(factors.var(0) + 0.01) * gamma + beta
    for b in range(len(X)):
        for i in range(N):
            for j in range(M):
                coupling = sum(factors[b, r * N + i] * factors[b, 2 * N + r * M + j] for r in range(2))
                np.testing.assert_allclose(
                    rbm.weights[b, i, j], 4 * 1.5 * coupling / np.sqrt(N * 2), rtol=1e-4, atol=1e-5
                )
    for bias, axis, own in ((rbm.bias_left, 2, fields[:, :N]), (rbm.bias_right, 1, fields[:, N:])):
        np.testing.assert_allclose(bias + np.sum(rbm.weights, axis=axis) / 2, 2 * own, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rank", [None, 2])
def test_couplings_start_as_strong_as_wanted(rank):
    """`W(start) = start * W(1)` with the same kernels; over a batch J as outputs deviates by 1.5 / sqrt(N).

    But for the norm's epsilon of 0.01, beside the variance of the outputs.
    """
    x = np.random.default_rng(2).integers(0, 2, [200, 6]).astype(np.float32)
    published, weak = (new_model(coupling_start=start, coupling_rank=rank).posterior for start in (1.0, 0.2))
    weights = published.encode(x, training=True).weights
    np.testing.assert_allclose(weak.encode(x, training=True).weights, 0.2 * weights.numpy(), rtol=1e-5, atol=1e-6)
    if rank is None:
        outputs = published.head(published.encoder(x - tiny.MEAN_PIXEL, training=True))[:, N + M :]
        variance = np.var(outputs, axis=0).reshape(N, M)
        expected = 1.5 / np.sqrt(N) * np.sqrt(variance / (variance + 0.01))
        np.testing.assert_allclose(np.std(weights, axis=0) / 4, expected, rtol=1e-4)


WEIGHTS = reference_models.weights_of(make_model())


@pytest.fixture
def posterior():
    return make_model().posterior


def machines(x, *, training=False):
    return reference_models.rbm_posterior(WEIGHTS, tiny.MEAN_PIXEL, x, N, M, training=training)


@pytest.mark.parametrize("training", [True, False])
def test_parameters_match_loops(posterior, training):
    rbm = posterior.encode(X, training=training)
    assert [list(parameter.shape) for parameter in rbm] == [[3, N], [3, M], [3, N, M]]
    for b, machine in enumerate(machines(X, training=training)):
        for actual, wanted in zip(reference.member(rbm, b), machine, strict=True):
            np.testing.assert_allclose(actual, wanted, atol=2e-5)
    if not training:
        assert posterior.is_amortized_whole
        for name, parameter in posterior.parameters(rbm, seed=SEED).items():
            np.testing.assert_array_equal(parameter, getattr(rbm, name))


def test_machine_is_an_ising_model(posterior):
    """Spins s = 2 z - 1: `E(z) = -(u1 . s_left + u2 . s_right + s_left' J s_right) + constant`, enumerated.

    The fields u are the network's own outputs and J is what couples: fields do not change when couplings do.
    """
    inputs = reference_models.hidden(WEIGHTS, "encoder/hidden", X - tiny.MEAN_PIXEL, training=False)
    fields = reference_models.dense(WEIGHTS, "encoder/outputs", inputs)[:, : N + M]
    rbm = posterior.encode(X, training=False)
    for b in range(3):
        machine = tuple(parameter.numpy().astype(float) for parameter in reference.member(rbm, b))
        energies = np.array([reference.energy(machine, z[:N], z[N:]) for z in STATES])
        spins = 2 * STATES - 1
        pairs = spins[:, :N, None] * spins[:, None, N:]
        ising = -(spins @ fields[b] + np.sum(pairs * machine[2] / 4, axis=(1, 2)))
        np.testing.assert_allclose(energies - ising, np.full(32, (energies - ising).mean()), atol=1e-4)
        assert np.std(energies) > 0.5


# Binary draws.


def log_p(x):
    """Enumerated `log p(x, z) + log Z_theta`, `[2^(N + M)]`."""
    pixels = reference_models.log_likelihood(WEIGHTS, tiny.MEAN_PIXEL, x[None], STATES[:, None], training=False)
    return pixels[:, 0] + reference.log_joint(reference_models.prior_of(WEIGHTS)).ravel()


def t_test(replicates, wanted):
    """p-values of the means of independent replicates (first axis)."""
    return 2 * stats.t.sf(np.abs(reference.z_score(replicates, wanted)), len(replicates) - 1)


@pytest.mark.parametrize("factors", [[1.0], [1.0, 2.0, 4.0]], ids=["q", "flattened"])
def test_ais_draws_are_unbiased_for_p_of_x_and_consistent_for_q(posterior, factors):
    """By 1 temperature, so that weights vary: tested on the ratio to the enumerated value, which has mean 1.

    Flattened, there is a bias of order 1 / K, too small to be seen here. False-failure rate 1e-5 each. Power: an error
    of 15 % in the estimate of p(x), and samples without their weights in that of E_q, are more than 7 standard errors
    away.
    """
    encoding = posterior.encode(COPIES, training=False)
    draws = posterior.draw(encoding, num_samples=4500, seed=SEED, flattening=factors, num_temperatures=1)
    z, log_q, log_weights = (np.asarray(part, float) for part in draws[:3])
    if len(factors) == 1:
        np.testing.assert_allclose(np.mean(np.exp(log_weights), axis=0), 1, rtol=1e-5)
    else:
        assert t_test(np.mean(np.exp(log_weights), axis=0), 1.0) > LEVEL
    assert np.std(log_weights) > 0.1

    number = reference.state_number(z)
    joint, q = np.exp(log_p(COPIES[0])), reference.joint(machines(X)[0]).ravel()
    log_z_error = log_q - np.log(q)[number]  # of log Z_phi: the same for all draws of a copy
    np.testing.assert_allclose(log_z_error, np.broadcast_to(log_z_error[0], log_z_error.shape), atol=1e-4)
    assert 1e-4 < np.abs(log_z_error).max() < 0.5
    estimates = np.mean(np.exp(log_weights) * joint[number] / np.exp(log_q), axis=0) / joint.sum()
    assert t_test(estimates, 1.0) > LEVEL
    assert 0.15 / reference.standard_error(estimates) > 7

    statistic = STATES[:, 0] * STATES[:, N]  # a left and a right unit
    weighted = np.exp(log_weights) * (statistic[number] - q @ statistic)
    assert t_test(np.mean(weighted, axis=0), 0.0) > LEVEL
    assert abs(reference.z_score(np.mean(statistic[number], axis=0), q @ statistic)) > 10


def test_weights_of_flattened_draws_match_loops(posterior):
    """`log v - log Z_f + log q - log mixture` of every draw, from AIS of each flattened machine."""
    factors, machine = np.array([1.0, 3.0]), posterior.encode(X, training=False)
    draws = posterior.draw(machine, num_samples=8, seed=SEED, flattening=factors, num_temperatures=2)
    z, log_q, log_weights = (np.asarray(part, float) for part in draws[:3])
    flattened = type(machine)(*(tf.stack([parameter, parameter / 3]) for parameter in machine))
    betas = tf.constant([0.0, 0.5, 1.0], tf.float64)
    annealed = annealed_importance.sample(flattened, biases_base(flattened), betas=betas, num_chains=4, seed=SEED)
    log_z = annealed.log_z.numpy()  # [factors, examples]
    for k, b in np.ndindex(8, 3):
        chain, of_factor = divmod(k, 2)
        np.testing.assert_array_equal(z[k, b, :N], annealed.left[chain, of_factor, b])
        member = tuple(parameter.numpy().astype(float) for parameter in reference.member(machine, b))
        energy = reference.energy(member, z[k, b, :N], z[k, b, N:])
        log_mixture = np.log(np.mean([np.exp(-energy / f - log_z[i, b]) for i, f in enumerate(factors)]))
        log_v = annealed.log_weights[chain, of_factor, b] - log_z[of_factor, b]
        np.testing.assert_allclose(log_q[k, b], -energy - log_z[0, b], atol=1e-4)
        np.testing.assert_allclose(log_weights[k, b], log_v + log_q[k, b] - log_mixture, atol=1e-4)


def test_samples_follow_the_enumerated_q(posterior, monkeypatch):
    """Each state's frequency in 50 copies of 400 samples, by 1 temperature and 1 sweep: resampling must do its part.

    False-failure rate 1e-5 together. Power: draws that are not resampled fail by far, in spite of the sweep.
    """
    monkeypatch.setattr(rbm_posterior, "_SWEEPS_AFTER_RESAMPLING", 1)
    encoding = posterior.encode(COPIES, training=False)
    z, log_q = posterior.sample(encoding, num_samples=400, seed=SEED, num_temperatures=1)
    q, number = reference.joint(machines(X)[0]).ravel(), reference.state_number(z.numpy())
    np.testing.assert_allclose(log_q, np.log(q)[number], atol=0.3)  # log Z_phi by AIS
    frequencies = np.array([np.bincount(column, minlength=32) / 400 for column in number.T])
    common = q > 1e-3  # rare states have no Gaussian frequencies
    assert t_test(frequencies[:, common], q[common]).min() > LEVEL / common.sum()


def test_number_of_temperatures_is_that_of_each_call_of_a_traced_draw(posterior):
    """An exported model is told how long to anneal after it was traced; 500 where nothing is said."""
    rbm = posterior.encode(X, training=False)
    draw = tf.function(
        lambda number: posterior.draw(rbm, num_samples=20, seed=SEED, num_temperatures=number),
        input_signature=[tf.TensorSpec([], tf.int32)],
    )
    log_weights = {}
    for number in (500, 50, 1):
        log_weights[number] = draw(tf.constant(number)).log_weights.numpy()
        betas = tf.constant(np.linspace(0, 1, number + 1))
        wanted = annealed_importance.sample(rbm, biases_base(rbm), betas=betas, num_chains=20, seed=SEED)
        np.testing.assert_allclose(log_weights[number], wanted.log_weights - wanted.log_z, atol=1e-4)
    assert draw.experimental_get_tracing_count() == 1
    assert log_weights[1].std() > 2 * log_weights[50].std() > 4 * log_weights[500].std()
    unsaid = posterior.draw(rbm, num_samples=20, seed=SEED).log_weights
    np.testing.assert_allclose(unsaid, log_weights[500], atol=1e-6)
    assert posterior.is_annealed


@pytest.mark.parametrize("name", BASES)
def test_annealing_starts_from_the_base_that_is_asked_for(posterior, name, monkeypatch):
    """Against NumPy: a + W/2 summed, and 41 mean-field updates from its means; each serves in a traced draw."""
    rbm, given = posterior.encode(X, training=False), []
    sample = annealed_importance.sample
    monkeypatch.setattr(
        annealed_importance, "sample", lambda rbm, base, **kw: given.append(base) or sample(rbm, base, **kw)
    )
    number = tf.constant(BASES.index(name))
    draws = posterior.draw(rbm, num_samples=20, seed=SEED, num_temperatures=3, base=number)
    assert np.isfinite(draws.log_weights).all()
    for i in range(len(X)):
        a, b, w = (np.asarray(parameter[i], float) for parameter in rbm)
        biases = {"biases": (a, b), "fields": (a + w.sum(1) / 2, b + w.sum(0) / 2)}
        left = special.expit(biases["fields"][0])
        for _ in range(41):
            left, right = reference.mean_field_update((a, b, w), left)
        biases["mean_field"] = special.logit(np.clip(left, 1e-3, 0.999)), special.logit(np.clip(right, 1e-3, 0.999))
        for found, wanted in zip(given[0], biases[name], strict=True):
            np.testing.assert_allclose(found[0, i], wanted, rtol=1e-4, atol=1e-4)


def test_relaxed_sample_matches_numpy():
    """Binary sweeps, then t = 2 relaxed ones, with the uniforms of the code's seeds; 2 samples of 3 examples."""
    model = make_model(num_relaxed_sweeps=2)
    chains = np.random.default_rng(8).integers(0, 2, [2, 3, N]).astype(np.float32)
    encoding = compiled(model.posterior.encode)(tf.constant(X), training=True)
    sample = compiled(model.posterior.sample_relaxed)(encoding, num_samples=2, seed=SEED, chains=tf.constant(chains))
    gibbs_seed, relaxed_seed = reference_models.split(SEED, 2)
    uniforms = reference_models.sweep_uniforms(M, N, [3], 2, seed=gibbs_seed, num_sweeps=S)
    rhos = []
    for sweep_seed in reference_models.split(relaxed_seed, 2):
        seeds = reference_models.split(sweep_seed, 2)
        rhos.append([reference_models.uniform([2, 3, n], seed) for n, seed in zip((M, N), seeds, strict=True)])
    relax = lambda logits, rho: reference_models.pwl(logits, rho, 1.0)  # noqa: E731
    for k, b in np.ndindex(2, 3):
        machine = machines(X, training=True)[b]
        left = reference_models.gibbs_sweeps(machine, chains[k, b], uniforms[:, b, :, k])
        np.testing.assert_array_equal(sample.chains[k, b], left)
        member_rhos = [[rho[k, b] for rho in pair] for pair in rhos]
        zeta, means = reference_models.relaxed_sweeps(machine, left, member_rhos, relax)
        np.testing.assert_allclose(sample.zeta[k, b], zeta, atol=1e-3)
        np.testing.assert_allclose(sample.means[k, b], means, atol=1e-3)
    assert np.mean((sample.zeta > 0) & (sample.zeta < 1)) > 0.2


def test_gradient_flows_through_the_relaxed_sweeps_only(posterior):
    """From the samples to every parameter of the encoder; from the chains to none, nor from samples to old chains."""
    chains = tf.constant(np.random.default_rng(8).integers(0, 2, [1, 3, N]).astype(np.float32))
    encoder = [posterior.head.kernel.value, posterior.head.bias.value, posterior.coupling_norm.gamma.value]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(chains)
        encoding = posterior.encode(X, training=True)
        sample = posterior.sample_relaxed(encoding, num_samples=1, seed=SEED, chains=chains)
    largest = lambda *of: [np.abs(g).max() for g in tape.gradient(*of, unconnected_gradients="zero")]  # noqa: E731
    for target in sample.zeta, sample.means:
        assert min(largest(target, encoder)) > 1e-4
        assert largest(target, [chains]) == [0]
    assert largest(sample.chains, [*encoder, chains]) == [0] * 4


@pytest.mark.parametrize(
    ("asked_for", "message"),
    [
        ({"num_samples": 0}, r"num_samples = 0: must be an integer of at least 1"),
        ({"num_samples": 5, "flattening": [1.0, 2.0]}, r"num_samples = 5: must be a multiple .* \(2\)"),
        ({"flattening": [2.0, 1.0]}, r"flattening = \[2.0, 1.0\]: must be factors of at least 1, the first 1"),
        ({"flattening": [1.0, 0.5]}, r"flattening = \[1.0, 0.5\]: must be factors"),
        ({"num_temperatures": 0}, r"num_temperatures = 0: must be an integer"),
        ({"base": 3}, r"base = 3: must be the number of one of biases, fields, mean_field"),
    ],
)
def test_mistakes_in_a_draw(posterior, asked_for, message):
    """Known, each is a ValueError; known when a graph runs only, it is asserted there."""
    encoding, given = posterior.encode(X, training=False), {"num_samples": 4, "seed": SEED} | asked_for
    with pytest.raises(ValueError, match=message):
        posterior.draw(encoding, **given)
    name, value = next(iter(asked_for.items()))
    rest = {key: part for key, part in given.items() if key != name}
    kind = tf.float32 if name == "flattening" else tf.int32
    draw = tf.function(lambda value: posterior.draw(encoding, **rest, **{name: value}).z)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="must be"):
        draw(tf.constant(value, kind))


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_a_sharpness_is_above_0(beta):
    with pytest.raises(ValueError, match=r"beta = .*: must be a finite number above 0"):
        PiecewiseLinear(beta)
