"""Sending stored bytes: headers, ranges, conditional requests, HEAD, integrity, previews."""

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
from tests.api.holdings import audited, holdings, multipart, part, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_type, upload_of
from tests.factories.stored import lose_the_bytes, overwrite, stored_keys

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
    """Staff, and a customer c-1 who is asked for an identity card."""
    await make_type(admin, "Identity card")
    await make_customer(admin, "c-1")
    return admin


@pytest.fixture
async def digits(staff: httpx.AsyncClient) -> httpx.AsyncClient:
    """Staff; the identity card is a text file of ten digits."""
    await store(staff, BODY, "digits.txt")
    return staff


async def store(client: httpx.AsyncClient, body: bytes, filename: str) -> dict[str, Any]:
    """Upload a file that is accepted."""
    answer = await client.put(CARD, **upload_of(body, filename))
    assert answer.status_code in {200, 201}, answer.text
    document: dict[str, Any] = answer.json()
    return document


def etag_of(body: bytes) -> str:
    """Return the entity tag that a file has."""
    return f'"{hashlib.sha256(body).hexdigest()}"'


class TestHeaders:
    """What every answer with stored bytes carries (D24)."""

    @pytest.mark.req("R-061")
    async def test_a_download_is_safe_in_a_browser(self, digits: httpx.AsyncClient) -> None:
        headers = (await digits.get(CONTENT)).headers
        expected = {
            "content-type": "text/plain",
            "content-length": "10",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "private, no-cache",
            "referrer-policy": "no-referrer",
            "accept-ranges": "bytes",
        }
        assert {name: headers.get(name) for name in expected} == expected

    async def test_the_digest_of_the_bytes_is_told(self, digits: httpx.AsyncClient) -> None:
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
            (files.DOCX, False),
            (files.ODT, False),
            ("text/plain", False),
            ("text/csv", False),
        ],
    )
    async def test_inline_is_honoured_for_what_browsers_show_safely(
        self, staff: httpx.AsyncClient, media_type: str, inline: bool
    ) -> None:
        make, extension = files.GOOD_FILES[media_type]
        await store(staff, make(), f"a.{extension}")
        asked = await staff.get(CONTENT, params={"disposition": "inline"})
        plain = await staff.get(CONTENT)
        kinds = [answer.headers["content-disposition"].split(";")[0] for answer in (asked, plain)]
        assert kinds == ["inline" if inline else "attachment", "attachment"]
        assert asked.headers["content-security-policy"].startswith("default-src 'none'; sandbox")

    @pytest.mark.parametrize(
        "make",
        [
            files.pdf_with_javascript,
            files.pdf_with_compressed_javascript,
            files.pdf_with_attachment,
        ],
    )
    async def test_a_pdf_with_active_content_is_never_inline(
        self, staff: httpx.AsyncClient, make: Any
    ) -> None:
        document = await store(staff, make(), "a.pdf")
        answer = await staff.get(CONTENT, params={"disposition": "inline"})
        assert document["files"][0]["has_active_content"] is True
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.content == make()

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
    async def test_the_name_comes_back_in_both_forms(
        self, staff: httpx.AsyncClient, name: str
    ) -> None:
        raw = name.replace("\\", "").replace('"', r"\"").encode()
        disposition = b'name="file"; filename="' + raw + b'"'
        answer = await staff.put(CARD, **multipart(part(disposition, files.pdf())))
        stored = answer.json()["files"][0]["filename"]
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
    async def test_bytes_that_the_client_has_are_not_sent(
        self, digits: httpx.AsyncClient, value: str
    ) -> None:
        answer = await digits.get(CONTENT, headers={"If-None-Match": value})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag_of(BODY)

    async def test_a_weak_tag_is_enough(self, digits: httpx.AsyncClient) -> None:
        answer = await digits.get(CONTENT, headers={"If-None-Match": f"W/{etag_of(BODY)}"})
        assert answer.status_code == 304

    async def test_other_bytes_are_sent(self, digits: httpx.AsyncClient) -> None:
        answer = await digits.get(CONTENT, headers={"If-None-Match": '"other"'})
        assert (answer.status_code, answer.content) == (200, BODY)

    async def test_it_comes_before_the_range(self, digits: httpx.AsyncClient) -> None:
        headers = {"If-None-Match": etag_of(BODY), "Range": "bytes=99-"}
        assert (await digits.get(CONTENT, headers=headers)).status_code == 304

    async def test_a_replacement_is_sent(self, digits: httpx.AsyncClient) -> None:
        await store(digits, b"other", "a.txt")
        answer = await digits.get(CONTENT, headers={"If-None-Match": etag_of(BODY)})
        assert (answer.status_code, answer.content) == (200, b"other")


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
    async def test_a_range_is_sent_alone(
        self, digits: httpx.AsyncClient, value: str, content: bytes, content_range: str
    ) -> None:
        answer = await digits.get(CONTENT, headers={"Range": value})
        assert (answer.status_code, answer.content) == (206, content)
        assert answer.headers["content-range"] == content_range
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["etag"] == etag_of(BODY)

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
    async def test_a_range_outside_or_several_cannot_be_served(
        self, digits: httpx.AsyncClient, value: str
    ) -> None:
        answer = await digits.get(CONTENT, headers={"Range": value})
        assert refusal(answer)[:2] == (416, "range-not-satisfiable")
        assert answer.headers["content-range"] == "bytes */10"

    @pytest.mark.parametrize(
        "value", ["bytes=5-2", "bytes=a-b", "bytes=-", "bytes", "items=0-1", "0-1", "bytes=--1", ""]
    )
    async def test_what_is_no_range_is_ignored(self, digits: httpx.AsyncClient, value: str) -> None:
        answer = await digits.get(CONTENT, headers={"Range": value})
        assert (answer.status_code, answer.content) == (200, BODY)

    @pytest.mark.parametrize("value", [f"bytes={10**20}-", f"bytes=0-{10**20}", f"bytes=-{10**20}"])
    async def test_a_number_beyond_all_bounds_gives_no_part(
        self, digits: httpx.AsyncClient, value: str
    ) -> None:
        answer = await digits.get(CONTENT, headers={"Range": value})
        assert answer.status_code == 416 or answer.content == BODY

    @pytest.mark.parametrize(
        ("if_range", "status"),
        [
            (etag_of(BODY), 206),
            (etag_of(b"older"), 200),
            (f"W/{etag_of(BODY)}", 200),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
        ],
    )
    async def test_a_range_of_an_older_file_gets_the_whole(
        self, digits: httpx.AsyncClient, if_range: str, status: int
    ) -> None:
        headers = {"Range": "bytes=0-1", "If-Range": if_range}
        answer = await digits.get(CONTENT, headers=headers)
        expected = BODY[:2] if status == 206 else BODY
        assert (answer.status_code, answer.content) == (status, expected)

    async def test_a_long_file_in_ranges_is_the_file(self, staff: httpx.AsyncClient) -> None:
        body = b"0123456789abcdef" * 200_000
        await store(staff, body, "a.txt")
        half = len(body) // 2 + 3
        first = await staff.get(CONTENT, headers={"Range": f"bytes=0-{half - 1}"})
        second = await staff.get(CONTENT, headers={"Range": f"bytes={half}-"})
        assert first.content + second.content == body


