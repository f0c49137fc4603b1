"""The pages of docs/reference agree with the code."""

import json
import re
import tomllib

import pytest
from tools.reference.pages import FOLDER, PAGES, ROOT, error_classes, metric_rows

from docvault.domain.media_type_names import REFUSED_NAMES
from docvault.domain.media_types import KNOWN_MEDIA_TYPES
from docvault.domain.scopes import Scope
from docvault.errors.details import DETAIL_CODES
from docvault.observability.metrics import metric_names


@pytest.mark.parametrize("name", PAGES)
def test_reference_page_is_current(name: str) -> None:
    written = (FOLDER / f"{name}.md").read_text()
    assert written == PAGES[name](), "run `make reference`"


def test_reference_lists_every_metric() -> None:
    listed = {name for name, *_ in metric_rows()}
    assert listed == {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names()}


def test_reference_lists_every_problem_code() -> None:
    text = (FOLDER / "problem-codes.md").read_text()
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert listed == {error.code for error in error_classes()} | DETAIL_CODES.keys()


@pytest.mark.req("B-089")
def test_reference_lists_every_kind_of_file() -> None:
    text = (FOLDER / "kinds.md").read_text()
    tables = re.findall(r"^\| .+? \| `(.+?)` \| `\.", text, re.MULTILINE)
    assert sorted(tables) == sorted(KNOWN_MEDIA_TYPES)
    for kind in REFUSED_NAMES:
        assert f"| `{kind}` |" in text


def test_reference_lists_every_scope() -> None:
    text = (FOLDER / "http-api.md").read_text()
    listed = set(re.findall(r"^\| `(\w+:\w+)` \|", text, re.MULTILINE))
    assert listed == {scope.value for scope in Scope}


def test_changelog_starts_with_package_version() -> None:
    versions = re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert versions[0] == project["version"]


def test_reference_lists_every_audit_action() -> None:
    text = (FOLDER / "audit-actions.md").read_text()
    contract = json.loads((ROOT / "openapi" / "admin.json").read_text())
    actions = contract["components"]["schemas"]["AuditAction"]["enum"]
    assert sorted(re.findall(r"`(\w+\.\w+)`", text)) == sorted(actions)


def test_monitoring_quotes_log_lines_of_the_code() -> None:
    page = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    table = page.partition("## Log lines")[2]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    quoted = [line for cell in cells for line in re.findall(r"`([^`]+)`", cell)]
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    pieces = [piece.strip(" :") for line in quoted for piece in line.split("…")]
    assert [piece for piece in pieces if piece not in source] == []
