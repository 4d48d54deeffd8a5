# Python 3.11 or newer and make are all that is assumed. Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
TEST_PROCESSES ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test tests chaos cluster lint format docs notebooks clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.for-demo ## unlabelled recordings to a compact recogniser, in minutes
	$(BIN)/python launch/demo.py

test: $(VENV)/.for-test ## the whole test suite in two processes, and lint beside it
	@$(MAKE) --no-print-directory --jobs 2 lint tests

# A file's tests stay together: they share what they have trained. A test that another load has starved until it timed out
# is run once more, and named as RERUN; one that fails is not.
tests: $(VENV)/.for-test
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --reruns 1 --only-rerun 'Timeout' -rR

chaos: $(VENV)/.for-test ## kill workers, machines, disks and servers under a run, and see it go on: half an hour
	$(BIN)/python -m pytest -m chaos -s tests/distributed

cluster: $(VENV)/.for-test ## submit jobs to two Ray nodes with MLflow and S3, and serve a model: minutes
	$(BIN)/python -m pytest -m cluster tests/distributed tests/evaluation

lint: $(VENV)/.for-test ## style, types, and which package may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet || { echo "make format fixes it"; exit 1; }
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.for-test ## rewrite the code in the project's style
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format

docs: $(VENV)/.for-test ## the documentation as a site, build/site/index.html, which opens from disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(VENV)/.for-test ## execute the notebooks of docs/ and store what they print
	$(BIN)/python docs/site/run_notebooks.py

clean: ## remove the environment and all caches; runs and packed data stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An installation counts once it is complete: the stamp is written last.
$(VENV)/.for-demo: EXTRAS := train,plots
$(VENV)/.for-test: EXTRAS := all
$(VENV)/.for-demo $(VENV)/.for-test: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  f"Bonestrap needs Python 3.11 or newer and found {sys.version.split()[0]}: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), once: a few minutes"
	@$(PIP) install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@
