"""Structured prediction: its gradients against NumPy, a small run, and what is exported, against enumeration."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
import reference_models
import runs
import tiny
from dvae.data import make_dataset
from dvae.errors import UserError
from dvae.runs.summary import describe_results
from dvae.tasks.structured_prediction import StructuredPrediction

PIXELS = np.random.default_rng(0).integers(0, 2, [7, 6]).astype(float)
INDEX = np.array([5, 0, 3, 6])
SEED = tf.constant([3, 4])
_TWO_SAMPLES, _TWO_REPLICATES = {"num_samples": 2}, {"num_samples": 1, "num_replicates": 2}
CASES = {
    "dvaess": {"model": "dvaess"} | _TWO_SAMPLES,
    "dvaess-replicates": {"model": "dvaess"} | _TWO_REPLICATES,
    "dvaess-term-1": {"model": "dvaess", "term_1": True} | _TWO_REPLICATES,
    "pwl": {"model": "pwl", "num_groups": 2, "shared_context": False} | _TWO_SAMPLES,
}


class SlowLoss:
    """`loss(weights)` of one step in float64, from the same uniforms. Half of the pixels are observed, two draws.

    With term I it has the gradient of the loss at the weights it was made with, and not its value.
    """

    def __init__(self, config, weights, dataset, table, step):
        self.config, self.weights = config, weights
        self.observed, self.target = np.split(PIXELS[INDEX], 2, axis=1)
        self.mean_observed, self.mean_target = np.split(dataset.train.mean(axis=0), 2)
        self.entropy_weight = max(1 - step / (0.5 * config.num_steps), 0.05)
        step_seed = tf.random.fold_in(tf.constant([config.seed, 2]), step)
        seed = tf.random.split(step_seed, 3)[2]
        if config.model == "pwl":
            self.rhos = [self._uniform(2, seed) for seed in reference_models.split(seed, 2)]
            return
        gibbs_seed, relaxed_seed = reference_models.split(seed, 2)
        uniforms = reference_models.sweep_uniforms(2, 2, [4], 2, seed=gibbs_seed, num_sweeps=config.num_gibbs_sweeps)
        self.stopped, self.chains, self.values = self._machines(weights), np.zeros([2, 4, 2]), None
        for k, b in np.ndindex(2, 4):
            left = table[INDEX[b], k]
            self.chains[k, b] = reference_models.gibbs_sweeps(self.stopped[b], left, uniforms[:, b, :, k])
        [sweep_seed] = reference_models.split(relaxed_seed, 1)
        self.rhos = [self._uniform(2, seed) for seed in reference_models.split(sweep_seed, 2)]

    def _uniform(self, units, seed):
        return reference_models.uniform([2, 4, units], seed)

    def _machines(self, weights):
        return reference_models.rbm_posterior(weights, self.mean_observed, self.observed, 2, 2, training=True)

    def _relax(self, logits, rho):
        return reference_models.pwl(logits, rho, self.config.beta)

    def __call__(self, weights):
        if self.config.model == "pwl":
            zeta, logits = reference_models.directed(
                weights,
                self.mean_observed,
                self.observed,
                lambda number, logits: self._relax(logits, self.rhos[number]),
                num_samples=2,
                training=True,
            )
            negative_entropy = -reference_models.bernoulli_entropy(logits)
        else:
            machines, zeta, means = self._machines(weights), np.zeros([2, 4, 4]), np.zeros([2, 4, 4])
            for k, b in np.ndindex(2, 4):
                rhos = [tuple(rho[k, b] for rho in self.rhos)]
                sampled = reference_models.relaxed_sweeps(machines[b], self.chains[k, b], rhos, self._relax)
                zeta[k, b], means[k, b] = sampled
            negative_entropy = -reference_models.energies(self.stopped, means)
        log_likelihood = reference_models.log_likelihood(weights, self.mean_target, self.target, zeta, training=True)
        decay = reference_models.weight_decay(weights, self.config.weight_decay)
        if self.config.num_samples == 2:
            bound = special.logsumexp(log_likelihood, axis=0) - np.log(2)
            return -bound.mean() + self.entropy_weight * negative_entropy.mean() + decay
        values = log_likelihood - self.entropy_weight * negative_entropy
        return -values.mean() + decay - (self._term_1(weights, values) if self.config.term_1 else 0)

    def _term_1(self, weights, values):
        """`mean_r,b (V_r - V_other) log p(left_r)` with the values of the first call."""
        self.values = values if self.values is None else self.values
        total = 0.0
        for b, (bias_left, bias_right, coupling) in enumerate(self._machines(weights)):
            for r in range(2):
                left = self.chains[r, b]
                law = left @ bias_left + sum(np.logaddexp(0, bias_right[j] + left @ coupling[:, j]) for j in range(2))
                total += (self.values[r, b] - self.values[1 - r, b]) * law / 8
        return total


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_numpy_loss(name):
    """Every entry of every trainable tensor, by Adam's first moment after one step; tolerances as in Algorithm 1's."""
    settings = {"hidden_layers": 1, "beta": 1.0, "weight_decay": 0.02, "seed": 3, "observed": "0.5"} | CASES[name]
    config = tiny.config(settings.pop("model"), objective="structured", **settings)
    dataset = make_dataset("tiny", train=PIXELS, valid=PIXELS, test=PIXELS)
    task, step = StructuredPrediction(config, dataset), 200
    state = task.new_state()
    reference_models.randomize(state.model, 2)
    state.global_step.assign(step)
    table = np.moveaxis(state.chains.read(tf.range(7)).numpy().astype(float), 0, 1)
    before = reference_models.weights_of(state.model)
    slow = SlowLoss(config, before, dataset, table, step)
    slow(before)
    trainer = task.trainer(state)
    metrics = trainer.run_steps(tf.constant(INDEX[None], tf.int32)).totals
    np.testing.assert_allclose(metrics["entropy_weight"], slow.entropy_weight, rtol=1e-6)

    variables, by_id = reference_models.variables_of(state.model), runs.gradients_of_first_step(state)
    for variable_name, variable in variables.items():
        if id(variable) in by_id:
            replaced = lambda value: slow(before | {variable_name: value})  # noqa: B023, E731
            wanted = reference.finite_differences(replaced, before[variable_name], step=1e-6)
            scale = max(np.abs(wanted).max(), 0.1)
            found = by_id[id(variable)]
            np.testing.assert_allclose(found, wanted, atol=1e-4 * scale, err_msg=variable_name)
            assert np.abs(wanted).max() > 1e-3 or variable_name.endswith("bias")
    if config.model == "dvaess":
        moved = np.moveaxis(state.chains.read(INDEX).numpy(), 0, 1)
        np.testing.assert_array_equal(moved, np.moveaxis(slow.chains, 0, 1))


PREDICTING = [name for name, case in runs.CASES.items() if case.get("objective") == "structured"]


@pytest.fixture(scope="module", params=runs.cases(PREDICTING, first={"dvaess-structured"}))
def run(request, shared, tmp_path_factory):
    """A small run, finished, loaded by TensorFlow alone; its results."""
    finished = shared.finished(request.param, tmp_path_factory.mktemp("structured"))
    signatures = tf.saved_model.load(str(finished.run.directory.saved_model)).signatures
    return signatures, finished.results, finished.run


def enumerated_log_q(signatures, observed, z):
    """`log q(z | x_1)` of all latents, `[n, S]`."""
    energy = signatures["posterior_energy"](observed=tf.constant(observed, tf.float32), z=tf.constant(z))["energy"]
    return special.log_softmax(-energy.numpy().astype(float), axis=1)


def test_results_have_no_prior_and_agree_with_enumeration(run):
    """All 256 latents; 2000 samples an image. A wrong weight of one of the samples' terms would show."""
    signatures, results, trained = run
    assert results["log_z"] is None
    assert results["log_z_standard_error"] is None
    images = trained.dataset.test
    part, z = trained.task.part, reference.all_states(8).astype(np.float32)
    log_q = enumerated_log_q(signatures, images[:, part.observed], z)
    logits = signatures["decode"](z=tf.constant(z))["logits"].numpy().astype(float)
    log_likelihood = reference_models.log_bernoulli(images[:, None, part.target], logits)
    exact = special.logsumexp(log_likelihood + log_q, axis=1)
    np.testing.assert_allclose(results["exact_nll"], -exact.mean(), rtol=1e-5)
    estimate = signatures["log_likelihood"](x=tf.constant(images, tf.float32), num_samples=tf.constant(2000), seed=SEED)
    assert abs(np.mean(estimate["log_likelihood"] - exact)) < 0.02
    elbo = np.sum(np.exp(log_q) * log_likelihood, axis=1)
    assert abs(np.mean(estimate["elbo"] - elbo)) < 0.05
    entropy = -np.sum(np.exp(log_q) * log_q, axis=1)
    assert abs(np.mean(estimate["entropy"] - entropy)) < 0.05 < np.mean(entropy)
    if results["posterior_sampler"] == "exact":  # E_q[w]^2 / E_q[w^2] of them count
        log_share = 2 * exact - special.logsumexp(2 * log_likelihood + log_q, axis=1)
        sizes = 2000 * np.exp(log_share)
        np.testing.assert_allclose(np.mean(estimate["effective_sample_size"]), np.mean(sizes), rtol=0.1)
    text = describe_results(results, trained.directory.path, likelihood_of=trained.task.likelihood_of)
    assert "NLL of the 8 predicted pixels given the 8 observed ones: " in text
    assert "log Z" not in text


