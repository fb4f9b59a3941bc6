"""What is said of an evaluation: the exact number first, how many samples count, and what to try where few do."""

import numpy as np
import pytest

from dvae.runs.cautions import OF_TRAINING, cautions
from dvae.runs.summary import described_evaluation

# Of 100 examples, 1000 samples each, all known well.
GOOD = {
    "split": "test", "num_examples": 100, "num_samples": 1000, "nll": 7.951, "nll_standard_error": 0.097,
    "nll_sampling_error": 0.003, "exact_nll": 7.946, "exact_nll_standard_error": 0.095, "elbo": -8.5, "step": 50,
    "log_z": 12.0, "log_z_standard_error": 0.004, "log_z_effective_sample_size": 900.0, "log_z_chains": 1024,
    "log_z_from_uniform": 12.0, "log_z_from_own_means": 12.0, "log_z_temperatures": 500,
    "effective_sample_size": 432.1, "true_posterior_temperatures": 0,
}  # fmt: skip


def test_the_exact_number_comes_first():
    lines = described_evaluation(GOOD, likelihood_of=None).splitlines()
    assert lines == [
        "test NLL 7.946 +- 0.095 nats, exact (standard error over 100 examples; all latent states enumerated)",
        "estimated: 7.951 +- 0.097 nats (the same examples; 1000 importance samples each, effective sample size 432.1)",
        "ELBO -8.500 nats; log Z of the prior 12.000 +- 0.004 nats by AIS (effective sample size 900 of 1024); model "
        "of step 50",
    ]


def test_an_estimate_alone_shows_its_effective_sample_size():
    line = described_evaluation(GOOD | {"exact_nll": None}, likelihood_of="the rest").splitlines()[0]
    samples = "1000 importance samples each, effective sample size 432.1"
    assert line == f"test NLL of the rest: 7.951 +- 0.097 nats (standard error over 100 examples; {samples})"


def test_what_is_enumerated_has_no_estimate_beside_it():
    enumerated = {"num_samples": None, "nll": 7.946, "effective_sample_size": None, "elbo": None, "log_z": None}
    line, last = described_evaluation(GOOD | enumerated, likelihood_of=None).splitlines()
    assert line.startswith("test NLL 7.946 +- 0.097 nats (standard error over 100 examples; all latent states enum")
    assert last == "model of step 50"


@pytest.mark.parametrize(
    "harmless",
    [
        {},
        {"effective_sample_size": 10.0},
        {"nll": 7.956 - 1e-6},  # two of hypot(0.003, 0.004)
        {"nll": 7.936 + 1e-6},
        {"nll": 7.9469, "nll_sampling_error": 1e-6, "log_z_standard_error": 1e-6},  # not seen in what is printed
        {"nll": 7.95, "log_z": None, "log_z_standard_error": None},  # without a prior
        {"nll": 9.193, "exact_nll": None},
        {"nll": 8.1, "nll_sampling_error": None},  # within two errors over the examples: no better one is known
        {"nll": 9.0, "nll_standard_error": None, "nll_sampling_error": None},
        {"num_samples": None, "effective_sample_size": None},
    ],
)
def test_nothing_is_said_where_all_is_well(harmless):
    assert cautions(GOOD | harmless) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"effective_sample_size": 9.9}, ["the effective sample size is 9.9", "probably too high"]),
        ({"nll": 7.957}, ["0.011 nats above the exact one", "2 standard errors of 0.005", "take the exact one"]),
        ({"nll": 7.935}, ["0.011 nats below the exact one"]),
        ({"nll": 7.953, "log_z": None, "log_z_standard_error": None}, ["standard errors of 0.003"]),
        ({"nll": 9.193, "nll_sampling_error": None}, ["1.247 nats above", "2 standard errors of 0.097"]),
        ({"effective_sample_size": 3.2, "nll": 9.193}, ["size is 3.2", "1.247 nats above"]),
    ],
)
def test_too_few_samples_are_told_of_with_what_to_try(wrong, told):
    [remark] = cautions(GOOD | wrong, OF_TRAINING)
    line = remark.on_command_line()
    assert line.startswith("--test_samples=1000: ")
    assert "an evaluation of the run with --true_posterior_temperatures=1000 --example_error=0.1" in line
    assert all(part in line for part in told), line
    assert str(cautions(GOOD | wrong)[0]).startswith("num_samples=1000: ")


@pytest.mark.parametrize(("temperatures", "advice"), [(None, "More samples help"), (50, "More of --true_posterior_t")])
def test_what_to_try_depends_on_what_there_is(temperatures, advice):
    [remark] = cautions(GOOD | {"effective_sample_size": 2.0, "true_posterior_temperatures": temperatures})
    assert advice in remark.on_command_line()
    assert "example_error" not in remark.on_command_line()


def test_an_unknown_error_of_log_z_is_said():
    unknown = {"log_z_standard_error": None, "log_z_effective_sample_size": 2.34, "log_z_from_uniform": 1.0}
    [remark] = cautions(GOOD | unknown, OF_TRAINING)
    line = remark.on_command_line()
    assert line.startswith("--test_log_z_temperatures=500: the error of log Z is not known: ")
    assert "2.3 of 1024 chains" in line


def test_both_are_said():
    assert len(cautions(GOOD | {"log_z_standard_error": None, "effective_sample_size": np.float64(1.5)})) == 2
