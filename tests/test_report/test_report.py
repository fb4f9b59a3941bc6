"""The report: what it reads, what it says, and how it looks to a browser without a network."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import dvae
import runs
from dvae.errors import UserError
from dvae.report import charts, latents, page
from dvae.report.record import read
from dvae.report.training import train
from dvae.runs.exported import exported

_BROWSERS = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]


@pytest.fixture(scope="module")
def folders(shared, tmp_path_factory):
    """Two finished runs with their reports, of which the second has no prior, and was trained quietly."""
    parent = tmp_path_factory.mktemp("reported")
    said = {}
    for name, case in {"pwl": "pwl", "rest": "dvaess-structured"}.items():
        config, lines = shared.copy(case, parent / name), said.setdefault(name, [])
        train(config, quiet=name == "rest", say=lambda text, lines=lines: lines.append(str(text)))
        assert lines[-1] == f"report: {parent / name / 'report.html'}"
    assert said["pwl"][0].startswith("PWL with 8 latents")
    assert said["rest"][0].startswith("test NLL of the 8 predicted pixels")
    return parent / "pwl", parent / "rest"


def test_a_training_ends_with_its_report(folders):
    """It says what the results say, and needs nothing from elsewhere."""
    for folder in folders:
        results, text = json.loads((folder / "results.json").read_text()), (folder / "report.html").read_text()
        assert f"{results['nll']:.2f} ± {results['nll_standard_error']:.2f}" in text
        assert f"{results['exact_nll']:.3f}" in text
        own = re.sub(r"<script>.*?</script>", "", text, count=1, flags=re.DOTALL)  # Plotly's has addresses in it
        assert not re.search(r"(src|href)=[\"']?https?:", own)
        with_prior = results["log_z"] is not None
        assert own.count("data:image/png;base64,") == 2 + with_prior  # with what its latents draw
        assert own.count("Does the prior fit?") == with_prior
        assert "num_gibbs_sweeps" in own


def test_a_report_is_written_once(folders, monkeypatch):
    """A finished run that is started again shows its results at once; without a report, none is missed."""
    written = []
    monkeypatch.setattr(page, "write", lambda *arguments, **_: written.append(arguments))
    config = runs.small_config(model="pwl", log_dir=str(folders[0]))
    train(config, say=lambda _: None)
    train(config, say=lambda _: None, report=False)
    assert written == []


def test_a_full_disk_costs_the_report_alone(folders, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "write", refuse)
    (folders[0] / "report.html").rename(folders[0] / "away.html")
    said = []
    try:
        results = train(runs.small_config(model="pwl", log_dir=str(folders[0])), say=said.append)
    finally:
        (folders[0] / "away.html").rename(folders[0] / "report.html")
    assert np.isfinite(results["nll"])
    assert "could not be written (No space left on device)" in str(said[-1])


def test_runs_side_by_side(folders, tmp_path):
    path = tmp_path / "both.html"
    page.write(folders, path)
    text = path.read_text()
    assert "<title>pwl / rest</title>" in text
    assert text.count('class="card first"') == 0
    assert re.search(r'<tr class="first"><td>exact NLL</td>', text)
    [nlls] = re.findall(r"<tr><td>NLL, -log p\(x\)</td>(.*?)</tr>", text)
    results = json.loads((folders[0] / "results.json").read_text())
    assert re.findall(r'"value">([^ <]+)', nlls) == [f"{results['nll']:.2f}"]
    assert nlls.count("<td>") == 2
    [nlls] = re.findall(r"<tr><td>validation NLL</td>(.*?)</tr>", text)
    best = [min(read(folder).valid["nll"]) for folder in folders]
    assert re.findall(r'"value">([^ <]+)', nlls) == [f"{nll:.2f}" for nll in best]
    rows = re.findall(r'<tr class="differs"><td class="name">(\w+)</td>', text)
    assert {"model", "objective", "log_dir"} <= set(rows)
    assert "seed" not in rows


def test_a_run_under_way_shows_what_it_has(folders, tmp_path):
    """Its last line half written, no results, no pictures."""
    folder = tmp_path / "way"
    folder.mkdir()
    shutil.copy(folders[0] / "config.json", folder)
    lines = (folders[0] / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:4]) + lines[4][:20])
    record = read(folder)
    assert len(record.train["step"]) + len(record.valid["step"]) == 4
    page.write([folder], tmp_path / "way.html")
    assert "validation NLL so far" in (tmp_path / "way.html").read_text()
    (folder / "metrics.jsonl").unlink()
    page.write([folder], tmp_path / "begun.html")


@pytest.mark.parametrize(
    ("name", "content"), [("metrics.jsonl", "[1]\n"), ("results.json", "{"), ("test_examples.csv", "nll\nx\n")]
)
def test_a_file_of_another_program_is_told_of(folders, tmp_path, name, content):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(folders[0] / "config.json", folder)
    (folder / name).write_text(content)
    with pytest.raises(UserError, match="has a file that is not one of this program"):
        read(folder)


def test_a_run_of_before_is_shown_where_what_it_lacks_is_known(folders, tmp_path):
    """A setting that came later has the value that it had; any other that is missing is told of."""
    folder = shutil.copytree(folders[0], tmp_path / "before")
    content = json.loads((folder / "config.json").read_text())
    del content["settings"]["prior_spins"]
    (folder / "config.json").write_text(json.dumps(content))
    assert read(folder).settings == {**read(folders[0]).settings, "prior_spins": False}
    page.write([folder], tmp_path / "before.html")
    del content["settings"]["iw_gradient"]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"another version of this program .*iw_gradient"):
        read(folder)


def test_the_published_number_stands_beside():
    """That of table 1, whatever the seed and the length; none where no table has such a run."""
    settings = {"dataset": "binarized_mnist", "model": "pwl", "num_groups": 4, "seed": 3, "num_steps": 10}
    [number] = page._published(dvae.configure(**settings).__dict__)
    assert (number.value, number.note) == ("84.07 ± 0.04", "table 1, 1,000,000 steps")
    assert page._published(dvae.configure(**settings | {"num_latents": 80}).__dict__) == []


def test_activity_is_the_variance_of_posterior_means(folders):
    """Of one directed group the means are known: within what 100 samples an example leave of noise."""
    model = exported(folders[0])
    images = model.data().split("test")[:150]
    found = latents.measured(model.functions, images, latents.draws(model.functions, images))
    logits = model.functions["posterior_parameters"](x=tf.constant(images, tf.float32))["logits"].numpy()
    means = scipy.special.expit(logits.astype(float))
    np.testing.assert_allclose(found.means, means.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(found.activity, means.var(axis=0, ddof=1), atol=0.012)
    assert found.num_active == np.sum(means.var(axis=0, ddof=1) > latents.ACTIVE)
    assert (found.num_modes, found.divergence) == ([], [])
    assert found.modes_of_prior >= 1


def test_energies_tell_whether_the_prior_fits(folders):
    """Those of draws from it, and of encodings, by the prior's own parameters in float64.

    The mean of the draws is within five standard errors of the exact one of all 256 states: it fails by chance less
    than once in a million.
    """
    model = exported(folders[0])
    images = model.data().split("test")[:200]
    z = latents.draws(model.functions, images)
    found = latents.measured(model.functions, images, z)
    prior = {name: value.numpy().astype(float) for name, value in model.functions["prior_parameters"]().items()}

    def energy(states):
        left, right = np.split(states.astype(float), [len(prior["bias_left"])], axis=1)
        coupled = np.einsum("si,ij,sj->s", left, prior["weights"], right)
        return -(left @ prior["bias_left"] + right @ prior["bias_right"] + coupled)

    np.testing.assert_allclose(found.encoded_energies, energy(z[0]), rtol=1e-5, atol=1e-5)
    every = energy((np.arange(256)[:, None] >> np.arange(8)) & 1)
    probabilities = scipy.special.softmax(-every)
    mean = probabilities @ every
    error = np.sqrt(probabilities @ (every - mean) ** 2 / len(found.prior_energies))
    assert len(found.prior_energies) == len(images)
    assert abs(np.mean(found.prior_energies) - mean) < 5 * error
    assert set(np.round(found.prior_energies, 3)) <= set(np.round(every, 3))
    structured = latents.latents_of(read(folders[1]))
    assert (structured.encoded_energies, structured.prior_energies) == ([], [])


def test_energies_of_all_runs_share_their_bins():
    """So that heights can be compared; a run without a prior has none."""
    none = latents.Latents([0.5], [0.1], [], [], None, [], [])
    some = none._replace(encoded_energies=[-3.0, 1.0], prior_energies=[2.0, 2.5])
    assert charts.energies({"rest": none}) is None
    figure = charts.energies({"a": some, "rest": none, "b": some._replace(prior_energies=[4.0, 4.0])})
    assert [histogram.name for histogram in figure.data] == [
        "a: examples, encoded", "a: drawn from the prior", "b: examples, encoded", "b: drawn from the prior",
    ]  # fmt: skip
    bins = {(h.xbins.start, h.xbins.end, h.xbins.size) for h in figure.data}
    assert len(bins) == 1
    [(start, end, size)] = bins
    assert (start, size) == (-3.0, 7.0 / 30)
    assert end > 4.0


def test_a_field_is_what_one_unit_draws(folders):
    """By the decoder's logits, with each of the units on and off in turn."""
    functions = exported(folders[0]).functions
    z = np.random.default_rng(0).integers(0, 2, [20, 8]).astype(np.float32)
    found = latents.fields(functions, z, np.array([3, 0]))
    for field, unit in zip(found, [3, 0], strict=True):
        on, off = z.copy(), z.copy()
        on[:, unit], off[:, unit] = 1, 0
        logits = [functions["decode"](z=tf.constant(states))["logits"].numpy().astype(float) for states in (on, off)]
        wanted = (scipy.special.expit(logits[0]) - scipy.special.expit(logits[1])).mean(axis=0)
        np.testing.assert_allclose(field, wanted, atol=1e-5)
        assert np.abs(field).max() > 1e-3
    picture = tf.io.decode_png((folders[0] / "latent_fields.png").read_bytes()).numpy()
    assert picture.std() > 0


