# `make run` installs, syncs and starts the service. `make test` installs and tests. Both need Python 3.11 or newer.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Only one system test per entry point. `make test TESTS=` runs all tests, `make test TESTS=tests/unit` one folder.
TESTS = -m "not system or entry_point"

.PHONY: run test chaos lint lock bench screenshots clean $(VENV)/run $(VENV)/dev

run: $(VENV)/run
	@PORT=$(PORT) $(BIN)/python -m scripts.run

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 4 --dist worksteal $(TESTS)

chaos: $(VENV)/dev
	NIGHTLY=1 $(BIN)/python -m pytest tests/nightly/test_chaos.py

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --severity-level medium --skip B608 -r agencies operations scripts ultravox voiceproject voices  # ruff checks S608

screenshots: $(VENV)/dev
	$(BIN)/python -m tests.browser.screenshots

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks --write

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf $(VENV) .venvs .pytest_cache .mypy_cache .ruff_cache

# Phony, because the pinned versions or Python may have changed.
$(VENV)/run:
	@scripts/venv $(PYTHON) $@ requirements.txt

$(VENV)/dev:
	@scripts/venv $(PYTHON) $@ requirements-dev.txt
