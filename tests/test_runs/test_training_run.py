"""A training run: who may work in its directory, odd data, its curve, what stops it, and that it learns."""

import json

import numpy as np
import pytest

import runs
from dvae import data
from dvae.errors import UserError
from dvae.runs.run_directory import RunDirectory
from dvae.runs.summary import describe_results
from dvae.tasks import TASKS


def small_task(**settings):
    config = runs.small_config(**settings)
    return TASKS[config.objective](config, data.load_dataset(config.dataset, config.data_dir))


def opened(folder, task):
    directory = RunDirectory(folder)
    directory.open(task, resume=True)
    return directory


def test_second_process_is_kept_out(tmp_path):
    task = small_task(model="pwl")
    first = opened(tmp_path, task)
    with pytest.raises(UserError, match="another process"):
        opened(tmp_path, task)
    first.release()
    opened(tmp_path, task)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.pop("format"), "another version of this program"),
        (lambda content: content.update(format=1), "another version of this program"),
        (
            lambda content: content["settings"].pop("iw_gradient"),
            "another version of this program, without iw_gradient",
        ),
        (lambda content: content.pop("settings"), "not one of this program"),
        (lambda content: content.update(data=3), "not one of this program"),
        (lambda content: content["data"].update(checksum="0"), "the data differ"),
        (lambda content: content["networks"].update(encoder="Other"), "encoder='published': is not the one"),
        (lambda content: content["settings"].update(seed=7), "seed=0: the run in log_dir=.* has 7"),
    ],
)
def test_another_run_is_told_apart(tmp_path, change, reason):
    task = small_task(model="pwl")
    directory = opened(tmp_path, task)
    directory.release()
    content = json.loads(directory.config_file.read_text())
    change(content)
    directory.config_file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=reason):
        opened(tmp_path, task)


def test_one_example_and_odd_shapes(tmp_path):
    """Few examples that are no images, and an evaluation of one: every file is written, and is valid JSON."""
    rows = np.random.default_rng(0).integers(0, 2, [20, 7])
    np.savez(tmp_path / "odd.npz", train=rows, valid=rows[:7], test=rows[:1])
    config = runs.small_config(
        model="pwl", dataset=str(tmp_path / "odd.npz"), batch_size=20, hidden_layers=0, num_steps=2, report_every=1,
        eval_every=2, checkpoint_every=2,
    )  # fmt: skip
    runs.finish(runs.open_run(config, tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["nll_standard_error"] is None
    assert results["num_examples"] == 1
    assert len(describe_results(results, tmp_path, likelihood_of=None).splitlines()) == 5


def test_resumed_metrics_continue_the_curve(tmp_path):
    """`metrics.jsonl` has every report once, in order, and the same values as without interruption (times aside)."""
    config = runs.small_config(model="pwl")
    runs.train_until(runs.open_run(config, tmp_path / "killed"), 130)
    runs.open_run(config, tmp_path / "killed").train()
    runs.open_run(config, tmp_path / "whole").train()
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


def test_other_seed_other_weights():
    kernels = [
        [v.numpy() for v in small_task(model="dvaess", seed=seed).new_model().weights if "kernel" in v.path]
        for seed in (0, 1)
    ]
    assert all((a != b).all() for a, b in zip(*kernels, strict=True))


def test_a_damaged_checkpoint_is_told_in_one_line(tmp_path):
    config = runs.small_config(model="pwl", num_steps=100)
    run = runs.open_run(config, tmp_path)
    run.train()
    run.directory.release()
    for path in run.directory.checkpoints.glob("*.index"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"ckpt-100: cannot be read"):
        runs.open_run(config, tmp_path)


def test_diverged_training_is_told_in_one_line(tmp_path):
    run = runs.open_run(runs.small_config(model="pwl"), tmp_path)
    run.state.model.likelihood.head.bias.assign(np.full(16, np.nan, np.float32))
    with pytest.raises(UserError, match=r"learning_rate=0.003: training diverged between steps 0 and 50"):
        run.train()


def test_training_learns(tmp_path):
    """400 steps on bars and stripes: the exact NLL falls well below that of independent pixels (16 log 2 = 11.1)."""
    config = runs.small_config(
        model="pwl", num_steps=400, report_every=200, eval_every=400, checkpoint_every=400, batch_size=100,
        hidden_units=50, num_particles=100,
    )  # fmt: skip
    assert runs.finish(runs.open_run(config, tmp_path)).results["exact_nll"] < 8
