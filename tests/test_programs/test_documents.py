"""Pages of `docs/`: their Python runs, their commands have the flags they are shown with, the site builds."""

import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from programs import QUICK, ROOT, help_of, run, run_python

PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
PAGES["README.md"] = (ROOT / "README.md").read_text()
# Runs that the Python of a page begins with.
RUNS = {
    "docs/reading_results.md": {"digits": ("--dataset=digits",)},
    "docs/serving.md": {"digits": ("--dataset=digits",)},
    "docs/tutorial.md": {"first": ("--dataset=digits",), "second": ("--dataset=digits", "--model=pwl")},
}
FAST = {"docs/samplers.md", "docs/annealers.md"}
NEEDS_A_CLUSTER = {"docs/tables.md"}  # Slurm's, and dask-jobqueue
OF_OTHERS = (
    "helpshort flagfile "  # absl
    "xla_cpu_compilation_enabled rest_api_port model_name model_base_path "  # TensorFlow Serving
    "tf_xla_persistent_cache_directory tf_xla_persistent_cache_device_types "  # XLA
    "xla_cpu_prefer_vector_width xla_cpu_use_fusion_emitters "
    "cpus-per-task gres ntasks-per-node requeue signal nodes kill-on-bad-exit "  # Slurm
    "saved-model signature_def tag output logdir".split()  # tf2onnx, TensorBoard
)


def python_code(page):
    return re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)


WITH_CODE = [page for page in PAGES if python_code(page) and page != "README.md"]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in FAST else pytest.mark.slow) for page in WITH_CODE]
)
def test_python_of_a_page_runs(tmp_path, page):
    """Its pieces in one go: later ones use names of earlier ones."""
    code = "\n".join(python_code(page))
    if page in NEEDS_A_CLUSTER:
        compile(code, page, "exec")
        return
    for name, arguments in RUNS.get(page, {}).items():
        completed = run("run_training.py", *arguments, *QUICK, f"--log_dir=runs/{name}", cwd=tmp_path)
        assert completed.returncode == 0, completed.stderr
    run_python(code, tmp_path)


def commands(page):
    """Lines of indented blocks that a shell is given, continued ones joined."""
    text = PAGES[page].replace("\\\n", " ")
    starts = r"python |make |pip |pytest |tensorboard |dvae-|tensorflow_model_server "
    return [line.strip() for line in text.splitlines() if re.match(rf" {{4,}}(?:{starts})", line)]


COMMANDS = [(page, command) for page in PAGES for command in commands(page)]


def test_the_pages_have_commands():
    """So that a change of their form does not leave nothing to check."""
    assert len(COMMANDS) > 50


def arguments_of(command):
    """Its words, without the name of the program, up to a pipe or `...`."""
    words = shlex.split(command, comments=True)[1:]
    return words[: next((i for i, word in enumerate(words) if word in {"|", ">", "..."}), len(words))]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_what_a_command_names_exists(page, command):
    """Programs, modules, targets of make, extras, files of tests; the flags of what is not ours are not checked."""
    program, words = command.split()[0], arguments_of(command)
    if program == "make":
        assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text()
    elif program == "pip" and "-r" not in words:
        for package in words[1:]:
            assert set(re.findall(r"\w+", package.partition("[")[2])) <= set(extras()), package
    elif program == "pytest":
        assert (ROOT / words[-1]).exists()
    elif program == "python" and words[0] == "-m":
        module = words[1].replace(".", "/")
        assert words[1].startswith("tf2onnx") or any(
            (ROOT / path).exists() for path in (f"{module}.py", f"{module}/__main__.py")
        )
    elif program == "python" and words[0] != "-c":
        assert (ROOT / words[0]).exists()


def extras():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def flags_of(arguments):
    return {word.split("=")[0].lstrip("-") for word in arguments if word.startswith("--")}


def flags_in(text):
    """Of a help of absl; of the source of a program with argparse."""
    return set(re.findall(r"--(?:\[no\])?([\w-]+)", text)) | {
        f"no{name}" for name in re.findall(r"--\[no\](\w+)", text)
    }


PROGRAMS = {"run_training.py", "run_eval.py"}


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, c) for page, c in COMMANDS if PROGRAMS & set(c.split()[:2]) or c.startswith("python benchmarks/")],
)
def test_flags_of_a_command_exist(page, command):
    script, *arguments = arguments_of(command)
    known = help_of(script).stdout if script in PROGRAMS else (ROOT / script).read_text()
    assert flags_of(arguments) <= flags_in(known)


MODULES = sorted({arguments_of(c)[1] for _, c in COMMANDS if c.startswith("python -m dvae.")})


@pytest.fixture(scope="module")
def flags_of_modules():
    """By name, and with them those of the two programs: what a page may name by itself."""
    found = {script: flags_in(help_of(script).stdout) for script in PROGRAMS}
    for module in MODULES:
        help_text = subprocess.run(
            [sys.executable, "-m", module, "--helpshort"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        found[module] = flags_in(help_text.stdout)
        assert "log_dir" in found[module] or "output_dir" in found[module]
    return found


@pytest.mark.slow
def test_flags_of_modules_exist(flags_of_modules):
    for page, command in COMMANDS:
        if command.startswith("python -m dvae."):
            _, module, *arguments = arguments_of(command)
            assert flags_of(arguments) <= flags_of_modules[module], f"{page}: {command}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_flag_that_a_page_names_is_one(page, flags_of_modules):
    of_benchmarks = set().union(*(flags_in(path.read_text()) for path in (ROOT / "benchmarks").glob("*.py")))
    known = set().union(*flags_of_modules.values()) | of_benchmarks | set(OF_OTHERS)
    assert set(re.findall(r"(?<![\w-])--([\w-]*\w)", PAGES[page])) <= known


def test_no_page_names_the_host_of_a_package_index():
    hosts = r"pypi|pythonhosted|npmjs|index-url|anaconda\.org"
    assert not [page for page, text in PAGES.items() if re.search(hosts, text, re.IGNORECASE)]


def test_the_site_builds_without_a_warning(tmp_path):
    """Every link and every anchor in it leads somewhere, and all formulas were understood."""
    site = tmp_path / "site"
    completed = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={site}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "WARNING -" not in completed.stderr  # with --quiet, --strict sees none
    mathematics = (site / "mathematics.html").read_text()
    assert mathematics.count("<math") > 60
    assert "arithmatex" not in mathematics
    assert "$" not in mathematics
    assert 'id="dvae.report.training.train"' in (site / "api" / "python.html").read_text()
    assert "<code>num_latents</code>" in (site / "api" / "settings.html").read_text()
    linked = [re.findall(r'(?:src|href)="(https?://[^"]*)"', page.read_text()) for page in site.rglob("*.html")]
    assert not [address for page in linked for address in page if address.endswith((".js", ".css"))]
