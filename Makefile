# `make demo` and `make test` need nothing but make and Python 3.11, 3.12 or 3.13.
DEFAULT := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
PYTHON ?= $(DEFAULT)
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VERSION := $(call version,$(PYTHON))
# Another Python has an environment of its own: `make test PYTHON=python3.13` uses .venv-3.13.
VENV := .venv$(if $(filter-out $(call version,$(DEFAULT)),$(VERSION)),-$(VERSION))
BIN := $(VENV)/bin
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
# The version in its name: an environment that another Python made is made anew.
INSTALLED := $(VENV)/.installed-$(VERSION)

.PHONY: install demo docs test test-browser test-long test-torch lint bench clean

install: $(INSTALLED) ## the environment alone

demo: $(INSTALLED) ## the whole chain on drawn faces
	$(BIN)/curate demo candid-demo

docs: $(INSTALLED) ## the pages of docs/ as a site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "docs: open site/index.html, or \`$(BIN)/python -m mkdocs serve\` for its search"

test: $(INSTALLED) ## every test but those in a browser and the longest
	$(BIN)/python -m pytest -m "not browser and not long" $(PARALLEL)

test-long: $(INSTALLED) ## the longest: the chain without a network, an installation, two workers, a deep network
	$(BIN)/python -m pytest -m long

# The files are named, because the others would be imported for nothing.
test-browser: $(INSTALLED) ## the review in a browser; needs Debian's chromium, or CANDID_CHROMIUM=PROGRAM
	$(BIN)/python -m pytest -m browser $$(grep --files-with-matches mark.browser tests/test_*.py)

# An environment of its own that sees the packages of the other. TORCH_INDEX names the index of PyTorch's CPU builds:
# on Linux the default one has builds for CUDA alone, which run here too but take 4 GB.
test-torch: $(INSTALLED) ## what needs PyTorch or Hugging Face's datasets; they are installed into an environment of its own
	$(PYTHON) -m venv .venv-torch-$(VERSION)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	  > $$(.venv-torch-$(VERSION)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/candid.pth
	.venv-torch-$(VERSION)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	.venv-torch-$(VERSION)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt datasets
	PATH="$(abspath $(BIN)):$$PATH" .venv-torch-$(VERSION)/bin/python -m pytest -rs tests/test_interface.py tests/test_notebooks.py \
	  -k "pytorch or datasets"

lint: $(INSTALLED) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED) ## the long measurements, into benchmarks/RESULTS.md; FER2013=FOLDER names the data set
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/run_all.py $(FER2013)

clean: ## the environment and what the demo wrote
	rm -rf .venv .venv-* site candid-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Without --no-compile half of the installation is spent on bytecode that is never imported.
$(INSTALLED): pyproject.toml constraints.txt
	@case "$(VERSION)" in 3.11|3.12|3.13) ;; *) \
	  echo "make: $(or $(PYTHON),no Python here) is not Python 3.11, 3.12 or 3.13: name one with PYTHON=…" >&2; exit 1;; esac
	@echo "make: installing into $(VENV): about 4 GB, 1.8 of it TensorFlow (docs/working.md: a small installation, 0.6 GB)" >&2
	$(PYTHON) -m venv $(if $(wildcard $(INSTALLED)),,--clear) $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo "make: installed; \`source $(BIN)/activate\` puts curate and train on the path" >&2
