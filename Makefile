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
# Arguments for pytest: make test ARGS="-k matching -x". Tests run on one worker more than there are cores; -n 0 runs them one after the other
ARGS ?=
# What `make deploy` applies: dev, external, production, or a folder
OVERLAY ?= dev
# With any value, `make release` only checks: make release DRY_RUN=1
DRY_RUN ?=
# The benchmarks or attacks to run: make bench ONLY=B1,B2, make attack ONLY=X3,X4 (empty: all)
ONLY ?=
# The length and the seed of make chaos, and how often each kind of fault has to come before it may end. (SECONDS is also a variable of bash, so it counts only where it was given to make.)
CHAOS_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS))
SEED ?=
LEAST ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---------------------------------------------------------------- running it

.PHONY: demo
demo: $(VENV) ## Install what is missing, start everything, run a pipeline for a signed push, show its log
	@$(PYTHON) -m devstack demo

.PHONY: up
up: $(VENV) ## Start private servers and all services (REPLICAS=2 for two of each; CLUSTER=kubernetes for the one of KUBECONFIG); writes .towpath/env
	@$(if $(CLUSTER),TOWPATH_BACKEND=$(CLUSTER)) $(PYTHON) -m devstack up

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
	@if [[ -z "$${TOWPATH_DATABASE_URL:-}" && -e .towpath/env ]]; then . .towpath/env; fi; $(PYTHON) -m shared.database.migrate

# ---------------------------------------------------------------- in a cluster

.PHONY: images
images: $(VENV) ## Build the container image (IMAGE=registry/name for another name; ARCHIVE=file.tar for a file to load)
	@$(if $(IMAGE),TOWPATH_IMAGE=$(IMAGE)) $(if $(ARCHIVE),TOWPATH_IMAGE_ARCHIVE=$(abspath $(ARCHIVE))) $(PYTHON) -m devstack images

.PHONY: deploy
deploy: $(VENV) ## Apply an overlay of deploy/k8s to the cluster that kubectl talks to, and wait until it is ready (OVERLAY=dev)
	@TOWPATH_OVERLAY=$(OVERLAY) $(PYTHON) -m devstack deploy

# ---------------------------------------------------------------- releasing it

.PHONY: wheel
wheel: $(VENV) ## Build the towpath command alone as a wheel (package towpath_cli) into dist/
	@$(PYTHON) -m devstack wheel

.PHONY: release
release: $(VENV) ## Make the wheel, the image and the tag of shared.VERSION; pushes nothing (DRY_RUN=1: only check)
	@$(if $(DRY_RUN),TOWPATH_DRY_RUN=true) $(PYTHON) -m devstack release

.PHONY: audit
audit: $(VENV) ## Ask which locked packages have known vulnerabilities, and write the bill of materials (CycloneDX) into dist/
	@$(PYTHON) -m devstack audit

# ---------------------------------------------------------------- checking it

.PHONY: check
check: lint types ## Lint, types, import contracts and house rules
	@$(PYTHON) -m pytest tests/unit/test_house_rules.py

.PHONY: lint
lint: $(VENV) ## ruff (rules and layout) and the import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet . || { .venv/bin/ruff format --check .; echo 'Run `make fmt`.'; exit 1; }
	@.venv/bin/lint-imports

.PHONY: types
types: $(VENV) ## mypy --strict
	@.venv/bin/mypy

.PHONY: fmt
fmt: $(VENV) ## Lay out all Python as `make lint` wants it, sort imports, and fix what ruff can fix safely
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.PHONY: test
test: $(VENV) ## All tests, with real PostgreSQL and RabbitMQ (installed where missing); with Kubernetes too where KUBECONFIG answers
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m tests $(ARGS)
	@if $(PYTHON) -m tests.harness.kubernetes; then $(MAKE) e2e-kubernetes; fi

.PHONY: screenshots
screenshots: $(VENV) ## Make the pictures of docs/images, with the dashboard in Chromium
	@$(PYTHON) -m devstack install
	@mkdir -p docs/images
	@TOWPATH_SCREENSHOTS=docs/images $(PYTHON) -m pytest -n0 tests/browser -k pictures

.PHONY: e2e
e2e: $(VENV) ## The end-to-end tests alone
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m tests tests/e2e $(ARGS)

.PHONY: e2e-kubernetes
e2e-kubernetes: $(VENV) ## The end-to-end tests for which it matters what jobs run on, with pods of the cluster that KUBECONFIG names
	@TOWPATH_TEST_BACKEND=kubernetes $(PYTHON) -m tests tests/e2e tests/chaos/test_crashpoints.py -m pods --timeout=480 $(ARGS)

.PHONY: test-containers
test-containers: $(VENV) ## The tests marked `containers`, with PostgreSQL and RabbitMQ in containers of the Docker engine that DOCKER_HOST names
	@TOWPATH_TEST_SERVERS=containers $(PYTHON) -m tests -m containers --timeout=300 $(ARGS)

.PHONY: chaos
chaos: $(VENV) ## Steady load under random faults of every kind; prints the table, writes .towpath/chaos.json (SECONDS=600 SEED=… LEAST=0; CLUSTER=kubernetes)
	@$(PYTHON) -m devstack install
	@$(if $(CLUSTER),TOWPATH_TEST_BACKEND=$(CLUSTER)) $(PYTHON) -m tests.chaos --seconds $(or $(CHAOS_SECONDS),600) $(if $(SEED),--seed $(SEED)) $(if $(LEAST),--least $(LEAST))

.PHONY: chaos-mutants
chaos-mutants: $(VENV) ## Take away each safeguard in turn, in a copy, and show that a named test fails
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m tests.chaos.mutants

.PHONY: attack
attack: $(VENV) ## Attack a private gateway for 5 minutes, measure what other tenants notice; prints the table, writes .towpath/attack.json (ONLY=X3,X4)
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m tests.attack $(ONLY)

.PHONY: bench
bench: $(VENV) ## Measure, and print the table (ONLY=B1,B2 for some)
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m bench $(ONLY)

.PHONY: trace-webhook
trace-webhook: $(VENV) ## Print the modules that one webhook enters on its way to the sealed log, for each service
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m tests.entered

# ---------------------------------------------------------------- the environment

.PHONY: venv
venv: $(VENV) ## Make .venv from the locked requirements, if it is missing or old

$(VENV): requirements/dev.txt scripts/venv
	@scripts/venv

.PHONY: lock
lock: $(VENV) ## Resolve pyproject.toml again into requirements/*.txt
	@$(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv
	@$(PYTHON) -m uv pip compile $(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	@$(PYTHON) -m uv pip compile $(COMPILE) pyproject.toml --group dev --output-file requirements/dev.txt
	@$(PYTHON) -m uv pip compile $(COMPILE) --group image --output-file requirements/image.txt
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
