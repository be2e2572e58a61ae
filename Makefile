# JASCO-PL. `make` alone lists what there is. Everything runs in .venv, which `make setup` builds once; every other target builds it when needed.
# All paths are relative, so that the checkout may lie under a path with spaces; DATA itself must not contain any.

PY    := .venv/bin/python
JASCO := .venv/bin/jasco
STAMP := .venv/.jasco-setup

# Training
NODES     ?= 1
DEVICES   ?= auto
STRATEGY  ?= auto
MAX_STEPS ?=
SBATCH_ARGS ?=
CONF      ?= conf/mini.yaml
# The embedded set
DATA        ?= data
HOURS       ?= 1
VALID_HOURS ?= 0.1
TEST_HOURS  ?= 0.75
SEED        ?= 1
WORKERS     ?= $(shell nproc 2>/dev/null || echo 1)
# Appended to the command that a target runs
ARGS ?=
# The interpreter that .venv is made with; default: the first of python3.11, python3, python3.12, python3.13 that is 3.11 or later
PYTHON ?=
# The chord recogniser is a plugin for Linux on x86-64; CHORDS=0 leaves it out
CHORDS ?= $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),1,0)

PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup doctor demo test test-slow data launch-check train eval tensorboard lint format clean

help: ## list the targets and variables
	@echo "JASCO-PL: text to music, following chords, a melody and drums in time"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables (make TARGET NAME=VALUE; what is shown is the default):"
	@echo "  NODES=$(NODES) DEVICES=$(DEVICES) STRATEGY=$(STRATEGY)   train: machines, devices on each, and auto, ddp or fsdp; where SLURM is there, as a job"
	@echo "  NODE_RANK=0 MASTER_ADDR= MASTER_PORT=29500"
	@echo "                                  train: without SLURM, on each of several machines: which it is, and where the first is reached"
	@echo "  SBATCH_ARGS=                    train: more options of sbatch, e.g. SBATCH_ARGS='--partition=gpu'"
	@echo "  MAX_STEPS=$(or $(MAX_STEPS),the configuration's)    train: stop after so many optimiser steps"
	@echo "  CONF=$(CONF)             train: the configuration"
	@echo "  DATA=$(DATA) SEED=$(SEED) WORKERS=$(WORKERS)            data: the folder it goes to, its seed, processes"
	@echo "  HOURS=$(HOURS) VALID_HOURS=$(VALID_HOURS) TEST_HOURS=$(TEST_HOURS)"
	@echo "                                  data: hours of music in each split"
	@echo "  PYTHON= CHORDS=$(CHORDS)                setup: the interpreter .venv is made with; 0 leaves chord recognition out"
	@echo "  ARGS=                           appended to the command that a target runs, e.g. make test ARGS='-k chords'"

setup: $(STAMP) ## build the environment in .venv (once; nothing is done while it is up to date)

$(STAMP): setup.cfg constraints.txt
	@set -e; \
	if ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  python=''; \
	  for candidate in $(or $(PYTHON),python3.11 python3 python3.12 python3.13); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "setup: no Python 3.11 or later among: $(or $(PYTHON),python3.11 python3 python3.12 python3.13); install one or name it, as in: make setup PYTHON=/path/to/python3.11" >&2; exit 2; \
	  fi; \
	  echo "setup: making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv .venv || { echo "setup: '$$python -m venv' failed; where Python comes from Debian or Ubuntu, install its python3-venv package" >&2; exit 2; }; \
	fi
	@if nvidia-smi -L >/dev/null 2>&1; then \
	  echo "setup: an NVIDIA GPU is here: installing PyTorch for CUDA (several GB)"; \
	  $(PIP) "torch===$$(sed -n 's/^torch==//p' constraints.txt)"; \
	fi
	@echo "setup: installing the packages that setup.cfg and constraints.txt name (some minutes the first time)"
	@$(PIP) --editable ".[dev]"
	@$(PIP) --no-deps tinysoundfont musicnn
	@if [ "$(CHORDS)" = 1 ]; then \
	  $(PIP) vamphost && $(PIP) --no-deps --ignore-requires-python chord-extractor || \
	    { echo "setup: the chord recogniser could not be installed; 'make setup CHORDS=0' goes on without it" >&2; exit 2; }; \
	else \
	  echo "setup: leaving out the chord recogniser: its plugin is for Linux on x86-64; chords of finished audio will not be reported"; \
	fi
	@$(PY) -m jasco_pl.environment
	@$(PY) -m jasco_pl.doctor
	@touch $(STAMP)

doctor: | $(STAMP) ## report the state of the environment, with a remedy for whatever is missing
	@$(PY) -m jasco_pl.doctor

demo: | $(STAMP) ## let the shipped checkpoint make music for three requests, into out/demo
	$(JASCO) demo --out out/demo $(ARGS)

test: | $(STAMP) ## run the tests, but for the slow ones
	$(PY) -m pytest -m "not slow" --timeout 120 $(ARGS)

test-slow: | $(STAMP) ## run the slow tests
	@$(PIP) --editable ".[ray]"
	$(PY) -m pytest -m slow --timeout 1200 $(ARGS)

data: $(DATA)/shards/train/index.json $(DATA)/shards/valid/index.json $(DATA)/shards/test/index.json ## compose the embedded set and prepare it as shards, into data/
	@echo "data: train, valid and test are in $(DATA)/shards; for another size or seed remove $(DATA)/pieces and $(DATA)/shards, or name another DATA"

$(DATA)/shards/train/index.json: hours = $(HOURS)
$(DATA)/shards/valid/index.json: hours = $(VALID_HOURS)
$(DATA)/shards/test/index.json: hours = $(TEST_HOURS)

# Both commands keep what is finished, so that an interrupted run goes on; the index is written last.
$(DATA)/shards/%/index.json: | $(STAMP)
	$(JASCO) compose --out $(DATA)/pieces/$* --split $* --hours $(hours) --seed $(SEED) --workers $(WORKERS)
	$(JASCO) shards build --pieces $(DATA)/pieces/$* --out $(DATA)/shards/$* --workers $(WORKERS)

LAUNCH = $(PY) -m jasco_pl.training.launch --nodes "$(NODES)" --devices "$(DEVICES)" --strategy "$(STRATEGY)" --sbatch="$(SBATCH_ARGS)"

launch-check: | $(STAMP)
	@$(LAUNCH) --check

train: launch-check $(DATA)/shards/train/index.json $(DATA)/shards/valid/index.json ## train on data/, composing a small set when there is none, into runs/
	@$(LAUNCH) -- -c $(CONF) --data.train $(DATA)/shards/train --data.valid $(DATA)/shards/valid $(if $(MAX_STEPS),--trainer.max_steps $(MAX_STEPS)) $(ARGS)

eval: | $(STAMP) ## measure the shipped checkpoint on the embedded test split
	$(JASCO) compose --out $(DATA)/pieces/test --split test --hours $(TEST_HOURS) --seed $(SEED) --workers $(WORKERS)
	$(JASCO) evaluate --pieces $(DATA)/pieces/test --workers $(WORKERS) $(ARGS)

tensorboard: | $(STAMP) ## watch the runs in runs/
	$(PY) -m tensorboard.main --logdir runs $(ARGS)

lint: | $(STAMP) ## check style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: | $(STAMP) ## reformat the code and mend what the style check can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove out/ and the caches of the tools; data/, runs/ and checkpoints/ stay
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find $(wildcard src tests data_prep) -name __pycache__ -type d -prune -exec rm -rf {} +