class TestHead:
    """HEAD …/content."""

    async def test_it_has_the_headers_and_no_body(self, digits: httpx.AsyncClient) -> None:
        read, head = await digits.get(CONTENT), await digits.head(CONTENT)
        own = {"x-request-id", "connection"}
        assert (head.status_code, head.content) == (200, b"")
        assert {k: v for k, v in head.headers.items() if k not in own} == {
            k: v for k, v in read.headers.items() if k not in own
        }

    async def test_an_empty_slot_has_none(self, staff: httpx.AsyncClient) -> None:
        head = await staff.head(CONTENT)
        assert (head.status_code, head.content) == (404, b"")

    async def test_missing_bytes_are_noticed(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        await lose_the_bytes(resources)
        assert (await digits.head(CONTENT)).status_code == 503


class DeletingStore:
    """A store that is asked for bytes just after their document was deleted."""

    def __init__(self, resources: Resources, staff: httpx.AsyncClient) -> None:
        self._resources = resources
        self._staff = staff

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resources.store, name)

    async def open(self, key: str) -> BlobReader:
        """Delete the document and its bytes, then look for them."""
        assert (await self._staff.delete(CARD)).status_code == 204
        await delete_queued_blobs(self._resources)
        return await self._resources.store.open(key)


class TestIntegrity:
    """Bytes that are not those that were stored (D9)."""

    @pytest.mark.req("R-009")
    @pytest.mark.parametrize("damaged", [b"0123456788", b"012345678", BODY + b"x", b""])
    async def test_damaged_bytes_are_never_a_complete_answer(
        self, digits: httpx.AsyncClient, resources: Resources, damaged: bytes
    ) -> None:
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, damaged)
        answer = await digits.get(CONTENT)
        assert refusal(answer)[:2] == (503, "storage-unavailable")
        assert "etag" not in answer.headers

    @pytest.mark.req("R-009")
    async def test_lost_bytes_are_503(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        await lose_the_bytes(resources)
        answer = await digits.get(CONTENT)
        assert refusal(answer)[:2] == (503, "storage-unavailable")
        assert "etag" not in answer.headers

    async def test_what_was_deleted_meanwhile_is_not_found(
        self, digits: httpx.AsyncClient, app: FastAPI, resources: Resources
    ) -> None:
        """Nothing is lost, so that this must not look as if something were."""
        store = DeletingStore(resources, digits)
        app.state.resources = dataclasses.replace(resources, store=store)
        answer = await digits.get(CONTENT)
        app.state.resources = resources
        assert refusal(answer)[:2] == (404, "no-file")

    @pytest.mark.own_store("they look at files")
    async def test_a_folder_in_place_of_a_file_is_503(
        self, digits: httpx.AsyncClient, settings: Settings
    ) -> None:
        (blob,) = (settings.data_dir / "blobs").glob("??/*/*")
        blob.unlink()
        blob.mkdir()
        assert refusal(await digits.get(CONTENT))[:2] == (503, "storage-unavailable")

    async def test_swapped_bytes_are_noticed(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        (first,) = await stored_keys(resources)
        await store(digits, BODY[::-1], "a.txt")
        (second,) = set(await stored_keys(resources)) - {first}
        await overwrite(resources, first, BODY[::-1])
        await overwrite(resources, second, BODY)
        answers = [await digits.get(CONTENT, params={"version": n}) for n in (1, 2)]
        assert [answer.status_code for answer in answers] == [503, 503]

    @pytest.mark.parametrize("position", [0, 1_500_000, 2_999_999])
    async def test_a_long_damaged_file_ends_before_its_end(
        self, staff: httpx.AsyncClient, resources: Resources, position: int
    ) -> None:
        await store(staff, b"x" * 3_000_000, "a.txt")
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, b"x" * position + b"y" + b"x" * (2_999_999 - position))
        answer = await staff.get(CONTENT)
        assert answer.status_code == 503 or len(answer.content) < 3_000_000

    async def test_a_download_that_fails_costs_nothing_else(
        self, digits: httpx.AsyncClient, resources: Resources
    ) -> None:
        await lose_the_bytes(resources)
        assert (await digits.get(CONTENT)).status_code == 503
        assert (await digits.get(CARD)).json()["upload_state"] == "uploaded"
        await store(digits, BODY, "again.txt")
        assert (await digits.get(CONTENT)).content == BODY


class TestAudit:
    """Reading bytes is in the audit trail (D26)."""

    async def test_a_download_is_audited(self, digits: httpx.AsyncClient) -> None:
        answer = await digits.get(CONTENT)
        (event,) = await audited(digits, "document.download")
        assert (event["actor"], event["customer"], event["document_type"], event["version"]) == (
            {"kind": "admin", "id": "staff-1"},
            "c-1",
            "identity-card",
            1,
        )
        assert (event["result"], event["request_id"]) == ("ok", answer.headers["x-request-id"])

    async def test_what_was_not_sent_is_not_audited(self, digits: httpx.AsyncClient) -> None:
        await digits.get(CONTENT, params={"file": 2})
        await digits.get(CONTENT, headers={"Range": "bytes=99-"})
        assert await audited(digits, "document.download") == []

    async def test_reading_facts_is_not_a_download(self, digits: httpx.AsyncClient) -> None:
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
    async def test_the_longest_side_is_that_of_the_size(
        self, staff: httpx.AsyncClient, query: dict[str, str], size: tuple[int, int]
    ) -> None:
        await store(staff, files.jpeg(2000, 1000), "wide.jpg")
        answer = await staff.get(PREVIEW, params=query)
        assert answer.status_code == 200, answer.text
        assert Image.open(io.BytesIO(answer.content)).size == size

    @pytest.mark.req("R-053")
    @pytest.mark.parametrize("media_type", ["application/pdf", "image/heic", "image/png"])
    async def test_what_can_be_shown_is_a_jpeg_or_png(
        self, staff: httpx.AsyncClient, media_type: str
    ) -> None:
        make, extension = files.GOOD_FILES[media_type]
        await store(staff, make(), f"a.{extension}")
        answer = await staff.get(PREVIEW, params={"size": "small"})
        assert answer.headers["content-type"] in {"image/jpeg", "image/png"}
        Image.open(io.BytesIO(answer.content)).verify()

    async def test_its_headers_are_those_of_content(self, staff: httpx.AsyncClient) -> None:
        await store(staff, files.jpeg(), "Prüfung.heic.jpeg")
        headers = (await staff.get(PREVIEW)).headers
        assert headers["content-disposition"].startswith("inline; filename=")
        assert headers["content-security-policy"].startswith("default-src 'none'; sandbox")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "private, no-cache"

    async def test_a_rendered_preview_is_kept_and_known_by_its_etag(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        first = await staff.get(PREVIEW)
        held = await holdings(resources)
        again = await staff.get(PREVIEW, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await staff.get(PREVIEW)).content == first.content
        assert (len(held.in_store), held) == (2, await holdings(resources))

    async def test_the_workers_preview_is_the_one_that_is_sent(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        async with resources.database.transaction() as session:
            version_id = await session.scalar(text("SELECT id FROM document_versions"))
        await render_version(resources, version_id)
        held = await holdings(resources)
        assert (await staff.get(PREVIEW)).status_code == 200
        assert (len(held.in_store), held) == (2, await holdings(resources))

    async def test_each_file_has_its_own(self, staff: httpx.AsyncClient) -> None:
        await patch_type(staff, "identity-card", max_files=2)
        sent = [("file", ("a.png", files.png(40, 20))), ("file", ("b.txt", b"text"))]
        await staff.put(CARD, files=sent)
        first = await staff.get(PREVIEW, params={"file": 1})
        second = await staff.get(PREVIEW, params={"file": 2})
        third = await staff.get(PREVIEW, params={"file": 3})
        assert Image.open(io.BytesIO(first.content)).size == (40, 20)
        assert refusal(second) == (404, "no-preview", None)
        assert refusal(third) == (404, "no-file", None)

    @pytest.mark.req("R-053")
    async def test_a_picture_that_cannot_be_rendered_has_none_from_then_on(
        self, staff: httpx.AsyncClient
    ) -> None:
        document = await store(staff, files.png_claiming(30_000, 30_000), "flood.png")
        assert document["files"][0]["has_preview"] is True
        assert refusal(await staff.get(PREVIEW)) == (404, "no-preview", None)
        assert (await staff.get(CARD)).json()["files"][0]["has_preview"] is False
        content = await staff.get(CONTENT)
        assert content.content == files.png_claiming(30_000, 30_000)

    async def test_a_preview_of_damaged_bytes_is_not_made(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, files.png(63, 48))
        assert refusal(await staff.get(PREVIEW))[:2] == (503, "storage-unavailable")
        assert (await staff.get(CARD)).json()["files"][0]["has_preview"] is True

    async def test_two_who_look_at_once_see_the_same(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await store(staff, files.png(), "a.png")
        answers = await asyncio.gather(staff.get(PREVIEW), staff.get(PREVIEW))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        held = await holdings(resources)
        assert (len(held.in_store), held.in_spool) == (2, frozenset())

    async def test_a_renderer_that_cannot_start_is_no_fault_of_the_file(
        self, staff: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store(staff, files.png(), "a.png")
        with monkeypatch.context() as broken:
            broken.setattr(resources.renderer, "_command", ("/nonexistent",))
            answer = await staff.get(PREVIEW)
        assert refusal(answer)[0] == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert (await staff.get(PREVIEW)).status_code == 200

    async def test_a_replacement_has_a_preview_of_its_own(self, staff: httpx.AsyncClient) -> None:
        await store(staff, files.png(40, 20), "a.png")
        await staff.get(PREVIEW)
        await store(staff, files.png(20, 40), "b.png")
        answer = await staff.get(PREVIEW)
        assert Image.open(io.BytesIO(answer.content)).size == (20, 40)

    async def test_an_unknown_size_is_refused(self, digits: httpx.AsyncClient) -> None:
        answer = await digits.get(PREVIEW, params={"size": "huge"})
        assert refusal(answer) == (422, "validation-error", "size")

    async def test_a_preview_is_audited(self, staff: httpx.AsyncClient) -> None:
        await store(staff, files.png(), "a.png")
        await staff.get(PREVIEW)
        (event,) = await audited(staff, "document.preview")
        assert (event["actor"]["id"], event["version"]) == ("staff-1", 1)
