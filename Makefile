# From a fresh checkout: `make run` or `make test`; each sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help setup d4rl run check format test docs mutants fuzz lock wheel clean

help:
	@echo 'make run      run a small experiment end to end; ARGS="..." are its flags'
	@echo 'make check    check style and types (under a minute)'
	@echo 'make test     make check, then all tests; ARGS="..." goes to pytest'
	@echo '              (-n0: in one process)'
	@echo 'make docs     build the site into build/site'
	@echo 'make format   sort imports and apply the safe corrections of the linter'
	@echo 'make mutants  measure which wrong programs the tests of MSG catch'
	@echo 'make fuzz     load randomly broken datasets, 10 minutes for each loader;'
	@echo '              ARGS="--seconds=60 hdf5" chooses'
	@echo 'make setup    make .venv with Python 3.10 and all packages of the lock;'
	@echo '              PYTHON=/path/to/python3.10 names the interpreter'
	@echo 'make d4rl     add the real D4RL environments (needs gcc)'
	@echo 'make lock     resolve requirements*.in into the locks anew'
	@echo 'make wheel    build the wheel into dist/'
	@echo 'make clean    remove build outputs and caches; keeps .venv and all runs'

setup:
	@bash scripts/setup.sh base
	@echo 'Set up: next, `make run` or `make test`.'

d4rl:
	@bash scripts/setup.sh d4rl

run:
	@bash scripts/setup.sh base
	@.venv/bin/python -m acme_msg.experiments.quickstart $(ARGS)

# mypy finds the package by its name, which the folder need not have.
check:
	@bash scripts/setup.sh dev
	@.venv/bin/ruff check --quiet .
	@mkdir -p .venv/types && ln -sfn ../.. .venv/types/acme_msg
	@MYPYPATH=.venv/types .venv/bin/mypy --no-error-summary -p acme_msg

format:
	@bash scripts/setup.sh dev
	@.venv/bin/ruff check --fix .

# Files side by side, in the order of their names, which starts the long ones
# early; pytest-xdist's own order starts those with few tests, the longest, last.
IN_PARALLEL = --numprocesses=logical --maxprocesses=4 --dist=loadfile \
  --no-loadscope-reorder
test: check
	@bash scripts/setup.sh test
	@.venv/bin/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS) $(ARGS)

docs:
	@bash scripts/setup.sh dev
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet
	@echo 'The site is in build/site.'

mutants:
	@bash scripts/setup.sh dev
	@.venv/bin/python scripts/mutants.py $(ARGS)

fuzz:
	@bash scripts/setup.sh test
	@.venv/bin/python tests/datasets/fuzz.py $(ARGS)

# The annotations in the locks tell which package asked for which.
UV_COMPILE = .venv/bin/uv pip compile --quiet --upgrade --python-version 3.10 \
  --generate-hashes --no-emit-index-url --no-emit-find-links \
  --annotation-style line --custom-compile-command 'make lock'
lock:
	@bash scripts/setup.sh base
	@$(UV_COMPILE) requirements.in -o requirements.lock
	@$(UV_COMPILE) -c requirements.lock requirements-dev.in \
	  -o requirements-dev.lock
	@$(UV_COMPILE) --no-deps -c requirements.lock requirements-d4rl.in \
	  -o requirements-d4rl.lock

wheel:
	@bash scripts/setup.sh base
	@.venv/bin/python -m pip wheel --quiet --no-deps --no-build-isolation \
	  --wheel-dir dist .
	@rm -rf build/lib build/bdist.*
	@ls dist/*.whl

clean:
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	@find . \( -path ./.venv -o -path ./runs \) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
