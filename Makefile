# Every target does all its own set-up; `make` alone prints what there is.
# PYTHON names the interpreter to use (>= 3.11); without it a fitting one is looked for.
# ARGS goes to the program that a target runs: make demo ARGS=--outage
# JOBS is how many processes share the tests, a file at a time; most tests wait more than they compute.
# With JOBS=0 they run in one, as a debugger needs it: make test JOBS=0 ARGS="-k sshd --pdb"

PYTHON ?=
ARGS ?=
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
SOURCES := src tests bench docs
PARALLEL := --numprocesses $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check bench bench-outage fmt docs build clean system

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## a remote JupyterLab through jtunnel, on this machine alone; Ctrl-C ends it
	@$(BIN)/jtunnel demo $(ARGS)

test: $(VENV)/.dev system ## run the tests (some minutes)
	@jupyter_bin=$$(sh tests/setup/jupyter.sh) && \
	JTUNNEL_TEST_JUPYTER_BIN=$$jupyter_bin $(BIN)/python -m pytest -m "not long" $(PARALLEL) $(ARGS)

test-long: $(VENV)/.dev system ## run the tests that take minutes each
	@jupyter_bin=$$(sh tests/setup/jupyter.sh) && \
	JTUNNEL_TEST_JUPYTER_BIN=$$jupyter_bin sh tests/setup/long.sh $(BIN)/python $(PARALLEL) $(ARGS)

check: $(VENV)/.dev ## formatting, lint and types
	$(BIN)/python -m ruff format --check $(SOURCES)
	$(BIN)/python -m ruff check $(SOURCES)
	$(BIN)/python -m mypy

bench: $(VENV)/.dev system ## measure against ssh and autossh, in one run
	@$(BIN)/python -m bench $(ARGS)

bench-outage: $(VENV)/.dev system ## how soon it works again, beside ssh and autossh (Linux, root)
	@$(BIN)/python -m bench.outage $(ARGS)

fmt: $(VENV)/.dev ## format the code and put right what ruff can
	$(BIN)/python -m ruff check --fix $(SOURCES)
	$(BIN)/python -m ruff format $(SOURCES)

docs: $(VENV)/.base ## write the man page anew
	@$(BIN)/python docs/manual.py

build: $(VENV)/.dev ## wheel and sdist, into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build

clean: ## remove what these targets made here
	rm -rf $(VENV) build dist artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

system:
	@sh tests/setup/system.sh

$(VENV)/.base: pyproject.toml tests/setup/venv.sh
	@sh tests/setup/venv.sh $(VENV) $(PYTHON)
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "installing the tools for development"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --group dev
	@touch $@

$(VENV)/.demo: $(VENV)/.base
	@echo "installing JupyterLab for the demo"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[demo]'
	@touch $@
