"""The layers: the contracts of import-linter, and rules it cannot express."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import docvault

ROOT = Path(__file__).parents[2]
SOURCE = Path(docvault.__file__).parent
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_import_contracts_are_kept() -> None:
    # In a process of its own: import-linter disables all existing loggers.
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("domain/")])
def test_domain_imports_neither_http_nor_sql(module: str) -> None:
    forbidden = {"fastapi", "starlette", "sqlalchemy", "psycopg", "httpx", "asyncio"}
    assert {name.split(".")[0] for name in imports(SOURCE / module)} & forbidden == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("services/")])
def test_services_know_neither_http_nor_sql(module: str) -> None:
    forbidden = {"fastapi", "starlette", "sqlalchemy", "psycopg"}
    assert {name.split(".")[0] for name in imports(SOURCE / module)} & forbidden == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("repositories/")])
def test_repositories_never_commit(module: str) -> None:
    tree = ast.parse((SOURCE / module).read_text())
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert called & {"commit", "rollback", "begin"} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("api/")])
def test_endpoints_do_not_read_bodies_directly(module: str) -> None:
    """FastAPI reads its own form parameters before the caller is checked."""
    names = {name.rsplit(".", 1)[-1] for name in imports(SOURCE / module)}
    assert names & {"UploadFile", "File", "Form"} == set()


def test_no_buffering_middleware_is_used() -> None:
    used = [m for m in MODULES if "BaseHTTPMiddleware" in (SOURCE / m).read_text()]
    assert used == []
