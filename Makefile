# Words: demo, test, quick, lab, check, speech, results, reachable, example, fuzz, kills, gpu, lock, clean. `make` alone says what they do.
.PHONY: help demo test quick lab check speech results reachable example fuzz kills gpu lock clean
.DEFAULT_GOAL := help

# The newest Python that runs and is new enough, of those on the path.
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3
RUNS_HERE = $(shell $(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(1))
NO_PYTHON = No Python from 3.11 on was found (python3.14 … python3.11, python3): install one, or name it: make demo PYTHON=…
PYTHON ?= $(or $(firstword $(foreach python,$(PYTHONS),$(call RUNS_HERE,$(python)))),$(error $(NO_PYTHON)))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNS ?= runs/$(NAME)
JOBS ?= 2
PLACES = --corpus-path $(CORPUS_PATH) --encoder $(ENCODER) --runs $(RUNS) --jobs $(JOBS)
# Nothing here asks the network for a model; `make HF_HUB_OFFLINE=0 …` allows downloads by hub id.
export HF_HUB_OFFLINE ?= 1
# Where this is set, every fresh kernel compiles all of torch again, some four seconds each.
unexport PYTHONDONTWRITEBYTECODE
# What tests write lies in a folder of their own, which goes with them: no run or cache of the user's is touched.
APART = scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && export IPR_RUNS="$$scratch/runs" IPR_CACHE="$$scratch/cache"
# The folder `widgets` is the package ipr_widgets: mypy finds it under that name by a link.
TYPES = mkdir -p build/types && ln -sfn ../../widgets build/types/ipr_widgets && MYPYPATH=build/types $(BIN)/mypy

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# An environment that is there keeps its Python. uv itself comes from pip; the lock holds exact versions with hashes.
$(READY): requirements.lock pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(READY)  ## set up, run the three notebooks on the embedded corpus, print the results table
	$(BIN)/ipr run --preset demo --beside baseline

# One thread for each of two workers: threads of torch that wait for a core wait for each other. Files in their order:
# by number of tests, the batches' few long ones would be left to one worker at the end.
test: $(READY)  ## set up, lint, check types, run every test but the slow ones on real speech, check the notebooks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(TYPES)
	@$(APART) && export OMP_NUM_THREADS=1 && set -x && $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not speech"
	@$(APART) && set -x && $(BIN)/python -m pytest -W default --nbval-lax --nbval-current-env notebooks

quick: $(READY)  ## the fast tests alone, some two minutes
	@$(APART) && export OMP_NUM_THREADS=1 && set -x && $(BIN)/python -m pytest -n 2 --dist loadfile -m "fast and not speech"

speech: $(READY)  ## the slow checks on real speech (needs ../shared)
	@$(APART) && set -x && $(BIN)/python -m pytest -m speech

# One command a corpus: settings chosen on V1, all seeds and partitions, the tables written into the page.
results: $(READY)  ## the tables of RESULTS.md: make results NAME=emodb CORPUS_PATH=… ENCODER=… [JOBS=2]
	$(BIN)/ipr tune notebooks/results/$(NAME).toml $(PLACES) --out notebooks/results/tuned/$(NAME).toml
	$(BIN)/ipr batch notebooks/results/tuned/$(NAME).toml $(PLACES)
	$(BIN)/ipr table $(RUNS) --page notebooks/RESULTS.md --name $(NAME)
# What better labels of D2 would bring, likewise.
reachable: $(READY)  ## the curve of RESULTS.md: make reachable NAME=emodb CORPUS_PATH=… ENCODER=… [JOBS=2]
	$(BIN)/ipr batch notebooks/results/$(NAME)-reachable.toml $(PLACES)
	$(BIN)/ipr table $(RUNS) --page notebooks/RESULTS.md --name $(NAME)-reachable

fuzz: $(READY)  ## about fifteen minutes of damaged audio, tables, grids and run folders (tests/fuzz)
	PYTHONPATH=tests $(BIN)/python -m fuzz

# TRAIN=1 where training has changed, which a test tells; that takes about a minute.
example: $(READY)  ## notebooks/EXAMPLE.md, a finished example, drawn from its record (needs Chromium): make example [TRAIN=1]
	PYTHONPATH=tests $(BIN)/python -m example $(if $(TRAIN),--train)

kills: $(READY)  ## three hundred kills of train, annotate, corrections, run, batch and of votes (tests/fuzz)
	PYTHONPATH=tests $(BIN)/python -m fuzz.kills
	PYTHONPATH=tests $(BIN)/python -m fuzz.votes --kills 100

gpu: $(READY)  ## on a machine with a GPU: the bench, real runs, a kill, a batch, the recipe (tests/benchmarks/gpu.py)
	$(BIN)/python tests/benchmarks/gpu.py

lab: $(READY)  ## open JupyterLab on copies of the notebooks (ipr-notebooks, which git ignores), on loopback
	$(BIN)/ipr lab

check: $(READY)  ## format, lint and check types
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(TYPES)

lock: $(READY)  ## make requirements.lock from the ranges of pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock

clean:  ## remove the environment and what the demo wrote
	rm -rf $(VENV) runs
