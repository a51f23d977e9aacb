# make reproduce    every table and figure of the paper, from notebooks; see `make help`
#
# The environment is built once, in .venv. On x86-64 Linux pip chooses a torch that is built for CUDA (5.7 GB installed);
# a machine without a GPU can do with a CPU build: give its index as `make TORCH_INDEX=<address> ...` the first time.
PROFILE ?= study
DATA ?= synthetic
SEED ?= 0
JOBS ?=
GPUS ?=
PER_GPU ?=
WORKFLOW ?= local
DRY ?=
ROWS ?=
FOLDS ?=
WORKERS ?=
CARRIED ?=
MORE ?=
SECONDS_PER_IMAGE ?=
EXTRAS ?= all
TORCH_INDEX ?=
VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print(1 if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(p),)))

# What is given reaches commands through the environment, and as it is: no quote, $ or ; of a folder's name is anything but
# a letter of it, to make or to the shell.
GIVEN := PROFILE DATA SEED JOBS GPUS PER_GPU WORKFLOW ROWS FOLDS WORKERS CARRIED SECONDS_PER_IMAGE EXTRAS TORCH_INDEX
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
export $(GIVEN)

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# worksteal: what the tests of a file share is made by one process, not by both
UNIT := -m 'not slow and not more and not thorough' --dist worksteal
# MORE=1: also runs that are killed, that a scheduler queues, and of somebody else's data set, which take as long again
SLOW := slow$(if $(MORE), or more)
NBVAL := --nbval-kernel-name python3 --nbval-cell-timeout 600 -p no:cacheprovider
EXACT := notebooks/00_start_here.ipynb notebooks/01_dataset_statistics.ipynb notebooks/11_paper_audit.ipynb
# without the copies that Jupyter makes
OWN := $(foreach name,$(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb)),$(if $(findstring -Copy,$(name)),,$(name)))
# These show tables: they are compared, by shape, with the copies that the whole run has executed.
SHOWN := $(filter $(foreach n,05 06 07 08 09 10,notebooks/$(n)_%),$(OWN))
TRAINED := $(filter-out $(EXACT) $(SHOWN),$(OWN))

.PHONY: help install reproduce book test test-fast test-thorough lint format release bench docs lab explore lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14
	@echo
	@echo "make reproduce PROFILE=study|demo|smoke|paper  DATA=synthetic|/path/to/fields  SEED=0"
	@echo "               JOBS=notebooks at once (the cores)  GPUS=of this machine (all)  WORKFLOW=local|slurm"
	@echo "               PER_GPU=jobs at once on each GPU (1); small networks leave a large one idle"
	@echo "               CARRIED=0 uses no carried result; ROWS=all also trains the rows of which nothing is carried"
	@echo "               ROWS=\"yolo12m ours-yolo12m\" FOLDS=\"0 1\" trains and scores these rows and folds alone"
	@echo "               WORKERS=jobs that share the trials of the search (1; 20 in paper); JOBS says how many run at once"
	@echo "               DRY=1 SECONDS_PER_IMAGE=  says what would be done and how long it would take"
	@echo "make test      MORE=1 runs also what takes as long again: a run that is killed, SLURM, somebody else's data set"
	@echo "any target:    PYTHON=python3.12  VENV=.venv  EXTRAS=all  TORCH_INDEX="

$(STAMP): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one, or give it: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than Python 3.11; give a newer one: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	    { echo "error: $(PYTHON) cannot make a virtual environment; install its venv module (Debian: python3-venv)"; exit 1; }
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(if $(TORCH_INDEX),$(PY) -m pip install --quiet --index-url "$$TORCH_INDEX" torch torchvision)
	@$(PY) -m pip install --quiet --progress-bar off $(if $(TORCH_INDEX),,-c requirements.lock) -e ".[$$EXTRAS]"
	@# ultralytics asks for opencv-python, grad-cam for the headless one; the last one installed is the one imported, and
	@# only the headless one runs on a machine without graphics libraries
	@$(PY) -m pip install --quiet --progress-bar off --force-reinstall --no-deps $(if $(TORCH_INDEX),,-c requirements.lock) \
	    opencv-python-headless
	@touch $@

install: $(STAMP) ## the environment alone, with the command .venv/bin/openurine

