# Two commands do everything, set-up included: `make book` and `make test`.
VENV := .venv
UV := $(VENV)/uv/bin/uv
PYTHON ?= python3
READY := $(VENV)/.ready
BUILD_ARGS ?=
TEST_ARGS ?=
# loadfile: what the tests of a file share is set up once. Both processes keep what is compiled of the copies that
# they test, also where that is forbidden, and have a core each
PYTEST := PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# of a checkout that was copied or renamed: its programs would run the other's
ifneq ($(CURDIR),$(shell cat $(READY) 2>/dev/null || echo $(CURDIR)))
$(shell rm -rf $(VENV))
endif

.PHONY: help book test check lint lock clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 8

book: $(READY)  ## train what is not recorded yet and build the site (BUILD_ARGS="--profile smoke" for a first look)
	@$(VENV)/bin/bsn build $(BUILD_ARGS)

test: $(READY)  ## run every test, the built site included
	@$(PYTEST) $(TEST_ARGS)

check: $(READY)  ## run the tests that take seconds
	@$(PYTEST) -m "not slow" $(TEST_ARGS)

lint: $(READY)  ## check style, types, the direction of imports and the workflows
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports
	@$(VENV)/bin/zizmor --offline --quiet .github

lock: $(UV)  ## resolve the dependencies of both packages into requirements.txt
	@$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--custom-compile-command "make lock" --extra dev pyproject.toml book/pyproject.toml --output-file requirements.txt

clean:  ## remove everything that was built, except the environment
	rm -rf _build

$(UV):
	@echo "Setting up $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

# $(PYTHON) if its version fits; otherwise uv looks for one that does, or fetches it
$(VENV)/bin/python: | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' && python="$(PYTHON)" || python=">=3.11,<3.14"; \
		$(UV) venv --quiet --allow-existing --python "$$python" $(VENV) \
		|| { echo "make: Python 3.11, 3.12 or 3.13 is needed; none was found, and none could be fetched" >&2; exit 1; }

# the last step compiles what trains and what is imported, once: processes that start together would each do it,
# and in environments that forbid it to keep byte code, each process
$(READY): requirements.txt pyproject.toml book/pyproject.toml | $(VENV)/bin/python
	@VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes requirements.txt
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable . --editable book
	@export PYTHONDONTWRITEBYTECODE=; { $(VENV)/bin/python -m bookkit.compiled & $(VENV)/bin/python -c \
		"import importlib, bookkit.publish.extension, papermill, distributed; from bookkit.publish import libraries; \
		libraries.load(libraries.OTHERS + libraries.TENSORFLOW); \
		import jupyter_book.sphinx, sphinx_book_theme, sphinxcontrib.bibtex, sphinx_design.extension, myst_nb.sphinx_ext; \
		from sphinx.application import builtin_extensions; [*map(importlib.import_module, builtin_extensions)]"; wait; } 2>/dev/null
	@echo "$(CURDIR)" > $@
