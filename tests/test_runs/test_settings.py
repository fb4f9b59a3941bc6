"""Settings: completed as published, checked one by one and together, and those without effect named."""

import dataclasses
import typing

import numpy as np
import pytest

import dvae
import runs
from dvae import data, published
from dvae.config import DIMOD, PROTOCOLS, Config, EvaluationSettings, prior_samplers
from dvae.errors import UserError
from dvae.prior_samplers import PRIOR_SAMPLERS
from dvae.recipes import RECIPES
from dvae.settings import rules
from dvae.settings.complete import complete
from dvae.systems import IW_GRADIENTS, LIKELIHOODS, STRATEGIES, SYSTEMS
from dvae.tasks import TASKS
from models.posterior import BASES


def test_an_error_names_the_argument_in_python_and_the_flag_on_the_command_line():
    error = UserError("must be above {seed} and not\nas now", mentions={"seed": 3}, resume=False, model="pwl", beta=2.5)
    assert isinstance(error, ValueError)
    assert str(error) == "resume=False model='pwl' beta=2.5: must be above seed=3 and not as now"
    assert error.on_command_line() == "--noresume --model=pwl --beta=2.5: must be above --seed=3 and not as now"
    assert str(UserError("some/file: must exist")) == "some/file: must exist"


def test_every_choice_stands_for_something():
    """The names in the records, which import no TensorFlow, are those of the registries."""
    choices = {
        field.name: field.metadata["choices"] for field in dataclasses.fields(Config) if "choices" in field.metadata
    }
    assert choices == {
        "model": tuple(SYSTEMS), "objective": tuple(TASKS), "iw_gradient": tuple(IW_GRADIENTS),
        "likelihood": tuple(LIKELIHOODS), "prior_sampler": prior_samplers, "strategy": tuple(STRATEGIES),
        "batch_norm_statistics": ("replica", "synchronised"),
        "valid_base": BASES, "test_base": BASES,
        "test_protocol": PROTOCOLS, "recipe": tuple(RECIPES),
    }  # fmt: skip
    assert prior_samplers() == (*PRIOR_SAMPLERS, f"{DIMOD}MODULE.NAME")


def test_completed_settings_have_no_gap_and_are_stable():
    """None is left only where it has a meaning of its own, and completing what is complete changes nothing."""
    for case in runs.CASES.values():
        config = complete(case)
        left_out = {name for name, value in dataclasses.asdict(config).items() if value is None}
        assert left_out == {
            "test_temperatures", "test_base", "coupling_rank", "valid_fraction", "test_fraction", "num_devices",
        }  # fmt: skip
        assert complete(dataclasses.asdict(config)) == config
        assert {name: getattr(config, name) for name in case} == case


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"num_latents": 16, "num_steps": 5000, "test_samples": 4000, "eval_every": 500}),
        ({"dataset": "binarized_mnist"}, {"num_latents": 200, "num_steps": 1_000_000, "eval_every": 20_000}),
        ({"dataset": "omniglot"}, {"valid_examples": 1345, "test_samples": 4000, "hidden_layers": 2}),
        ({"dataset": "mine.npz", "num_steps": 100_000}, {"eval_every": 10_000, "valid_examples": 1000}),
        ({"dataset": "omniglot", "objective": "mcmc"}, {"num_latents": 16, "learning_rate": 3e-3}),
        (
            {"dataset": "omniglot", "objective": "structured"},
            {"hidden_layers": 1, "learning_rate": 3e-4, "test_samples": 4000, "num_latents": 200},
        ),
        ({"num_steps": 3}, {"eval_every": 1}),
    ],
)
def test_what_is_left_out_is_as_published(given, wanted):
    config = complete(given)
    assert {name: getattr(config, name) for name in wanted} == wanted


