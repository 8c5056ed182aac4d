# From a fresh checkout: `make run` or `make test`; both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup d4rl run test lock wheel clean

help:
	@echo 'make run    run a small experiment end to end; ARGS="..." are its flags'
	@echo 'make test   run the tests, side by side; ARGS="..." goes to pytest'
	@echo '            (-n0: in one process)'
	@echo 'make setup  make .venv with Python 3.10 and all packages of the lock;'
	@echo '            PYTHON=/path/to/python3.10 names the interpreter'
	@echo 'make d4rl   add the real D4RL environments (needs gcc)'
	@echo 'make lock   resolve requirements*.in into the locks anew (needs uv)'
	@echo 'make wheel  build the wheel into dist/'
	@echo 'make clean  remove build outputs and caches; keeps .venv and all runs'

setup:
	@bash scripts/setup.sh base
	@echo 'Set up: next, `make run` or `make test`.'

d4rl:
	@bash scripts/setup.sh d4rl

run:
	@bash scripts/setup.sh base
	@.venv/bin/python -m acme_msg.experiments.quickstart $(ARGS)

# Files side by side. In the order of their names short ones come last; by
# default those with few tests would, which are the longest.
IN_PARALLEL = --numprocesses=logical --maxprocesses=4 --dist=loadfile \
  --no-loadscope-reorder
test:
	@bash scripts/setup.sh test
	@.venv/bin/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS) $(ARGS)

# The annotations in the locks tell which package asked for which.
UV_COMPILE = uv pip compile --quiet --upgrade --python-version 3.10 \
  --generate-hashes --no-emit-index-url --no-emit-find-links \
  --annotation-style line --custom-compile-command 'make lock'
lock:
	@command -v uv >/dev/null || \
	  { echo 'make lock: install uv first (docs.astral.sh/uv).' >&2; exit 1; }
	@$(UV_COMPILE) requirements.in -o requirements.lock
	@$(UV_COMPILE) --no-deps -c requirements.lock requirements-d4rl.in \
	  -o requirements-d4rl.lock

wheel:
	@bash scripts/setup.sh base
	@.venv/bin/python -m pip wheel --quiet --no-deps --no-build-isolation \
	  --wheel-dir dist .
	@rm -rf build
	@ls dist/*.whl

clean:
	@rm -rf build dist *.egg-info .pytest_cache
	@find . \( -path ./.venv -o -path ./runs \) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
