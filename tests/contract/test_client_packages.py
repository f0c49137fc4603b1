"""The client packages in `clients` belong to this version of the service."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
PYTHON = tomllib.loads((CLIENTS / "python" / "pyproject.toml").read_text())


def package(folder: Path) -> Any:
    return json.loads((folder / "package.json").read_text())


@pytest.mark.req("B-142")
def test_client_packages_have_version_of_service() -> None:
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert PYTHON["project"]["version"] == service
    assert package(CLIENTS / "typescript")["version"] == service


def test_system_tests_build_packages_with_pinned_generators() -> None:
    tested = package(ROOT / "tests" / "system" / "contracts")["devDependencies"]
    typescript = package(CLIENTS / "typescript")
    pinned = typescript["dependencies"] | typescript["devDependencies"]
    assert pinned.items() <= tested.items()
    (generator,) = (r for r in PYTHON["build-system"]["requires"] if "==" in r)
    assert f"\n{generator} " in (CLIENTS / "python" / "requirements-build.lock").read_text()
    assert generator in PYTHON["dependency-groups"]["build"]
