"""The published tables: rows, plans, jobs whose worker is killed, and what is collected."""

import csv
import dataclasses
import json
import os
import pathlib
import pickle
import shlex
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import runs
from dvae import cluster
from dvae.errors import UserError
from dvae.settings.complete import complete
from dvae.tables import collect, jobs, sweep
from dvae.tables.plan import Run, name_of, planned, run_of, selected
from dvae.tables.rows import TABLES, Row, rows

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


# Rows and plans.


def test_every_number_of_the_tables_has_a_row():
    """As many as the files have, and a few of them by hand."""
    counts = {table: sum(row.table == table for row in rows()) for table in TABLES}
    assert counts == {"1": 40, "2": 48, "3": 24, "4": 32, "5": 72, "6": 9, "7": 4, "poster": 48}
    by_hand = {
        ("1", "mnist", "200", "1", "dvaess"): (84.09, 0.06),
        ("3", "mnist", "200", "1", "1", "dvaess"): (57.13, 0.18),
        ("6", "mnist", "200", "4", "10"): (84.34, 0.02),
        ("7", "mcmc", "16", "test"): (113.4, 1.5),
        ("poster", "omniglot", "25", "dvaes_power"): (98.93, None),
        ("4", "mnist", "iw", "DVAE++ (Vahdat et al.)"): (None, None),
    }
    found = {(row.table, *row.labels.values()): (row.published, row.deviation) for row in rows()}
    assert {key: found[key] for key in by_hand} == by_hand


def test_every_row_can_be_run():
    """Its settings are complete and allowed; rows of other programs have none."""
    for row in rows():
        if row.settings:
            complete(row.settings)
        else:
            assert row.table == "4"
    structured = [complete(row.settings) for row in rows() if row.table == "3"]
    assert {config.objective for config in structured} == {"structured"}
    assert {config.num_samples for config in structured} == {1, 5, 25}
    lengths = {
        (c.num_relaxed_sweeps, c.num_gibbs_sweeps) for c in (complete(r.settings) for r in rows() if r.table == "6")
    }
    assert lengths == {(t, s) for t in (1, 2, 4) for s in (1, 5, 10)}


def test_names_tell_runs_apart():
    """Rows of different settings have folders of their own, and the same settings one in all tables."""
    by_name = {}
    for row in rows():
        if row.settings:
            config = dataclasses.asdict(complete(row.settings))
            if config["model"] == "dvaess":
                config["shared_context"] = None  # plays no part
            assert by_name.setdefault(name_of(complete(row.settings)), config) == config
    # Tables 1, 2 (K = 5, 25), 3, 5 (no shared context), 6 (but t = 1, s = 10), 7, poster (but DVAE# of table 5).
    assert len(by_name) == 40 + 32 + 24 + 36 + 8 + 2 + 46


def test_rows_are_selected_by_labels():
    chosen = selected(["1", "6"], {"dataset": "mnist", "latents": "200"})
    assert [row.table for row in chosen] == ["1"] * 10 + ["6"] * 9
    for tables, where, message in (
        (["8"], {}, "tables=8: must be among 1, 2"),
        (["1"], {"colour": "red"}, "has no label colour; must be among dataset, latents, groups, model"),
        (["1"], {"model": "vae"}, "where='model=vae': leaves no row"),
    ):
        with pytest.raises(UserError) as caught:
            selected(tables, where)
        assert message.replace("'", "") in str(caught.value).replace("'", "")


def test_each_run_is_planned_once(tmp_path):
    """DVAE##'s row of table 1 is a run of table 6 too; table 7 evaluates its runs on two splits."""
    chosen = selected(["1", "6"], {"dataset": "mnist", "latents": "200"})
    found = planned(chosen, seeds=[0, 1], given={"num_steps": 10}, output_dir=tmp_path)
    assert len(found) == 2 * (10 + 9 - 1)
    assert len({run.folder for run in found}) == len(found)
    assert {run.config.num_steps for run in found} == {10}
    of_7 = planned(selected(["7"], {}), seeds=[0], given={}, output_dir=tmp_path)
    assert [run.splits for run in of_7] == [("train",), ("train",)]
    assert run_of(next(row for row in rows() if not row.settings), seed=0, given={}, output_dir=tmp_path) is None


