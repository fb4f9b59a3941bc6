"""A training run: who may work in its directory, odd data, its curve, what stops it, and that it learns."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import runs
from dvae import data
from dvae.errors import DivergenceError, UserError
from dvae.runs import training_run
from dvae.runs.checkpoints import Checkpoints, saved_in
from dvae.runs.completed import results_of_complete
from dvae.runs.monitoring import Monitor
from dvae.runs.run_directory import RunDirectory
from dvae.runs.summary import describe_results
from dvae.runs.trained_model import trained_model
from dvae.runs.training_run import TrainingRun, train
from dvae.runs.voice import Voice
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
    assert len(describe_results(results, tmp_path, likelihood_of=None).splitlines()) == 6


def test_a_run_may_go_on_with_other_devices_and_says_so(tmp_path):
    """As may one of before there were any, whose strategy had another name."""
    task, said = small_task(model="pwl"), []
    directory = RunDirectory(tmp_path)
    directory.open(task, resume=True, num_replicas=2)
    directory.release()
    content = json.loads(directory.config_file.read_text())
    for name in ("num_devices", "batch_norm_statistics"):
        del content["settings"][name]
    directory.config_file.write_text(json.dumps(content | {"settings": content["settings"] | {"strategy": "default"}}))
    assert directory.config() == task.config
    for num, told in ((1, ["number of replicas is 1, was 2 when the run began"]), (2, [])):
        said.clear()
        directory.open(task, resume=True, say=said.append, num_replicas=num)
        directory.release()
        assert [line.partition(": ")[2].partition(": ")[0] for line in said] == told
    del content["environment"]["number of replicas"]
    directory.config_file.write_text(json.dumps(content))
    directory.open(task, resume=True, say=pytest.fail)
    directory.release()
    with pytest.raises(UserError, match=r"batch_norm_statistics='synchronised': the run in .* has replica"):
        opened(tmp_path, small_task(model="pwl", batch_norm_statistics="synchronised"))


def test_other_seed_other_weights():
    kernels = [
        [v.numpy() for v in small_task(model="dvaess", seed=seed).new_model().weights if "kernel" in v.path]
        for seed in (0, 1)
    ]
    assert all((a != b).all() for a, b in zip(*kernels, strict=True))


def test_of_a_damaged_checkpoint_and_a_whole_one_the_whole_one_serves(shared, tmp_path, capsys):
    """Cut short, emptied, or with a file missing; a half-written folder is none; if all are damaged, nothing starts."""
    config = shared.copy("pwl", tmp_path)
    older, newest = saved_in(RunDirectory(tmp_path).checkpoints)
    assert (older.name, newest.name) == ("000000200", "000000240")
    copy = tmp_path / "copy"
    shutil.copytree(newest, copy)
    newest.rename(newest.with_name(newest.name + ".partial"))
    assert resumed_step(config, tmp_path) == 200
    assert [path.name for path in older.parent.iterdir()] == [older.name]
    shutil.copytree(copy, newest.with_name(newest.name + ".replaced"))  # killed between the two moves of a replacement
    assert resumed_step(config, tmp_path) == 240
    index, data, progress = newest / "state.index", newest / "state.data-00000-of-00001", newest / "progress.json"
    for path in (index, data, progress):
        for damage in (lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: bytes(len(whole))):
            path.write_bytes(damage(path.read_bytes()))
            assert resumed_step(config, tmp_path) == 200
            assert f"{newest}: cannot be read" in capsys.readouterr().out
            assert newest.with_name(newest.name + ".damaged").exists()
            shutil.copytree(copy, newest)
    assert resumed_step(config, tmp_path) == 240
    for path in (newest, older):
        (path / "state.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"no checkpoint in it can be read"):
        runs.open_run(config, tmp_path)


def resumed_step(config, folder):
    run = runs.open_run(config, folder)
    run.directory.release()
    return run.step


@pytest.mark.parametrize("name", ["lr=[0.003],K=5", "what?", "a*b", "back\\slash", "[", "über sechs µm"])
def test_tensorflow_finds_a_folder_of_any_name(tmp_path, name):
    folder, value = tmp_path / name, tf.Variable(3.0)
    checkpoints = Checkpoints(folder, tf.train.Checkpoint(value=value))
    for step in (1, 2, 3):
        checkpoints.save(step)
    value.assign(5.0)
    checkpoints.restore(pytest.fail)
    assert (float(value), [path.name for path in saved_in(folder)]) == (3.0, ["000000002", "000000003"])


def test_a_run_may_have_any_name(shared, tmp_path):
    """Resumes, saves, exports, comes back; neighbours that the name as a pattern fits are left alone."""
    name = "lr=[0.003],K=5 a*b what?"
    neighbours = [tmp_path / neighbour for neighbour in ("lr=0,K=5 aXb whatX", "lr=.,K=5 ab what1")]
    for neighbour in neighbours:
        (neighbour / "checkpoints").mkdir(parents=True)
        (neighbour / "checkpoints" / "000000080").mkdir()
    config = shared.copy("pwl", tmp_path / name)
    shutil.rmtree(tmp_path / name / "saved_model")
    resumed = runs.open_run(config, tmp_path / name)
    assert resumed.step == 240
    for step in (241, 242, 243):
        resumed.checkpoints.save(step)
    resumed.train()
    results = resumed.finish()
    resumed.directory.release()
    assert len(saved_in(resumed.directory.checkpoints)) == 2
    assert trained_model(tmp_path / name).step == results["step"]
    assert all(len(list(neighbour.rglob("*"))) == 2 for neighbour in neighbours)


@pytest.mark.parametrize(
    ("code", "is_said"),
    [(errno.ENOSYS, True), (errno.ENOLCK, True), (errno.EOPNOTSUPP, True), (errno.EWOULDBLOCK, False)],
)
def test_only_a_held_lock_means_another_process(tmp_path, monkeypatch, code, is_said):
    """File systems without locks (Lustre, NFS, some network mounts) are told of, and used."""
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    said = []
    directory, task = RunDirectory(tmp_path / "run"), small_task(model="pwl")
    if is_said:
        directory.open(task, resume=True, say=said.append)
        assert "no locks on its file system" in said[0]
    else:
        with pytest.raises(UserError, match="another process"):
            directory.open(task, resume=True, say=said.append)


def test_of_two_that_begin_at_once_one_goes_on(tmp_path):
    """Both have found the folder empty: the lock is taken before anything is written."""
    task = small_task(model="pwl")
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    first.open(task, resume=True)
    written = first.config_file.read_bytes()
    first.config_file.unlink()  # as before the first has written it
    with pytest.raises(UserError, match="another process"):
        second.open(small_task(model="pwl", seed=3), resume=True)
    assert not first.config_file.exists()
    first.config_file.write_bytes(written)


def test_data_may_have_moved(tmp_path):
    """What is the same by its checksum is the same, wherever the file lies now; other data of the same name are not."""
    rows = np.random.default_rng(0).integers(0, 2, [40, 6])
    for folder, arrays in (("here", rows), ("there", rows), ("other", 1 - rows)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", train=arrays, valid=arrays[:9], test=arrays[:8])
    task = {f: small_task(model="pwl", dataset=str(tmp_path / f / "mine.npz")) for f in ("here", "there", "other")}
    opened(tmp_path / "run", task["here"]).release()
    opened(tmp_path / "run", task["there"]).release()
    with pytest.raises(UserError, match="the data differ"):
        opened(tmp_path / "run", task["other"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl"),
            "metrics.jsonl: could not .*No space left",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "state.data; No space left on device"), "No space left"),
        (tf.errors.PermissionDeniedError(None, None, "events.out; Permission denied"), "Permission denied"),
        (tf.errors.UnknownError(None, None, "x; Read-only file system"), "Read-only file system"),
    ],
)
def test_what_a_file_system_refuses_is_one_line(tmp_path, monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(TrainingRun, "train", fail)
    with pytest.raises(UserError, match=reason) as caught:
        train(runs.small_config(model="pwl", log_dir=str(tmp_path / "run")), voice=Voice(lambda _: None))
    assert "goes on from the last checkpoint" in str(caught.value)


@pytest.mark.parametrize(("quiet", "shown"), [(True, ""), (False, "compiled\n")])
def test_a_quiet_run_shows_no_progress(tmp_path, monkeypatch, capsys, quiet, shown):
    """Neither lines nor, though stderr were a terminal, a bar."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monitor = Monitor(RunDirectory(tmp_path), num_steps=5, first_step=0, quiet=quiet)
    monitor.say("compiled")
    monitor.start_bar(0)
    monitor.progress(2)
    monitor.close()
    said = capsys.readouterr()
    assert said.out == shown
    assert ("training" in said.err) is not quiet