def test_prediction(run):
    """Probabilities against enumeration; each draw has a latent of its own, so that pixels are not independent."""
    signatures, _, trained = run
    images, part = trained.dataset.test[:3].astype(np.float32), trained.task.part
    pixels = {name: value.numpy() for name, value in signatures["pixels"]().items()}
    np.testing.assert_array_equal(pixels["observed"], part.observed)
    np.testing.assert_array_equal(pixels["target"], part.target)
    observed = tf.constant(images[:, part.observed])
    predicted = signatures["predict"](observed=observed, num_samples=tf.constant(4000), seed=SEED)
    assert predicted["samples"].shape == [4000, 3, 8]
    z = reference.all_states(8).astype(np.float32)
    q = np.exp(enumerated_log_q(signatures, images[:, part.observed], z))
    p_on = special.expit(signatures["decode"](z=tf.constant(z))["logits"].numpy())
    wanted = q @ p_on
    np.testing.assert_allclose(predicted["probabilities"], wanted, atol=0.03)
    np.testing.assert_allclose(np.mean(predicted["samples"], axis=0), wanted, atol=0.05)
    both = np.mean(predicted["samples"][..., :1] * predicted["samples"][..., 1:2], axis=0)[:, 0]
    np.testing.assert_allclose(both, q @ (p_on[:, 0] * p_on[:, 1]), atol=0.05)
    same = signatures["predict"](observed=observed, num_samples=tf.constant(4000), seed=SEED)
    np.testing.assert_array_equal(predicted["samples"], same["samples"])
    assert "generate" not in signatures


