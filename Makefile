# The two commands of the README are `make demo` and `make test`; each sets up what it needs.
# Settings (see tools/setup/install.py): TORCH_INDEX, MMCV_LINKS, and PYTHON.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(PYTHON) tools/setup/install.py
# core and, for the tests, everything that they compare with
TEST_EXTRAS := test peers lora report export web
# a file's tests share what they built; each process needs about 3 GB, and three keep two cores busy,
# since many tests wait for processes of their own; bytecode is kept, also where the environment says not to
# a process that dies ends the run: xdist would wait for it for ever
PARALLEL := --numprocesses 3 --dist loadfile --max-worker-restart=0

.PHONY: demo compare test coverage test-slow peers lint docs setup

setup:
	@$(INSTALL)

demo: setup
	@$(BIN)/convnext-dense demo

compare:
	@$(INSTALL) --extras report
	@$(BIN)/convnext-dense compare --demo

test:
	@$(INSTALL) --extras $(TEST_EXTRAS)
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --ignore=tests/export \
		$(COVERAGE)
	@# the runtimes of exports bring thread pools of their own, which processes that fork do not survive
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/export $(COVERAGE)

# the same, and which lines no test runs; measuring them takes half of the time again
coverage: COVERAGE := --cov --cov-append --cov-report=term:skip-covered
coverage: test

test-slow:
	@$(INSTALL) --extras $(TEST_EXTRAS)
	@$(BIN)/python -m pytest -m slow

peers:
	@$(INSTALL) --extras peers

lint:
	@$(INSTALL) --extras test dev
	@$(BIN)/ruff check .
	@$(BIN)/mypy convnext_dense

# the site, in docs/_build/html; a warning or a dead link inside of it is an error
docs:
	@$(INSTALL) --extras docs
	@$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'
