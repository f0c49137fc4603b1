"""Downloads that others send: the S3 store after a redirect, nginx by X-Accel-Redirect."""

from pathlib import Path

import httpx
import pytest
from tests.api.holdings import audited, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import lose_the_bytes
from tests.fixtures.storage import S3Server, use_s3

from docvault.services.resources import Resources
from docvault.settings import Settings

SLOT = "/v1/admin/customers/c-1/documents/contract"
CONTENT = f"{SLOT}/content"

pytestmark = pytest.mark.own_store("they are about one store alone")


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    """A filled slot."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    answer = await admin.put(SLOT, **upload_of(filename="Überweisung.pdf"))
    assert answer.status_code == 201


class TestRedirect:
    """DOCVAULT_REDIRECT_DOWNLOADS with an S3 store."""

    @pytest.fixture
    def settings(
        self, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Settings:
        use_s3(s3_server, monkeypatch)
        return Settings(data_dir=tmp_path / "data", redirect_downloads=True)

    async def test_the_store_sends_the_bytes_under_our_name_and_type(
        self, admin: httpx.AsyncClient
    ) -> None:
        answer = await admin.get(CONTENT)
        assert (answer.status_code, answer.content) == (307, b"")
        assert answer.headers["cache-control"] == "no-store"
        assert "X-Amz-Expires=60" in answer.headers["location"]
        async with httpx.AsyncClient() as outside:
            whole = await outside.get(answer.headers["location"])
            part = await outside.get(answer.headers["location"], headers={"Range": "bytes=0-3"})
        assert whole.content == files.pdf()
        assert whole.headers["content-type"] == "application/pdf"
        assert "filename*=UTF-8''%C3%9Cberweisung.pdf" in whole.headers["content-disposition"]
        assert whole.headers["content-disposition"].startswith("attachment")
        assert (part.status_code, part.content) == (206, b"%PDF")

    async def test_each_is_in_the_audit_trail(self, admin: httpx.AsyncClient) -> None:
        await admin.get(CONTENT)
        assert len(await audited(admin, "document.download")) == 1

    async def test_conditions_and_ranges_are_still_ours(self, admin: httpx.AsyncClient) -> None:
        etag = (await admin.head(CONTENT)).headers["etag"]
        unchanged = await admin.get(CONTENT, headers={"If-None-Match": etag})
        assert unchanged.status_code == 304
        answer = await admin.get(CONTENT, headers={"Range": "bytes=999999-"})
        assert refusal(answer)[0] == 416

    async def test_missing_bytes_are_503_and_no_redirect(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await lose_the_bytes(resources)
        assert refusal(await admin.get(CONTENT))[:2] == (503, "storage-unavailable")


class TestAccel:
    """DOCVAULT_ACCEL_PREFIX with files."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", accel_prefix="/blobs")

    async def test_nginx_is_told_the_file_with_all_our_headers(
        self, admin: httpx.AsyncClient, settings: Settings
    ) -> None:
        answer = await admin.get(CONTENT)
        assert (answer.status_code, answer.content) == (200, b"")
        path = answer.headers["x-accel-redirect"].removeprefix("/blobs/")
        assert (settings.data_dir / "blobs" / path).read_bytes() == files.pdf()
        head = await admin.head(CONTENT)
        assert "x-accel-redirect" not in head.headers
        for name in ("content-type", "content-disposition", "etag", "repr-digest", "cache-control"):
            assert answer.headers[name] == head.headers[name]

    async def test_each_is_in_the_audit_trail(self, admin: httpx.AsyncClient) -> None:
        await admin.get(CONTENT)
        assert len(await audited(admin, "document.download")) == 1

    async def test_missing_bytes_are_503(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await lose_the_bytes(resources)
        assert refusal(await admin.get(CONTENT))[:2] == (503, "storage-unavailable")


class TestDefault:
    """Without either setting."""

    async def test_the_service_sends_the_bytes(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get(CONTENT)
        assert (answer.status_code, answer.content) == (200, files.pdf())
        assert "x-accel-redirect" not in answer.headers


@pytest.mark.parametrize("prefix", ["blobs", "/blobs/", "/b\r\nX: y", "/a b"])
def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="accel_prefix"):
        Settings(accel_prefix=prefix)