def test_pictures(run):
    """The observed half as it is, the rest grey, predicted, true; on 4 x 4 images, top observed."""
    signatures, _, trained = run
    images = trained.dataset.valid[:10]
    shown = trained.task.pictures(signatures, images, SEED)
    for picture, num_rows in ((shown.samples, 10), (shown.reconstructions, 3)):
        factor = 14  # 56 pixels for 4
        assert picture.shape == (factor * (num_rows * 5 - 1), factor * (10 * 5 - 1), 1)
        small = picture[::factor, ::factor, 0]
        tiles = [[small[5 * r : 5 * r + 4, 5 * c : 5 * c + 4] for c in range(10)] for r in range(num_rows)]
        for c, image in enumerate(images.reshape(10, 4, 4)):
            for r in range(num_rows):
                np.testing.assert_array_equal(tiles[r][c][:2], 255 * image[:2])
            np.testing.assert_array_equal(tiles[0][c][2:], np.full([2, 4], 128))
            np.testing.assert_array_equal(tiles[-1][c], 255 * image)
    for path in (trained.directory.samples_picture, trained.directory.reconstructions_picture):
        assert tf.io.decode_png(path.read_bytes()).shape[-1] == 1


def test_another_mask_is_another_run(tmp_path):
    """Its path stands in the settings; what it holds is compared too."""
    mask = np.arange(16) < 4
    np.save(tmp_path / "mask.npy", mask)
    config = runs.small_config(model="pwl", objective="structured", observed=str(tmp_path / "mask.npy"))
    runs.open_run(config, tmp_path / "run").directory.release()
    runs.open_run(config, tmp_path / "run").directory.release()
    np.save(tmp_path / "mask.npy", ~mask)
    with pytest.raises(UserError, match=r"observed=.*mask.npy': the mask differs"):
        runs.open_run(config, tmp_path / "run")
