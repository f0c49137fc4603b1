"""Downloads that are offloaded: to S3 with a redirect, to nginx with X-Accel-Redirect."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.api.stored_state import audited, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import delete_stored_bytes
from tests.fixtures.seaweedfs import S3Server
from tests.fixtures.storage import use_s3

from docvault.services.resources import Resources
from docvault.settings import Settings

PATH = "/v1/admin/customers/c-1/documents/contract"
CONTENT = f"{PATH}/content"

pytestmark = pytest.mark.own_store("each class tests one kind of store")


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    """A document with a file."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    response = await admin.put(PATH, **upload_of(filename="Überweisung.pdf"))
    assert response.status_code == 201


class TestRedirect:
    """DOCVAULT_REDIRECT_DOWNLOADS with an S3 store."""

    @pytest.fixture
    def settings(
        self, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Settings:
        use_s3(s3_server, monkeypatch)
        return Settings(data_dir=tmp_path / "data", redirect_downloads=True)

    async def test_redirect_keeps_filename_and_type(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(CONTENT)
        assert (response.status_code, response.content) == (307, b"")
        assert response.headers["cache-control"] == "no-store"
        query = parse_qs(urlsplit(response.headers["location"]).query)
        assert query["X-Amz-Expires"] == ["60"]
        async with httpx.AsyncClient() as outside:
            whole = await outside.get(response.headers["location"])
            part = await outside.get(response.headers["location"], headers={"Range": "bytes=0-3"})
        assert whole.content == files.pdf()
        assert whole.headers["content-type"] == "application/pdf"
        assert "filename*=UTF-8''%C3%9Cberweisung.pdf" in whole.headers["content-disposition"]
        assert whole.headers["content-disposition"].startswith("attachment")
        assert (part.status_code, part.content) == (206, b"%PDF")

    async def test_content_url_leads_to_the_store(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await admin.post(f"{PATH}/content-urls", json={"purpose": "attachment"})
        response = await http.get(created.json()["url"])
        assert (response.status_code, response.headers["cache-control"]) == (307, "no-store")
        # A browser looks at it before it follows the redirect of an image.
        assert response.headers["cross-origin-resource-policy"] == "cross-origin"
        async with httpx.AsyncClient() as outside:
            assert (await outside.get(response.headers["location"])).content == files.pdf()
        assert len(await audited(admin, "document.download")) == 1

    async def test_redirect_is_audited(self, admin: httpx.AsyncClient) -> None:
        await admin.get(CONTENT)
        assert len(await audited(admin, "document.download")) == 1

    async def test_conditions_and_ranges_are_handled_by_service(
        self, admin: httpx.AsyncClient
    ) -> None:
        etag = (await admin.head(CONTENT)).headers["etag"]
        unchanged = await admin.get(CONTENT, headers={"If-None-Match": etag})
        assert unchanged.status_code == 304
        response = await admin.get(CONTENT, headers={"Range": "bytes=999999-"})
        assert refusal(response)[0] == 416

    async def test_missing_bytes_return_503_without_redirect(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await delete_stored_bytes(resources)
        assert refusal(await admin.get(CONTENT))[:2] == (503, "storage-unavailable")


class TestAccel:
    """DOCVAULT_ACCEL_PREFIX with files."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", accel_prefix="/blobs")

    async def test_nginx_gets_path_and_all_headers(
        self, admin: httpx.AsyncClient, settings: Settings
    ) -> None:
        response = await admin.get(CONTENT)
        assert (response.status_code, response.content) == (200, b"")
        path = response.headers["x-accel-redirect"].removeprefix("/blobs/")
        assert (settings.data_dir / "blobs" / path).read_bytes() == files.pdf()
        head = await admin.head(CONTENT)
        assert "x-accel-redirect" not in head.headers
        for name in ("content-type", "content-disposition", "etag", "repr-digest", "cache-control"):
            assert response.headers[name] == head.headers[name]

    async def test_content_url_is_left_to_nginx_too(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await admin.post(f"{PATH}/content-urls", json={"purpose": "inline"})
        response = await http.get(created.json()["url"])
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["x-accel-redirect"].startswith("/blobs/")

    async def test_accel_redirect_is_audited(self, admin: httpx.AsyncClient) -> None:
        await admin.get(CONTENT)
        assert len(await audited(admin, "document.download")) == 1

    async def test_missing_bytes_return_503(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await delete_stored_bytes(resources)
        assert refusal(await admin.get(CONTENT))[:2] == (503, "storage-unavailable")


class TestDefault:
    """Without either setting."""

    async def test_service_sends_bytes(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(CONTENT)
        assert (response.status_code, response.content) == (200, files.pdf())
        assert "x-accel-redirect" not in response.headers


@pytest.mark.parametrize("prefix", ["blobs", "/blobs/", "/b\r\nX: y", "/a b"])
def test_invalid_prefix_is_rejected(prefix: str) -> None:
    with pytest.raises(ValueError, match="accel_prefix"):
        Settings(accel_prefix=prefix)