def test_shell_lines_are_commands(tmp_path):
    """What they give is what the run's configuration says."""
    [run] = planned(selected(["5"], {"latents": "400", "groups": "2", "dataset": "omniglot", "model": "pwl",
        "shared_context": "false"}), seeds=[3], given={"iw_gradient": "iwae"}, output_dir=tmp_path / "a b")  # fmt: skip
    first, *given = shlex.split(run.shell_line())[1:]
    assert first == "run_training.py"
    assert {"--noshared_context", "--seed=3", "--iw_gradient=iwae", f"--log_dir={run.folder}"} <= set(given)
    [of_7, _] = planned(selected(["7"], {}), seeds=[0], given={}, output_dir=tmp_path)
    assert " && python run_eval.py " in of_7.shell_line()


# Jobs.


QUICK = {**runs._SMALL, "num_steps": 600, "checkpoint_every": 50, "report_every": 10, "eval_every": 200}


def small_run(folder, name, **settings):
    given = {**QUICK, "model": "pwl", **settings, "log_dir": str(folder / name)}
    return Run(name, given, complete(given), ())


def test_a_job_says_what_went_wrong(tmp_path):
    run = small_run(tmp_path, "wrong", dataset="nothing_of_the_kind")
    with pytest.raises(RuntimeError, match="--dataset=nothing_of_the_kind"):
        jobs.work(run.job())


def test_a_child_ends_with_its_parent(tmp_path):
    """A parent that is killed with -9 leaves no training behind."""
    run = small_run(tmp_path, "left", num_steps=100_000, eval_every=100_000)
    code = "import pickle, sys; from dvae.tables import jobs; jobs.work(pickle.loads(sys.stdin.buffer.read()))"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=ROOT) as parent:
        parent.stdin.write(pickle.dumps(run.job()))
        parent.stdin.close()
        wait_for(lambda: run.steps_done() >= 20)
        parent.kill()
    time.sleep(1)
    before = run.steps_done()
    time.sleep(2)
    assert run.steps_done() == before < 100_000


def wait_for(condition, seconds=400):
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def numbers(run):
    """Of a finished run, but for the time that it took."""
    results = json.loads(run.results_file("test").read_text())
    return {name: value for name, value in results.items() if name != "seconds"}


@pytest.mark.slow
def test_a_sweep_survives_the_loss_of_a_worker(tmp_path):
    """Two workers, three runs; a worker killed with -9 amid its run; results as alone, and nothing is done twice."""
    found = [small_run(tmp_path, f"run{seed}", seed=seed) for seed in range(3)]
    alone = small_run(tmp_path, "alone", seed=0)
    with cluster.connected(scheduler=None, num_workers=2) as client:
        processes, by_name, killed = client.run(os.getpid), {run.name: run for run in found}, []

        def amid_its_run():
            for worker, keys in client.processing().items():
                for run in (by_name[key.rpartition("-")[0]] for key in keys):
                    if 60 <= run.steps_done() < 500:
                        return worker, run
            return None

        def kill():
            worker, run = wait_for(amid_its_run)
            os.kill(processes[worker], signal.SIGKILL)
            killed.append(run)

        killer = threading.Thread(target=kill)
        killer.start()
        said = []
        assert sweep.run_all(found, client, say=said.append) == {}
        killer.join()
        assert sorted(said) == [f"run{seed}: finished" for seed in range(3)]
        assert sweep.run_all([*found, alone], client, say=said.append) == {}
        assert said[3:] == ["alone: finished"]
        wrong = small_run(tmp_path, "wrong", dataset="nothing_of_the_kind")
        assert "nothing_of_the_kind" in sweep.run_all([wrong], client, say=said.append)["wrong"]
    assert "resuming at step" in killed[0].folder.with_suffix(".out").read_text()
    assert numbers(found[0]) == numbers(alone)


