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
LOCAL     ?=
CONF      ?= conf/mini.yaml
# The shipped models from nothing: `make mini` and `make mini-cpu` differ in these defaults
RECIPE     := $(firstword $(filter mini mini-cpu,$(MAKECMDGOALS)))
MINI       ?= runs/$(or $(RECIPE),mini-cpu)
MINI_STEPS ?= $(if $(filter mini,$(RECIPE)),17400,8000)
MINI_LIMIT ?= 128
MINUTES    ?=
# The embedded set
DATA        ?= data
HOURS       ?= $(if $(RECIPE),$(if $(filter mini,$(RECIPE)),45,6),1)
VALID_HOURS ?= 0.1
TEST_HOURS  ?= $(if $(RECIPE),1.5,0.75)
SEED        ?= 1
EDITION     ?= $(if $(filter mini,$(RECIPE)),2,1)
BANDS       ?= $(if $(filter mini,$(RECIPE)),2,1)
WORKERS     ?= $(shell nproc 2>/dev/null || echo 1)
# What goes to a GPU machine without network
BUNDLE        ?= out/gpu-bundle
BUNDLE_PYTHON ?=
# Where the web page is
PORT ?= 8765
# Appended to the command that a target runs
ARGS ?=
# The interpreter that .venv is made with; default: the first of python3.11, python3, python3.12, python3.13 that is 3.11 or later
PYTHON ?=
# The chord recogniser is a plugin for Linux on x86-64; CHORDS=0 leaves it out
CHORDS ?= $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),1,0)

PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup doctor demo serve examples test test-slow data launch-check train mini mini-cpu gpu-bundle eval paper-tables tensorboard lint format clean

help: ## list the targets and variables
	@echo "JASCO-PL: text to music, following chords, a melody and drums in time"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables (make TARGET NAME=VALUE; what is shown is the default):"
	@echo "  NODES=$(NODES) DEVICES=$(DEVICES) STRATEGY=$(STRATEGY)   train: machines, devices on each, and auto, ddp or fsdp; where SLURM is there, as a job"
	@echo "  NODE_RANK=0 MASTER_ADDR= MASTER_PORT=29500"
	@echo "                                  train: without SLURM, on each of several machines: which it is, and where the first is reached"
	@echo "  LOCAL=                          train: 1 runs on this machine, though SLURM is there (in a shell of salloc that is so anyway)"
	@echo "  SBATCH_ARGS=                    train: more options of sbatch, e.g. SBATCH_ARGS='--partition=gpu'"
	@echo "  MAX_STEPS=$(or $(MAX_STEPS),the configuration's)    train: stop after so many optimiser steps"
	@echo "  CONF=$(CONF)             train: the configuration"
	@echo "  DATA=$(DATA) SEED=$(SEED) WORKERS=$(WORKERS)            data: the folder it goes to, its seed, processes"
	@echo "  HOURS=$(HOURS) VALID_HOURS=$(VALID_HOURS) TEST_HOURS=$(TEST_HOURS)"
	@echo "                                  data: hours of music in each split"
	@echo "  MINI=runs/mini-cpu MINI_STEPS=8000 MINI_LIMIT=128 MINUTES="
	@echo "                                  mini, mini-cpu: the folder of everything, optimiser steps, clips of the evaluation; HOURS as above, by"
	@echo "                                  default 45 and 6. On two cores mini-cpu trains for about 2 h; mini has not run on a GPU yet: what"
	@echo "                                  ships took nine minutes of an H200 in a loop of its own (checkpoints/jasco-mini/README.md)."
	@echo "                                  EDITION, BANDS: of its music, 2 and 2 for mini (jasco compose --help); what ships learned from 1 and 1"
	@echo "                                  MINUTES=9: train for nine minutes instead of MINI_STEPS, the learning rate at zero by then"
	@echo "  BUNDLE=$(BUNDLE) BUNDLE_PYTHON=$(or $(BUNDLE_PYTHON),this one's)"
	@echo "                                  gpu-bundle: the folder, and the version of the Python that it is for, e.g. 3.12"
	@echo "  PYTHON= CHORDS=$(CHORDS)                setup: the interpreter .venv is made with; 0 leaves chord recognition out"
	@echo "  PORT=$(PORT)                       serve: where the page is"
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
	@$(PIP) --editable ".[app,dev,media]"
	@$(PIP) --no-deps tinysoundfont musicnn BeatNet
	@if [ "$(CHORDS)" = 1 ]; then \
	  $(PIP) vamphost && $(PIP) --no-deps --ignore-requires-python chord-extractor || \
	    { echo "setup: the chord recogniser could not be installed; 'make setup CHORDS=0' goes on without it" >&2; exit 2; }; \
	else \
	  echo "setup: leaving out the chord recogniser: its plugin is for Linux on x86-64; chords of finished audio will not be reported"; \
	fi
	@$(PY) -m jasco_pl.system.environment
	@$(JASCO) doctor
	@touch $(STAMP)

