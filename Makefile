# Every target sets up what it needs; `make` alone lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most of what is installed is never imported: bytecode is made when it is.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url
ARGS ?=
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help run install test check format bench chaos fuzz workers image-test rules lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

run: $(VENV)/.installed ## Show the worker: embedded broker, simulated audience, live table (KAFKA=host:port: on your broker)
ifdef KAFKA
	@$(BIN)/viewer-consumer run --demo --set kafka.bootstrap_servers="$(KAFKA)" $(ARGS)
else
	@$(BIN)/viewer-consumer run --embedded $(ARGS)
endif

install: $(VENV)/.installed ## Set up .venv with the command viewer-consumer

test: $(VENV)/.installed-dev ## Run the tests (ARGS: for pytest; JOBS: test processes, 4)
	@$(BIN)/python -m consumer.worker.compiling # once, before the test processes would each compile the same kernels
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(VENV)/.installed-dev ## Format, lint, types, unused code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/vulture

format: $(VENV)/.installed-dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fuzz: $(VENV)/.installed-dev ## Millions of mutated records through the intake (ARGS: see tests/fuzz)
	@$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(VENV)/.installed-dev ## Measure on a real broker (ARGS: see tests/bench)
	@$(BIN)/python -m tests.bench $(ARGS)

chaos: $(VENV)/.installed-dev ## Kill workers and brokers, cut the network; judge what was published (ARGS: see tests/chaos)
	@$(BIN)/python -m tests.chaos $(ARGS)

workers: $(VENV)/.installed-dev ## Simulate workers and Kafka in one process, many seeds (ARGS: see tests/simulation)
	@$(BIN)/python -m tests.simulation $(ARGS)

image-test: $(VENV)/.installed-dev ## Build the image, run it and the compose file on Docker, Podman or a private daemon
	@$(BIN)/python -m tests.image $(ARGS)

rules: $(VENV)/.installed-dev ## Copy the alert rules into the object of the Prometheus operator, and the runbook into the dashboards
	@$(BIN)/python -m tests.deploy.prometheus_rule
	@$(BIN)/python -m tests.deploy.runbook_panels

lock: ## Update the pinned dependencies; needs uv
	$(COMPILE) -o requirements.lock pyproject.toml
	$(COMPILE) --extra msk-iam -c requirements.lock -o requirements-msk-iam.lock pyproject.toml
	$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	$(COMPILE) --group dev -c requirements.lock -c requirements-build.lock -o requirements-dev.lock

clean: ## Remove what the other targets have made
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one as PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python requirements.lock requirements-build.lock pyproject.toml
	@echo "setting up $(VENV) (once)" >&2
	@$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m consumer.worker.compiling
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@