def test_no_scheduler_there():
    with (
        pytest.raises(UserError, match="no scheduler answers there"),
        cluster.connected(scheduler="tcp://127.0.0.1:1", num_workers=1),
    ):
        pass


# Collecting.


def finished(folder, name, nll, seed=0):
    """A run directory as a training leaves it, as far as tables read it."""
    run = small_run(folder, name, seed=seed)
    run.folder.mkdir()
    nll = np.asarray(nll)
    results = {"nll": nll.mean(), "nll_standard_error": nll.std(ddof=1) / np.sqrt(len(nll)), "exact_nll": None}
    run.results_file("test").write_text(json.dumps(results))
    lines = ["example,nll", *(f"{3 * i},{value}" for i, value in enumerate(nll))]
    (run.folder / "test_examples.csv").write_text("\n".join(lines))
    return run


def test_tables_have_means_deviations_and_paired_differences(tmp_path):
    """Against the same in loops, by hand."""
    rng = np.random.default_rng(0)
    hard = 90 + 10 * rng.normal(size=50)
    nlls = {
        (model, seed): hard + shift + 0.1 * rng.normal(size=50)
        for model, shift in (("dvaess", 0.0), ("pwl", 0.5))
        for seed in (0, 1)
    }
    found = {key: finished(tmp_path, f"{key[0]}{key[1]}", nll, seed=key[1]) for key, nll in nlls.items()}
    labels = {"dataset": "mnist", "groups": "1"}
    chosen = [
        Row("1", {**labels, "model": "pwl"}, 84.62, 0.05, {"model": "pwl"}),
        Row("1", {**labels, "model": "dvaess"}, 84.09, None, {"model": "dvaess"}),
        Row("1", {**labels, "model": "gumbolt"}, 84.66, None, {"model": "gumbolt"}),
    ]
    runs_of = lambda row: {seed: run for (model, seed), run in found.items() if model == row.labels["model"]}  # noqa: E731
    measured = collect.collected(chosen, runs_of)
    pwl, dvaess, gumbolt = (measured[place] for place in range(3))
    assert pwl.values == tuple(nlls["pwl", seed].mean() for seed in (0, 1))
    assert pwl.deviation == pytest.approx(np.std(pwl.values, ddof=1))
    differences = [sum(nlls["pwl", seed][i] - nlls["dvaess", seed][i] for seed in (0, 1)) / 2 for i in range(50)]
    assert pwl.difference == pytest.approx(sum(differences) / 50)
    assert pwl.difference_error == pytest.approx(np.std(differences, ddof=1) / np.sqrt(50))
    assert pwl.difference_error < pwl.error / 10
    assert dvaess.difference is None
    assert (gumbolt.values, gumbolt.mean, gumbolt.difference) == ((), None, None)
    text = collect.write("1", chosen, measured, tmp_path)
    assert f"| mnist | 1 | pwl | 84.62 +- 0.05 | {pwl.mean:.2f} +- {pwl.deviation:.2f} | 2 |" in text
    with (tmp_path / "table1.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert float(lines[0]["difference"]) == pytest.approx(pwl.difference)
    assert lines[2]["mean"] == ""
    assert (tmp_path / "table1.png").read_bytes().startswith(b"\x89PNG")


def test_steps_done_of_a_run_that_is_writing(tmp_path):
    run = small_run(tmp_path, "writing")
    assert run.steps_done() == 0
    run.folder.mkdir()
    lines = [json.dumps({"group": "train", "step": step, "filler": "x" * 200}) for step in range(0, 500, 10)]
    (run.folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"group": "train", "st')
    assert run.steps_done() == 490
