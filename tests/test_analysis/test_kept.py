"""Parts of an analysis that outlive the process which made them."""

import functools

import numpy as np
import pytest

import tiny
from dvae.analysis import gaps, likelihoods, nll, posterior_families
from dvae.analysis.kept import Kept
from dvae.data import make_dataset
from dvae.runs.trained_model import TrainedModel

TWO = ("factorial", "directed, 2 groups")


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch):
    """Analyses of one model share its functions, which take a while to compile."""
    monkeypatch.setattr(likelihoods, "functions_of", functools.cache(likelihoods.functions_of))


def made_of(values, calls):
    def make():
        calls.append(values)
        return {"nats": np.array(values), "seconds": np.array(1.5)}

    return make


def test_a_part_is_made_once(tmp_path):
    calls = []
    for _ in range(2):  # the second is another process
        kept = Kept(tmp_path, {"seed": 0, "rates": (1.0, 2.0)})
        found = kept.under("test")("directed, 2 groups 0", made_of([0.1, np.inf], calls))
        np.testing.assert_array_equal(found["nats"], [0.1, np.inf])
        assert float(found["seconds"]) == 1.5
    assert len(calls) == 1
    kept.under("train")("directed, 2 groups 0", made_of([0.2], calls))
    assert len(calls) == 2
    kept.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_damaged_part_is_made_again(tmp_path, cut):
    calls = []
    kept = Kept(tmp_path, {})
    kept.part("all", made_of([1.0], calls))
    [path] = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:cut])
    np.testing.assert_array_equal(kept.part("all", made_of([1.0], calls))["nats"], [1.0])
    assert len(calls) == 2


def test_parts_of_other_settings_do_not_count(tmp_path, capsys):
    calls = []
    for seed in (0, 1):
        Kept(tmp_path, {"seed": seed, "rate": 0.1}).part("all", made_of([float(seed)], calls))
    assert calls == [[0.0], [1.0]]
    [line] = capsys.readouterr().err.splitlines()
    assert line == f'{tmp_path / "parts"}: parts of another analysis are removed (was "seed": 0, is "seed": 1)'


@pytest.mark.parametrize(
    "case",
    [  # of gaps the third search is that of the second family; two are of the factorial one
        (
            gaps,
            gaps.Settings(num_examples=2, search_samples=8, most_windows=2, window_steps=5),
            (posterior_families, "search", 3),
            "gaps.csv",
        ),
        (
            nll,
            nll.Settings(num_examples=2, num_samples=20, temperatures=5),
            (nll, "exact_log_likelihood", 2),
            "nll.csv",
        ),
    ],
)
def test_an_interrupted_analysis_goes_on(tmp_path, monkeypatch, case):
    """To the same table, bit for bit, as one that was not; what was done is not done again."""
    every = posterior_families.families  # two are enough, and are compiled each
    monkeypatch.setattr(posterior_families, "families", lambda num: {name: every(num)[name] for name in TWO})
    analysis, settings, (module, interrupted, last), table = case
    images = {split: np.random.default_rng(0).integers(0, 2, [5, 6]) for split in ("train", "valid", "test")}
    trained = TrainedModel(tiny.model("pwl"), tiny.config("pwl"), make_dataset("six pixels", **images), 0)
    whole, folder, calls = tmp_path / "whole", tmp_path / "interrupted", []
    whole.mkdir(), folder.mkdir()
    original = getattr(module, interrupted)

    def counted(*arguments, **named):
        calls.append(arguments)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    monkeypatch.setattr(module, interrupted, counted)
    stop = None
    analysis.analyse(trained, settings, whole)
    num, stop = len(calls), last
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        analysis.analyse(trained, settings, folder)
    assert list(folder.rglob("*.npz"))
    stop = None
    analysis.analyse(trained, settings, folder)
    if analysis is gaps:
        assert len(calls) == num + 1  # the one that was interrupted, twice
    assert (folder / table).read_bytes() == (whole / table).read_bytes()
    assert not (folder / "parts").exists()
