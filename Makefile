# `make demo` compares four methods on the built-in task; `make test` runs the tests. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test chaos bench lint recipes clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/minidisc demo --storage minidisc-runs

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

chaos: setup
	$(BIN)/python -m pytest -m chaos_long -s tests/chaos

bench: setup
	$(BIN)/python benchmarks/bench.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

recipes: setup
	$(BIN)/python .ci/recipes.py

clean:
	rm -rf $(VENV) build *.egg-info
