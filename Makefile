# `make run` sets up, syncs and serves; `make test` sets up and tests. Both need Python 3.11 or newer, and git.

PYTHON ?= python3
PORT ?= 8000
RUN := python
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test docs chaos lint lock bench screenshots clean $(VENV)/run $(VENV)/dev

run: $(VENV)/run
	@PORT=$(PORT) $(BIN)/python scripts/run.py

test: $(VENV)/dev
	$(BIN)/$(RUN) -m pytest -n 4 --dist worksteal $(TESTS)

docs: $(VENV)/dev
	$(BIN)/python -m pytest -n 4 --dist worksteal -q -m reliability --reliability docs

chaos: $(VENV)/dev
	NIGHTLY=1 $(BIN)/python -m pytest tests/nightly/test_chaos.py $(TESTS)

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --severity-level medium --skip B608 -r agencies operations voices voiceproject scripts  # S608 is ruff's

screenshots: $(VENV)/dev
	$(BIN)/python -m scripts.screenshots

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks --write

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf $(VENV) .venvs .pytest_cache .mypy_cache .ruff_cache

# Looked at each time: the pinned versions may have changed, or Python.
$(VENV)/run:
	@scripts/venv $(PYTHON) $@ requirements.txt

$(VENV)/dev:
	@scripts/venv $(PYTHON) $@ requirements-dev.txt
