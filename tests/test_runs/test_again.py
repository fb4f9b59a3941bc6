"""A run started again from its `config.json`, and what it is called where nobody says."""

import dataclasses
import json

import numpy as np
import pytest

import dvae
import runs
from dvae.errors import UserError
from dvae.runs.run_directory import RunDirectory
from dvae.settings import left_out
from dvae.settings.again import settings_of
from dvae.settings.complete import complete, on_data


def written(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.parametrize("given", [{"log_dir": "runs/mine"}, {}, {"dataset": "omniglot", "objective": "iw", "seed": 3}])
def test_all_settings_come_back(tmp_path, given):
    config = complete(given)
    again = settings_of(
        written(tmp_path, {"settings": dataclasses.asdict(config), "networks": {"encoder": "published"}})
    )
    assert complete(again) == config


def test_what_is_given_beside_wins_and_names_the_folder_anew(tmp_path):
    """A folder that was chosen stays; one that was named for its settings does not."""
    for given, folder in (({}, "runs/pwl-digits-seed7"), ({"log_dir": "runs/mine"}, "runs/mine")):
        config = complete({"model": "pwl", "num_steps": 30, "beta": 2.5} | given)
        before = settings_of(written(tmp_path, {"settings": dataclasses.asdict(config)}))
        again = complete(before | {"seed": 7})
        assert again == dataclasses.replace(config, seed=7, log_dir=folder)


def test_one_device_had_another_name(tmp_path):
    before = settings_of(written(tmp_path, {"settings": {"model": "pwl", "strategy": "default"}}))
    assert complete(before) == complete({"model": "pwl"})


def test_a_run_directory_writes_what_is_read(tmp_path):
    config = runs.small_config(model="pwl", hidden_layers=0)
    run = runs.open_run(config, tmp_path / "run")
    run.directory.release()
    before = settings_of(str(RunDirectory(tmp_path / "run").config_file))
    assert complete(before) == dataclasses.replace(config, log_dir=str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"settings": {"model": "pwl", "depth": 3, "width": 2}}, r"config=.*this version has not \(depth, width\)"),
        ({"settings": {"num_latents": "16"}}, r"config.json: num_latents='16': must be an integer"),
        ({"settings": {"model": "vae"}}, r"config.json: model='vae': must be one of"),
        ({"settings": 3}, 'it has no "settings"'),
        ({"model": "pwl"}, 'it has no "settings"'),
        ({"settings": {}, "networks": 3}, 'it has no "settings"'),
        (
            {"settings": {}, "networks": {"encoder": "Sequential of weights 3x4"}},
            "the encoder of its run were handed in",
        ),
        ("[1]", "it is no JSON object"),
        ("{", "it is no JSON object"),
    ],
)
def test_what_is_no_config_of_a_run_is_told_in_one_line(tmp_path, content, told):
    with pytest.raises(UserError, match=told) as caught:
        settings_of(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.json': must be the config.json of a run \(No such file"):
        settings_of(str(tmp_path / "nowhere.json"))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "runs/dvaess-digits-seed0"),
        ({"model": "pwl", "seed": 3, "dataset": "some/where/my_data.npz"}, "runs/pwl-my_data-seed3"),
        ({"dataset": "faces/"}, "runs/dvaess-faces-seed0"),
        ({"objective": "iw", "num_samples": 5}, "runs/dvaess-digits-iw-seed0"),
        ({"log_dir": "here"}, "here"),
    ],
)
def test_a_folder_is_named_for_model_data_and_seed(given, name):
    assert dvae.configure(**given).log_dir == name


def test_a_folder_is_named_for_data_that_are_handed_in():
    assert on_data(complete({}), "my table").log_dir == "runs/dvaess-my table-seed0"
    chosen = complete({"log_dir": "here"})
    assert on_data(chosen, "my table") == dataclasses.replace(chosen, dataset="my table")


def test_help_says_what_stands_in_for_what_is_left_out():
    """Every value that completing gives, in any combination, is among those that help shows."""
    words = left_out.in_words()
    missing = {field.name for field in dataclasses.fields(dvae.Config) if field.default is dataclasses.MISSING}
    assert words.keys() == missing
    named = missing - {"shared_context", "beta", "eval_every", "log_dir"}
    for dataset in ("digits", "bars_and_stripes", "binarized_mnist", "omniglot"):
        for objective in ("elbo", "iw", "structured", "mcmc"):
            for recipe in ("published", "fast"):
                for model in ("dvaess", "dvaes_gauss"):
                    config = complete({"dataset": dataset, "objective": objective, "recipe": recipe, "model": model})
                    for name in named:
                        value = left_out.shown(getattr(config, name))
                        assert value in words[name].replace(",", " ").replace(";", " ").split(), (name, value)
    assert words["num_latents"] == "200; 16 for digits, bars_and_stripes, mcmc"
    assert words["batch_size"] == "100; recipe fast: 200, 100 for structured, mcmc"


def test_the_table_of_systems_has_their_numbers():
    lines = {line.split()[0]: line for line in left_out.systems().splitlines() if line.startswith("  ")}
    assert lines["dvae_spike_exp"].split()[1:] == "DVAE DVAE section 2.1 no 5/5/4, 4".split()
    assert "yes" in lines["dvaes_power"]
    assert "40/40/30, 40/30/20; shared 30, 30" in lines["dvaes_power"]
    for model in dvae.config.MODELS:
        for dataset in ("binarized_mnist", "omniglot"):
            for structure in ({"hidden_layers": 0}, {}, {"num_groups": 2}):
                if model != "dvaess" or "num_groups" not in structure:
                    beta = complete({"model": model, "dataset": dataset, "num_latents": 8} | structure).beta
                    assert f"{beta:g}" in "".join(c if c.isdigit() else " " for c in lines[model]).split()


def test_beta_of_a_directed_posterior_is_as_help_says():
    assert np.isclose(complete({"model": "dvaes_unexp", "dataset": "omniglot", "num_groups": 4}).beta, 16)
