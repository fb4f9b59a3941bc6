"""Every system and task x {resume, run directory, results, export, exact NLL}; the cases are in `helpers/runs.py`."""

import json
import shutil

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import kills
import runs
from dvae.config import EvaluationSettings
from dvae.evaluation.enumeration import exact_log_likelihood
from dvae.evaluation.estimates import RESULTS, evaluate
from dvae.evaluation.serving import server_functions
from dvae.files import partial_path
from dvae.runs.checkpoints import reader, saved_in
from dvae.runs.trained_model import trained_model
from dvae.systems import SYSTEMS
from dvae.tasks import TASKS

SEED = tf.constant([3, 4])
X = np.array([[0, 0, 0, 0] * 4, [1, 1, 1, 1, 0, 0, 0, 0] * 2, [1, 0, 1, 0] * 4], np.float32)
STATES = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)


def test_every_system_and_task_has_a_case():
    assert {case["model"] for case in runs.CASES.values() if "model" in case} == set(SYSTEMS)
    assert {case.get("objective", "elbo") for case in runs.CASES.values()} == set(TASKS)


@pytest.fixture(scope="module", params=runs.cases())
def finished(request, shared, tmp_path_factory):
    """A small run, trained without interruption, exported and evaluated."""
    return shared.train(request.param, tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def loaded(finished):
    """Loaded by TensorFlow alone, once: a loaded function is compiled when it is first called."""
    return tf.saved_model.load(str(finished.run.directory.saved_model))


@pytest.fixture
def signatures(loaded):
    return loaded.signatures


def call(signatures, name, **inputs):
    as_tensors = {k: v if tf.is_tensor(v) else tf.constant(v) for k, v in inputs.items()}
    return {k: v.numpy() for k, v in signatures[name](**as_tensors).items()}


# Resume.


def test_resumed_run_ends_with_the_same_bits(finished, tmp_path):
    """From its last checkpoint but one, a run ends as one that was never interrupted: weights, all state, its curve.

    The folder is what a process leaves that is killed amid the last checkpoint.
    """
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(finished.run.directory.path / name, tmp_path)
    older, newest = saved_in(finished.run.directory.checkpoints)
    shutil.copytree(older, tmp_path / "checkpoints" / older.name)
    shutil.copytree(newest, partial_path(tmp_path / "checkpoints" / newest.name))
    resumed = runs.open_run(finished.config, tmp_path)
    assert resumed.step == 200  # where an evaluation began with a checkpoint; it is made again
    resumed.train()
    for variable, expected in zip(resumed.state.model.variables, finished.last_weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected, err_msg=variable.path)
    found, expected = (saved(run.directory.checkpoints) for run in (resumed, finished.run))
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    found, expected = (kills.lines_without_seconds(run.directory.path) for run in (resumed, finished.run))
    assert found == expected


def test_the_curve_has_every_report_once(finished):
    """In order; above it is compared with that of a run that was resumed."""
    lines = kills.lines_without_seconds(finished.run.directory.path)
    assert [line["step"] for line in lines if line["group"] == "train"] == [50, 80, 100, 150, 160, 200, 240]
    assert [line["step"] for line in lines if line["group"] == "valid"] == [100, 200, 240]


def saved(folder):
    """All that the newest checkpoint holds, by key, but for times and counts of what was done in this process."""
    newest = reader(saved_in(folder)[-1])
    names = [name for name in newest.get_variable_to_shape_map() if not name.startswith(("seconds", "_"))]
    return {name: newest.get_tensor(name) for name in names}


def test_checkpoint_is_by_the_paths_of_layers(finished):
    """Weights, their best copy and both moments of each trained one: no two tensors can change places unnoticed."""
    names = [name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for name in saved(finished.run.directory.checkpoints)]
    weights = {name.removeprefix("weights/") for name in names if name.startswith("weights/")}
    assert "likelihood.Sdecoder.Sdense.Skernel" in weights
    assert {name.removeprefix("best_weights/") for name in names if name.startswith("best_weights/")} == weights
    moments = {name.removeprefix("optimizer/momentum.S") for name in names if name.startswith("optimizer/momentum")}
    assert len(moments) == len(finished.run.state.model.trainable_variables)
    assert moments <= weights


def test_trained_model_comes_back(finished):
    """The Keras model of the run directory has the weights that were best, and answers as the exported one."""
    trained = trained_model(finished.run.directory.path)
    assert trained.config == finished.run.config
    assert trained.step == finished.results["step"]
    with finished.run.state.best_weights():
        for got, expected in zip(trained.model.variables, finished.run.state.model.variables, strict=True):
            np.testing.assert_array_equal(got.numpy(), expected.numpy(), err_msg=expected.path)


def test_live_weights_survive_the_export(finished):
    """Evaluating the best ones leaves those of the last step in place."""
    assert runs.weights_equal(finished.run, finished.last_weights)


# The run directory and its results.


def test_run_directory_is_complete(finished):
    folder = finished.run.directory.path
    assert {path.name for path in folder.iterdir() if path.name != ".lock"} == {
        "config.json", "checkpoints", "train", "valid", "metrics.jsonl", "saved_model", "results.json", "samples.png",
        "reconstructions.png", "test_examples.csv",
    }  # fmt: skip
    for name in ("samples.png", "reconstructions.png"):
        picture = tf.io.decode_png((folder / name).read_bytes()).numpy()
        assert picture.std() > 0
    for name in ("train", "valid"):
        assert list((folder / name).glob("events.out.tfevents.*"))
    events = EventAccumulator(str(folder / "valid")).Reload()
    headings = sorted({tag.partition("/")[0] for tag in events.Tags()["tensors"] if "/" in tag and tag[0] != "_"})
    assert headings == ["NLL", *(["pictures"] if finished.config.valid_pictures else []), "validation", "weights"]
    lines = [json.loads(line) for line in finished.run.directory.metrics_file.read_text().splitlines()]
    nlls = [line["nll"] for line in lines if line["group"] == "valid"]
    shown = [tf.make_ndarray(event.tensor_proto).item() for event in events.Tensors("NLL/validation")]
    np.testing.assert_allclose(shown, nlls, rtol=1e-6)
    results = json.loads((folder / "results.json").read_text())
    for tag, name in (("NLL/test", "nll"), ("NLL/test_exact", "exact_nll")):
        [event] = events.Tensors(tag)
        assert event.step == results["step"]
        np.testing.assert_allclose(tf.make_ndarray(event.tensor_proto).item(), results[name], rtol=1e-6)
    for group in ("train", "valid"):
        found = EventAccumulator(str(folder / group)).Reload()
        scalars = found.PluginTagToContent("scalars")
        assert len(scalars) > 3
        assert not [tag for tag in scalars if not found.SummaryMetadata(tag).summary_description]
    [text] = events.Tensors("configuration")
    assert f"| beta | {finished.config.beta} |" in tf.make_ndarray(text.tensor_proto).item().decode()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    shown = HParamsPluginData.FromString(content).session_start_info.hparams
    assert shown["learning_rate"].number_value == finished.config.learning_rate
    assert shown["model"].string_value == finished.config.model
    assert {"log_dir", "data_dir"}.isdisjoint(shown)
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["beta"] == finished.config.beta
    assert config["data"]["checksum"] == finished.run.dataset.checksum
    assert {"tensorflow", "keras", "numpy", "tensorflow-probability"} <= set(config["packages"])


def test_the_table_of_test_examples_is_what_the_results_are_means_of(finished):
    directory = finished.run.directory
    results = json.loads(directory.results_file.read_text())
    table = np.genfromtxt(directory.test_examples, delimiter=",", names=True)
    data = finished.run.dataset.test
    np.testing.assert_array_equal(table["example"], -(-np.arange(32) * len(data) // 32))
    measured = {"nll", "exact_nll", "elbo", "effective_sample_size"}
    order = ("example", "nll", "standard_error", "elbo", "entropy", "effective_sample_size", "exact_nll")
    assert table.dtype.names == tuple(name for name in order if name in table.dtype.names)
    assert set(table.dtype.names) >= {name for name in measured if results[name] is not None}
    for name in measured & set(table.dtype.names):
        assert table[name].mean() == pytest.approx(results[name], rel=1e-12)
    assert scipy.stats.sem(table["nll"]) == pytest.approx(results["nll_standard_error"])


def test_results_have_the_documented_fields(finished):
    """All of them; those that play no part are null, and so are all that say how it was evaluated."""
    results, config = json.loads(finished.run.directory.results_file.read_text()), finished.config
    task = TASKS[config.objective]
    assert list(results) == list(RESULTS)
    assert results["model"] == config.model
    assert (results["split"], results["num_examples"], results["seed"]) == ("test", 32, config.seed)
    assert results["step"] in (100, 200, 240)
    assert all(np.isfinite(results[name]) for name in ("nll", "exact_nll", "seconds"))
    of_prior = (
        "log_z log_z_standard_error log_z_chains log_z_temperatures log_z_effective_sample_size log_z_from_uniform "
        "log_z_from_own_means"
    ).split()
    assert [results[name] is not None for name in of_prior] == [task.has_prior] * len(of_prior)
    of_posterior = ("num_samples", "elbo", "effective_sample_size", "flattening")
    assert [results[name] is not None for name in of_posterior] == [task.has_posterior] * 4
    sampler = "enumeration"
    if task.has_posterior:
        assert (results["num_samples"], results["flattening"]) == (20, [1.0])
        sampler = "annealed importance sampling" if config.model == "dvaess" else "exact"
    assert results["posterior_sampler"] == sampler
    assert results["posterior_temperatures"] == (10 if sampler.startswith("annealed") else None)
    assert results["posterior_base"] == ("fields" if sampler.startswith("annealed") else None)
    assert results["posterior_pilot"] is None  # base and temperatures are given
    if task.has_prior:
        assert (results["log_z_chains"], results["log_z_temperatures"], results["log_z_error"]) == (50, 50, None)


def test_best_on_validation_is_what_is_exported(finished):
    lines = [json.loads(line) for line in finished.run.directory.metrics_file.read_text().splitlines()]
    evaluations = {line["step"]: line["nll"] for line in lines if line["group"] == "valid"}
    assert finished.results["step"] == min(evaluations, key=evaluations.get)


def test_couplings_of_the_prior_are_watched(finished):
    """The smallest eigenvalue of [[0, W], [W', 0]] at the last evaluation, by NumPy from the last weights."""
    lines = [json.loads(line) for line in finished.run.directory.metrics_file.read_text().splitlines()]
    found = [line["prior_smallest_eigenvalue"] for line in lines if "prior_smallest_eigenvalue" in line]
    pairs = zip(finished.last_weights, finished.run.state.model.variables, strict=True)
    pairwise = [last for last, v in pairs if v.name == "pairwise"]
    assert bool(found) == bool(pairwise) == TASKS[finished.config.objective].has_prior
    for weights in pairwise:
        zeros = np.zeros([4, 4])
        wanted = np.linalg.eigvalsh(np.block([[zeros, weights], [weights.T, zeros]]))[0]
        np.testing.assert_allclose(found[-1], wanted, rtol=1e-4)


# What is exported.


def test_contract_of_names_shapes_and_types(signatures, finished):
    objective, model = finished.config.objective, finished.config.model
    width = 8 if objective == "structured" else 16  # of what the posterior is given, and of what is decoded
    x = X[:, :width]
    expected = {("decode", "logits"): (call(signatures, "decode", z=STATES[:5]), (5, width))}
    expected |= {("pixel_parameters", "logits"): (call(signatures, "pixel_parameters", z=STATES[:5]), (5, width))}
    names = {"decode", "log_prob_of_pairs", "render", "pixel_parameters"}
    if objective != "structured":
        names |= {"prior_energy", "prior_parameters", "sample_prior", "generate", "log_partition", "reconstruct"}
        names |= {"sample_examples"}
        partition = call(signatures, "log_partition", num_chains=9, num_temperatures=11, seed=SEED)
        outputs = ("log_z", "standard_error", "effective_sample_size", "from_uniform", "from_own_means")
        expected |= {("log_partition", name): (partition, ()) for name in outputs}
        expected |= {
            ("prior_energy", "energy"): (call(signatures, "prior_energy", z=STATES[:5]), (5,)),
            ("sample_prior", "z"): (call(signatures, "sample_prior", num_samples=7, seed=SEED), (7, 8)),
            ("generate", "probabilities"): (call(signatures, "generate", num_samples=7, seed=SEED), (7, 16)),
            ("sample_examples", "x"): (call(signatures, "sample_examples", num_samples=7, seed=SEED), (7, 16)),
            ("reconstruct", "probabilities"): (call(signatures, "reconstruct", x=X, seed=SEED), (3, 16)),
        }
        of_prior = call(signatures, "prior_parameters")
        shapes = {"bias_left": (4,), "bias_right": (4,), "weights": (4, 4)}
        expected |= {("prior_parameters", name): (of_prior, shape) for name, shape in shapes.items()}
    else:
        names |= {"pixels", "predict", "posterior_energy"}
        energy = call(signatures, "posterior_energy", observed=x, z=STATES[:5])
        expected |= {("posterior_energy", "energy"): (energy, (3, 5))}
    if objective != "mcmc":
        names |= {"sample_posterior", "posterior_settings", "log_likelihood", "estimate_log_likelihood"}
        names |= {"anneal_log_likelihood"}
        posterior = call(signatures, "sample_posterior", x=x, num_samples=4, seed=SEED)
        expected |= {("sample_posterior", n): (posterior, shape) for n, shape in (("z", (4, 3, 8)), ("log_q", (4, 3)))}
        log_z = {} if objective == "structured" else {"log_z": np.float32(5)}
        likelihood = call(signatures, "log_likelihood", x=X, num_samples=6, seed=SEED, **log_z)
        expected |= {
            ("log_likelihood", name): (likelihood, (3,))
            for name in ("log_likelihood", "effective_sample_size", "elbo", "entropy")
        }
        if model == "dvaess":
            shapes = {"bias_left": (3, 4), "bias_right": (3, 4), "weights": (3, 4, 4)}
            names |= {"posterior_log_partition"}
            asked = {"num_samples": 20, "posterior_temperatures": 3, "posterior_base": 2, "seed": SEED}
            of_posterior = call(signatures, "posterior_log_partition", x=x, **asked)
            outputs = ("log_z", "standard_error", "effective_sample_size")
            expected |= {("posterior_log_partition", name): (of_posterior, (3,)) for name in outputs}
        else:
            shapes = {"logits": (3, 8)} if finished.config.num_groups == 1 else {}
        if shapes:
            names |= {"posterior_parameters"}
            parameters = call(signatures, "posterior_parameters", x=x)
            expected |= {("posterior_parameters", name): (parameters, shape) for name, shape in shapes.items()}
    for (signature, name), (outputs, shape) in expected.items():
        assert outputs[name].shape == shape, (signature, name)
        assert outputs[name].dtype == np.float32, (signature, name)
    assert set(signatures) == names | set(server_functions(finished.run.functions))


def test_contract_of_what_servers_are_offered(signatures, finished):
    """Beside the signatures of the contract: a default one and those in rows, the batch in front of all they take."""
    objective = finished.config.objective
    width, given = (8, "observed") if objective == "structured" else (16, "x")
    x, shape = X[:, :width], {"probabilities": (3, width)}
    counts, seeds = {"num_samples": np.full(3, 6, np.int32)}, {"seed": np.arange(3, dtype=np.int32)}
    wanted = {"serving_default": ({given: x}, shape)}
    if objective == "structured":
        wanted["predict_rows"] = {given: x} | counts | seeds, shape
    else:
        wanted |= {"generate_rows": (seeds, shape), "reconstruct_rows": ({"x": x} | seeds, shape)}
    if objective != "mcmc":
        latents, log_z = {"z": (3, 8), "log_q": (3,)}, {"log_z": np.float32([5, 5, 5])}
        wanted |= {"encode": ({"x": x}, latents), "encode_rows": ({"x": x} | seeds, latents)}
        scores = dict.fromkeys(("log_likelihood", "effective_sample_size", "elbo", "entropy"), (3,))
        wanted["log_likelihood_rows"] = {"x": X} | counts | seeds | ({} if objective == "structured" else log_z), scores
    assert set(server_functions(finished.run.functions)) == set(wanted)
    for name, (inputs, shapes) in wanted.items():
        assert {name: output.shape for name, output in call(signatures, name, **inputs).items()} == shapes
        specs = signatures[name].structured_input_signature[1]
        assert all(spec.shape[0] is None for spec in specs.values())


def test_loaded_functions_are_those_in_place(signatures, finished):
    """Same inputs, same seed: the exported model answers as the one that was trained."""
    in_place, x = finished.run.functions, X[:, :8] if finished.config.objective == "structured" else X
    assert set(signatures) == set(in_place) | set(server_functions(in_place))
    log_z = {} if finished.config.objective == "structured" else {"log_z": np.float32(5)}
    inputs = {
        "decode": {"z": STATES},
        "prior_energy": {"z": STATES},
        "generate": {"num_samples": 5, "seed": SEED},
        "sample_posterior": {"x": x, "num_samples": 5, "seed": SEED},
        "log_likelihood": {"x": X, "num_samples": 5, "seed": SEED} | log_z,
        "estimate_log_likelihood": {"x": X, "num_samples": 6, "seed": SEED} | log_z
        | {"posterior_temperatures": 7, "posterior_base": 1, "flattening": np.float32([1, 3])},
        "predict": {"observed": x, "num_samples": 5, "seed": SEED},
    }  # fmt: skip
    with finished.run.state.best_weights():
        for name in set(inputs) & set(signatures):
            got, expected = (call(functions, name, **inputs[name]) for functions in (signatures, in_place))
            for output in expected:
                np.testing.assert_allclose(
                    got[output], expected[output], rtol=1e-5, atol=1e-5, err_msg=f"{name} {output}"
                )


def test_seed_decides(signatures):
    name = "sample_posterior" if "sample_posterior" in signatures else "sample_prior"
    x = (
        {"x": X[:, : signatures[name].structured_input_signature[1]["x"].shape[1]]}
        if name == "sample_posterior"
        else {}
    )
    draw = lambda seed: call(signatures, name, num_samples=40, seed=seed, **x)["z"]  # noqa: E731
    np.testing.assert_array_equal(draw(SEED), draw(SEED))
    assert (draw(SEED) != draw(SEED + 1)).any()


def test_log_q_is_normalised_and_describes_the_samples(signatures, finished):
    """log q at the sampled states equals the enumerated posterior's, where its parameters are exported."""
    if "posterior_parameters" not in signatures:
        return
    x = X[:, :8] if finished.config.objective == "structured" else X
    outputs = call(signatures, "sample_posterior", x=x, num_samples=200, seed=SEED)
    assert set(np.unique(outputs["z"])) <= {0, 1}
    parameters = call(signatures, "posterior_parameters", x=x)
    for b in range(3):
        unnormalised = [log_unnormalised(parameters, b, z) for z in STATES]
        log_normaliser = scipy.special.logsumexp(unnormalised)
        expected = [log_unnormalised(parameters, b, z) - log_normaliser for z in outputs["z"][:, b]]
        # AIS of 10 temperatures and 200 chains estimates log Z_phi of a posterior trained for 240 steps to about 0.02.
        np.testing.assert_allclose(outputs["log_q"][:, b], expected, atol=0.15)


def log_unnormalised(parameters, b, z):
    """log of the posterior's unnormalised probability of one state, in loops."""
    if "logits" in parameters:
        return sum(z[i] * parameters["logits"][b, i] for i in range(8))
    pairs = sum(z[i] * parameters["weights"][b, i, j] * z[4 + j] for i in range(4) for j in range(4))
    linear = sum(z[i] * parameters["bias_left"][b, i] + z[4 + i] * parameters["bias_right"][b, i] for i in range(4))
    return pairs + linear


def test_the_parameters_of_the_prior_give_its_energy(signatures):
    """In loops over units and pairs."""
    if "prior_parameters" not in signatures:
        return
    parameters = {name: values[None] for name, values in call(signatures, "prior_parameters").items()}
    energy = call(signatures, "prior_energy", z=STATES)["energy"]
    expected = [-log_unnormalised(parameters, 0, z) for z in STATES]
    np.testing.assert_allclose(energy, expected, rtol=1e-5, atol=1e-5)


def test_prior_samples_and_log_partition_follow_the_energy(signatures):
    """Chi-squared of 4000 samples against exp(-E)/Z; false-failure rate 1e-4.

    The untrained prior is nearly uniform over 256 states; a sampler stuck on half of them fails with certainty.
    """
    if "prior_energy" not in signatures:
        return
    log_p = -call(signatures, "prior_energy", z=STATES)["energy"].astype(np.float64)
    log_z = scipy.special.logsumexp(log_p)
    estimate = call(signatures, "log_partition", num_chains=1000, num_temperatures=200, seed=SEED)
    assert abs(estimate["log_z"] - log_z) < 4 * estimate["standard_error"] + 1e-4
    samples = call(signatures, "sample_prior", num_samples=4000, seed=SEED)["z"]
    counts = np.bincount((samples @ (2 ** np.arange(8))).astype(int), minlength=256)
    expected = 4000 * np.exp(log_p - log_z)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < scipy.stats.chi2.isf(1e-4, 255)


def test_other_draws_can_be_asked_for(loaded, finished):
    """After it was exported: more temperatures, and a flattened posterior, by assignment and by the explicit inputs."""
    if finished.config.objective == "mcmc":
        assert not hasattr(loaded, "posterior_temperatures")
        return
    assert loaded.posterior_temperatures.numpy() == finished.config.test_temperatures
    log_z = {} if finished.config.objective == "structured" else {"log_z": np.float32(5)}
    inputs = {"x": X, "num_samples": 48, "seed": SEED} | log_z
    before = call(loaded.signatures, "log_likelihood", **inputs)["log_likelihood"]
    loaded.posterior_temperatures.assign(100)
    longer = call(loaded.signatures, "log_likelihood", **inputs)["log_likelihood"]
    loaded.posterior_flattening.assign([1.0, 2.0, 4.0, 8.0])
    flatter = call(loaded.signatures, "log_likelihood", **inputs)["log_likelihood"]
    settings = call(loaded.signatures, "posterior_settings")
    loaded.posterior_temperatures.assign(finished.config.test_temperatures)
    loaded.posterior_flattening.assign([1.0])
    assert (before != longer).all() == (finished.config.model == "dvaess") == bool(settings["is_annealed"])
    assert (longer != flatter).any()
    assert settings["temperatures"] == 100
    np.testing.assert_array_equal(settings["flattening"], [1, 2, 4, 8])
    explicit = {"posterior_temperatures": 100, "posterior_base": 1, "flattening": np.float32([1, 2, 4, 8])}
    asked = call(loaded.signatures, "estimate_log_likelihood", **inputs, **explicit)["log_likelihood"]
    np.testing.assert_allclose(asked, flatter, rtol=1e-5)


def test_origin_is_kept_beside_the_model(finished):
    origin = json.loads((finished.run.directory.saved_model / "assets.extra" / "run.json").read_text())
    assert origin["settings"]["model"] == finished.config.model
    assert origin["step"] == finished.results["step"]


# The NLL.


def test_flattened_posterior_gives_the_exact_likelihood(signatures, finished):
    """4000 samples of a mixture; what q alone would miss after a short training, it visits."""
    if finished.config.objective != "elbo":
        return
    energy = call(signatures, "prior_energy", z=STATES)["energy"]
    found = call(
        signatures, "estimate_log_likelihood", x=X, num_samples=4000, log_z=scipy.special.logsumexp(-energy), seed=SEED,
        posterior_temperatures=10, posterior_base=2, flattening=np.float32([1, 2, 4, 8]),
    )["log_likelihood"]  # fmt: skip
    np.testing.assert_allclose(found, exact_log_likelihood(signatures, X), atol=0.1)


def test_importance_weighted_nll_agrees_with_exact(finished):
    """4000 samples on 32 images, 8 latents: within 0.02 nats of enumeration, and the ELBO below both.

    The two share the decoder and the energy only. After 240 steps a posterior is too sure of itself for importance
    sampling, so posterior and decoder are made softer first: then the standard error of the NLL is below 0.004
    (effective sample sizes above 500), and a wrong log Z, log q or AIS weight of 0.03 nats is seen.
    """
    if finished.config.objective == "mcmc":
        return
    model = finished.run.state.model
    before = [v.numpy() for v in model.weights]
    soften(model, 0.3)
    images = finished.run.dataset.test[::10]
    settings = EvaluationSettings(
        num_samples=4000,
        log_z_chains=1000,
        log_z_temperatures=300,
        seed=1,
        posterior_temperatures=100,
        posterior_base="biases",
    )
    result = evaluate(finished.run.functions, images, settings)
    exact = -exact_log_likelihood(finished.run.functions, images).mean()
    for variable, value in zip(model.weights, before, strict=True):
        variable.assign(value)
    assert result.effective_sample_size > 500
    assert result.nll == pytest.approx(exact, abs=0.02)
    assert -result.elbo > exact


def soften(model, factor):
    """Scales the last layers of encoder and decoder."""
    last = [model.likelihood.head]
    if hasattr(model.posterior, "coupling_norm"):
        last.append(model.posterior.head)
        model.posterior.coupling_norm.gamma.assign(model.posterior.coupling_norm.gamma * factor)
    else:
        last.extend(model.posterior.group_heads)
    for layer in last:
        layer.kernel.assign(layer.kernel * factor)
        layer.bias.assign(layer.bias * factor)
