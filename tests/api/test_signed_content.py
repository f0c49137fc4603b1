"""Content URLs: files for elements of web pages, which send no credential (SECURITY T69)."""

import base64
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.api.stored_state import audited
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.auth.keyring import Keyring
from docvault.domain.rate_limits import Limit
from docvault.domain.scopes import Scope
from docvault.services.resources import Resources
from docvault.settings import Settings

PORTAL = "https://portal.example.org"
PATH = "/v1/customer/documents/contract"
ADMIN_PATH = "/v1/admin/customers/c-1/documents/contract"
KEY_PATH = "/v1/integration/customers/c-1/documents/contract"
JPEG = files.jpeg()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data", failed_credentials_per_minute=0, cors_origins=(PORTAL,)
    )


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a document of two files."""
    await make_type(admin, "Contract", max_files=2)
    await make_customer(admin, "c-1")
    client = customer_of("c-1")
    parts = [("file", ("a.jpg", JPEG)), ("file", ("b.pdf", files.pdf()))]
    assert (await client.put(PATH, files=parts)).status_code == 201
    return client


async def url_of(client: httpx.AsyncClient, path: str = PATH, **members: Any) -> str:
    """Return the path of a new content URL."""
    response = await client.post(f"{path}/content-urls", json={"purpose": "inline", **members})
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    url: str = response.json()["url"]
    assert url.startswith("http://docvault.test/content/")
    return url.removeprefix("http://docvault.test")


def assert_refused(response: httpx.Response) -> None:
    """Assert that the response says that the URL is not valid, and nothing more."""
    problem = response.json()
    assert (response.status_code, problem["code"]) == (403, "invalid-content-url")
    assert problem["detail"] == "The URL is invalid or no longer valid."
    assert problem["errors"] == []
    assert "www-authenticate" not in response.headers


@pytest.mark.req("B-154")
class TestUse:
    """A URL within its minute."""

    async def test_file_is_shown_without_a_credential(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        response = await http.get(await url_of(customer))
        assert (response.status_code, response.content) == (200, JPEG)
        assert response.headers["content-type"] == "image/jpeg"
        assert response.headers["content-disposition"].startswith("inline")
        # An element of a page of another origin may show it, a script may not run in it.
        assert response.headers["cross-origin-resource-policy"] == "cross-origin"
        policy = response.headers["content-security-policy"]
        assert policy == f"default-src 'none'; sandbox; frame-ancestors {PORTAL}"
        assert response.headers["referrer-policy"] == "no-referrer"

    async def test_script_of_a_listed_origin_may_read_it(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        response = await http.get(path, headers={"Origin": PORTAL})
        assert response.headers["access-control-allow-origin"] == PORTAL
        response = await http.get(path, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in response.headers

    async def test_file_and_purpose_are_those_of_the_request(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        saved = await http.get(await url_of(customer, purpose="attachment", file=2))
        assert saved.content == files.pdf()
        assert saved.headers["content-disposition"].startswith("attachment")
        preview = await http.get(await url_of(customer, purpose="preview", size="small"))
        assert preview.status_code == 200
        assert preview.headers["content-type"] in {"image/jpeg", "image/png"}
        assert preview.headers["cross-origin-resource-policy"] == "cross-origin"

    async def test_ranges_and_conditions_work(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        part = await http.get(path, headers={"Range": "bytes=0-1"})
        assert (part.status_code, part.content) == (206, JPEG[:2])
        tag = part.headers["etag"]
        assert (await http.get(path, headers={"If-None-Match": tag})).status_code == 304
        assert (await http.head(path)).headers["content-length"] == str(len(JPEG))

    async def test_staff_and_third_parties_have_content_urls(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        key_client: KeyClients,
        http: httpx.AsyncClient,
    ) -> None:
        del customer
        key = await key_client(Scope.CONTENT_READ)
        for client, path in ((admin, ADMIN_PATH), (key, KEY_PATH)):
            assert (await http.get(await url_of(client, path))).content == JPEG

    async def test_document_that_only_staff_may_change_can_be_viewed(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Statement", upload_mode="admin_only")
        path = "/v1/admin/customers/c-1/documents/statement"
        assert (await admin.put(path, **upload_of(JPEG, "a.jpg"))).status_code == 201
        assert (
            await http.get(await url_of(customer, "/v1/customer/documents/statement"))
        ).is_success

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"purpose": "inline", "file": 3}, 404, "file-not-found"),
            ({"purpose": "preview", "page": 2}, 404, "page-not-found"),
            ({"purpose": "print"}, 422, "validation-error"),
            ({"purpose": "inline", "url": "x"}, 422, "validation-error"),
            ({}, 422, "validation-error"),
        ],
    )
    async def test_what_cannot_be_shown_is_refused_at_once(
        self, customer: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
    ) -> None:
        response = await customer.post(f"{PATH}/content-urls", json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)

    async def test_requests_by_url_count_as_requests_of_the_viewer(
        self,
        customer: httpx.AsyncClient,
        http: httpx.AsyncClient,
        resources: Resources,
    ) -> None:
        path = await url_of(customer)
        limits = resources.rate_limits
        for _ in range(resources.settings.customer_requests_per_minute - 1):
            limits.hit_local(Limit.CUSTOMER_REQUESTS, "c-1")
        assert (await http.get(path)).status_code == 429


@pytest.mark.req("B-155")
class TestRefusal:
    """A URL that is no longer, or never was, good."""

    async def test_every_altered_url_is_refused(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        prefix, _, token = path.rpartition("/")
        for position in range(0, len(token), 7):
            letter = "A" if token[position] != "A" else "B"
            changed = f"{token[:position]}{letter}{token[position + 1 :]}"
            assert_refused(await http.get(f"{prefix}/{changed}"))
        for changed in (token[:-4], token + "AAAA", "x", "%00", "ä", "A" * 4000):
            assert_refused(await http.get(f"{prefix}/{changed}"))

    async def test_query_is_refused(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        for query in ("file=2", "disposition=attachment", "x"):
            assert_refused(await http.get(f"{path}?{query}"))

    async def test_url_expires_after_a_minute(
        self,
        customer: httpx.AsyncClient,
        http: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        response = await customer.post(f"{PATH}/content-urls", json={"purpose": "inline"})
        expires_at = datetime.fromisoformat(response.json()["expires_at"])
        assert timedelta(0) < expires_at - datetime.now(UTC) <= timedelta(seconds=60)
        monkeypatch.setattr("docvault.services.content_urls.LIFETIME", timedelta(seconds=0))
        assert_refused(await http.get(await url_of(customer)))

    async def test_replaced_and_deleted_files_are_refused(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        assert (await customer.put(PATH, **upload_of(JPEG, "a.jpg"))).status_code == 200
        assert_refused(await http.get(path))
        paths = [await url_of(admin, ADMIN_PATH, purpose=p) for p in ("inline", "preview")]
        assert (await admin.delete(ADMIN_PATH)).status_code == 204
        for path in paths:
            assert_refused(await http.get(path))

    async def test_erased_customer_is_refused(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        paths = [await url_of(customer), await url_of(admin, ADMIN_PATH)]
        assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
        for path in paths:
            assert_refused(await http.get(path))

    async def test_customer_without_the_portal_is_refused(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path, staff_path = await url_of(customer), await url_of(admin, ADMIN_PATH)
        await patch_portal(admin, section_enabled=False)
        assert_refused(await http.get(path))
        assert (await http.get(staff_path)).status_code == 200

    async def test_key_that_is_revoked_or_lost_its_scope_is_refused(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        key_client: KeyClients,
        http: httpx.AsyncClient,
    ) -> None:
        del customer
        key = await key_client(Scope.CONTENT_READ)
        first = await url_of(key, KEY_PATH)
        listed = (await admin.get("/v1/admin/api-keys")).json()["items"]
        keys = f"/v1/admin/api-keys/{listed[-1]['id']}"
        assert (await admin.patch(keys, json={"scopes": ["types:read"]})).status_code == 200
        assert_refused(await http.get(first))
        assert (await admin.patch(keys, json={"scopes": ["content:read"]})).status_code == 200
        assert (await http.get(first)).status_code == 200
        assert (await admin.delete(keys)).status_code == 204
        assert_refused(await http.get(first))

    async def test_tokens_of_other_purposes_are_refused(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        page = (await customer.get("/v1/customer/documents?limit=1")).json()
        for token in (page["next_cursor"] or "x", base64.urlsafe_b64encode(b"[]" * 30).decode()):
            assert_refused(await http.get(f"/content/{token}"))


@pytest.mark.req("B-156")
class TestAudit:
    """What is recorded."""

    async def test_making_and_using_a_url_are_recorded_for_the_viewer(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        assert len(await audited(admin, "content_url.create")) == 1
        assert await audited(admin, "document.download") == []
        await http.get(path)
        await http.get(path, headers={"Range": "bytes=0-1"})
        direct = await customer.get(f"{PATH}/content")
        assert direct.status_code == 200
        events = await audited(admin, "document.download")
        assert len(events) == 3
        varying = {"id", "at", "request_id"}
        first, *others = [
            {name: value for name, value in event.items() if name not in varying}
            for event in events
        ]
        assert all(other == first for other in others)
        assert first["actor"]["kind"] == "customer"

    async def test_refused_url_is_not_recorded_as_a_download(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        path = await url_of(customer)
        assert (await admin.delete(ADMIN_PATH)).status_code == 204
        await http.get(path)
        assert await audited(admin, "document.download") == []


@pytest.mark.req("B-154")
class TestRotation:
    """URLs across a change of the secret key."""

    async def test_url_outlives_a_rotation_with_an_overlap(
        self,
        app: FastAPI,
        resources: Resources,
        customer: httpx.AsyncClient,
        http: httpx.AsyncClient,
    ) -> None:
        old, new = (token_hex(32).encode() for _ in range(2))

        def restart(*secrets: bytes) -> None:
            app.state.resources = dataclasses.replace(resources, keyring=Keyring(*secrets))

        restart(old)
        path = await url_of(customer)
        restart(new, old)
        assert (await http.get(path)).status_code == 200
        restart(new)
        assert_refused(await http.get(path))
