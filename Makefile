# `make run` sets up, syncs and serves; `make test` sets up and tests. Both need Python 3.11 or newer, and git.

PYTHON ?= python3
PORT ?= 8000
RUN := python
VENV := .venv
BIN := $(VENV)/bin

# What is left of a Python that was upgraded or removed is made anew.
STALE := $(shell [ ! -e $(VENV) ] || $(BIN)/python -c 'import pip' 2> /dev/null || rm -rf $(VENV))

.PHONY: run test docs lint lock bench clean

run: $(VENV)/run
	@PORT=$(PORT) $(BIN)/python scripts/run.py

test: $(VENV)/dev
	$(BIN)/$(RUN) -m pytest -n 4 --dist worksteal $(TESTS)

docs: $(VENV)/dev
	$(BIN)/python -m pytest -n 4 --dist worksteal -q -m reliability --reliability docs

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --severity-level medium --skip B608 -r agencies voices voiceproject scripts  # S608 is ruff's

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks --scaling --write

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes benchmarks/requirements.in -o benchmarks/requirements.txt

clean:
	rm -rf $(VENV) .venvs .pytest_cache .mypy_cache .ruff_cache

# Reinstalled when the pinned versions change.
$(VENV)/run: requirements.txt
	@scripts/venv $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt
	@scripts/venv $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(VENV)/run $@

$(VENV)/bench: benchmarks/requirements.txt $(VENV)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
