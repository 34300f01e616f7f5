# `make book` runs the chapters and builds the site, `make test` runs the tests,
# `make lab` opens the chapters in JupyterLab. Each makes .venv first where there is none, which
# `make setup` does alone.
# `make audit` checks the pinned versions against known vulnerabilities; it needs a network.

PYTHON ?= python3
PROFILE ?= demo
LAB_FLAGS ?=

BIN := .venv/bin
READY := .venv/ready
KERNEL := .venv/etc/ipython/ipython_kernel_config.py
# Every package with the checksums of its files; nothing else is installed.
LOCKED := --no-deps --require-hashes --requirement requirements.lock
# OpenVINO's own tools send usage figures by it; OpenVINO works without it.
LEFT_OUT := openvino-telemetry

# Neither detector nor tracker may look for updates, install packages or send usage figures.
export YOLO_OFFLINE := true
export YOLO_AUTOINSTALL := false
export HF_HUB_OFFLINE := 1
# Compiled once, torch and its companions load twice as fast in every later kernel.
unexport PYTHONDONTWRITEBYTECODE

# Kernels of this environment come first: those of another have other packages, or are gone.
export JUPYTER_PATH := $(CURDIR)/.venv/share/jupyter$(if $(JUPYTER_PATH),:$(JUPYTER_PATH))

.PHONY: setup lock book test test-fast kills soak lab lint audit clean

book: $(READY) $(KERNEL)
	@echo "Running the chapters that changed; the first time this takes some minutes."
	@$(BIN)/python book/build.py --profile $(PROFILE)

# Several processes, each with one thread of torch: two threads wait for one another on busy cores.
test: $(READY) $(KERNEL)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

# All but the tests that are marked as slow: about five minutes on two cores.
test-fast: $(READY) $(KERNEL)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not slow"

# Training and preparation killed at random moments, twenty times each instead of three.
kills: $(READY)
	DDL_KILLS=20 $(BIN)/python -m pytest tests/io/test_interruption.py

# Cameras with scripted faults, watched for hours instead of a minute; SOAK_HOURS=8.
SOAK_HOURS ?= 8
soak: $(READY)
	DDL_SOAK=$(SOAK_HOURS) $(BIN)/python -m pytest tests/camera/test_soak.py

# JupyterLab otherwise asks its project's site for news and updates, and PyPI for extensions.
lab: $(READY) $(KERNEL)
	$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/book --LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
		--LabApp.extension_manager=readonly $(LAB_FLAGS)

setup: $(READY) $(KERNEL)

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# The pinned versions against known vulnerabilities. pip-audit gets an environment of its own.
audit:
	@$(PYTHON) -m venv _build/audit
	@_build/audit/bin/pip install --quiet --disable-pip-version-check pip-audit 2>_build/audit/log || \
		{ echo "make audit: pip-audit cannot be fetched (see _build/audit/log); it needs a network"; \
		exit 1; }
	_build/audit/bin/pip-audit --strict --progress-spinner off --disable-pip --no-deps -r constraints.txt

# What was built and the environment; runs/ stays, since it may hold hours of training.
clean:
	rm -rf _build .venv *.egg-info

# uv installs several times faster than pip, but reads neither pip.conf nor PIP_* variables:
# where the packages come from an index that only pip knows of, pip does the work.
# The stamp is written last, so an interrupted installation is taken up again.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "$(PYTHON): Python 3.11, 3.12 or 3.13 is needed; try: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.lock
	$(BIN)/python -m uv pip install --python $(BIN)/python $(LOCKED) || \
		$(BIN)/python -m pip install $(LOCKED)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@mkdir -p runs
	@touch $@

# After a change of constraints.txt or of the project's dependencies; it needs a network.
lock: $(READY)
	echo uv | $(BIN)/python -m uv pip compile --quiet pyproject.toml - --output-file requirements.lock \
		--all-extras --universal --python-version 3.11 --constraint constraints.txt \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-package $(LEFT_OUT)

$(KERNEL): $(READY) $(wildcard book/ipython_kernel_config.py)
	@mkdir -p $(@D)
	@cp book/ipython_kernel_config.py $@
