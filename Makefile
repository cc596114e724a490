# make run    the demonstration: four simulated kidneys → results/report.html
# make eight  the same with all eight methods of the papers' Table II
# make test   the tests; make test-long  the longest of them; make test-real  more of them, on public material; make test-slurm  on a real Slurm, started here
# make container  the image of envs/Containerfile, built, and a run in it beside one outside
# make fuzz   damaged files of every kind by the thousand; ARGS='--cases 50 --kind tiff --seed 2'
# make bench  segmentation beside other tools (makes an environment of its own for them)
# make coverage  what our intervals hold, by simulation; make controls  controls on the results of make run
# make recovery  known cell types given back by RCTD and NNLS, on the public material
# make plan   what planning cohorts of up to 5,000 slides costs; make scale  their tables and report
# Each makes its own environment in .venv first; the tests add the optional KPIs networks to it (67 MB).
# PYTHON, VENV, CORES and ARGS can be set: make run CORES=8.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
CORES ?= all
WORKERS ?= 2
export OMP_WAIT_POLICY ?= PASSIVE
# A worker a core: their libraries' own threads would only wait for one another.
test test-long test-real: export OMP_NUM_THREADS = 1
test test-long test-real: export OPENBLAS_NUM_THREADS = 1
export PATH := $(abspath $(VENV))/bin:$(PATH)

run: $(VENV)/ready
	snakemake --cores $(CORES) $(ARGS)

# The demonstration with all eight methods of the published Table II: several minutes more.
eight: $(VENV)/ready
	snakemake --cores $(CORES) --configfile config/config.yaml config/eight.yaml $(ARGS)

test: $(VENV)/kpis
	python -m pytest --numprocesses $(WORKERS) --dist loadfile -m 'not real and not slurm and not long' $(ARGS)

# Whole runs of trainings, folds and slides that can't be used: minutes more.
test-long: $(VENV)/kpis
	python -m pytest --numprocesses $(WORKERS) --dist loadfile -m 'long and not slurm' $(ARGS)

# Whole runs on the public material beside the checkout (../shared/data), where there is some: minutes more.
test-real: $(VENV)/ready
	python -m pytest -m real $(ARGS)

# A Slurm of three nodes on this machine (Debian, as root), and what goes wrong on clusters made to go wrong on it.
test-slurm: $(VENV)/ready
	python tests/slurm/cluster.py start --install
	python -m pytest -m 'slurm and not long' tests/slurm $(ARGS); status=$$?; python tests/slurm/cluster.py stop; exit $$status

# The demonstration as it ships, and twenty slides, on the same Slurm: most of an hour on two cores.
test-slurm-cohorts: $(VENV)/ready
	python tests/slurm/cluster.py start --install
	python -m pytest -m 'slurm and long' tests/slurm $(ARGS); status=$$?; python tests/slurm/cluster.py stop; exit $$status

# The image of envs/Containerfile built by buildah, and a small run in it beside one outside (Debian, as root; 3 GB).
container: $(VENV)/ready
	apt-get install --yes --no-install-recommends buildah debootstrap > /dev/null
	bash tests/container.sh

# Damaged files of every kind, each read or refused in a sentence, within bounds of time and memory (docs/trust.md).
fuzz: $(VENV)/ready
	python tests/fuzz/fuzz.py $(ARGS)

check: $(VENV)/ready
	snakemake --cores $(CORES) check

lint: $(VENV)/ready
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

# Trains small versions of all eight methods on simulated tissue (hours on two cores) and takes the weights over.
TRAINED = omni-seg multi-unet multi-deeplab multi-resunet tal med3d multi-class multi-kidney
weights: $(VENV)/ready
	snakemake --cores $(CORES) train
	mkdir -p workflow/weights/simulated
	cp $(TRAINED:%=results/training/%.safetensors) workflow/weights/simulated/

# Ours beside TIAToolbox, MONAI and the official scheme, per CPU-second; ARGS=--full for the large slide.
bench: $(VENV)/ready $(BENCH_VENV)/ready
	mkdir -p results
	python tests/benchmarks/bench.py --peers $(BENCH_VENV)/bin/python --table results/bench.tsv $(ARGS)

# How often our intervals of r hold the truth, by simulation (half an hour on two cores).
coverage: $(VENV)/ready
	python tests/benchmarks/intervals.py $(ARGS)

# The plan of 1 to 5,000 slides: seconds, memory, jobs, files (docs/scale.md).
plan: $(VENV)/ready
	python tests/benchmarks/plan.py $(ARGS)

# Correlations, Table II and report of 10 to 1,000 slides from simulated outputs: seconds and memory (docs/scale.md).
scale: $(VENV)/ready
	python tests/benchmarks/cohort.py $(ARGS)

# Controls on the results of make run: what must come out is known (a few minutes).
controls: $(VENV)/ready
	python tests/benchmarks/controls.py $(ARGS)

# Known proportions given back by RCTD, beside NNLS, on the public material beside the checkout (some minutes).
recovery: $(VENV)/ready
	mkdir -p results
	python tests/benchmarks/recovery.py $(ARGS)

# torch in the same resolve; TIAToolbox without its dependencies, since it forbids this torch.
$(BENCH_VENV)/ready: envs/bench.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --requirement envs/bench.txt
	$(BENCH_VENV)/bin/python -m pip install --quiet --no-deps tiatoolbox==2.1.3 torchvision==0.28.0 timm==1.0.27
	touch $@

# One resolve for everything, with torch pinned, so that no second torch is fetched.
$(VENV)/ready: pyproject.toml envs/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nephrospot needs Python 3.11 or newer; run make with PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[rctd,slurm,test]'
	touch $@

# The extra for the KPIs networks, in the same environment: only the tests need it.
$(VENV)/kpis: $(VENV)/ready envs/kpis.txt
	$(VENV)/bin/python -m pip install --quiet --constraint envs/constraints.txt --constraint envs/kpis.txt --editable '.[rctd,slurm,test,kpis]'
	touch $@

.PHONY: run eight test test-long test-real test-slurm test-slurm-cohorts container fuzz check lint weights bench coverage controls recovery plan scale