def test_metrics_are_json(tmp_path):
    """What is not finite is null there, and missing in TensorBoard."""
    monitor = Monitor(RunDirectory(tmp_path), num_steps=1, first_step=0)
    monitor.scalars("train", 1, {"a": float("nan"), "b": float("inf"), "c": None, "d": 2.5})
    monitor.close()
    [line] = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1, "group": "train", "a": None, "b": None, "c": None, "d": 2.5,
    }  # fmt: skip


@pytest.mark.parametrize(("size", "counted"), [(1000, 1000), (2**20 + 7, (2**20 + 7 + 4) // 5)])
def test_histograms_of_many_numbers_are_of_some_from_all_over_them(tmp_path, size, counted):
    """Every fifth of a little more than four times as many as one takes."""
    monitor = Monitor(RunDirectory(tmp_path), num_steps=1, first_step=0)
    monitor.histograms(1, {"weight": tf.reshape(tf.range(size, dtype=tf.float32), [-1, 1])})
    monitor.close()
    [event] = EventAccumulator(str(tmp_path / "valid")).Reload().Tensors("weights/weight")
    left, right, count = tf.make_ndarray(event.tensor_proto).T
    assert count.sum() == counted
    assert (left[0], right[-1] > size - 6) == (0, True)


def test_diverged_training_is_told_in_one_line(tmp_path):
    run = runs.open_run(runs.small_config(model="pwl"), tmp_path)
    run.state.model.likelihood.head.bias.assign(np.full(16, np.nan, np.float32))
    with pytest.raises(UserError, match=r"training diverged: .* of step 1 not finite; there is no checkpoint"):
        run.train()


@pytest.mark.parametrize(
    ("what", "told"), [("moving_mean", "weights/"), ("moment", "optimizer/"), ("prior", "prior/0")]
)
def test_what_is_not_trained_must_be_finite_too(tmp_path, what, told):
    """Nothing is saved of such a state, and the quantity is named; what is saved already stays."""
    run = runs.open_run(runs.small_config(model="pwl", hidden_layers=1), tmp_path)
    run._save()
    variables = [v for v in run.state.model.variables if what in v.path] or run.state.optimizer.variables[2:]
    spoilt = run.state._prior_variables[0] if what == "prior" else variables[0]
    spoilt.assign(tf.fill(spoilt.shape, np.float32("nan")))
    run.state.global_step.assign(5)
    with pytest.raises(DivergenceError, match=rf"{told}.* not finite at step 5 .finite at step 0.; the checkpoint of"):
        run._save()
    assert [path.name for path in saved_in(run.directory.checkpoints)] == ["000000000"]
    assert DivergenceError.status == 70


def test_an_evaluation_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    """On test data: no results.json, the last checkpoint stays, one line."""
    run = runs.open_run(runs.small_config(model="pwl", hidden_layers=0), tmp_path)
    run._save()

    def not_finite(*_, **__):
        raise DivergenceError("the elbo of example 3 is nan, not finite")

    monkeypatch.setattr(training_run, "evaluate", not_finite)
    with pytest.raises(DivergenceError, match=r"training diverged: the elbo of example 3 .*of step 0 is kept"):
        run._evaluate_on_validation(Monitor(run.directory, num_steps=1, first_step=0))
    assert not run.directory.results_file.exists()


def test_other_versions_and_compiler_flags_are_told_of(tmp_path, monkeypatch):
    task, said = small_task(model="pwl"), []
    directory = opened(tmp_path, task)
    directory.release()
    content = json.loads(directory.config_file.read_text())
    content["packages"]["keras"] = "3.0.0"
    directory.config_file.write_text(json.dumps(content))
    monkeypatch.setenv("XLA_FLAGS", "--xla_other")
    again = RunDirectory(tmp_path)
    again.open(task, resume=True, say=said.append)
    again.release()
    assert len(said) == 2
    assert "keras is" in said[0]
    assert "was 3.0.0 when the run began" in said[0]
    assert "XLA_FLAGS is --xla_other, was" in said[1]


def test_a_run_whose_folder_has_gone_is_not_continued_elsewhere(tmp_path):
    run = runs.open_run(runs.small_config(model="pwl", hidden_layers=0), tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        run._save()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [("results.json", b""), ("results.json", b'{"nll": 3}'), ("results.json", b"\xff"), ("results.json", b"[" * 10**5)],
)
def test_a_complete_run_is_one_with_all_its_parts(tmp_path, file, content):
    task, said = small_task(model="pwl"), []
    directory = RunDirectory(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=r"was complete, but its results.json .* and there is no checkpoint"):
        results_of_complete(directory, task.likelihood_of, said.append)
    (directory.checkpoints / "000000240").mkdir(parents=True)
    assert results_of_complete(directory, task.likelihood_of, said.append) is None
    assert "they are made again" in said[0]


def test_a_log_that_is_damaged_keeps_no_run_from_going_on(tmp_path):
    directory = RunDirectory(tmp_path)
    whole = [b'{"step": 3, "group": "train"}', b'{"step": 3, "group": "valid"}', b'{"step": 4, "group": "train"}']
    bad = [b"\xff\xfe", b"[1]", b'{"step": "3", "group": "train"}', b'{"step": 3, "group": []}', b"[" * 10**5, b"{"]
    directory.metrics_file.write_bytes(b"\n".join([*bad, *whole, *bad]))
    directory.forget_metrics_after({"train": 3, "valid": 2})
    assert directory.metrics_file.read_bytes() == whole[0] + b"\n"


def test_training_learns(shared, tmp_path):
    """240 steps on bars and stripes: the exact NLL falls well below that of independent pixels (16 log 2 = 11.1)."""
    shared.copy("pwl", tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["exact_nll"] < 10.3