doctor: | $(STAMP) ## report the state of the environment, with a remedy for whatever is missing
	@$(JASCO) doctor

demo: | $(STAMP) ## let the shipped checkpoint make music for three requests, into out/demo
	$(JASCO) demo --out out/demo $(ARGS)

serve: | $(STAMP) ## open a web page to make music with
	$(JASCO) serve --port $(PORT) $(ARGS)

examples: | $(STAMP) ## make docs/examples again: prompts and controls by hand, with figures over eight seeds
	$(JASCO) demo --requests docs/examples/requests.yaml --seeds 8 --format ogg --out docs/examples $(ARGS)

test: | $(STAMP) ## run the tests, but for the slow ones, in as many processes as there are cores
	$(PY) -m pytest -m "not slow" -n $(WORKERS) --dist loadscope --timeout 120 $(ARGS)

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

LAUNCH = $(PY) -m jasco_pl.training.launch --nodes "$(NODES)" --devices "$(DEVICES)" --strategy "$(STRATEGY)" --sbatch="$(SBATCH_ARGS)" $(if $(filter-out 0,$(LOCAL)),--local)

launch-check: | $(STAMP)
	@$(LAUNCH) --check

train: launch-check $(DATA)/shards/train/index.json $(DATA)/shards/valid/index.json ## train on data/, composing a small set when there is none, into runs/
	@$(LAUNCH) -- -c $(CONF) --data.train $(DATA)/shards/train --data.valid $(DATA)/shards/valid $(if $(MAX_STEPS),--trainer.max_steps $(MAX_STEPS)) $(ARGS)

# Every stage is a file that is written when the stage is done; one that was interrupted goes on from what it has. Nothing touches checkpoints/.
mini: $(MINI)/checkpoints/jasco-mini/README.md $(MINI)/checkpoints/codec-mini/README.md ## the model at the size that ships from nothing, on a GPU: music, codec, shards, model, evaluation, cards
	@echo "mini: $(MINI)/checkpoints holds the codec and the model; jasco generate --checkpoint $(MINI)/checkpoints/jasco-mini"

mini-cpu: $(MINI)/checkpoints/jasco-mini/README.md $(MINI)/checkpoints/codec-mini/README.md ## the same at 6 million parameters, on a CPU
	@echo "mini-cpu: $(MINI)/checkpoints holds the codec and the model; jasco generate --checkpoint $(MINI)/checkpoints/jasco-mini"

# On a GPU, music of the second edition, each piece by two bands; what ships was trained on the first (EDITION=1 BANDS=1)
MINI_MUSIC = --seed $(SEED) --edition $(EDITION) --bands $(BANDS)
COMPOSE_MINI = $(JASCO) compose $(MINI_MUSIC) --workers $(WORKERS)
MINI_FIT = $(JASCO) fit -c conf/mini.yaml $(if $(filter mini,$(RECIPE)),-c conf/mini_gpu.yaml) --data.train $(MINI)/shards/train --data.valid $(MINI)/shards/valid \
	--model.config.codec $(MINI)/checkpoints/codec-mini --trainer.default_root_dir $(MINI) --trainer.logger.init_args.save_dir $(MINI) \
	--trainer.logger.init_args.name fit --model.decay_steps $(MINI_STEPS) $(ARGS)

# With a GPU, training begins with the first hour of music, on which the codec is fitted; the others are composed beside it, on all cores but one
FIRST_HOURS = $(if $(filter mini,$(RECIPE)),$(shell awk 'BEGIN { print ($(HOURS) < 1 ? $(HOURS) : 1) }'),$(HOURS))

$(MINI)/checkpoints/codec-mini/config.json: | $(STAMP)
	$(COMPOSE_MINI) --out $(MINI)/pieces/train --split train --hours $(FIRST_HOURS)
	$(JASCO) codec fit --pieces $(MINI)/pieces/train --out $(@D)

$(MINI)/shards/train/index.json: hours = $(HOURS)
$(MINI)/shards/valid/index.json: hours = $(VALID_HOURS)
$(MINI)/shards/%/index.json: $(MINI)/checkpoints/codec-mini/config.json
	$(COMPOSE_MINI) --out $(MINI)/pieces/$* --split $* --hours $(hours)
	$(JASCO) shards build --pieces $(MINI)/pieces/$* --out $(MINI)/shards/$* --codec $(MINI)/checkpoints/codec-mini --workers $(WORKERS)

MINI_END = $(if $(MINUTES),--trainer.max_steps -1 --trainer.max_epochs -1 --trainer.callbacks+=jasco_pl.training.deadline.Deadline \
	--trainer.callbacks.at=$$(($$(date +%s) + 60 * $(MINUTES))),--trainer.max_steps $(MINI_STEPS))

