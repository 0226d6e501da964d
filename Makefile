# Every check of this repository; .ci/run and the README call these targets and nothing else.
#
#   make demo    set up, plan the main job, print what was written
#   make test    set up, run the tests
#   make check   lint, types, tests and the smoke run of the built wheels

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# The first interpreter that runs and is new enough; a name on PATH alone proves neither.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3 python,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
VENV ?= .venv
BUILD ?= build
DIST ?= dist
OUT ?= out
SPEC ?= examples/specs/llama-3-8b-h100-a100.yaml
TEST_WORKERS ?= 2
PYTEST_ARGS ?=
SUITES ?= spine pipelines placement

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES := $(shell find core plugins constraints objectives -type f -not -path '*/__pycache__/*')
EXAMPLES := $(patsubst %/pyproject.toml,%,$(wildcard examples/*/pyproject.toml))

.PHONY: demo test check lint format types package smoke benchmarks-short clean

demo: $(VENV)/.installed
	mkdir -p "$(OUT)"
	$(BIN)/parplan plan "$(SPEC)" -o "$(OUT)/plan.json" --report "$(OUT)/report.html"
	@echo "wrote $(abspath $(OUT))/plan.json and $(abspath $(OUT))/report.html"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -rs -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder \
	  --durations=10 $(PYTEST_ARGS)

check: lint types test smoke

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# On an installed copy: checkers see neither an editable install nor the renamed folders.
types: $(VENV)/.dev $(DIST)/.built
	rm -rf "$(BUILD)/typed"
	$(PIP) install --no-deps --target "$(BUILD)/typed" "$(DIST)"/parplan-*.whl
	MYPYPATH="$(BUILD)/typed" $(BIN)/mypy --cache-dir "$(BUILD)/mypy" -p parplan

package: $(DIST)/.built

# Outside the repository, in a new environment, from the wheels alone.
smoke: $(DIST)/.built
	.ci/smoke "$(DIST)" "$(BUILD)/smoke" "$(PYTHON)"

benchmarks-short: $(addprefix benchmarks-short-,$(SUITES))

# A few cases of a suite with some seconds each: that they run, and that their plans hold.
benchmarks-short-%: $(VENV)/.dev
	mkdir -p "$(OUT)"
	$(BIN)/python -m benchmarks $* --short --json "$(OUT)/$*.json" --plans "$(OUT)/plans" \
	  $(if $(PARPLAN_DATA),--data "$(PARPLAN_DATA)")

clean:
	rm -rf "$(VENV)" "$(BUILD)" "$(DIST)" "$(OUT)" *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer on PATH; install one or set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)"

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

# Uncompiled: of 17,000 files each is compiled once it is loaded, which few are.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install --no-compile --editable '.[dev]'
	@touch $@ "$(VENV)/.installed"

# The wheel is built from the sdist, so that neither lacks a file nor takes a stale build/lib; by
# the setuptools of the environment, once installing there has shown that one of its own serves.
$(DIST)/.built: pyproject.toml README.md LICENSE $(SOURCES) $(wildcard examples/*/pyproject.toml) | $(VENV)/.dev
	rm -rf "$(DIST)"
	mkdir -p "$(DIST)"
	for source in . $(EXAMPLES); do \
	  $(BIN)/python -m build --no-isolation --outdir "$(DIST)" "$$source" >"$(DIST)/build.log" 2>&1 \
	    || { cat "$(DIST)/build.log" >&2; exit 1; }; \
	done
	rm "$(DIST)/build.log"
	@touch $@
