# npool's commands. `make help` lists them. Each one makes the environment it needs when it is
# missing, from PYTHON (3.11 or newer) with venv and pip, and installs nothing on later runs.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
CUDA_VENV ?= .venv-cuda

# The exact build that the torch comparisons are held against. An unpinned torch would be a CUDA
# build of several gigabytes. `make test TORCH=` leaves torch out, and the tests of it skip; where
# there is a GPU, `make test-cuda TORCH=torch` tests that build's tensors on it.
TORCH ?= torch==2.13.0

# More arguments for pytest and for the benchmarks.
PYTEST_ARGS ?=
BENCH_ARGS ?=

RUN := $(VENV)/bin
MKDOCS_YML := $(firstword $(wildcard mkdocs.yml docs/mkdocs.yml))
DEMO_PICTURE ?= npool-demo.png

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two targets may install into one environment
.PHONY: help demo test test-cuda check lint format types docs bench bench-gpu clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO_VENV)/.with-cli ## pool the seed's examples and a photograph; leaves npool-demo.png
	$(DEMO_VENV)/bin/npool demo --output $(DEMO_PICTURE)

test: $(VENV)/.with-test ## the tests and doctests (PYTEST_ARGS=... adds arguments, TORCH= leaves torch out)
	$(RUN)/python -m pytest -W error -n auto --dist worksteal $(PYTEST_ARGS)

test-cuda: $(CUDA_VENV)/.with-test-cuda ## the tests of the GPU's kernels, which need no GPU
	$(CUDA_VENV)/bin/python -m pytest -W error -n auto --dist worksteal $(wildcard tests/test_cuda_*.py tests/test_ptx_*.py tests/test_layers.py) $(PYTEST_ARGS)

check: $(VENV)/.with-test $(VENV)/.with-dev ## what to run before a commit: lint, types, the quick tests (under 2 minutes)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/python -m mypy
	$(RUN)/python -m pytest -W error -n auto --dist worksteal -m "not slow and not gpu" --hypothesis-profile=brief $(PYTEST_ARGS)

lint: $(VENV)/.with-dev ## ruff: mistakes and format
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

format: $(VENV)/.with-dev ## put every file into ruff's format, and mend what ruff can mend
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

types: $(VENV)/.with-dev ## mypy, strict
	$(RUN)/python -m mypy

docs: $(VENV)/.with-docs ## build the documentation into build/site; any warning is an error
	$(RUN)/python -m mkdocs build --strict --config-file $(MKDOCS_YML) --site-dir $(CURDIR)/build/site

bench: $(VENV)/.with-bench ## run the benchmarks (BENCH_ARGS=--check compares results only, times nothing)
	$(RUN)/python -m benchmarks $(BENCH_ARGS)

bench-gpu: $(CUDA_VENV)/.with-test-cuda ## time the GPU's kernels; says why not, where there is no CUDA device
	$(CUDA_VENV)/bin/python -m benchmarks.gpu

clean: ## remove the environments and everything that was built
	rm -rf $(VENV) $(DEMO_VENV) $(CUDA_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. An empty file in the environment says what is installed in it; it is written last,
# so an install that was cut short is done again. A Python without ensurepip (Debian's, when its
# venv package is missing) gets its pip from the pip outside.
%/.with-python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("npool needs Python 3.11 or newer, and %s is %d.%d: say make PYTHON=..." % (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv --clear $* || { $(PYTHON) -m venv --clear --without-pip $* && $(PYTHON) -m pip --python $*/bin/python install pip; }
	@touch $@

$(DEMO_VENV)/.with-cli: $(DEMO_VENV)/.with-python pyproject.toml
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable ".[cli]"
	@touch $@

$(CUDA_VENV)/.with-test-cuda: $(CUDA_VENV)/.with-python pyproject.toml
	$(CUDA_VENV)/bin/python -m pip install --quiet --editable ".[test-cuda]" $(TORCH)
	@touch $@

$(VENV)/.with-test $(VENV)/.with-bench: $(VENV)/.with-%: $(VENV)/.with-python pyproject.toml
	$(RUN)/python -m pip install --quiet --editable ".[$*]" $(TORCH)
	@touch $@

$(VENV)/.with-dev $(VENV)/.with-docs: $(VENV)/.with-%: $(VENV)/.with-python pyproject.toml
	$(RUN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@
