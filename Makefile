# Every target sets itself up: a virtual environment in .venv with the tested versions of constraints.txt, made once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check links bench figures reproduce-table clean
.DEFAULT_GOAL := demo

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("ta2n needs Python 3.11 or newer, found " + sys.version.split()[0] + "; use make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## render clips, extract, train, evaluate: the main job end to end
	$(BIN)/ta2n demo

test: $(VENV)/.dev  ## the test suite, a process and a thread for each core
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical

check: $(VENV)/.dev links  ## format, lint, types, and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --package ta2n
	$(BIN)/mypy tests benchmarks
	PYTHONPATH=.typing $(BIN)/lint-imports

links:  ## .typing/ta2n: the package as one tree, for tools that cannot follow an editable install
	mkdir -p .typing/ta2n
	ln -sfn ../../src/ta2n/__init__.py .typing/ta2n/__init__.py
	ln -sfn ../../src/ta2n/py.typed .typing/ta2n/py.typed
	for name in cache_schema pipeline cli recipes; do ln -sfn ../../$$name .typing/ta2n/$$name; done

bench: $(VENV)/.dev  ## side-by-side speed and memory measurements
	mkdir -p build/bench
	$(BIN)/python benchmarks/heads.py --json build/bench/heads.json
	$(BIN)/python benchmarks/extraction.py --json build/bench/extraction.json
	$(BIN)/python benchmarks/evaluation.py --json build/bench/evaluation.json
	$(BIN)/python benchmarks/cache_reads.py --json build/bench/cache_reads.json
	$(BIN)/python benchmarks/startup.py --json build/bench/startup.json
	$(BIN)/python benchmarks/growth.py --json build/bench/growth.json
	$(BIN)/python benchmarks/finetune.py --json build/bench/finetune.json

figures: $(VENV)/.demo  ## the figures of README.md and docs: the demo's, and what make bench left in build/bench
	mkdir -p build
	$(BIN)/ta2n demo --json > build/demo.json
	$(BIN)/python benchmarks/figures.py collect demo build/demo.json
	for file in build/bench/*.json; do \
		if [ -f "$$file" ]; then $(BIN)/python benchmarks/figures.py collect $$(basename "$$file" .json) "$$file" || exit 1; fi; \
	done
	$(BIN)/python benchmarks/figures.py write

reproduce-table: $(VENV)/.demo  ## the paper's table from the caches at hand
	$(BIN)/ta2n table

clean:  ## remove what make made: the environment, the links, caches and the demo's output
	rm -rf $(VENV) .typing build dist demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
