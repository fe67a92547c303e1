# Navarch. `make help` lists the targets; on Debian 12 or Ubuntu, as root, each installs what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= /usr/bin/python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Thousands of processes share a few processors in a whole run: what failed there is run once more, alone, and both are told.
AGAIN := --last-failed --last-failed-no-failures none --maxfail 1 -n 0
PROTOS := $(shell find protos -name '*.proto')

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.installed ## the system packages and .venv with the navarch command

.PHONY: run
run: setup ## start a cluster and run the hello example on it
	k8s-lab/hello.sh

.PHONY: test
test: CORES := tests/unit tests/contract tests/integration tests/sim
test: REAL := tests/e2e tests/faults
test: .venv/.developed ## every test
	$(PYTEST) $(CORES) -n 3 --dist loadfile --junitxml=build/tests-fast.xml \
		|| { [ $$? -eq 1 ] && $(PYTEST) $(CORES) $(AGAIN); }
	$(PYTEST) $(REAL) -n 3 --dist loadfile --junitxml=build/tests-real.xml \
		|| { [ $$? -eq 1 ] && $(PYTEST) $(REAL) $(AGAIN); }

.PHONY: test-fast
test-fast: .venv/.developed ## the tests of the cores, in under a minute
	NAVARCH_SEEDS=50 NAVARCH_EXAMPLES=20 $(PYTEST) tests/unit tests/sim -n 3 --dist loadfile -q

.PHONY: soak
soak: .venv/.developed ## the long runs: simulated clusters by the ten thousand, faults under load, fuzzing
	NAVARCH_SOAK=1 $(PYTEST) tests/sim tests/faults -s --timeout 7200

.PHONY: bench
bench: .venv/.developed ## speed and memory, as tables
	$(BIN)/python tests/bench/bench_cluster.py

.PHONY: bench-store
bench-store: .venv/.developed ## the store beside Debian's etcd, written to docs/benchmarks/store.md
	$(BIN)/python tests/bench/bench_store.py --markdown

.PHONY: bench-shim
bench-shim: .venv/.developed ## the runtime shim beside containerd's CRI plugin, written to docs/benchmarks/shim.md
	$(BIN)/python tests/bench/bench_shim.py --markdown

.PHONY: bench-kubelet
bench-kubelet: .venv/.developed ## the kubelet over both runtimes, written to docs/benchmarks/kubelet.md
	$(BIN)/python tests/bench/bench_kubelet.py --markdown

.PHONY: bench-net
bench-net: .venv/.developed ## the Pod network and Services beside the plain way, written to docs/benchmarks/network.md
	$(BIN)/python tests/bench/bench_net.py --markdown

.PHONY: bench-api
bench-api: .venv/.developed ## the API server's doors, written to docs/benchmarks/api.md
	$(BIN)/python tests/bench/bench_api.py --markdown

.PHONY: lint
lint: .venv/.developed ## style, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: fix
fix: .venv/.developed ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: protos
protos: .venv/.developed ## regenerate the stubs of protos/
	$(BIN)/python setup.py -q build_protos

.PHONY: clean
clean: ## remove what the targets made here (a running cluster is left alone)
	rm -rf .venv build dist src/*.egg-info src/navarch/protos .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/bin/python:
	k8s-lab/install.sh run
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip

.venv/.installed: pyproject.toml setup.py $(PROTOS) | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.developed: .venv/.installed
	k8s-lab/install.sh test
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
