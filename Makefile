# Everything a newcomer needs: `make train`, `make test`. Both set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes: most of the time goes to compilation, which is serial. Files of a part begin in its order (which tests stay
# together, tests/conftest.py says): small ones at its end, so that no process waits long for the other.
WORKERS := -n 2 --no-loadscope-reorder
# Small runs that many tests look at are trained once, in a folder of all parts (tests/conftest.py).
# In parts: XLA keeps all it has compiled, some 30 MB a function, until a process ends. (A test sees that none is left out.)
PARTS := tests/test_tasks tests/test_runs "tests/test_training tests/test_models tests/test_data" \
	"tests/test_samplers tests/test_compiled.py tests/test_storeys.py" \
	"tests/test_analysis tests/test_toys tests/test_tables tests/test_report tests/test_programs"
TESTS = status=0; \
	DVAE_SHARED_RUNS=$$(mktemp -d) || exit 1; export DVAE_SHARED_RUNS; trap 'rm -rf "$$DVAE_SHARED_RUNS"' EXIT; \
	for part in $(PARTS); do \
		$(BIN)/python -m pytest -q $(WORKERS) $(1) $$part || status=1; \
	done; exit $$status

.PHONY: help setup train test test-slow fuzz check package format docs notebooks clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): setup.py pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] && command -v $(PYTHON) >/dev/null || { echo "Python not found ($(PYTHON)): install Python 3.11, 3.12 or 3.13, or make PYTHON=/path/to/it" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

setup: $(READY)  ## set up .venv with pinned versions

train: $(READY)  ## train DVAE## on the built-in digits, evaluate and export it: runs/digits
	$(BIN)/python run_training.py --model=dvaess --dataset=digits --log_dir=runs/digits

test: $(READY)  ## run the test suite
	@$(call TESTS)

fuzz: $(READY)  ## feed 2,000 mutated inputs of every kind to the program
	$(BIN)/python tests/helpers/fuzz.py --inputs=2000

# Long tests pay for optimised compilation, which tests/conftest.py turns off.
test-slow: $(READY)  ## run the long tests too
	@export XLA_FLAGS=; $(call TESTS,-m "slow or not slow")

package: $(READY)  ## build wheel and source distribution, and check both: dist
	rm -rf dist build/lib
	$(BIN)/python -m build --outdir dist . > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

check: $(READY)  ## lint, format check, type check, package and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(MAKE) package
	@$(call TESTS)

format: $(READY)  ## format the code and mend what lint can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## build the documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(READY)  ## run the notebooks: notebooks/*.ipynb
	$(BIN)/python notebooks/execute.py

clean:  ## remove .venv and caches (not the runs)
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
