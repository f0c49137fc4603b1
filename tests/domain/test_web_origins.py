"""The origins of web pages that may call the service."""

from pathlib import Path
from typing import Any

import pytest

from docvault.domain.web_origins import WebOrigins
from docvault.settings import Settings

EXTERNAL: dict[str, Any] = {
    "database_url": "postgresql://docvault@localhost/docvault",
    "secret_key": "0123456789abcdef" * 4,
}
PORTAL = "https://portal.example.org"


def test_no_origin_is_trusted_without_the_setting() -> None:
    origins = WebOrigins.of(Settings(**EXTERNAL))
    assert not origins.covers("/v1/customer/documents")
    assert not origins.trusts(PORTAL)
    assert origins.frame_ancestors == "'none'"


@pytest.mark.parametrize(
    "origin",
    [
        "http://portal.example.org",
        "https://portal.example.org:8443",
        "https://portal.example.org.evil.example",
        "https://evil.portal.example.org",
        "https://portal.example.org/",
        "HTTPS://PORTAL.EXAMPLE.ORG",
        "null",
        "",
    ],
)
def test_only_the_exact_origin_is_trusted(origin: str) -> None:
    origins = WebOrigins.of(Settings(**EXTERNAL, cors_origins=PORTAL))
    assert origins.trusts(PORTAL)
    assert not origins.trusts(origin)


class TestEmbedded:
    """The mode of `make run`."""

    def test_pages_of_this_machine_are_trusted(self, tmp_path: Path) -> None:
        origins = WebOrigins.of(Settings(data_dir=tmp_path))
        assert origins.trusts("http://localhost:5173")
        assert origins.trusts("http://127.0.0.1:3000")
        assert not origins.trusts("http://localhost.evil.example")
        assert not origins.trusts("https://portal.example.org")
        assert origins.frame_ancestors == "http://localhost:* http://127.0.0.1:*"

    def test_setting_replaces_this_machine(self, tmp_path: Path) -> None:
        origins = WebOrigins.of(Settings(data_dir=tmp_path, cors_origins=PORTAL))
        assert not origins.trusts("http://localhost:5173")
        assert origins.frame_ancestors == PORTAL


@pytest.mark.parametrize(
    ("cors_admin", "path", "covered"),
    [
        (False, "/v1/customer/documents", True),
        (False, "/uploads/abc", True),
        (False, "/v1/admin/customers", False),
        (True, "/v1/admin/customers", True),
        (True, "/v1/integration/customers/c-1", False),
        (True, "/livez", False),
    ],
)
def test_paths_are_those_that_pages_may_call(cors_admin: bool, path: str, covered: bool) -> None:
    settings = Settings(**EXTERNAL, cors_origins=PORTAL, cors_admin=cors_admin)
    assert WebOrigins.of(settings).covers(path) is covered


def test_paths_below_a_prefix_are_covered() -> None:
    url = "https://example.org/docvault"
    origins = WebOrigins.of(Settings(**EXTERNAL, cors_origins=PORTAL, public_url=url))
    assert origins.covers("/docvault/v1/customer/documents")
    assert origins.covers("/v1/customer/documents")
    assert not origins.covers("/docvault/v1/integration/gate")


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "portal.example.org",
        "https://portal.example.org/",
        "https://Portal.example.org",
        "https://*.example.org",
        "https://portal.example.org:443",
        "http://portal.example.org:80",
        "https://a.example https://b.example",
        "https://a.example;script-src 'unsafe-inline'",
    ],
)
def test_origin_that_no_browser_sends_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(ValueError, match="must be exact origins"):
        Settings(**EXTERNAL, cors_origins=value)


def test_admin_setting_without_origins_is_refused() -> None:
    with pytest.raises(ValueError, match="DOCVAULT_CORS_ADMIN requires DOCVAULT_CORS_ORIGINS"):
        Settings(**EXTERNAL, cors_admin=True)
