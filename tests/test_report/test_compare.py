"""Several runs as one table. The runs are written by hand: what matters here is what is made of their files."""

import csv
import json

import numpy as np
import pytest

import runs
from dvae.files import write_json, write_table
from dvae.report import compare
from dvae.report.record import read, read_all

EXAMPLES = np.arange(4.0)
NLLS = {"a": np.array([3.0, 4.0, 5.0, 7.0]), "b": np.array([2.5, 4.25, 4.5, 6.0])}


@pytest.fixture
def folders(tmp_path):
    """Two finished runs that differ in model and rate, and one that is under way."""
    for name, settings in {
        "a": {"model": "pwl"}, "b": {"model": "pwl", "learning_rate": 1e-3}, "c": {"model": "gumbolt"}
    }.items():  # fmt: skip
        folder = tmp_path / name
        run = runs.open_run(runs.small_config(**settings, hidden_layers=0), folder)
        run.directory.release()
        metrics = [{"step": 20, "group": "train"}, {"step": 20, "group": "valid", "nll": 4.125}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
        if name != "c":
            results = {"exact_nll": NLLS[name].mean(), "nll": 5.1, "nll_standard_error": 0.25, "log_z": None}
            write_json(folder / "results.json", results)
            table = {"example": EXAMPLES, "nll": NLLS[name] + 9, "exact_nll": NLLS[name]}
            write_table(folder / "test_examples.csv", table, zip(*table.values(), strict=True))
    return [str(tmp_path / name) for name in "abc"]


def test_each_run_has_what_it_came_to(folders):
    first, second, third = compare.lines_of(read_all(folders))
    assert (first.run, first.steps, first.valid_nll, first.exact_nll, first.nll) == ("a", 20, 4.125, 4.75, 5.1)
    assert first.difference is None
    assert (third.run, third.steps, third.valid_nll, third.nll, third.difference) == ("c", 20, 4.125, None, None)
    differences = NLLS["b"] - NLLS["a"]
    assert second.difference == pytest.approx(differences.mean())
    assert second.difference_error == pytest.approx(np.sqrt(np.mean((differences - differences.mean()) ** 2) / 3))


def test_without_the_exact_numbers_the_estimates_are_compared(folders):
    for folder, shift in zip(folders, (0.0, 1.0), strict=False):
        table = {"example": EXAMPLES, "nll": NLLS["a"] + shift}
        write_table(read(folder).directory.test_examples, table, zip(*table.values(), strict=True))
    _, second, _ = compare.lines_of(read_all(folders))
    assert second[10:12] == (1.0, 0.0)


@pytest.mark.parametrize("what", ["examples", "data"])
def test_other_examples_are_not_compared(folders, what):
    directory = read(folders[1]).directory
    if what == "examples":
        table = {"example": EXAMPLES + 1, "nll": NLLS["b"]}
        write_table(directory.test_examples, table, zip(*table.values(), strict=True))
    else:
        content = json.loads(directory.config_file.read_text())
        content["data"]["checksum"] = "other"
        write_json(directory.config_file, content)
    assert compare.lines_of(read_all(folders))[1].difference is None


def test_settings_that_differ_are_below_the_table(folders, tmp_path, capsys):
    output = tmp_path / "table.csv"
    compare.show(folders, output)
    text = capsys.readouterr().out
    heading, *lines = [line.split() for line in text.splitlines()]
    assert heading == "run steps valid NLL exact NLL test NLL minus the first".split()
    assert lines[0] == "a 20 4.12 4.750 5.100 +- 0.250".split()
    assert lines[1] == "b 20 4.12 4.312 5.100 +- 0.250 -0.438 +- 0.258".split()
    assert lines[2] == "c 20 4.12".split()
    below = {line[0]: line[1:] for line in lines[4:]}
    assert below["setting"] == ["a", "b", "c"]
    assert below["model"] == ["pwl", "pwl", "gumbolt"]
    assert below["learning_rate"] == ["0.003", "0.001", "0.003"]
    assert not below.keys() & {"log_dir", "data_dir", "seed"}
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["learning_rate"] for row in rows] == below["learning_rate"]
    assert float(rows[1]["difference"]) == pytest.approx(-0.4375)


def test_folders_of_one_name_are_told_apart_by_their_paths(folders, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "a").rename(tmp_path / "other" / "b")
    paths = [folders[1], str(tmp_path / "other" / "b")]
    assert [record.name for record in read_all(paths)] == paths
