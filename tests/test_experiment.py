"""Every system x {resume, checkpoint, run directory}."""

import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import SYSTEM_CASES, open_experiment, small_config

from dvae import data
from dvae.errors import UserError
from dvae.evaluation import RESULTS
from dvae.run_directory import RunDirectory
from dvae.summary import describe_results
from dvae.systems import SYSTEMS


class Killed(Exception):
    """Stands for `kill -9` at a chosen step."""


def train_until(experiment, step):
    """Trains, and dies at the first report at or after `step`, before anything of that step is saved."""
    steps = experiment._report_steps

    def dying(monitor, num_steps):
        steps(monitor, num_steps)
        if experiment.step >= step:
            raise Killed

    experiment._report_steps = dying
    with pytest.raises(Killed):
        experiment.train()
    experiment.run.release()  # as the end of a process does


def test_second_process_is_kept_out(tmp_path):
    config = small_config(model="pwl")
    dataset = data.load_dataset(config.dataset, config.data_dir)
    first = RunDirectory(tmp_path)
    first.open(config, dataset, checksum="", resume=True)
    with pytest.raises(UserError, match="another process"):
        RunDirectory(tmp_path).open(config, dataset, checksum="", resume=True)
    first.release()
    RunDirectory(tmp_path).open(config, dataset, checksum="", resume=True)


def test_run_of_an_earlier_version_is_told_apart(tmp_path):
    """Its config.json lacks a setting that this version has, and what this version notes besides."""
    config, dataset = small_config(model="pwl"), data.load_dataset("bars_and_stripes", "")
    run = RunDirectory(tmp_path)
    run.open(config, dataset, checksum="", resume=True)
    run.release()
    settings = json.loads(run.config_file.read_text())
    del settings["settings"]["iw_gradient"], settings["data"]["problem_checksum"]
    run.config_file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match="another version of this program, without --iw_gradient"):
        RunDirectory(tmp_path).open(config, dataset, checksum="", resume=True)


def test_every_system_has_a_case():
    assert {case["model"] for case in SYSTEM_CASES.values()} == set(SYSTEMS)


def test_resumed_run_ends_with_the_same_bits(finished_run, tmp_path):
    """Killed between two checkpoints, a run ends as one that was never interrupted: weights and all state."""
    train_until(open_experiment(finished_run.config, tmp_path), 210)
    resumed = open_experiment(finished_run.config, tmp_path)
    assert resumed.step == 160  # the last checkpoint before step 210
    resumed.train()
    for weight, expected in zip(resumed.state.model.weights, finished_run.last_weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected)
    for name in ("chains", "_prior_variables", "best_nll", "best_step", "global_step", "_best_weights"):
        pairs = zip(*(variables_of(getattr(e.state, name)) for e in (resumed, finished_run.experiment)), strict=True)
        for got, expected in pairs:
            np.testing.assert_array_equal(got, expected, err_msg=name)


def variables_of(part):
    """All variables of a part of the state, as arrays."""
    return [v.numpy() for v in (part.variables if isinstance(part, tf.Module) else tf.nest.flatten(part))]


def test_one_example_and_odd_shapes(tmp_path):
    """Few examples that are no images, and an evaluation of one: every file is written, and is valid JSON."""
    rows = np.random.default_rng(0).integers(0, 2, [20, 7])
    np.savez(tmp_path / "odd.npz", train=rows, valid=rows[:7], test=rows[:1])
    config = small_config(
        model="pwl", dataset=str(tmp_path / "odd.npz"), batch_size=20, hidden_layers=0, num_steps=2, report_every=1,
        eval_every=2, checkpoint_every=2,
    )  # fmt: skip
    experiment = open_experiment(config, tmp_path / "run")
    experiment.train()
    experiment.finish()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["nll_standard_error"] is None
    assert results["num_examples"] == 1
    assert len(describe_results(results, tmp_path, likelihood_of=None).splitlines()) == 5