reproduce: $(STAMP) ## every table and figure: paper_figures/<profile>/index.html
	@$(if $(CARRIED),OPENURINE_CARRIED="$$CARRIED") $(PY) workflow/reproduce.py --profile="$$PROFILE" --data="$$DATA" \
	    --seed="$$SEED" --workflow="$$WORKFLOW" $(if $(JOBS),--jobs="$$JOBS") $(if $(GPUS),--gpus="$$GPUS") \
	    $(if $(PER_GPU),--per-gpu="$$PER_GPU") \
	    $(if $(DRY),--dry) $(if $(ROWS),--rows="$$ROWS") $(if $(FOLDS),--folds="$$FOLDS") $(if $(WORKERS),--workers="$$WORKERS") \
	    $(if $(SECONDS_PER_IMAGE),--seconds-per-image="$$SECONDS_PER_IMAGE")

book: $(STAMP) ## a run that has ended, as a site that needs no network: paper_figures/<profile>/book/index.html
	@$(PY) workflow/book.py --profile="$$PROFILE" --data="$$DATA" --seed="$$SEED"

# One throwaway root: the whole run of the smoke profile fills it, then the notebooks are compared cell by cell in it.
# Every slow test has one thread, so two run at a time. SPYDER: tqdm draws its bars as text, as in the executed copies.
# --rootdir: files of two trees, whose cells must not have the same names.
test: $(STAMP) lint ## style, types, unit tests, a whole small run, and the notebooks themselves
	@root=$$(mktemp -d) && trap 'rm -rf "$$root"' EXIT && mkdir "$$root/notebooks" && \
	export OPENURINE_ROOT="$$root" OPENURINE_WHOLE_RUN="$$root" OMP_NUM_THREADS=1 && \
	$(PY) -m pytest -q -n 2 $(UNIT) --durations 8 tests && \
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations 8 -m '$(SLOW)' tests && \
	$(PY) -m pytest -q -n 2 --dist loadfile $(NBVAL) --nbval $(EXACT) && \
	SPYDER=1 $(PY) -m pytest -q -n 2 --dist loadfile $(NBVAL) --nbval-lax --rootdir / \
	    --nbval-sanitize-with tests/shapes.cfg $(TRAINED) $(SHOWN:notebooks/%="$$root"/runs/smoke/notebooks/%)

test-fast: $(STAMP) ## the unit tests alone
	@$(PY) -m pytest -q -n 2 $(UNIT) tests

test-thorough: $(STAMP) ## hours: what make test leaves out, as every row of Table 4 and a run that is killed twenty times
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations 20 -m thorough tests

lint: $(STAMP) ## style, types, and the floors: imports run downward
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache

format: $(STAMP) ## what can be put right by a machine: line breaks, the order of imports
	@$(PY) -m ruff check --select I,F401,UP --fix .
	@$(PY) -m ruff format .

release: $(STAMP) ## check the versions, build sdist and wheel into dist/, try the wheel in a fresh environment
	@$(PY) workflow/release.py

bench: $(STAMP) ## timings against stock ultralytics and sahi: docs/benchmarks.md
	@for one in train_cpu six_heads sliced_torch sliced_exported ssl_step deformable grad_cam front; do \
	    $(PY) benchmarks/$$one.py && OPENURINE_BF16=0 $(PY) benchmarks/$$one.py || exit 1; done

docs: $(STAMP) ## docs/methods.md, from methods.yaml; measures the networks that are new
	@$(PY) docs/methods_page.py

# 200 MB: an image that is opened comes in one message, and the servers' own limit is 10 MB.
ANY_IMAGE := tornado_settings="{'websocket_max_message_size': 200000000}"

lab: $(STAMP) ## the notebooks in JupyterLab
	@$(VENV)/bin/jupyter lab notebooks --ServerApp.$(ANY_IMAGE)

explore: $(STAMP) ## one field at a time, in a browser: draw or open it, detect, look (notebook 12 as a page)
	@JUPYTER_PATH=openurine_lib/explorer $(VENV)/bin/voila notebooks/12_explore.ipynb --template=explorer \
	    --TagRemovePreprocessor.remove_cell_tags=notebook --Voila.$(ANY_IMAGE)

lock: $(STAMP) ## write requirements.lock anew from pyproject.toml
	@$(PY) -m pip install --quiet pip-tools
	@$(PY) -m piptools compile --quiet --upgrade --all-extras --strip-extras --no-annotate --no-emit-index-url \
	    --no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml
	@sed -i '/^openurine/d; /^#/d; /^$$/d' requirements.lock

clean: ## remove runs (not paper_figures)
	@rm -rf runs
