# The environment is .venv in this checkout; a stamp keeps it from being made twice.
PYTHON ?= python3
PY     := .venv/bin/python
STAMP  := .venv/.installed
FIT    ?= --ticker ^GSPC --source sample

.DEFAULT_GOAL := help
.PHONY: help env fit test test-all test-postgres lint format bench bench-peers data-table clean

help:
	@echo "make fit          forecast the S&P 500 sample: data, training, forecast, verdict (FIT='--ticker ...' for others)"
	@echo "make test         the suite without the slow proofs     make test-all    all of it"
	@echo "make lint         ruff and mypy                         make format      ruff, in place"
	@echo "make bench        every speed target (two hours)        make bench-peers NeuralForecast and Darts (two hours)"
	@echo "make data-table   what becomes of every file in ../shared/data"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; $$($(PYTHON) --version) was found. Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(PY) || { echo "Making the environment in .venv"; $(PYTHON) -m venv .venv; }
	@echo "Installing the toolkit and what it needs into .venv (minutes the first time)"
	@.venv/bin/pip install -qq --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	@touch $@

fit: env
	@.venv/bin/forecast fit $(FIT)

test: env
	@$(PY) -m pytest -q -n auto --dist worksteal

test-all: env
	@$(PY) -m pytest -q -n auto --dist worksteal -m ""

# studies on a PostgreSQL server of Debian's packages, which the tests start themselves; a skip is a failure here
test-postgres: env
	@NEED_POSTGRES=1 $(PY) -m pytest -q -m slow -k postgresql tests/forecast/test_tune.py

lint: env
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: env
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

# every benchmarks/bench_*.py keeps its figures as JSON under benchmarks/results; then one table of all of them
bench: env
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script" >&2; $(PY) $$script >/dev/null; done
	@$(PY) benchmarks/table.py

# one environment per file of requirements: benchmarks/peers/darts.txt -> .venv-darts; then the comparison (two hours;
# one that was interrupted goes on with `.venv/bin/python benchmarks/peers.py`, then benchmarks/table.py)
bench-peers: env
	@set -e; for needs in benchmarks/peers/*.txt; do \
		name=$$(basename $$needs .txt); echo "Installing $$name into .venv-$$name" >&2; \
		test -x .venv-$$name/bin/python || $(PYTHON) -m venv .venv-$$name; \
		.venv-$$name/bin/pip install -qq --disable-pip-version-check --requirement $$needs; done
	@$(PY) benchmarks/peers.py --fresh
	@$(PY) benchmarks/table.py

data-table: env
	@$(PY) -m tests.data_table

clean:
	@rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