def test_resumed_metrics_continue_the_curve(tmp_path):
    """`metrics.jsonl` has every report once, in order, and the same values as without interruption (times aside)."""
    config = small_config(model="pwl")
    train_until(open_experiment(config, tmp_path / "killed"), 130)
    open_experiment(config, tmp_path / "killed").train()
    open_experiment(config, tmp_path / "whole").train()
    killed, whole = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("killed", "whole")
    )
    for lines in (killed, whole):
        for line in lines:
            for name in [name for name in line if "seconds" in name]:
                del line[name]
    assert [line["step"] for line in whole if line["group"] == "train"] == [50, 80, 100, 150, 160, 200, 240]
    assert [line["step"] for line in whole if line["group"] == "valid"] == [100, 200, 240]
    for got, expected in zip(killed, whole, strict=True):
        assert got.pop("group") == expected.pop("group")
        assert got == pytest.approx(expected, rel=1e-5)  # sums of float32 over a report that began in two processes


def test_other_seed_other_run(finished_run, tmp_path):
    config = finished_run.config.__class__(**{**vars(finished_run.config), "seed": 1, "num_steps": 3})
    experiment = open_experiment(config, tmp_path)
    first = [v.numpy() for v in experiment.state.model.weights if "kernel" in v.path]
    others = [v.numpy() for v in finished_run.experiment.state.model.weights if "kernel" in v.path]
    assert all((a != b).all() for a, b in zip(first, others, strict=True))


def test_run_directory_is_complete(finished_run):
    folder = finished_run.experiment.run.path
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "checkpoints", "train", "valid", "metrics.jsonl", "saved_model", "results.json", "samples.png",
        "reconstructions.png",
    }  # fmt: skip
    for name in ("samples.png", "reconstructions.png"):
        picture = tf.io.decode_png((folder / name).read_bytes()).numpy()
        assert picture.std() > 0
    for name in ("train", "valid"):
        assert list((folder / name).glob("events.out.tfevents.*"))
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["beta"] == finished_run.config.beta
    assert config["data"]["checksum"] == finished_run.experiment.dataset.checksum
    assert {"tensorflow", "keras", "numpy", "tensorflow-probability"} <= set(config["packages"])


def test_results_have_the_documented_fields(finished_run):
    results = json.loads((finished_run.experiment.run.results_file).read_text())
    assert list(results) == RESULTS
    assert results["model"] == finished_run.config.model
    assert (results["split"], results["num_examples"], results["num_samples"]) == ("test", 32, 20)
    assert results["step"] in (100, 200, 240)
    assert all(np.isfinite(results[name]) for name in ("nll", "elbo", "log_z", "exact_nll", "seconds"))


def test_best_on_validation_is_what_is_exported(finished_run):
    lines = [json.loads(line) for line in finished_run.experiment.run.metrics_file.read_text().splitlines()]
    evaluations = {line["step"]: line["nll"] for line in lines if line["group"] == "valid"}
    assert finished_run.results["step"] == min(evaluations, key=evaluations.get)


def test_couplings_of_the_prior_are_watched(finished_run):
    """The smallest eigenvalue of [[0, W], [W', 0]] at the last evaluation, by NumPy from the last weights."""
    lines = [json.loads(line) for line in finished_run.experiment.run.metrics_file.read_text().splitlines()]
    found = [line["prior_smallest_eigenvalue"] for line in lines if "prior_smallest_eigenvalue" in line]
    variables = finished_run.experiment.state.model.weights
    [pairwise] = [last for last, v in zip(finished_run.last_weights, variables, strict=True) if v.name == "pairwise"]
    zeros = np.zeros([4, 4])
    wanted = np.linalg.eigvalsh(np.block([[zeros, pairwise], [pairwise.T, zeros]]))[0]
    np.testing.assert_allclose(found[-1], wanted, rtol=1e-4)


def test_diverged_training_is_told_in_one_line(tmp_path):
    experiment = open_experiment(small_config(model="pwl"), tmp_path)
    experiment.state.model.likelihood.outputs.bias.assign(np.full(16, np.nan, np.float32))
    with pytest.raises(UserError, match=r"--learning_rate=0.003: training diverged between steps 0 and 50"):
        experiment.train()


def test_training_learns(tmp_path):
    """400 steps on bars and stripes: the exact NLL falls well below that of independent pixels (16 log 2 = 11.1)."""
    config = small_config(
        model="pwl", num_steps=400, report_every=200, eval_every=400, checkpoint_every=400, batch_size=100,
        hidden_units=50, num_particles=100,
    )  # fmt: skip
    experiment = open_experiment(config, tmp_path)
    experiment.train()
    assert experiment.finish()["exact_nll"] < 8
