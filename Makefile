# objstore: `make run` starts a cluster, `make test` runs everything, `make check` is what to run before a commit.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# How many tests at once; thrash runs wait more than they compute.
PARALLEL ?= 2
THRASHED ?= 3
QUICK := $(wildcard tests/unit tests/golden)
SUITES := $(QUICK) $(wildcard tests/contract tests/faults tests/mutants)
CLUSTER := $(wildcard tests/cluster)
THRASH := tests/cluster/test_thrash.py
SOAK_RUNS ?= 100
SOAK_SEED ?= 1000

.PHONY: help install run test check fmt bench bench-peers profile counted growth healing steady held contended crash-states injections power-cuts soak mutants conformance-swift conformance-s3 clients clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

install: $(STAMP)  ## make .venv with all that running and testing need

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "objstore needs Python 3.11 or newer, and none was found: install one, or: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: apt install python3-venv)" >&2; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	$(PY) -m compileall -q objstore ring
	@touch $@

run: install  ## start the development cluster in the foreground; Ctrl-C stops it
	@exec bin/objstore dev

# Where the environment forbids Python to keep what it compiled, each of the suite's thousand processes would compile 200 modules anew.
test check: export PYTHONDONTWRITEBYTECODE =

test: install  ## the whole suite
	$(PY) -m pytest -n $(PARALLEL) --dist loadgroup $(SUITES) tests/test_tidy.py tests/test_docs.py
	$(if $(CLUSTER),$(PY) -m pytest -n $(PARALLEL) --dist loadfile $(CLUSTER) --ignore $(THRASH))
	$(if $(CLUSTER),OBJSTORE_THRASH_RUNS=10 $(PY) -m pytest -n $(THRASHED) $(THRASH))

check: install  ## format, lint, types, tidy, documents, unit tests
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pytest -n $(PARALLEL) $(QUICK) tests/test_tidy.py tests/test_docs.py

fmt: install  ## format and sort imports
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench: install  ## measure CPU per request, throughput and memory of a development cluster
	$(PY) -m bench.main

bench-peers: install  ## this store beside OpenStack Swift and SeaweedFS, in turn under one load: a table (ARGS=--quick: two minutes)
	@$(PY) -m bench.peers $(ARGS)

profile: install  ## where the CPU time of a request goes, by part of the store (ARGS="--functions 15": the dearest functions, too)
	@$(PY) -m bench.profile $(ARGS)

counted: install  ## how many calls a request makes, beside the budget that a test guards (ARGS=--record: make it the budget)
	@$(PY) -m bench.counted $(ARGS)

growth: install  ## how costs grow with objects, containers, devices and clients (ARGS=--quick: under three minutes; --full: hours)
	@$(PY) -m bench.growth $(ARGS)

healing: install  ## how long until three good copies stand again after a lost device and a flipped bit
	$(PY) -m bench.healing

steady: install  ## how even latencies are at 64 connections, and whether memory grows, over ten minutes beside a probe of the disk
	$(PY) -m bench.steady $(ARGS)

held: install  ## latencies and errors under load while a node is killed, then paused
	$(PY) -m bench.held

contended: install  ## latencies under load beside a hot container, a hot object, a slow device, replicators and auditors: times the quiet ones
	$(PY) -m bench.contended $(ARGS)

crash-states: install  ## the states that a power cut may leave, in memory: how many were checked
	@$(PY) -m tests.faults crash-states

injections: install  ## every call to the file system and to SQLite's files fails once: how many did
	@$(PY) -m tests.faults injections

power-cuts: install  ## power cuts of a whole cluster on a loop-mounted file system: how many, and what was lost (needs root)
	@$(PY) -m tests.faults power-cuts

soak: install  ## random faults under load for an hour or more: SOAK_RUNS runs from SOAK_SEED on
	$(PY) -m objstore.testing.thrash --runs $(SOAK_RUNS) --seed $(SOAK_SEED)

mutants: install  ## take one mechanism after the other out of the code, and see the tests notice
	@$(PY) -m tests.mutants

conformance-swift: install  ## OpenStack Swift's own functional tests against a development cluster
	$(PY) tests/conformance/swift_functional.py

conformance-s3: install  ## OpenStack Swift's own tests of its S3 API against a development cluster
	$(PY) tests/conformance/swift_functional.py --files s3api,../s3api

clients: install  ## S3's clients with their default settings, over HTTP and TLS: a matrix (installs them into .cache)
	$(PY) -m tests.clients

clean:  ## remove the environment and all caches; data directories stay
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