# On a CPU, crops of five seconds, and of ten for the last sixteenth of the steps (docs/decisions.md); on a GPU, or by the clock, ten all along
$(MINI)/fit.done: $(MINI)/checkpoints/codec-mini/config.json $(MINI)/shards/valid/index.json $(if $(filter mini,$(RECIPE)),,$(MINI)/shards/train/index.json)
ifeq ($(RECIPE),mini)
	@$(JASCO) compose $(MINI_MUSIC) --workers $$(($(WORKERS) > 1 ? $(WORKERS) - 1 : 1)) --out $(MINI)/pieces/train --split train \
	  --hours $(HOURS) \
	  --shards $(MINI)/shards/train --codec $(MINI)/checkpoints/codec-mini --first $(FIRST_HOURS) & composing=$$!; \
	trap 'kill $$composing 2>/dev/null || :' EXIT; trap 'exit 130' INT TERM; \
	until [ -e $(MINI)/shards/train/index.json ]; do kill -0 $$composing 2>/dev/null || break; sleep 1; done; \
	[ -e $(MINI)/shards/train/index.json ] || { echo "mini: composing ended before there was music to train on" >&2; exit 2; }; \
	$(MINI_FIT) --data.grow true --data.seconds 10 $(MINI_END)
else
	$(if $(MINUTES),,$(MINI_FIT) --data.seconds 5 --trainer.max_steps $$(($(MINI_STEPS) * 15 / 16)))
	$(MINI_FIT) --data.seconds 10 $(MINI_END)
endif
	@touch $@

$(MINI)/checkpoints/jasco-mini/config.json: $(MINI)/fit.done
	$(JASCO) export $(MINI)/fit/checkpoints/last.ckpt -o $(@D) --dtype float16 --guidance $(if $(filter mini,$(RECIPE)),"all=2.5 over=text from=0.05",all=3)

$(MINI)/pieces/test.done: | $(STAMP)
	$(COMPOSE_MINI) --bands 1 --out $(MINI)/pieces/test --split test --hours $(TEST_HOURS)
	@touch $@

$(MINI)/eval/results.json: $(MINI)/checkpoints/jasco-mini/config.json $(MINI)/pieces/test.done
	$(JASCO) evaluate --pieces $(MINI)/pieces/test --limit $(MINI_LIMIT) --checkpoint $(MINI)/checkpoints/jasco-mini --workers $(WORKERS) \
	  $(if $(filter mini,$(RECIPE)),--device cuda) -o $(MINI)/eval

$(MINI)/checkpoints/jasco-mini/README.md: $(MINI)/eval/results.json
	$(JASCO) card $(@D) --eval $(MINI)/eval --training $(MINI)/fit

$(MINI)/checkpoints/codec-mini/README.md: $(MINI)/checkpoints/codec-mini/config.json $(MINI)/pieces/test.done
	$(JASCO) codec report --codec $(@D) --audio $(MINI)/pieces/test --limit $(MINI_LIMIT) --json $(MINI)/codec.json
	$(JASCO) card $(@D) --codec-report $(MINI)/codec.json

gpu-bundle: | $(STAMP) ## one folder of at most 60 MiB that trains and measures on a GPU machine with PyTorch and no network (docs/training.md)
	$(JASCO) gpu-bundle build --out $(BUNDLE) $(if $(BUNDLE_PYTHON),--python $(BUNDLE_PYTHON)) $(ARGS)

eval: | $(STAMP) ## measure the shipped checkpoint on the embedded test split
	$(JASCO) compose --out $(DATA)/pieces/test --split test --hours $(TEST_HOURS) --seed $(SEED) --workers $(WORKERS)
	$(JASCO) evaluate --pieces $(DATA)/pieces/test --workers $(WORKERS) $(ARGS)

paper-tables: $(DATA)/shards/train/index.json $(DATA)/shards/valid/index.json ## repeat the paper's experiments at a small budget, into docs/reproduction.md
	$(JASCO) compose --out $(DATA)/pieces/test --split test --hours $(TEST_HOURS) --seed $(SEED) --workers $(WORKERS)
	$(JASCO) reproduce --train $(DATA)/shards/train --valid $(DATA)/shards/valid --pieces $(DATA)/pieces/test --workers $(WORKERS) $(ARGS)

tensorboard: | $(STAMP) ## watch the runs in runs/
	$(PY) -m tensorboard.main --logdir runs $(ARGS)

lint: | $(STAMP) ## check style, types, and which package imports which
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports
	$(PY) -m mypy

format: | $(STAMP) ## reformat the code and mend what the style check can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove out/ and the caches of the tools; data/, runs/ and checkpoints/ stay
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	find $(wildcard src tests data_prep) -name __pycache__ -type d -prune -exec rm -rf {} +
