# Everything a newcomer needs is here; CONTRIBUTING.md says when to use which.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PORT ?= 8000
# Each process of a test run starts its own servers, so that more than four help nobody.
PARALLEL := -n logical --maxprocesses 4 --dist worksteal
SHARE ?= 1

# What is about bytes or the database: not the rules and parsers, nor what stores next to nothing.
BACKENDS := tests/api tests/jobs tests/migrations tests/repositories tests/services \
	tests/test_cli.py tests/test_database.py tests/test_metrics.py \
	$(addprefix --ignore=tests/api/,admin/test_api_keys.py admin/test_document_types.py \
	admin/test_settings.py integration/test_document_types.py test_authentication.py \
	test_errors.py test_guard.py test_isolation.py test_middleware.py test_hostile_bodies.py \
	test_key_guessing.py test_mass_assignment.py)

.PHONY: help install run test test-backends test-system test-torture torture lint format openapi requirements lock bench

help:
	@echo "make run           start docvault in ./data and say how to try it"
	@echo "make test          check and test everything that needs no system package"
	@echo "make test-backends what is about bytes or the database once more, on S3 and Debian's PostgreSQL"
	@echo "make test-system   the tests that need Debian packages or npm"
	@echo "make test-torture  crashes, races and faults, in the sizes of CI"
	@echo "make torture       the same in full (SHARE=0.1 for a tenth); writes docs/guarantees.md"
	@echo "make requirements  list every requirement with the tests that show it"
	@echo "make install       only make the environment"
	@echo "make format        format the code"
	@echo "make openapi       write the OpenAPI documents anew"
	@echo "make bench         measure against the peers; writes docs/benchmarks.md (ONLY=p1,p4 for some)"
	@echo "make lock          pin the dependencies anew (needs uv)"

install: $(VENV)/installed

$(VENV)/installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install
	@exec $(BIN)/docvault serve --port $(PORT)

test: install lint
	$(BIN)/pytest -m "not system and not torture" $(PARALLEL)

test-backends: install
	$(BIN)/pytest --store s3 --debian-postgres 15 $(PARALLEL) $(BACKENDS)

test-system: install
	$(BIN)/pytest -m "system and not torture"

test-torture: install
	$(BIN)/pytest -m torture

torture: install
	$(BIN)/pytest -m guarantee --torture $(SHARE)
	$(BIN)/python -m tests.torture.guarantees

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/docvault openapi --check

format: install
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

openapi: install
	$(BIN)/docvault openapi

requirements: install
	@$(BIN)/python tests/requirements.py

# Writes docs/benchmarks.md. ONLY=p1,p4 renews these rows; BENCH=--quick only shows that it works.
bench: install
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(BENCH)

# Names, versions and hashes; no address of any index.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --extra embedded --extra tracing pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --extra embedded --group dev pyproject.toml -o requirements-dev.lock
