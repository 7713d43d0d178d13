# Two commands matter: `make quickstart` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt
# One thread for each worker: the workers are what runs side by side.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: quickstart test test-all lint bench clean

.venv/installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[dev]'
	touch $@

quickstart: .venv/installed
	$(BIN)/parhelion run workflows/four_media.yaml
	@echo "Open runs/four_media/index.html in a browser."

test: .venv/installed-dev
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 --dist loadfile

test-all: .venv/installed-dev lint
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -m 'not gpu or gpu' --timeout 1200

lint: .venv/installed-dev
	$(BIN)/ruff check orchestrator modalities tests benchmarks
	$(BIN)/ruff format --check orchestrator modalities tests benchmarks
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python benchmarks/next_dit_vs_diffusers.py
	$(BIN)/python benchmarks/prompt_following.py
	$(BIN)/python benchmarks/prompt_following.py --model builtin/image-mar --wanted 0.5
	$(BIN)/python benchmarks/prompt_following.py --model builtin/image-digit --wanted 0.4
	$(BIN)/python benchmarks/latent_stability.py
	$(BIN)/python benchmarks/video_following.py --extrapolate
	$(BIN)/python benchmarks/audio_following.py --extrapolate
	$(BIN)/python benchmarks/point_cloud_following.py
	$(BIN)/python benchmarks/multi_view_following.py --extrapolate
	$(BIN)/python benchmarks/extrapolation.py
	$(BIN)/python benchmarks/poisson_midpoint.py
	$(BIN)/python benchmarks/score_matching.py
	$(BIN)/python benchmarks/objectives_on_images.py
	$(BIN)/python benchmarks/weight_storage.py
	$(BIN)/python benchmarks/worker_scaling.py
	$(BIN)/python benchmarks/kill_and_resume.py
	$(BIN)/python benchmarks/kill_and_resume.py --executor ray --kills 2
	$(BIN)/python benchmarks/planning.py

clean:
	rm -rf runs build .pytest_cache .mypy_cache .ruff_cache
