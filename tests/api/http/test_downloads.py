"""Downloads: headers, ranges, conditional requests, HEAD, integrity, previews."""

import asyncio
import base64
import dataclasses
import hashlib
import io
from email.message import Message
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import text
from tests.api.stored_state import audited, multipart, part, refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_type, upload_of
from tests.factories.stored import delete_stored_bytes, overwrite, stored_keys

from docvault.services.blobs import delete_queued_blobs
from docvault.services.previews import render_version
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage.base import BlobReader

CARD = "/v1/admin/customers/c-1/documents/identity-card"
CONTENT = f"{CARD}/content"
PREVIEW = f"{CARD}/preview"
BODY = b"0123456789"


@pytest.fixture
async def staff(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """Staff, and a customer c-1 with an identity card to upload."""
    await make_type(admin, "Identity card")
    await make_customer(admin, "c-1")
    return admin


@pytest.fixture
async def digits(staff: httpx.AsyncClient) -> httpx.AsyncClient:
    """Staff; the identity card is a text file of ten digits."""
    await store(staff, BODY, "digits.txt")
    return staff


async def store(client: httpx.AsyncClient, body: bytes, filename: str) -> dict[str, Any]:
    """Upload a valid file."""
    response = await client.put(CARD, **upload_of(body, filename))
    assert response.status_code in {200, 201}, response.text
    document: dict[str, Any] = response.json()
    return document


def etag_of(body: bytes) -> str:
    """Return the entity tag of a file."""
    return f'"{hashlib.sha256(body).hexdigest()}"'


class TestHeaders:
    """Headers of every response with stored bytes."""

    @pytest.mark.req("R-061")
    async def test_download_headers_are_safe_for_browsers(self, digits: httpx.AsyncClient) -> None:
        headers = (await digits.get(CONTENT)).headers
        expected = {
            "content-type": "text/plain",
            "content-length": "10",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox; frame-ancestors "
            "http://localhost:* http://127.0.0.1:*",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "private, no-cache",
            "referrer-policy": "no-referrer",
            "accept-ranges": "bytes",
        }
        assert {name: headers.get(name) for name in expected} == expected

    async def test_digest_header_matches_bytes(self, digits: httpx.AsyncClient) -> None:
        headers = (await digits.get(CONTENT)).headers
        digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
        assert headers["etag"] == etag_of(BODY)
        assert headers["repr-digest"] == f"sha-256=:{digest}:"

    @pytest.mark.req("R-061")
    @pytest.mark.parametrize(
        ("media_type", "inline"),
        [
            ("image/jpeg", True),
            ("image/png", True),
            ("image/webp", True),
            ("image/gif", True),
            ("application/pdf", True),
            ("image/tiff", False),
            ("image/heic", False),
            ("image/avif", True),
            (files.DOCX, False),
            (files.ODT, False),
            ("text/plain", False),
            ("text/csv", False),
        ],
    )
    async def test_inline_is_allowed_for_safe_types(
        self, staff: httpx.AsyncClient, media_type: str, inline: bool
    ) -> None:
        make, extension = files.GOOD_FILES[media_type]
        await store(staff, make(), f"a.{extension}")
        inlined = await staff.get(CONTENT, params={"disposition": "inline"})
        plain = await staff.get(CONTENT)
        kinds = [
            response.headers["content-disposition"].split(";")[0] for response in (inlined, plain)
        ]
        assert kinds == ["inline" if inline else "attachment", "attachment"]
        assert inlined.headers["content-security-policy"].startswith("default-src 'none'; sandbox")

    @pytest.mark.parametrize(
        "make",
        [
            files.pdf_with_javascript,
            files.pdf_with_compressed_javascript,
            files.pdf_with_attachment,
        ],
    )
    async def test_pdf_with_active_content_is_never_inline(
        self, staff: httpx.AsyncClient, make: Any
    ) -> None:
        document = await store(staff, make(), "a.pdf")
        response = await staff.get(CONTENT, params={"disposition": "inline"})
        assert document["files"][0]["has_active_content"] is True
        assert response.headers["content-disposition"].startswith("attachment;")
        assert response.content == make()

    @pytest.mark.req("R-061")
    @pytest.mark.parametrize(
        "name",
        [
            "plain.pdf",
            "with space.pdf",
            "Prüfung Łódź.pdf",
            "证件🪪.pdf",
            'a"b\\c.pdf',
            "a;filename=evil.pdf",
            "100%.pdf",
            "a%2fb.pdf",
            "'quoted'.pdf",
            "_" * 250 + ".pdf",
        ],
    )
    async def test_filename_is_sent_in_both_forms(
        self, staff: httpx.AsyncClient, name: str
    ) -> None:
        raw = name.replace("\\", "").replace('"', r"\"").encode()
        disposition = b'name="file"; filename="' + raw + b'"'
        response = await staff.put(CARD, **multipart(part(disposition, files.pdf())))
        stored = response.json()["files"][0]["filename"]
        header = (await staff.get(CONTENT)).headers["content-disposition"]
        assert header.isascii()
        assert unquote(header.rpartition("filename*=UTF-8''")[2]) == stored
        message = Message()
        message["Content-Disposition"] = header.partition("; filename*=")[0]
        fallback = message.get_param("filename", header="content-disposition")
        assert str(fallback) == "".join(c if " " <= c <= "~" and c != "%" else "_" for c in stored)


class TestConditionalRequests:
    """GET …/content with If-None-Match."""

    @pytest.mark.parametrize("value", [etag_of(BODY), f'"x", {etag_of(BODY)}', "*"])
    async def test_matching_etag_returns_not_modified(
        self, digits: httpx.AsyncClient, value: str
    ) -> None:
        response = await digits.get(CONTENT, headers={"If-None-Match": value})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag_of(BODY)

    async def test_weak_etag_matches(self, digits: httpx.AsyncClient) -> None:
        response = await digits.get(CONTENT, headers={"If-None-Match": f"W/{etag_of(BODY)}"})
        assert response.status_code == 304

    async def test_different_etag_sends_body(self, digits: httpx.AsyncClient) -> None:
        response = await digits.get(CONTENT, headers={"If-None-Match": '"other"'})
        assert (response.status_code, response.content) == (200, BODY)

    async def test_condition_takes_precedence_over_range(self, digits: httpx.AsyncClient) -> None:
        headers = {"If-None-Match": etag_of(BODY), "Range": "bytes=99-"}
        assert (await digits.get(CONTENT, headers=headers)).status_code == 304

    async def test_replaced_file_is_sent(self, digits: httpx.AsyncClient) -> None:
        await store(digits, b"other", "a.txt")
        response = await digits.get(CONTENT, headers={"If-None-Match": etag_of(BODY)})
        assert (response.status_code, response.content) == (200, b"other")


class TestRanges:
    """GET …/content with Range (RFC 9110, section 14)."""

    @pytest.mark.parametrize(
        ("value", "content", "content_range"),
        [
            ("bytes=0-0", b"0", "bytes 0-0/10"),
            ("bytes=2-5", b"2345", "bytes 2-5/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=-99", BODY, "bytes 0-9/10"),
            ("bytes=0-99", BODY, "bytes 0-9/10"),
            ("bytes=9-9", b"9", "bytes 9-9/10"),
            ("Bytes=0-1", b"01", "bytes 0-1/10"),
            (f"bytes=8-{10**18}", b"89", "bytes 8-9/10"),
        ],
    )
    async def test_single_range_is_sent(
        self, digits: httpx.AsyncClient, value: str, content: bytes, content_range: str
    ) -> None:
        response = await digits.get(CONTENT, headers={"Range": value})
        assert (response.status_code, response.content) == (206, content)
        assert response.headers["content-range"] == content_range
        assert response.headers["content-length"] == str(len(content))
        assert response.headers["etag"] == etag_of(BODY)

    @pytest.mark.parametrize(
        "value",
        [
            "bytes=10-",
            "bytes=10-20",
            f"bytes={10**18}-",
            "bytes=-0",
            "bytes=0-1,3-4",
            "bytes=" + ",".join(["0-0"] * 101),
        ],
    )
    async def test_unsatisfiable_or_multiple_ranges_are_rejected(
        self, digits: httpx.AsyncClient, value: str
    ) -> None:
        response = await digits.get(CONTENT, headers={"Range": value})
        assert refusal(response)[:2] == (416, "range-not-satisfiable")
        assert response.headers["content-range"] == "bytes */10"

    @pytest.mark.parametrize(
        "value", ["bytes=5-2", "bytes=a-b", "bytes=-", "bytes", "items=0-1", "0-1", "bytes=--1", ""]
    )
    async def test_malformed_range_is_ignored(self, digits: httpx.AsyncClient, value: str) -> None:
        response = await digits.get(CONTENT, headers={"Range": value})
        assert (response.status_code, response.content) == (200, BODY)

    @pytest.mark.parametrize("value", [f"bytes={10**20}-", f"bytes=0-{10**20}", f"bytes=-{10**20}"])
    async def test_huge_range_number_is_unsatisfiable(
        self, digits: httpx.AsyncClient, value: str
    ) -> None:
        response = await digits.get(CONTENT, headers={"Range": value})
        assert response.status_code == 416 or response.content == BODY

    @pytest.mark.parametrize(
        ("if_range", "status"),
        [
            (etag_of(BODY), 206),
            (etag_of(b"older"), 200),
            (f"W/{etag_of(BODY)}", 200),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
        ],
    )
    async def test_if_range_selects_range_or_whole_file(
        self, digits: httpx.AsyncClient, if_range: str, status: int
    ) -> None:
        headers = {"Range": "bytes=0-1", "If-Range": if_range}
        response = await digits.get(CONTENT, headers=headers)
        expected = BODY[:2] if status == 206 else BODY
        assert (response.status_code, response.content) == (status, expected)

    async def test_concatenated_ranges_equal_file(self, staff: httpx.AsyncClient) -> None:
        body = b"0123456789abcdef" * 200_000
        await store(staff, body, "a.txt")
        half = len(body) // 2 + 3
        first = await staff.get(CONTENT, headers={"Range": f"bytes=0-{half - 1}"})
        second = await staff.get(CONTENT, headers={"Range": f"bytes={half}-"})
        assert first.content + second.content == body


class TestHead:
    """HEAD …/content."""

    async def test_head_has_headers_and_no_body(self, digits: httpx.AsyncClient) -> None:
        read, head = await digits.get(CONTENT), await digits.head(CONTENT)
        own = {"x-request-id", "connection"}
        assert (head.status_code, head.content) == (200, b"")
        assert {k: v for k, v in head.headers.items() if k not in own} == {
            k: v for k, v in read.headers.items() if k not in own
        }

    async def test_missing_document_has_no_head(self, staff: httpx.AsyncClient) -> None:
        head = await staff.head(CONTENT)
        assert (head.status_code, head.content) == (404, b"")

    async def test_missing_bytes_are_detected(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        await delete_stored_bytes(resources)
        assert (await digits.head(CONTENT)).status_code == 503


class DeletingStore:
    """A store that deletes the document just before its bytes are opened."""

    def __init__(self, resources: Resources, staff: httpx.AsyncClient) -> None:
        self._resources = resources
        self._staff = staff

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resources.store, name)

    async def open(self, key: str) -> BlobReader:
        assert (await self._staff.delete(CARD)).status_code == 204
        await delete_queued_blobs(self._resources)
        return await self._resources.store.open(key)


class TestIntegrity:
    """Bytes that differ from those that were stored."""

    @pytest.mark.req("R-009")
    @pytest.mark.parametrize("corrupt", [b"0123456788", b"012345678", BODY + b"x", b""])
    async def test_corrupt_bytes_never_complete_a_response(
        self, digits: httpx.AsyncClient, resources: Resources, corrupt: bytes
    ) -> None:
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, corrupt)
        response = await digits.get(CONTENT)
        assert refusal(response)[:2] == (503, "storage-unavailable")
        assert "etag" not in response.headers

    @pytest.mark.req("R-009")
    async def test_missing_bytes_return_503(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        await delete_stored_bytes(resources)
        response = await digits.get(CONTENT)
        assert refusal(response)[:2] == (503, "storage-unavailable")
        assert "etag" not in response.headers

    async def test_concurrently_deleted_document_is_not_found(
        self, digits: httpx.AsyncClient, app: FastAPI, resources: Resources
    ) -> None:
        """No data was lost, so the response must not suggest a storage failure."""
        store = DeletingStore(resources, digits)
        app.state.resources = dataclasses.replace(resources, store=store)
        response = await digits.get(CONTENT)
        app.state.resources = resources
        assert refusal(response)[:2] == (404, "file-not-found")

    @pytest.mark.own_store("it inspects files")
    async def test_folder_in_place_of_file_returns_503(
        self, digits: httpx.AsyncClient, settings: Settings
    ) -> None:
        (blob,) = (settings.data_dir / "blobs").glob("??/*/*")
        blob.unlink()
        blob.mkdir()
        assert refusal(await digits.get(CONTENT))[:2] == (503, "storage-unavailable")

    async def test_swapped_bytes_are_detected(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        (first,) = await stored_keys(resources)
        await store(digits, BODY[::-1], "a.txt")
        (second,) = set(await stored_keys(resources)) - {first}
        await overwrite(resources, first, BODY[::-1])
        await overwrite(resources, second, BODY)
        responses = [await digits.get(CONTENT, params={"version": n}) for n in (1, 2)]
        assert [response.status_code for response in responses] == [503, 503]

    @pytest.mark.parametrize("position", [0, 1_500_000, 2_999_999])
    async def test_long_corrupt_file_is_truncated(
        self, staff: httpx.AsyncClient, resources: Resources, position: int
    ) -> None:
        await store(staff, b"x" * 3_000_000, "a.txt")
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, b"x" * position + b"y" + b"x" * (2_999_999 - position))
        response = await staff.get(CONTENT)
        assert response.status_code == 503 or len(response.content) < 3_000_000

    async def test_failed_download_does_not_affect_other_requests(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        await delete_stored_bytes(resources)
        assert (await digits.get(CONTENT)).status_code == 503
        assert (await digits.get(CARD)).json()["upload_state"] == "uploaded"
        await store(digits, BODY, "again.txt")
        assert (await digits.get(CONTENT)).content == BODY


class TestAudit:
    """Audit events of downloads."""

    async def test_download_is_audited(self, digits: httpx.AsyncClient) -> None:
        response = await digits.get(CONTENT)
        (event,) = await audited(digits, "document.download")
        assert (event["actor"], event["customer"], event["document_type"], event["version"]) == (
            {"kind": "admin", "id": "staff-1"},
            "c-1",
            "identity-card",
            1,
        )
        assert (event["result"], event["request_id"]) == ("ok", response.headers["x-request-id"])

    async def test_failed_download_is_not_audited(self, digits: httpx.AsyncClient) -> None:
        await digits.get(CONTENT, params={"file": 2})
        await digits.get(CONTENT, headers={"Range": "bytes=99-"})
        assert await audited(digits, "document.download") == []

    async def test_metadata_read_is_not_audited(self, digits: httpx.AsyncClient) -> None:
        await digits.get(CARD)
        assert await audited(digits, "document.download") == []


class TestPreview:
    """GET …/preview."""

    @pytest.mark.req("R-053")
    @pytest.mark.parametrize(
        ("query", "size"),
        [
            ({}, (800, 400)),
            ({"size": "small"}, (200, 100)),
            ({"size": "medium"}, (800, 400)),
            ({"size": "large"}, (1600, 800)),
        ],
    )
    async def test_longest_side_matches_size(
        self, staff: httpx.AsyncClient, query: dict[str, str], size: tuple[int, int]
    ) -> None:
        await store(staff, files.jpeg(2000, 1000), "wide.jpg")
        response = await staff.get(PREVIEW, params=query)
        assert response.status_code == 200, response.text
        assert Image.open(io.BytesIO(response.content)).size == size

    @pytest.mark.req("R-053")
    @pytest.mark.parametrize("media_type", ["application/pdf", "image/heic", "image/png"])
    async def test_preview_is_jpeg_or_png(self, staff: httpx.AsyncClient, media_type: str) -> None:
        make, extension = files.GOOD_FILES[media_type]
        await store(staff, make(), f"a.{extension}")
        response = await staff.get(PREVIEW, params={"size": "small"})
        assert response.headers["content-type"] in {"image/jpeg", "image/png"}
        Image.open(io.BytesIO(response.content)).verify()

    async def test_preview_headers_match_content_headers(self, staff: httpx.AsyncClient) -> None:
        await store(staff, files.jpeg(), "Prüfung.heic.jpeg")
        headers = (await staff.get(PREVIEW)).headers
        assert headers["content-disposition"].startswith("inline; filename=")
        assert headers["content-security-policy"].startswith("default-src 'none'; sandbox")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "private, no-cache"

    async def test_rendered_preview_is_stored_with_etag(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        first = await staff.get(PREVIEW)
        held = await stored_state(resources)
        again = await staff.get(PREVIEW, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await staff.get(PREVIEW)).content == first.content
        assert (len(held.in_store), held) == (2, await stored_state(resources))

    async def test_preview_rendered_by_worker_is_served(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        async with resources.database.transaction() as session:
            version_id = await session.scalar(text("SELECT id FROM document_versions"))
        await render_version(resources, version_id)
        held = await stored_state(resources)
        assert (await staff.get(PREVIEW)).status_code == 200
        assert (len(held.in_store), held) == (2, await stored_state(resources))

    async def test_each_file_has_own_preview(self, staff: httpx.AsyncClient) -> None:
        await patch_type(staff, "identity-card", max_files=2)
        sent = [("file", ("a.png", files.png(40, 20))), ("file", ("b.txt", b"text"))]
        await staff.put(CARD, files=sent)
        first = await staff.get(PREVIEW, params={"file": 1})
        second = await staff.get(PREVIEW, params={"file": 2})
        third = await staff.get(PREVIEW, params={"file": 3})
        assert Image.open(io.BytesIO(first.content)).size == (40, 20)
        assert refusal(second) == (404, "no-preview", None)
        assert refusal(third) == (404, "file-not-found", None)

    @pytest.mark.req("R-053")
    async def test_unrenderable_image_is_marked_permanently(self, staff: httpx.AsyncClient) -> None:
        document = await store(staff, files.png_claiming(30_000, 30_000), "flood.png")
        assert document["files"][0]["has_preview"] is True
        assert refusal(await staff.get(PREVIEW)) == (404, "no-preview", None)
        assert (await staff.get(CARD)).json()["files"][0]["has_preview"] is False
        content = await staff.get(CONTENT)
        assert content.content == files.png_claiming(30_000, 30_000)

    async def test_preview_of_corrupt_bytes_is_not_rendered(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, files.png(63, 48))
        assert refusal(await staff.get(PREVIEW))[:2] == (503, "storage-unavailable")
        assert (await staff.get(CARD)).json()["files"][0]["has_preview"] is True

    async def test_concurrent_requests_get_same_preview(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        responses = await asyncio.gather(staff.get(PREVIEW), staff.get(PREVIEW))
        assert [response.status_code for response in responses] == [200, 200]
        assert responses[0].content == responses[1].content
        held = await stored_state(resources)
        assert (len(held.in_store), held.in_spool) == (2, frozenset())

    async def test_renderer_start_failure_does_not_mark_file(
        self, staff: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store(staff, files.png(), "a.png")
        with monkeypatch.context() as broken:
            broken.setattr(resources.renderer, "_command", ("/nonexistent",))
            response = await staff.get(PREVIEW)
        assert refusal(response)[0] == 503
        assert int(response.headers["retry-after"]) >= 1
        assert (await staff.get(PREVIEW)).status_code == 200

    async def test_replacement_has_own_preview(self, staff: httpx.AsyncClient) -> None:
        await store(staff, files.png(40, 20), "a.png")
        await staff.get(PREVIEW)
        await store(staff, files.png(20, 40), "b.png")
        response = await staff.get(PREVIEW)
        assert Image.open(io.BytesIO(response.content)).size == (20, 40)

    async def test_unknown_size_is_rejected(self, digits: httpx.AsyncClient) -> None:
        response = await digits.get(PREVIEW, params={"size": "huge"})
        assert refusal(response) == (422, "validation-error", "size")

    async def test_preview_is_audited(self, staff: httpx.AsyncClient) -> None:
        await store(staff, files.png(), "a.png")
        await staff.get(PREVIEW)
        (event,) = await audited(staff, "document.preview")
        assert (event["actor"]["id"], event["version"]) == ("staff-1", 1)
