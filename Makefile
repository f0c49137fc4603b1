# Everything a newcomer needs is here; CONTRIBUTING.md says when to use which.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
PORT ?= 8000
# Each process of a test run starts its own servers, so more than four bring no gain.
PARALLEL := -n logical --maxprocesses 4 --dist worksteal
SHARE ?= 1
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# The tests that depend on the store or the database; pure rules and parsers are left out.
BACKENDS := tests/api tests/jobs tests/db tests/repositories tests/services \
	tests/cli/test_main.py tests/observability/test_metrics.py \
	$(addprefix --ignore=tests/api/,admin/test_api_keys.py admin/test_document_types.py \
	admin/test_portal_settings.py integration/test_document_types.py http/test_errors.py \
	http/test_hostile_bodies.py http/test_mass_assignment.py http/test_middleware.py \
	openapi routing/test_authentication.py routing/test_guard.py routing/test_isolation.py \
	routing/test_key_guessing.py)

.PHONY: help engine publish pin install run demo test test-backends test-system test-torture torture coverage lint \
	format openapi reference requirements lock bench walk clients

help:
	@echo "make run           start docvault in ./data and say how to try it"
	@echo "make demo          fill the running docvault with an example company"
	@echo "make test          check and test everything that needs no system package"
	@echo "make test-backends what is about bytes or the database once more, on S3 and Debian's PostgreSQL"
	@echo "make test-system   the tests that need Debian packages or npm"
	@echo "make engine        run the compose deployment with docker and measure it"
	@echo "make test-torture  crashes, races and faults, in the sizes of CI"
	@echo "make torture       the same in full (SHARE=0.1 for a tenth); writes docs/guarantees.md"
	@echo "make coverage      the tests of make test, and which lines they reach"
	@echo "make requirements  list every requirement with the tests that show it"
	@echo "make install       only make the environment"
	@echo "make lint          check format, lint, types, layers and openapi/"
	@echo "make format        format the code"
	@echo "make openapi       write the OpenAPI documents"
	@echo "make reference     write docs/reference from the code"
	@echo "make bench         measure against the peers; writes docs/benchmarks.md (ONLY=p1,p4 for some)"
	@echo "make clients       build the client packages for TypeScript and Python into dist/"
	@echo "make walk          print the files that a request enters, for four requests"
	@echo "make publish       build the image for two platforms and push it: IMAGE=registry/name"
	@echo "make pin           pin the images of other projects by their digests"
	@echo "make lock          pin the dependencies (needs uv)"

install: $(VENV)/installed

# What runs docvault. The tests and the linters come on top, with `installed`.
$(VENV)/runtime: requirements.lock requirements-build.lock pyproject.toml
	@echo "Installing docvault into $(VENV); this takes about half a minute."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed: $(VENV)/runtime requirements-dev.lock
	@echo "Installing the tests and the linters."
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

run: $(VENV)/runtime
	@exec $(BIN)/docvault serve --port $(PORT)

demo: $(VENV)/runtime
	@$(BIN)/docvault demo --url http://127.0.0.1:$(PORT)

test: install lint
	$(BIN)/pytest -m "not system and not torture" $(PARALLEL)

coverage: install
	$(BIN)/pytest -m "not system and not torture" $(PARALLEL) --cov --cov-report=term:skip-covered

test-backends: install
	$(BIN)/pytest --store s3 --debian-postgres 15 $(PARALLEL) $(BACKENDS)

test-system: install
	$(BIN)/pytest -m "system and not torture"

# The compose deployment on the engine of `docker`; writes docs/guarantees.md. ONLY=memory,upgrade runs
# these parts.
engine: install
	$(BIN)/python -m tests.system.engine $(if $(ONLY),--only $(ONLY))
	$(BIN)/python -m tests.torture.guarantees

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

reference: install
	@$(BIN)/python -m tools.reference.pages

requirements: install
	@$(BIN)/python tests/requirements.py

# Writes docs/benchmarks.md. ONLY=p1,p4 renews these rows; BENCH=--quick only shows that it works.
bench: install
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(BENCH)

walk: install
	@$(BIN)/pytest -qq -s -p no:cacheprovider tests/walk.py

# Names, versions and hashes; no address of any index.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links
lock:
	$(LOCK) --extra embedded --extra tracing pyproject.toml -o requirements.lock
	$(LOCK) --group build -o requirements-build.lock
	$(LOCK) --extra embedded --group dev pyproject.toml -o requirements-dev.lock
	$(LOCK) --group clients/python/pyproject.toml:build --extra ed25519 \
		clients/python/pyproject.toml \
		-o clients/python/requirements-build.lock

# The image for a registry: make publish IMAGE=registry.example.org/docvault. Needs a buildx builder for
# both platforms, and a login. Equal commits make images with equal times.
publish:
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker buildx build --push \
		--platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
		--label org.opencontainers.image.created=$$(git log -1 --format=%cI) \
		--label org.opencontainers.image.revision=$$(git rev-parse HEAD) \
		--label org.opencontainers.image.source=$(SOURCE) \
		--tag $(IMAGE):$(VERSION) .

pin:
	deploy/pin-images.sh

# Needs npm, and Node.js 18 or later.
clients: $(VENV)/runtime
	@mkdir -p dist
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund
	cd clients/typescript && npm pack --silent --pack-destination ../../dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist ./clients/python
