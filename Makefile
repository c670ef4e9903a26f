# `make run` and `make test` need Python 3.11 or newer and make; everything else they install into .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run test browser docs audit clean

run: $(STAMP)
	$(BIN)/influence run

test: $(STAMP) browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

# A page for every module, from its docstrings.
docs: $(STAMP)
	$(BIN)/python docs/reference.py docs/api influence tasks flows
	@echo "docs/api/index.html"

# Known weaknesses of the pinned packages. Asks the package index about each: where it does not answer, this fails and
# says so, rather than pass for clean. Not part of CI, which must pass without that service.
audit: $(STAMP)
	$(BIN)/python -m venv .work/audit
	.work/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.work/audit/bin/pip-audit --strict --vulnerability-service pypi --no-deps --disable-pip --requirement constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1): run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

# The report's tests look at it in a real browser.
browser:
	@if ! command -v chromium google-chrome >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing chromium for the tests of the report ..."; \
	    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null \
	      || echo "chromium could not be installed: the tests that need a browser will be skipped"; \
	  else \
	    echo "No chromium or google-chrome: the tests that need a browser will be skipped"; \
	  fi; \
	fi

clean:
	rm -rf .venv .work .prefect .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
