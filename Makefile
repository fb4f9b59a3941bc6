# Everything a newcomer needs: `make train`, `make test`. Both set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes: most of the time goes to compilation, which is serial.
# Groups (tests/conftest.py) stay together, so that what they share is set up once.
WORKERS := -n 2 --dist loadgroup
# In parts: XLA keeps all it has compiled, some 30 MB a function, until a process ends. (A test sees that none is left out.)
ESTIMATES := tests/test_samplers/test_log_z_estimates.py tests/test_samplers/test_two_bases.py
PARTS := "tests/test_models tests/test_data" "tests/test_samplers tests/test_storeys.py $(ESTIMATES:%=--ignore=%)" \
	"tests/test_programs tests/test_analysis tests/test_toys tests/test_tables tests/test_report $(ESTIMATES)" tests/test_runs tests/test_tasks tests/test_training tests/test_compiled.py
TESTS = status=0; \
	for part in $(PARTS); do \
		$(BIN)/python -m pytest -q $(WORKERS) $(1) $$part || status=1; \
	done; exit $$status

.PHONY: help setup train test test-slow check format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): setup.py constraints.txt
	@[ -n "$(PYTHON)" ] && command -v $(PYTHON) >/dev/null || { echo "Python not found ($(PYTHON)): install Python 3.11, or make PYTHON=/path/to/it" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

setup: $(READY)  ## set up .venv with pinned versions

train: $(READY)  ## train DVAE## on the built-in digits, evaluate and export it: runs/digits
	$(BIN)/python run_training.py --model=dvaess --dataset=digits --log_dir=runs/digits

test: $(READY)  ## run the test suite
	@$(call TESTS)

# Long tests pay for optimised compilation, which tests/conftest.py turns off.
test-slow: $(READY)  ## run the long tests too
	@export XLA_FLAGS=; $(call TESTS,-m "slow or not slow")

check: $(READY)  ## lint, format check, type check and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(call TESTS)

format: $(READY)  ## format the code and mend what lint can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and caches (not the runs)
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
