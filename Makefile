# Lace SDN: `make lab` shows it, `make test` checks it. Both install what is missing first (as root, on Debian 12).
.DEFAULT_GOAL := help
PYTHON ?= python3
LAB ?= lab
MANIFESTS ?= manifests/examples/quickstart.yaml
QUIET := .ci/quiet
PACKAGES := openvswitch-switch iproute2 nftables ethtool iputils-ping procps python3-venv shellcheck

.PHONY: help lab lab-down test kernel-lab attack bench faults lint goldens docs kustomize-validate vagrant-validate clean deps venv ryu-venv

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1|/' | column -t -s '|'

lab: deps venv  ## start the lab from MANIFESTS and print who reaches whom, probed with real packets
	@.venv/bin/lace-sdn lab up --probe --name $(LAB) -f $(MANIFESTS)
	@echo "  . .venv/bin/activate" && echo "      have lace-sdn at hand"

lab-down:  ## stop the lab and remove everything it made
	@if [ -x .venv/bin/lace-sdn ]; then .venv/bin/lace-sdn lab down --name $(LAB); else echo "There is no lab: .venv is missing."; fi

test: deps venv ryu-venv  ## all checks: lint, types, import contracts, tests with real switches, coverage
	@.ci/test

kernel-lab: deps venv  ## quickstart, the book and the lab's tests on the kernel datapath, in a virtual machine; TESTS=... only these
	@.venv/bin/python -m kernel_lab $(if $(RUN),--run '$(RUN)') -- $(TESTS)

attack: deps venv  ## forge, restart, kill, flood: what must not arrive, what got lost; ATTACK="--short", "--event NAME", "--json FILE"
	@.ci/isolated .venv/bin/python tests/attack $(ATTACK)

bench: deps venv  ## measure codec, switch and compiler; growth and ratios, no time limits
	@.ci/isolated .venv/bin/python -m bench

faults: deps venv  ## a fault at every I/O call of a controller, in every way: about half an hour (a sample is part of test)
	@.ci/isolated .venv/bin/python tests/faults/every_fault.py

lint: venv  ## lint, format, types and import contracts alone
	@.ci/lint

goldens: venv  ## write the flows and groups of every scenario in flows/ anew
	@for folder in $$(dirname $$(find flows -name cluster.yaml | sort)); do .venv/bin/lace-sdn compile --write $$folder || exit; done

docs: venv  ## write the generated part of docs/pipeline.md anew
	@.venv/bin/python -m lace_sdn.cli.document docs/pipeline.md

kustomize-validate: venv  ## check what kustomize makes of manifests/ (needs kubectl; no part of CI)
	@.venv/bin/python -m pytest -q tests/deploy/validate_kustomize.py

vagrant-validate:  ## check vagrant/Vagrantfile (needs vagrant; no part of CI)
	@cd vagrant && vagrant validate --ignore-provider

deps:
	@.ci/deps $(PACKAGES)

venv: .venv/.ready
.venv/.ready: pyproject.toml .ci/venv | deps
	@$(QUIET) "Python environment in .venv" .ci/venv $(PYTHON) .venv

ryu-venv: .venv-ryu/.ready
.venv-ryu/.ready: pyproject.toml .ci/venv | deps
	@$(QUIET) "Python environment with ryu 4.34 in .venv-ryu" .ci/venv $(PYTHON) .venv-ryu ryu

clean:  ## remove environments and caches
	@rm -rf .venv .venv-ryu build dist *.egg-info .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
