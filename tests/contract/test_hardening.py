"""Properties of the source and its dependencies that keep docvault safe (T46)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import docvault
from docvault.api.app import create_app

ROOT = Path(__file__).parents[2]
SOURCE = Path(docvault.__file__).parent
LOCK = (ROOT / "requirements.lock").read_text()

# The first versions without a known vulnerability, and the vulnerability.
FLOORS = {
    "starlette": ((1, 5, 1), "CVE-2026-48710, CVE-2025-62727"),
    "python-multipart": ((0, 0, 27), "CVE-2026-42561, CVE-2026-40347, CVE-2026-24486"),
    "joserfc": ((1, 8, 0), "keys whose use does not allow verification"),
    "pillow": ((13, 0, 0), "image decoders"),
    "pypdfium2": ((5, 15, 0), "pdfium"),
}


def keywords() -> Iterator[tuple[str, str, ast.expr]]:
    """Yield every named argument of every call in the source."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg:
                yield str(path.relative_to(SOURCE)), node.arg, node.value


@pytest.mark.parametrize(
    ("name", "value"),
    [("verify", False), ("debug", True), ("shell", True), ("server_header", True),
     ("check_hostname", False), ("follow_redirects", True), ("raise_app_exceptions", False)],
)  # fmt: skip
def test_no_call_disables_a_protection(name: str, value: bool) -> None:
    found = [
        place
        for place, keyword, given in keywords()
        if keyword == name and isinstance(given, ast.Constant) and given.value is value
    ]
    assert found == []


def test_server_header_is_not_sent() -> None:
    given = [
        value.value
        for place, name, value in keywords()
        if place == "server/serve.py"
        and name == "server_header"
        and isinstance(value, ast.Constant)
    ]
    assert given == [False]


def test_debug_mode_is_off() -> None:
    app = create_app()
    assert app.debug is False
    assert (app.docs_url, app.redoc_url) == (None, None)


@pytest.mark.parametrize("name", FLOORS)
def test_pinned_versions_have_no_known_vulnerability(name: str) -> None:
    pinned = re.search(rf"^{re.escape(name)}==([\d.]+)", LOCK, re.MULTILINE)
    assert pinned is not None
    floor, reason = FLOORS[name]
    assert tuple(int(part) for part in pinned.group(1).split(".")) >= floor, reason


def test_pinned_packages_have_hashes() -> None:
    pinned = re.split(r"^(?=[a-z])", LOCK, flags=re.MULTILINE)[1:]
    assert len(pinned) > 40
    assert [entry.partition("==")[0] for entry in pinned if "--hash=sha256:" not in entry] == []
