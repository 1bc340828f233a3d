# `make bench` and `make test` do all their own set-up, each as the first command in a fresh clone.

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEVICE ?= auto
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench install test check docs report instructions evidence clean warn

bench: warn $(VENV)/.installed
	$(BIN)/gemmbench run --suite quick --roofs --device $(DEVICE)

# The command alone, without what tests and documentation need: for CI, and to use it.
install: $(VENV)/.installed

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(VENV)/.ready
	$(BIN)/ruff check bench kernels tests docs
	$(BIN)/ruff format --check bench kernels tests docs
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "Open build/docs/index.html"

report: $(VENV)/.ready
	$(BIN)/python -m gemmbench.show.readme README.md results

instructions: $(VENV)/.ready
	$(BIN)/gemmbench inspect --format markdown > docs/instructions.md.new
	mv docs/instructions.md.new docs/instructions.md

evidence: $(VENV)/.ready
	$(BIN)/python -m gemmbench.runner.evidence > evidence.new
	mv evidence.new bench/gemmbench/records/evidence.json

clean:
	rm -rf $(VENV) build dist

# Does that python have a torch built for a GPU? Then that one is used, with its Triton.
GPU_TORCH := $(PYTHON) -c 'import sys, torch; sys.exit(not (torch.version.cuda or torch.version.hip))' 2>/dev/null

warn:
	@if [ ! -e $(VENV)/.installed ] && ! $(GPU_TORCH); then \
	  if [ -e /dev/kfd ] && [ "$(DEVICE)" != cpu ]; then \
	    echo "This machine has an AMD GPU (/dev/kfd), and $(TORCH) as pip installs it has no ROCm."; \
	    echo "Use a python that has a ROCm build of torch: make bench PYTHON=/opt/venv/bin/python"; \
	    echo "or measure the CPU: make bench DEVICE=cpu"; \
	    exit 1; \
	  fi; \
	  if [ -e /dev/nvidia0 ]; then \
	    echo "This machine has an NVIDIA GPU, and $(PYTHON) no torch for it: $(TORCH) will be installed."; \
	    echo "pip's build of it wants a driver for CUDA 13 (580 or newer). If yours is older, name a"; \
	    echo "build that fits: make bench TORCH=torch==2.10.0"; \
	  fi; \
	fi

# What is ready for the tests is installed, too.
$(VENV)/.ready: DEV := ,dev
$(VENV)/.installed: DEV :=

$(VENV)/.ready $(VENV)/.installed: pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@if $(GPU_TORCH); then \
	  set -e; \
	  echo "Using the torch that $(PYTHON) has, with its Triton."; \
	  $(PYTHON) -m venv --system-site-packages $(VENV); \
	  $(PYTHON) -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' \
	    > "$$(echo $(VENV)/lib/python3*/site-packages)/torch_of_parent.pth"; \
	  $(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*(d for d in p["dependencies"] + p["optional-dependencies"].get("$(DEV)"[1:], []) if not d.startswith("torch")), sep="\n")' \
	    > $(VENV)/requirements.txt; \
	  $(BIN)/python -m pip install --quiet -r $(VENV)/requirements.txt; \
	  $(BIN)/python -m pip install --quiet --no-deps -e .; \
	else \
	  set -e; \
	  $(PYTHON) -m venv $(VENV); \
	  echo "Installing $(TORCH) and what gemmbench needs into $(VENV): some minutes, 2 to 3 GB"; \
	  $(BIN)/python -m pip install --quiet "$(TORCH)"; \
	  $(BIN)/python -m pip install --quiet -e '.[cpu$(DEV)]'; \
	fi
	@touch $(VENV)/.installed $@
