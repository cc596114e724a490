# make run    the demonstration: four simulated kidneys → results/report.html
# make test   the tests
# Both make their own environment in .venv first. PYTHON, VENV, CORES and ARGS can be set: make run CORES=8.

PYTHON ?= python3
VENV ?= .venv
CORES ?= all
export OMP_WAIT_POLICY ?= PASSIVE
export PATH := $(abspath $(VENV))/bin:$(PATH)

run: $(VENV)/ready
	snakemake --cores $(CORES) $(ARGS)

test: $(VENV)/ready
	python -m pytest $(ARGS)

check: $(VENV)/ready
	snakemake --cores $(CORES) check

lint: $(VENV)/ready
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

# Trains the demonstration's networks on simulated tissue (tens of minutes on two cores) and takes the weights over.
weights: $(VENV)/ready
	snakemake --cores $(CORES) train_demo
	mkdir -p workflow/weights/simulated
	cp results/training/*.safetensors workflow/weights/simulated/

# One resolve for everything, with torch pinned, so that no second torch is fetched.
$(VENV)/ready: pyproject.toml envs/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nephrospot needs Python 3.11 or newer; run make with PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[rctd,slurm,test]'
	touch $@

.PHONY: run test check lint weights