def test_what_an_earlier_version_kept_is_measured_again(folders, tmp_path):
    folder = shutil.copytree(folders[0], tmp_path / "before")
    kept = json.loads((folder / "latents.json").read_text())
    (folder / "latents.json").write_text(json.dumps({"means": kept["means"]}))
    (folder / "latent_fields.png").unlink()
    assert latents.latents_of(read(folder)).modes_of_prior == kept["modes_of_prior"]
    assert (folder / "latent_fields.png").exists()


def test_what_is_measured_is_kept(folders, monkeypatch):
    """A second report asks the model nothing."""
    monkeypatch.setattr(latents, "measured", None)
    for folder in folders:
        assert latents.latents_of(read(folder)) == latents.Latents(**json.loads((folder / "latents.json").read_text()))


@pytest.mark.skipif(not _BROWSERS, reason="no Chromium here")
def test_a_browser_draws_it_without_a_complaint(folders, tmp_path):
    path = tmp_path / "both.html"
    page.write(folders, path)
    command = [
        _BROWSERS[0], "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--window-size=1200,3000", "--virtual-time-budget=10000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    charts = path.read_text().count('class="plotly-graph-div"')
    assert charts >= 8
    assert found.stdout.count('class="main-svg"') >= charts
    assert not [line for line in found.stderr.splitlines() if ":CONSOLE" in line]
