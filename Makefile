# Everything that is done with this repository. `make help` lists it.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

.PHONY: lab
lab: packages venv ## install what is missing, start the lab and its demonstration
	@$(BIN)/calico-lab up
	@$(BIN)/calico-lab demo

.PHONY: lab-down
lab-down: ## remove the lab
	@$(BIN)/calico-lab down

.PHONY: test
test: packages venv-dev ## run everything, and end with one summary
	@scripts/test.sh

.PHONY: test-unit
test-unit: venv-dev ## run the tests that need no root and no other program, in seconds
	@$(BIN)/pytest tests/unit

.PHONY: test-system
test-system: packages venv-dev ## run the tests with the real kernel, etcd, BIRD, dnsmasq, Neutron
	@$(BIN)/pytest tests/etcd tests/kernel tests/bgp tests/dhcp tests/neutron

.PHONY: test-bird-versions
test-bird-versions: packages venv-dev ## run the tests of BGP with other versions of BIRD, from Debian's archive
	@scripts/test-bird-versions.sh

.PHONY: test-histories
test-histories: packages venv-dev ## watch random histories of the driver for an hour; SEED=n, RUNS=n
	@$(BIN)/python -W ignore -m tests.convergence.simulation --seed $${SEED:-1000} --runs $${RUNS:-200} 2>/dev/null

.PHONY: test-lab
test-lab: packages venv-dev ## run the tests in a lab of their own
	@$(BIN)/pytest tests/scenario

.PHONY: test-nova
test-nova: nova venv-dev ## run the tests with a real Nova, in a lab of their own (minutes, not in test)
	@$(BIN)/pytest tests/nova

.PHONY: test-neutron-previous
test-neutron-previous: packages ## run the tests with Neutron's release before the latest (10 minutes)
	@VENV=.venv-previous CONSTRAINTS=constraints-previous.txt scripts/venv.sh lab dev
	@.venv-previous/bin/pytest tests/unit/neutron tests/neutron

.PHONY: test-neutron-upstream
test-neutron-upstream: packages ## run Neutron's own unit tests with the driver loaded (an hour)
	@scripts/venv.sh lab dev upstream
	@$(BIN)/python -m tests.neutron_upstream

.PHONY: test-machine
test-machine: packages venv-dev ## run the tests of the kernel with Debian's, in a virtual machine (20 minutes, not in test)
	@$(BIN)/pytest tests/machine

.PHONY: test-faults
test-faults: packages venv-dev ## run the prepared faults of the troubleshooting guide, in a lab of their own (10 min)
	@$(BIN)/pytest tests/faults

.PHONY: lint
lint: venv-dev ## check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: format
format: venv-dev ## format the sources
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

.PHONY: bench
bench: packages venv-dev ## measure Felix beside etcd's and the kernel's own time (root, minutes)
	@$(BIN)/python -m benchmarks.felix

.PHONY: bench-bgp
bench-bgp: packages venv-dev ## measure how BGP follows workloads and faults (root, half an hour)
	@$(BIN)/python -m benchmarks.bgp_faults

.PHONY: bench-neutron
bench-neutron: packages venv-dev ## measure the Neutron driver beside one that does nothing (minutes)
	@$(BIN)/python -m benchmarks.neutron

.PHONY: bench-packets
bench-packets: packages venv-dev ## measure what packets and commits cost, by instructions and natively
	@$(BIN)/python -m benchmarks.packet_instructions
	@$(BIN)/python -m benchmarks.packet_connections
	@$(BIN)/python -m benchmarks.commit_instructions

.PHONY: bench-calicoctl
bench-calicoctl: packages venv-dev ## measure what calicoctl takes with 100,000 endpoints in etcd (minutes)
	@$(BIN)/python -m benchmarks.calicoctl

.PHONY: bench-lab
bench-lab: packages venv ## measure the latencies of a lab of its own
	@$(BIN)/python -m benchmarks.lab_latency

.PHONY: packages
packages: ## install the Debian packages that are missing
	@scripts/packages.sh

.PHONY: venv
venv: packages ## make .venv with what the lab needs
	@scripts/venv.sh lab

.PHONY: venv-dev
venv-dev: packages ## make .venv with what developers need too
	@scripts/venv.sh lab dev

.PHONY: nova
nova: ## install what a lab with Nova needs beside the rest
	@scripts/packages.sh
	@scripts/packages.sh nova
	@scripts/venv.sh lab nova

.PHONY: clean
clean: ## remove what was made from the sources
	@rm -rf .venv .venv-previous .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -name '*.egg-info' -prune -exec rm -rf {} + ; find src tests -name __pycache__ -prune -exec rm -rf {} +
