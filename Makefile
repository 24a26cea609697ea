# make train   .venv, the built-in data, training, test and pictures of CONFIG
# make test    ruff, mypy, the tests, and a short run of the whole `make train`
# On a machine with a GPU: tools/cuda_check.sh (docs/project/benchmark.md)
# make docs    the site, in build/site; `make docs-linkcheck` also asks the network for every external link
# make check-extras  installs each extra by itself and runs what it is for; EXTRAS="view export" takes some
# make test-lowest   the tests with the lowest versions that setup.py allows, in .venv-lowest
# make release-check   what a release needs (docs/project/releases.md), in work_dirs/release
CONFIG ?= configs/deformer/synthetic.py
# Overrides for every step, e.g. OPTIONS="batch_size=8 num_workers=4", or OPTIONS="'data_root=my data'"
OPTIONS ?=
# Where pip finds torch, for another build than your default index holds (CPU, or one CUDA version).
TORCH_INDEX ?=
export TORCH_INDEX
PYTHON ?= python3
# What `make test-lowest` runs: test folders or files.
LOWEST_TESTS ?= tests
VENV := .venv
LOWEST := .venv-lowest
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
NAME := $(notdir $(patsubst %/,%,$(dir $(CONFIG))))_$(basename $(notdir $(CONFIG)))
WORK_DIR ?= work_dirs/$(NAME)
# The config of a first stage lies beside the config, as synthetic_frames.py; training starts from what that stage learned.
FIRST_STAGE = $(wildcard $(CONFIG:.py=_frames.py))
FIRST_DIR = $(WORK_DIR)_frames
WITH_OPTIONS = $(if $(OPTIONS),--cfg-options $(OPTIONS))
# The quickest whole runs: a few short sequences, one epoch; of pictures, of poses, and of actions.
SMOKE_DIR := work_dirs/smoke
SMOKE := data_root=$(SMOKE_DIR)/data synthetic_data.subjects=3 synthetic_data.sequences=5 synthetic_data.frames=30 \
	synthetic_data.cameras=2 epochs=1
SMOKE_POSES := data_root=$(SMOKE_DIR)/poses synthetic_data.subjects=3 synthetic_data.sequences=5 synthetic_data.frames=40 \
	synthetic_data.cameras=1 batch_size=4 epochs=1
SMOKE_ACTIONS := data_root=$(SMOKE_DIR)/actions synthetic_data.subjects=4 synthetic_data.videos=1 \
	+synthetic_data.test_videos=1 +synthetic_data.frames=24 +synthetic_data.max_frames=32 batch_size=4 epochs=1

.PHONY: train test test-lowest release-check check-extras lint unit smoke docs docs-linkcheck clean

train: $(READY)
	$(RUN) tools/make_synthetic.py --config $(CONFIG) $(WITH_OPTIONS)
	$(if $(FIRST_STAGE),$(RUN) tools/train.py $(FIRST_STAGE) --work-dir $(FIRST_DIR) --resume $(WITH_OPTIONS))
	$(RUN) tools/train.py $(CONFIG) --work-dir $(WORK_DIR) --resume \
		$(if $(FIRST_STAGE)$(OPTIONS),--cfg-options $(if $(FIRST_STAGE),load_from=$(FIRST_DIR)) $(OPTIONS))
	$(RUN) tools/test.py $(CONFIG) --work-dir $(WORK_DIR) --compare --draw 4 $(WITH_OPTIONS)

test: lint unit smoke

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m mypy --platform win32 --cache-dir .mypy_cache/windows

# One thread each: two processes that share two cores would only wait for each other.
unit: $(READY)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2

smoke: $(READY)
	rm -rf $(SMOKE_DIR)
	$(MAKE) --no-print-directory train CONFIG=configs/deformer/synthetic.py WORK_DIR=$(SMOKE_DIR)/deformer OPTIONS="$(SMOKE)"
	$(MAKE) --no-print-directory train CONFIG=configs/pdtm/synthetic.py WORK_DIR=$(SMOKE_DIR)/pdtm OPTIONS="$(SMOKE_POSES)"
	$(MAKE) --no-print-directory train CONFIG=configs/htt/synthetic.py WORK_DIR=$(SMOKE_DIR)/htt OPTIONS="$(SMOKE_ACTIONS)"

$(READY): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,view,test]'
	touch $@

# Warnings are errors: a link to nothing, a page in no table of contents, a docstring that cannot be read. Every page is
# read anew, because Sphinx does not repeat the warnings of pages that it has kept.
SPHINX = $(RUN) -m sphinx --fail-on-warning --keep-going --fresh-env --write-all --quiet --jobs auto \
	--doctree-dir build/site_doctrees docs

docs: $(VENV)/.ready-docs
	$(SPHINX) --builder html build/site
	$(RUN) docs/_ext/check_site.py build/site
	@echo 'The site is in build/site: python3 -m http.server --directory build/site'

docs-linkcheck: $(VENV)/.ready-docs
	$(SPHINX) --builder linkcheck build/site_links

$(VENV)/.ready-docs: $(READY)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# The tests with the lowest versions that setup.py allows; they have a virtual environment of their own.
test-lowest: $(LOWEST)/.ready
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 $(LOWEST_TESTS)

$(LOWEST)/.ready: setup.py constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints-lowest.txt torch
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[train,test]'
	touch $@

# Wheel and source distribution: contents, metadata, installation into empty environments; and every file of the zoo.
release-check:
	$(PYTHON) tools/release_check.py

# Each extra of setup.py by itself in an empty environment, with the commands that it is for: 20 minutes, 4 GB of disk.
check-extras: $(READY)
	$(RUN) tools/check_extras.py $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(EXTRAS)

clean:
	rm -rf $(VENV) $(LOWEST) work_dirs data build *.egg-info
