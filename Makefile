# Everything a newcomer needs is here; CONTRIBUTING.md says when to use which.
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install lock

install: $(VENV)/installed

$(VENV)/installed: requirements-dev.lock pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Names, versions and hashes; no address of any index. Needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --extra embedded pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --extra embedded --group dev pyproject.toml -o requirements-dev.lock
