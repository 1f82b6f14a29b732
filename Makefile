# Every target works in a fresh clone: `.venv` is made first, from the locked requirements. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
VENV := .venv/.complete
export REPLICAS ?= 1
export TOWPATH_REPLICAS ?= $(REPLICAS)
# Arguments for pytest: make test ARGS="-k matching -x"
ARGS ?=
# The benchmarks to run: make bench ONLY=B1,B2 (empty: all)
ONLY ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---------------------------------------------------------------- running it

.PHONY: demo
demo: $(VENV) ## Install what is missing, start everything, run a pipeline for a signed push, show its log
	@$(PYTHON) -m devstack demo

.PHONY: up
up: $(VENV) ## Start private servers and all services (REPLICAS=2 for two of each); writes .towpath/env
	@$(PYTHON) -m devstack up

.PHONY: down
down: $(VENV) ## Stop all that `make up` or `make demo` started, and kill the jobs that run (they end as `lost`); data stays in .towpath
	@$(PYTHON) -m devstack down

.PHONY: status
status: $(VENV) ## Show what runs, and where
	@$(PYTHON) -m devstack status

.PHONY: assets
assets: $(VENV) ## Fetch what the page at /docs is shown with, from the npm registry (`make up` does it too)
	@$(PYTHON) -m devstack assets

.PHONY: migrate
migrate: $(VENV) ## Bring the database up to date (TOWPATH_DATABASE_URL, else the one of `make up`)
	@if [[ -z "$${TOWPATH_DATABASE_URL:-}" && -e .towpath/env ]]; then . .towpath/env; fi; $(PYTHON) -m shared.migrate

# ---------------------------------------------------------------- checking it

.PHONY: check
check: lint types ## Lint, types, import contracts and house rules
	@$(PYTHON) -m pytest tests/unit/test_house_rules.py

.PHONY: lint
lint: $(VENV) ## ruff and the import contracts
	@.venv/bin/ruff check .
	@.venv/bin/lint-imports

.PHONY: types
types: $(VENV) ## mypy --strict
	@.venv/bin/mypy

.PHONY: fmt
fmt: $(VENV) ## Sort imports and fix what ruff can fix safely
	@.venv/bin/ruff check --fix .

.PHONY: test
test: $(VENV) ## All tests, with real PostgreSQL and RabbitMQ (installed where missing)
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m pytest $(ARGS)

.PHONY: e2e
e2e: $(VENV) ## The end-to-end tests alone
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m pytest tests/e2e $(ARGS)

.PHONY: bench
bench: $(VENV) ## Measure, and print the table (ONLY=B1,B2 for some)
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m bench $(ONLY)

# ---------------------------------------------------------------- not in this release

.PHONY: chaos
chaos: ## Not in this release: random faults against a running system
	@echo "make chaos: this release does not have it" >&2; exit 2

.PHONY: chaos-mutants
chaos-mutants: ## Not in this release: proof that the fault tests catch planted errors
	@echo "make chaos-mutants: this release does not have it" >&2; exit 2

.PHONY: images
images: ## Not in this release: container images
	@echo "make images: this release does not have it" >&2; exit 2

.PHONY: deploy
deploy: ## Not in this release: deployment to Kubernetes
	@echo "make deploy: this release does not have it" >&2; exit 2

# ---------------------------------------------------------------- the environment

$(VENV): requirements/dev.txt scripts/venv
	@scripts/venv

.PHONY: lock
lock: $(VENV) ## Resolve pyproject.toml again into requirements/*.txt
	@$(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv
	@$(PYTHON) -m uv pip compile $(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	@$(PYTHON) -m uv pip compile $(COMPILE) pyproject.toml --group dev --output-file requirements/dev.txt
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
