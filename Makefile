# Each of these works as the first command in a fresh clone: it creates .venv from requirements.lock once, then runs.
PYTHON ?= python3
EXTRAS ?= test,postgres,onnx,service
PYTEST_ARGS ?=
SEARCH_ARGS ?=
SERVE_ARGS ?=

BIN := .venv/bin
# One stamp per set of extras; older than pyproject.toml or the lock means: install again.
RUNTIME := .venv/.installed
SERVICE := .venv/.installed-service
DEVELOPMENT := .venv/.installed-$(EXTRAS)
# Building without isolation keeps build tools under the lock too; -qq keeps index addresses out of logs.
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c requirements.lock

.DEFAULT_GOAL := help
.PHONY: help search serve test check dashboard lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

search: $(RUNTIME) ## search 200 architectures on the bundled digits; the same command continues
	$(BIN)/python launch.py --space hybrid_layout --budget 200 $(SEARCH_ARGS)

serve: $(SERVICE) ## serve searches on http://127.0.0.1:8000; the first time it prints a token
	$(BIN)/python launch.py serve --first-token admin $(SERVE_ARGS)

test: $(DEVELOPMENT) ## run every test that this machine can run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(DEVELOPMENT) ## lint, format, types, import table, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/lint-imports
	$(MAKE) test

dashboard: $(RUNTIME) ## show the studies on http://127.0.0.1:8080
	$(BIN)/python launch.py dashboard

lock: ## write requirements.lock from what .venv holds
	@{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --all --exclude-editable | sort -f; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## remove the environment and caches; runs/ and zoo/ stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv:
	@echo "creating .venv"
	$(PYTHON) -m venv .venv

$(RUNTIME) $(SERVICE) $(DEVELOPMENT): pyproject.toml requirements.lock | .venv
	@echo "installing under requirements.lock; the first time takes a few minutes"
	@$(INSTALL) pip setuptools
	@$(INSTALL) --no-build-isolation -e ".$(patsubst .installed-%,[%],$(filter .installed-%,$(@F)))"
	@touch $@