def test_a_recipe_stands_in_for_what_is_left_out_alone():
    """Where published numbers of a data set or an objective do, it does not; whatever it sets has no other default."""
    for name, recipe in RECIPES.items():
        assert recipe.common.keys() <= published.COMMON.keys()
        for objective, own in recipe.by_objective.items():
            assert own.keys() <= published.COMMON.keys()
            config = complete({"recipe": name, "objective": objective})
            assert {setting: getattr(config, setting) for setting in own} == own
        config, other = (complete({"recipe": given, "dataset": "binarized_mnist"}) for given in (name, "published"))
        changed = {n: v for n, v in dataclasses.asdict(config).items() if v != getattr(other, n) and n != "recipe"}
        assert changed == {n: v for n, v in recipe.common.items() if v != published.COMMON[n]}
        own = {n: not v if isinstance(v, bool) else 3 for n, v in recipe.common.items()}
        given = complete({"recipe": name, **own})
        assert {n: getattr(given, n) for n in own} == own
    assert RECIPES["published"] == ({}, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_latents": 201}, "num_latents=201: must be divisible by 2 * num_groups (2)"),
        (
            {"model": "pwl", "num_groups": 4, "num_latents": 12},
            "num_latents=12: must be divisible by 2 * num_groups (8)",
        ),
        (
            {"objective": "structured", "term_1": True},
            "num_replicates=1: must be at least 2 with term_1=True: it is a covariance over them",
        ),
        ({"model": "vae"}, "model='vae': must be one of dvae_spike_exp, "),
        ({"prior_sampler": "dimod:"}, "prior_sampler='dimod:': must be one of population_annealing, pcd, "),
        ({"num_groups": 2}, "num_groups=2: must be 1 for dvaess, whose posterior is one RBM"),
        ({"objective": "mcmc", "num_latents": 22}, "num_latents=22: must be at most 20 for objective='mcmc', whose"),
        ({"objective": "mcmc", "num_samples": 5}, "num_samples=5: must be 1 for objective='mcmc'"),
        ({"objective": "iw", "model": "dvaepp_exp"}, "objective='iw': dvaepp_exp has no importance weight"),
        ({"num_steps": 0}, "num_steps=0: must be at least 1"),
        ({"num_steps": 2.5}, "num_steps=2.5: must be an integer"),
        ({"num_steps": True}, "num_steps=True: must be an integer"),
        ({"num_particles": 2**31}, "num_particles=2147483648: must be at most 2147483647"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be a finite number"),
        ({"learning_rate": "fast"}, "learning_rate='fast': must be a number"),
        ({"beta": 0}, "beta=0: must be above 0"),
        ({"kl_warmup": 1.5}, "kl_warmup=1.5: must be at most 1"),
        ({"shared_context": "yes"}, "shared_context='yes': must be True or False"),
        ({"dataset": None}, "dataset=None: must be a text"),
        ({"strategy": "cluster"}, "strategy='cluster': must be one of one, mirrored, multi_worker"),
        ({"latents": 3}, "latents=3: is no setting of a training"),
    ],
)
def test_mistakes_in_a_training(given, message):
    with pytest.raises(UserError) as caught:
        complete(given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"flattening": (2.0, 4.0)}, "flattening=(2.0, 4.0): must be numbers of at least 1, the first 1"),
        ({"flattening": (1.0, 0.5)}, "flattening=(1.0, 0.5): must be at least 1"),
        ({"flattening": ()}, "flattening=(): must be numbers"),
        ({"flattening": "1,2"}, "flattening='1,2': must be numbers"),
        ({"flattening": (1.0, 2.0), "num_samples": 5}, "num_samples=5: must be a multiple of the number of factors in"),
        ({"log_z_chains": 1}, "log_z_chains=1: must be at least 2"),
        ({"log_z_error": 0.0}, "log_z_error=0.0: must be above 0"),
        ({"seed": -1}, "seed=-1: must be at least 0"),
        ({"num_examples": 0}, "num_examples=0: must be at least 1"),
        ({"posterior_temperatures": None}, "posterior_temperatures=None: must be an integer"),
        ({"posterior_base": "means"}, "posterior_base='means': must be one of biases, fields, mean_field"),
    ],
)
def test_mistakes_in_an_evaluation(given, message):
    with pytest.raises(UserError) as caught:
        rules.check_evaluation(EvaluationSettings(**{"posterior_temperatures": 5, "posterior_base": "biases"} | given))
    assert str(caught.value).startswith(message)


def test_integers_serve_as_numbers():
    assert complete({"beta": 2, "num_steps": 5}).beta == 2
    rules.check_evaluation(
        EvaluationSettings(posterior_temperatures=5, posterior_base="fields", flattening=(1, 2), log_z_error=1)
    )


# Settings without effect.


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({"num_gibbs_sweeps": 5, "num_relaxed_sweeps": 2, "kl_warmup": 0.5, "prior_sampler": "pcd"}, {}),
        (
            {"model": "pwl", "num_gibbs_sweeps": 5, "test_temperatures": 7},
            {"num_gibbs_sweeps": "model", "test_temperatures": "model"},
        ),
        (
            {"objective": "structured", "kl_warmup": 0.5, "num_particles": 9, "log_z_chains": 4},
            {"num_particles": "objective", "kl_warmup": "objective", "log_z_chains": "objective"},
        ),
        ({"objective": "structured", "num_gibbs_sweeps": 5, "beta": 2.0, "observed": "left"}, {}),
        (
            {"objective": "mcmc", "model": "pwl", "num_groups": 4, "beta": 2.0, "test_samples": 9},
            {"model": "objective", "num_groups": "objective", "beta": "objective", "test_samples": "objective"},
        ),
        ({"objective": "mcmc", "num_gibbs_sweeps": 5, "num_relaxed_sweeps": 2}, {"num_relaxed_sweeps": "objective"}),
        ({"tempering_levels": 5}, {"tempering_levels": "prior_sampler"}),
        ({"tempering_levels": 5, "prior_sampler": "parallel_tempering"}, {}),
        (
            {"sampler_arguments": "{}", "sampler_beta": 2.0},
            {"sampler_arguments": "prior_sampler", "sampler_beta": "prior_sampler"},
        ),
        ({"observed": "left", "iw_gradient": "iwae"}, {"observed": "objective", "iw_gradient": "objective"}),
        ({"objective": "iw", "iw_gradient": "iwae", "num_samples": 5}, {}),
        ({"shared_context": False}, {"shared_context": "model"}),
        ({"hidden_layers": 0, "hidden_units": 7}, {"hidden_units": "hidden_layers"}),
        (
            {"objective": "mcmc", "tempering_levels": 5, "model": "pwl"},
            {"tempering_levels": "prior_sampler", "model": "objective"},
        ),
        (
            {"objective": "mcmc", "model": "pwl", "num_relaxed_sweeps": 5},
            {"num_relaxed_sweeps": None, "model": "objective"},
        ),
    ],
)  # fmt: skip
def test_settings_without_effect_are_named(given, idle):
    lines = [line.on_command_line() for line in rules.without_effect(given, complete(given))]
    assert {line.split("=")[0].removeprefix("--").removeprefix("no").split(":")[0] for line in lines} == set(idle)
    for line in lines:
        name = line.split("=")[0].removeprefix("--").removeprefix("no").split(":")[0]
        assert f"has no effect with --{idle[name] or 'objective'}=" in line


def test_python_is_warned_of_settings_without_effect():
    with pytest.warns(UserWarning, match="tempering_levels=5: has no effect with prior_sampler='population_annealing'"):
        dvae.configure(tempering_levels=5)


class Watched:
    """A configuration that remembers which of its settings were read."""

    def __init__(self, config):
        self.__dict__.update(config=config, read=set())

    def __getattr__(self, name):
        self.read.add(name)
        value = getattr(type(self.config), name, None)
        if isinstance(value, property):
            return value.fget(self)
        return typing.cast("typing.Any", value).__get__(self) if callable(value) else getattr(self.config, name)


OUTSIDE = {  # read where a run is opened, described or evaluated, and not by the task
    "dataset", "data_dir", "log_dir", "strategy", "report_every", "eval_every", "checkpoint_every", "valid_examples",
    "test_examples", "valid_samples", "test_samples", "valid_temperatures", "test_temperatures", "log_z_chains",
    "valid_log_z_temperatures", "test_log_z_temperatures", "valid_pictures",
    "valid_base", "test_base", "test_protocol", "recipe", "valid_fraction", "test_fraction",
}  # fmt: skip


@pytest.mark.parametrize("name", ["dvaess", "pwl-2-groups-iwae", "dvaes_gauss_int", "dvaess-structured", "mcmc"])
def test_a_task_reads_the_settings_it_says_it_reads(name):
    """Building the state and tracing a step: what is read and what is said are the same, but for `OUTSIDE`."""
    config = runs.small_config(**runs.CASES[name])
    watched = Watched(config)
    task = TASKS[config.objective](watched, data.load_dataset(config.dataset, config.data_dir))
    state = task.new_state()
    trainer = task.trainer(state)
    trainer.steps.get_concrete_function()
    fields = {field.name for field in dataclasses.fields(Config)}
    said = TASKS[config.objective].reads(config)
    # Of one posterior kind only, read where either is built; one that is published for another structure.
    assert (watched.read & fields) - {"num_groups", "model"} <= said
    assert said - watched.read <= OUTSIDE | {"num_groups", "model", "objective"}


def test_evaluations_of_a_training_are_its_settings():
    config = complete({"seed": 3, "valid_samples": 7, "log_z_chains": 13})
    valid, test = config.for_validation(), config.for_test(temperatures=11, base="fields")
    assert (valid.num_samples, valid.seed, valid.log_z_chains, valid.log_z_temperatures) == (7, 3, 13, 1000)
    assert (test.posterior_temperatures, test.num_examples, test.num_samples) == (11, 500, 4000)
    np.testing.assert_array_equal([valid.flattening, test.flattening], 1)


def test_a_message_is_one_line_that_can_be_shown():
    """Whatever a file or a flag has in it: line breaks, bytes that are no text, no end."""
    assert str(UserError("must\nbe \ud800", model="a\0b")) == "model='a\\x00b': must be \\ud800"
    shown = str(UserError("must be short", dataset="1" * 5000))
    assert len(shown) < 1100
    assert shown.startswith("dataset='111")
    assert shown.endswith("1': must be short")
