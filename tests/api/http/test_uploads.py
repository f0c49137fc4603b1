"""Malformed, hostile and oversized upload bodies; a rejected upload leaves nothing behind."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.api.stored_state import (
    BOUNDARY,
    NOTHING_STORED,
    Chunks,
    multipart,
    part,
    raw_body,
    refusal,
    stored_state,
)
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.statements import sent_statements

from docvault.auth.local_tokens import LocalIssuer
from docvault.domain.media_type_names import describe_media_type
from docvault.services.resources import Resources
from docvault.settings import Settings

CARD = "/v1/customer/documents/identity-card"
FILE = 'name="file"; filename="a.pdf"'
MEBIBYTE = 1 << 20
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1, and an identity card with the field `issued-in`."""
    await make_type(admin, "Identity card", collects_fields=True, field_labels="Issued in")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def body_of(parts: tuple[bytes, ...]) -> bytes:
    """Return the bytes of a complete body with these parts."""
    body: bytes = multipart(*parts)["content"]
    return body


WHOLE = body_of((part(FILE, files.pdf()),))
LONG_HEADER = b"X-Long: " + b"a" * 10_000
BROKEN = {
    "empty": b"",
    "no-boundary-inside": files.pdf(),
    "other-boundary": WHOLE.replace(BOUNDARY.encode(), b"another"),
    "cut-in-the-header": WHOLE[:30],
    "cut-in-the-file": WHOLE[:300],
    "cut-in-the-closing-boundary": WHOLE[:-6],
    "not-closed": multipart(part(FILE, files.pdf()), closed=False)["content"],
    "second-part-cut": multipart(part(FILE, files.pdf()), closed=False)["content"]
    + f"--{BOUNDARY}\r\nContent-Disp".encode(),
    "header-without-colon": body_of((b"garbage\r\n\r\nx",)),
    "binary-header": body_of((b"\x00\xff\xfe: x\r\n\r\nx",)),
    "no-headers": body_of((b"\r\nx",)),
    "no-disposition": body_of((b"Content-Type: text/plain\r\n\r\nx",)),
    "no-name": body_of((part('filename="a.pdf"', files.pdf()),)),
    "no-form-data": body_of((b'Content-Disposition: attachment; name="file"\r\n\r\nx',)),
    "long-header": body_of((part(FILE, files.pdf(), LONG_HEADER),)),
    "long-filename": body_of((part(f'name="file"; filename="{"a" * 65_536}"', files.pdf()),)),
    "many-headers": body_of((part(FILE, files.pdf(), *[b"X-%d: 1" % i for i in range(1000)]),)),
    "bare-line-feeds": WHOLE.replace(b"\r\n", b"\n"),
}


class TestMalformedBodies:
    """Bodies that cannot be parsed."""

    async def test_malformed_bodies_are_rejected_and_leave_nothing(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for name, body in BROKEN.items():
            response = await customer.put(CARD, **raw_body(body))
            assert (name, *refusal(response)[:2]) == (name, 400, "malformed-request")
            assert (name, await stored_state(resources)) == (name, NOTHING_STORED)

    @pytest.mark.parametrize(
        "content_type",
        [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary=""',
            f"multipart/form-data; boundary={'b' * 300}",
            "multipart/form-data; charset=utf-8",
        ],
    )
    async def test_missing_or_overlong_boundary_is_malformed(
        self, customer: httpx.AsyncClient, resources: Resources, content_type: str
    ) -> None:
        response = await customer.put(CARD, **raw_body(WHOLE, content_type))
        assert refusal(response)[:2] == (400, "malformed-request")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "application/pdf",
            "multipart/mixed; boundary=b0undary",
            "multipart",
            "\xff\xfe",
            "",
        ],
    )
    async def test_unsupported_content_type_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources, content_type: str
    ) -> None:
        headers = [(b"Content-Type", content_type.encode("latin-1"))] if content_type else []
        response = await customer.put(CARD, content=WHOLE, headers=headers)
        assert refusal(response) == (415, "unsupported-media-type", "Content-Type")
        assert response.json()["allowed"] == ["multipart/form-data"]
        assert await stored_state(resources) == NOTHING_STORED

    async def test_missing_body_is_rejected(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(CARD)
        assert refusal(response)[:2] == (415, "unsupported-media-type")

    async def test_disconnected_client_leaves_nothing(
        self,
        app: FastAPI,
        customer: httpx.AsyncClient,
        issuer: LocalIssuer,
        resources: Resources,
    ) -> None:
        del customer
        token = issuer.customer_token("c-1")
        headers = [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", b"1000000"),
        ]
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": WHOLE[:400], "more_body": True},
            {"type": "http.disconnect"},
        ]
        scope: dict[str, Any] = {"type": "http", "method": "PUT", "path": CARD, "headers": headers}
        scope |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1"}

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        sent_back: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent_back.append(message)

        await app(scope, receive, send)
        assert messages == []
        assert [m["status"] for m in sent_back if "status" in m] in ([], [400])
        assert await stored_state(resources) == NOTHING_STORED


class TestUnusualBodies:
    """Unusual but valid bodies."""

    async def test_browser_body_is_accepted(self, customer: httpx.AsyncClient) -> None:
        boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
        body = WHOLE.replace(BOUNDARY.encode(), boundary.encode())
        content_type = f"multipart/form-data; boundary={boundary}"
        response = await customer.put(CARD, **raw_body(body, content_type))
        assert response.status_code == 201, response.text

    async def test_quoted_boundary_and_uppercase_are_accepted(
        self, customer: httpx.AsyncClient
    ) -> None:
        content_type = f'Multipart/Form-Data; Boundary="{BOUNDARY}"'
        response = await customer.put(CARD, **raw_body(WHOLE, content_type))
        assert response.status_code == 201, response.text

    async def test_file_may_contain_boundary_like_text(self, customer: httpx.AsyncClient) -> None:
        body = f"--{BOUNDARY[:-1]}\r\n\r\n--\r\n--{BOUNDARY}".encode()[:-1]
        response = await customer.put(CARD, **multipart(part('name="file"; filename="a"', body)))
        assert response.status_code == 201, response.text
        assert (await customer.get(f"{CARD}/content")).content == body

    @pytest.mark.parametrize("size", [1, 7, 64])
    async def test_body_in_tiny_chunks_is_accepted(
        self, customer: httpx.AsyncClient, size: int
    ) -> None:
        headers = {"Content-Type": CONTENT_TYPE}
        response = await customer.put(CARD, content=Chunks(WHOLE, size), headers=headers)
        assert response.status_code == 201, response.text
        assert (await customer.get(f"{CARD}/content")).content == files.pdf()


class TestParts:
    """The parts of an upload."""

    async def test_missing_file_part_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        values = part('name="field_values"', b'{"issued-in": "Delft"}')
        response = await customer.put(CARD, **multipart(values))
        assert refusal(response) == (422, "file-required", "/file")
        assert (await customer.get(CARD)).json()["field_values"] == {}
        assert await stored_state(resources) == NOTHING_STORED

    async def test_too_many_files_are_rejected(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", max_files=2)
        response = await customer.put(CARD, **multipart(*[part(FILE, files.pdf())] * 3))
        assert refusal(response) == (422, "too-many-files", "/file")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("B-131")
    async def test_input_without_a_file_is_none(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        nothing = part('name="file"; filename=""', b"")
        response = await customer.put(CARD, **multipart(nothing))
        assert refusal(response) == (422, "file-required", "/file")
        assert await stored_state(resources) == NOTHING_STORED
        for parts in ([nothing, part(FILE, files.pdf())], [part(FILE, files.pdf()), nothing]):
            response = await customer.put(CARD, **multipart(*parts))
            assert [file["size_bytes"] for file in response.json()["files"]] == [len(files.pdf())]

    async def test_one_invalid_file_rejects_all(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", max_files=2)
        parts = [part(FILE, files.pdf()), part('name="file"; filename="b"', files.executable())]
        response = await customer.put(CARD, **multipart(*parts))
        assert refusal(response) == (415, "unsupported-media-type", "/file")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.parametrize(
        ("name", "pointer"),
        [
            ("evil", "/evil"),
            ("files", "/files"),
            ("File", "/File"),
            ("file[]", "/file[]"),
            ("", "/"),
            ("uploaded_by", "/uploaded_by"),
            ("a/b~c", "/a~1b~0c"),
        ],
    )
    async def test_unknown_part_is_rejected_by_name(
        self, customer: httpx.AsyncClient, resources: Resources, name: str, pointer: str
    ) -> None:
        parts = [part(FILE, files.pdf()), part(f'name="{name}"', b"x")]
        response = await customer.put(CARD, **multipart(*parts))
        assert refusal(response) == (422, "validation-error", pointer)
        assert await stored_state(resources) == NOTHING_STORED

    async def test_duplicate_values_part_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        values = [part('name="field_values"', b"{}")] * 2
        response = await customer.put(CARD, **multipart(part(FILE, files.pdf()), *values))
        assert refusal(response) == (422, "validation-error", "/field_values")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_values_over_64_kib_are_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        values = part('name="field_values"', b" " * 65_600 + b"{}")
        response = await customer.put(CARD, **multipart(values, part(FILE, files.pdf())))
        assert refusal(response)[0] in {413, 422}
        assert await stored_state(resources) == NOTHING_STORED


WRONG_VALUES = [
    (b"{", (400, "malformed-request", "/field_values")),
    (b"issued-in=Delft", (400, "malformed-request", "/field_values")),
    (b'{"issued-in": NaN}', (400, "malformed-request", "/field_values")),
    (b'{"issued-in": "\xff"}', (400, "malformed-request", "/field_values")),
    (b'{"issued-in": "a", "issued-in": "b"}', (400, "malformed-request", "/field_values")),
    (b"null", (422, "validation-error", "/field_values")),
    (b"7", (422, "validation-error", "/field_values")),
    (b'"x"', (422, "validation-error", "/field_values")),
    (b'["issued-in"]', (422, "validation-error", "/field_values")),
    (b'{"issued-in": 7}', (422, "validation-error", "/field_values/issued-in")),
    (b'{"issued-in": {}}', (422, "validation-error", "/field_values/issued-in")),
    (b'{"issued-in": true}', (422, "validation-error", "/field_values/issued-in")),
    (b'{"issued-in": "a\\u0000"}', (422, "validation-error", "/field_values/issued-in")),
    (b'{"issued-in": "\\ud800"}', (422, "validation-error", "/field_values/issued-in")),
    (
        b'{"issued-in": "' + b"x" * 2001 + b'"}',
        (422, "validation-error", "/field_values/issued-in"),
    ),
    (b'{"nope": "x"}', (422, "unknown-field", "/field_values/nope")),
    (b'{"Issued in": "x"}', (422, "unknown-field", "/field_values/Issued in")),
]


class TestFieldValues:
    """The part `field_values`."""

    @pytest.mark.req("R-046")
    async def test_invalid_values_store_nothing(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for raw, expected in WRONG_VALUES:
            parts = [part(FILE, files.pdf()), part('name="field_values"', raw)]
            response = await customer.put(CARD, **multipart(*parts))
            assert (raw, refusal(response)) == (raw, expected)
            assert (raw, await stored_state(resources)) == (raw, NOTHING_STORED)

    async def test_deeply_nested_values_are_malformed(self, customer: httpx.AsyncClient) -> None:
        raw = b'{"issued-in": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
        parts = [part(FILE, files.pdf()), part('name="field_values"', raw)]
        response = await customer.put(CARD, **multipart(*parts))
        assert refusal(response)[:2] == (400, "malformed-request")

    @pytest.mark.req("R-046")
    async def test_type_without_fields_rejects_values(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", collects_fields=False)
        response = await customer.put(CARD, **upload_of(field_values='{"issued-in": "x"}'))
        assert refusal(response)[:2] == (422, "fields-not-enabled")
        assert await stored_state(resources) == NOTHING_STORED


class TestFileContent:
    """The media type of the bytes (A-14)."""

    @pytest.mark.parametrize("filename", ["a.pdf", "a.txt", "a"])
    async def test_empty_file_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources, filename: str
    ) -> None:
        response = await customer.put(CARD, **upload_of(b"", filename))
        assert refusal(response) == (422, "empty-file", "/file")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("A-14")
    @pytest.mark.parametrize(
        ("body", "filename"),
        [
            (files.executable(), "a.exe"),
            (files.executable(), "a.pdf"),
            (files.html(), "a.html"),
            (files.html(), "a.txt"),
            (files.html(), "a.pdf"),
            (files.svg(), "a.svg"),
            (files.svg(), "a.png"),
            (b"\x00" * 100, "a.bin"),
            (files.pptx(), "a.pptx"),
            (files.archive({"a.txt": "x"}), "a.zip"),
            (files.docm(), "a.docm"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_unaccepted_type_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources, body: bytes, filename: str
    ) -> None:
        response = await customer.put(CARD, **upload_of(body, filename))
        assert refusal(response) == (415, "unsupported-media-type", "/file")
        assert "image/png" in response.json()["allowed"]
        assert "detected" in response.json()
        assert await stored_state(resources) == NOTHING_STORED

    async def test_rejection_names_accepted_and_detected_types(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", accepted_media_types=["image/png"])
        problem = (await customer.put(CARD, **upload_of())).json()
        assert (problem["status"], problem["allowed"], problem["detected"]) == (
            415,
            ["image/png"],
            "application/pdf",
        )

    @pytest.mark.req("B-086")
    @pytest.mark.parametrize(
        ("body", "filename", "stored"),
        [
            (files.png(), "a.pdf", ("a.pdf.png", "image/png")),
            (files.png(), "a.JPG", ("a.JPG.png", "image/png")),
            (files.webp(), "photo.jpg", ("photo.jpg.webp", "image/webp")),
            (files.jpeg(), "photo.heic", ("photo.heic.jpg", "image/jpeg")),
            (files.pdf(), "Rechnung amazon.com", ("Rechnung amazon.com.pdf", "application/pdf")),
            (files.jpeg(), "a.png. ", ("a.png.jpg", "image/jpeg")),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_extension_follows_the_content(
        self, customer: httpx.AsyncClient, body: bytes, filename: str, stored: tuple[str, str]
    ) -> None:
        response = await customer.put(CARD, **upload_of(body, filename))
        assert response.status_code == 201, response.text
        (file,) = response.json()["files"]
        assert (file["filename"], file["media_type"]) == stored
        content = await customer.get(f"{CARD}/content")
        assert content.content == body
        assert content.headers["content-type"] == stored[1]
        assert content.headers["content-disposition"].endswith(stored[0].replace(" ", "%20"))

    @pytest.mark.req("B-086")
    @pytest.mark.parametrize(
        ("body", "filename", "detected", "extension"),
        [
            (files.png(), "a.exe", "image/png", "png"),
            (files.pdf(), "a.html", "application/pdf", "pdf"),
            (files.text(), "a.bat", "text/plain", "txt"),
            (files.pdf_with_javascript(), "a.jpg", "application/pdf", "pdf"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_wrong_extension_is_rejected_with_the_right_one(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        body: bytes,
        filename: str,
        detected: str,
        extension: str,
    ) -> None:
        response = await customer.put(CARD, **upload_of(body, filename))
        assert refusal(response) == (415, "extension-mismatch", "/file")
        problem = response.json()
        assert problem["detected"] == detected
        assert problem["extensions"][0] == extension
        assert f"end in .{extension}." in problem["detail"]
        assert await stored_state(resources) == NOTHING_STORED

    async def test_wrong_extension_of_unaccepted_type_is_an_unaccepted_type(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", accepted_media_types=["image/png"])
        response = await customer.put(CARD, **upload_of(files.pdf(), "a.html"))
        assert refusal(response) == (415, "unsupported-media-type", "/file")

    @pytest.mark.req("B-085")
    @pytest.mark.parametrize("media_type", files.RARE_FILES)
    async def test_rare_kind_is_named_until_the_type_accepts_it(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, media_type: str
    ) -> None:
        make, extension = files.RARE_FILES[media_type]
        sent = upload_of(make(), f"a.{extension}")
        refused = await customer.put(CARD, **sent)
        assert refusal(refused) == (415, "unsupported-media-type", "/file")
        assert refused.json()["detected"] == media_type
        assert describe_media_type(media_type) in refused.json()["detail"]

        await patch_type(admin, "identity-card", accepted_media_types=[media_type])
        accepted = await customer.put(CARD, **sent)
        assert accepted.status_code == 201, accepted.text
        content = await customer.get(f"{CARD}/content", params={"disposition": "inline"})
        assert content.content == make()
        assert content.headers["content-type"] == media_type
        assert content.headers["content-disposition"].startswith("attachment")

    @pytest.mark.req("B-088")
    async def test_control_character_is_the_reason(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(CARD, **upload_of(b"escape \x1b[31m", "a.txt"))
        assert refusal(response) == (415, "unsupported-media-type", "/file")
        assert response.json()["detail"] == (
            "The text contains a control character, 0x1B. Remove it."
        )

    @pytest.mark.parametrize("filename", ["a", "a.unknown", "a.php.jpg", ".jpeg", "a.JPEG"])
    async def test_neutral_extension_is_accepted(
        self, customer: httpx.AsyncClient, filename: str
    ) -> None:
        response = await customer.put(CARD, **upload_of(files.jpeg(), filename))
        assert response.status_code == 201, response.text
        assert response.json()["files"][0]["media_type"] == "image/jpeg"

    @pytest.mark.parametrize(
        ("body", "filename"),
        [
            (files.pdf()[:200], "a.pdf"),
            (files.docx()[:400], "a.docx"),
            (files.image_with_archive_appended(), "a.png"),
            (files.png()[:20], "a.png"),
        ],
        ids=["cut-pdf", "cut-docx", "archive-appended", "cut-png"],
    )
    async def test_corrupt_or_hostile_file_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources, body: bytes, filename: str
    ) -> None:
        response = await customer.put(CARD, **upload_of(body, filename))
        assert refusal(response) == (422, "corrupt-file", "/file")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_rejected_replacement_keeps_document(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(CARD, **upload_of(field_values='{"issued-in": "Delft"}'))
        before = (await customer.get(CARD)).json(), await stored_state(resources)
        response = await customer.put(
            CARD, **upload_of(files.executable(), field_values='{"issued-in": "Gouda"}')
        )
        assert response.status_code == 415
        assert ((await customer.get(CARD)).json(), await stored_state(resources)) == before


class TestFilenames:
    """File names as clients send them."""

    @pytest.mark.parametrize(
        ("raw", "stored"),
        [
            (b"../../etc/passwd", "passwd.pdf"),
            (b"/etc/shadow.pdf", "shadow.pdf"),
            (rb"C:\\fakepath\\scan.pdf", "scan.pdf"),
            (b"a/..", None),
            (b"..", None),
            (b"...", None),
            (b" ", None),
            (b"", None),
            ("\u200b\u202e".encode(), None),
            ("a\u202efdp.pdf".encode(), "afdp.pdf"),
            ("Grü\u0308ße.pdf".encode(), "Grü\u0308ße.pdf"),
            ("u\u0308.pdf".encode(), "ü.pdf"),
            ("证件🪪.pdf".encode(), "证件🪪.pdf"),
            (b"caf\xe9.pdf", "café.pdf"),
            (b"a.pdf. . ", "a.pdf"),
            (b"CON.pdf", "_CON.pdf"),
            (rb"a\"b.pdf", 'a"b.pdf'),
            (b"a%2fb.pdf", "a%2fb.pdf"),
            (b"a;b='c'.pdf", "a;b='c'.pdf"),
            (b"<script>.pdf", "<script>.pdf"),
        ],
    )
    async def test_filename_is_sanitized_or_rejected(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        raw: bytes,
        stored: str | None,
    ) -> None:
        disposition = b'name="file"; filename="' + raw + b'"'
        response = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        if stored is None:
            assert refusal(response) == (422, "validation-error", "/file")
            assert await stored_state(resources) == NOTHING_STORED
        else:
            assert response.json()["files"][0]["filename"] == stored

    async def test_long_filename_is_cut_to_255_bytes_keeping_its_end(
        self, customer: httpx.AsyncClient
    ) -> None:
        disposition = f'name="file"; filename="{"é" * 2000}.pdf"'
        response = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        name = response.json()["files"][0]["filename"]
        assert name == "é" * 125 + ".pdf"

    @pytest.mark.parametrize("control", [b"\x00", b"\x01", b"\x1b", b"\x7f", b"\r", b"\n"])
    async def test_control_character_is_removed_or_malformed(
        self, customer: httpx.AsyncClient, control: bytes
    ) -> None:
        disposition = b'name="file"; filename="a' + control + b'b.pdf"'
        response = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        assert response.status_code in {201, 400}, response.text
        if response.status_code == 201:
            assert response.json()["files"][0]["filename"] == "ab.pdf"

    async def test_file_without_filename_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await customer.put(CARD, **multipart(part('name="file"', files.pdf())))
        assert refusal(response) == (422, "validation-error", "/file")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("B-098")
    async def test_extended_filename_is_preferred_and_sanitized(
        self, customer: httpx.AsyncClient
    ) -> None:
        disposition = 'name="file"; filename="a.pdf"; filename*=UTF-8\'\'..%2F%00%E2%82%AC.pdf'
        response = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        assert response.json()["files"][0]["filename"] == "€.pdf"

    async def test_sent_filename_is_never_used_as_path(
        self, customer: httpx.AsyncClient, tmp_path: Path
    ) -> None:
        disposition = 'name="file"; filename="../../canary-name.pdf"'
        await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        names = [name for _, *both in os.walk(tmp_path) for some in both for name in some]
        assert [name for name in names if "canary" in name] == []


FOLDED = part('name="file";\r\n\tfilename="a.pdf"', files.pdf())


class TestRareBodies:
    """Bodies as RFC 2046 allows them, which few clients send."""

    @pytest.mark.parametrize(
        "body",
        [
            body_of((FOLDED,)),
            b"This is a message in MIME format.\r\n\r\n" + WHOLE,
            WHOLE + b"\r\nThe end.",
            WHOLE.replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY} \t\r\n".encode()),
            body_of((part('name="_charset_"', b"utf-8"), part(FILE, files.pdf()))),
            body_of((part(FILE, files.pdf()), part('name="field_values"', b""))),
        ],
        ids=["folded", "preamble", "epilogue", "blanks", "charset", "no values"],
    )
    @pytest.mark.req("B-097")
    async def test_unusual_body_is_stored(self, customer: httpx.AsyncClient, body: bytes) -> None:
        response = await customer.put(CARD, **raw_body(body))
        assert response.status_code == 201, response.text
        file = response.json()["files"][0]
        assert (file["filename"], file["size_bytes"]) == ("a.pdf", len(files.pdf()))


class TestSizes:
    """Files and bodies over their limits (A-15)."""

    @pytest.fixture
    async def limited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> httpx.AsyncClient:
        """The customer, with a limit of 1,000 bytes."""
        await patch_type(admin, "identity-card", max_size_bytes=1000)
        return customer

    @pytest.mark.req("A-15")
    @pytest.mark.parametrize(("size", "status"), [(1, 201), (999, 201), (1000, 201), (1001, 413)])
    async def test_limit_is_exact(self, limited: httpx.AsyncClient, size: int, status: int) -> None:
        response = await limited.put(CARD, **upload_of(b"x" * size, "a.txt"))
        assert response.status_code == status, response.text

    async def test_rejection_states_limit(
        self, limited: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await limited.put(CARD, **upload_of(b"x" * 1001, "a.txt"))
        assert refusal(response)[:2] == (413, "file-too-large")
        assert response.json()["limit_bytes"] == 1000
        assert await stored_state(resources) == NOTHING_STORED

    async def test_content_length_over_limit_is_rejected_before_reading(
        self, limited: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(body_of((part(FILE, b"x" * 3 * MEBIBYTE),)))
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(3 * MEBIBYTE + 120)}
        response = await limited.put(CARD, content=body, headers=headers)
        assert refusal(response)[:2] == (413, "file-too-large")
        assert (body.bytes_read, response.headers["connection"]) == (0, "close")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.parametrize("declared", [None, "1000"])
    async def test_missing_or_false_content_length_is_counted(
        self, limited: httpx.AsyncClient, resources: Resources, declared: str | None
    ) -> None:
        body = Chunks(body_of((part(FILE, b"x" * 4 * MEBIBYTE),)))
        headers = {"Content-Type": CONTENT_TYPE}
        headers |= {"Content-Length": declared} if declared else {}
        response = await limited.put(CARD, content=body, headers=headers)
        assert refusal(response)[:2] == (413, "file-too-large")
        assert body.bytes_read <= MEBIBYTE + 1000
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.parametrize("declared", ["999999999999", "9" * 40])
    async def test_enormous_content_length_is_rejected(
        self, limited: httpx.AsyncClient, declared: str
    ) -> None:
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": declared}
        response = await limited.put(CARD, content=Chunks(WHOLE), headers=headers)
        assert refusal(response)[:2] == (413, "file-too-large")

    @pytest.mark.parametrize("declared", ["-1", "abc", "1e3", "+5", "٣"])
    async def test_non_numeric_content_length_is_malformed(
        self, limited: httpx.AsyncClient, declared: str
    ) -> None:
        headers = [
            (b"Content-Type", CONTENT_TYPE.encode()),
            (b"Content-Length", declared.encode()),
        ]
        response = await limited.put(CARD, content=Chunks(WHOLE), headers=headers)
        assert refusal(response)[:2] == (400, "malformed-request")

    async def test_padding_does_not_bypass_limit(
        self, limited: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(WHOLE + b"\r\n" * MEBIBYTE)
        response = await limited.put(CARD, content=body, headers={"Content-Type": CONTENT_TYPE})
        assert response.status_code in {400, 413}
        assert await stored_state(resources) == NOTHING_STORED

    async def test_limit_applies_to_each_file(
        self, admin: httpx.AsyncClient, limited: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", max_files=2)
        name = 'name="file"; filename="a.txt"'
        right = [part(name, b"x" * 1000)] * 2
        wrong = [part(name, b"x"), part(name, b"x" * 1001)]
        assert (await limited.put(CARD, **multipart(*right))).status_code == 201
        assert (await limited.put(CARD, **multipart(*wrong))).status_code == 413


class TestExtensions:
    """Extensions that do not match the media type."""

    @pytest.mark.req("B-062")
    async def test_missing_extension_is_added(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(CARD, **upload_of(files.text(), "a.udl"))
        (file,) = response.json()["files"]
        assert (file["filename"], file["media_type"]) == ("a.udl.txt", "text/plain")
        content = await customer.get(f"{CARD}/content")
        assert content.headers["content-disposition"].endswith("filename*=UTF-8''a.udl.txt")


class TestDeploymentLimits:
    """Limits from the settings."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        """A deployment with low limits."""
        return Settings(
            data_dir=tmp_path / "data",
            max_upload_bytes=2000,
            default_max_file_bytes=1500,
            max_concurrent_uploads=1,
            body_idle_seconds=0.2,
        )

    @pytest.mark.req("A-15")
    async def test_type_without_limit_has_default_limit(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(CARD, **upload_of(b"x" * 1501, "a.txt"))
        assert (response.status_code, response.json()["limit_bytes"]) == (413, 1500)

    @pytest.mark.req("A-15")
    async def test_type_limit_cannot_exceed_ceiling(self, admin: httpx.AsyncClient) -> None:
        data = {"name": "Large", "max_size_bytes": 1 << 30}
        response = await admin.post("/v1/admin/document-types", json=data)
        assert refusal(response) == (422, "validation-error", "/max_size_bytes")

    @pytest.mark.req("A-15")
    async def test_lowered_ceiling_overrides_type_limit(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_type(admin, "Large", max_size_bytes=1900)
        async with resources.database.transaction() as session:
            # As stored before the ceiling was lowered.
            await session.execute(
                text("UPDATE document_types SET max_size_bytes = 5000 WHERE key = 'large'")
            )
        path = "/v1/customer/documents/large"
        response = await customer.put(path, **upload_of(b"x" * 3000, "a.txt"))
        assert (response.status_code, response.json()["limit_bytes"]) == (413, 2000)

    async def test_upload_over_concurrency_limit_is_rejected_before_reading(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(WHOLE)
        async with resources.upload_permits:
            response = await customer.put(
                CARD, content=body, headers={"Content-Type": CONTENT_TYPE}
            )
        assert refusal(response)[:2] == (503, "overloaded")
        assert (body.bytes_read, int(response.headers["retry-after"]) >= 1) == (0, True)

    async def test_rejection_releases_permit(self, customer: httpx.AsyncClient) -> None:
        assert (await customer.put(CARD, **upload_of(b""))).status_code == 422
        assert (await customer.put(CARD, **raw_body(BROKEN["not-closed"]))).status_code == 400
        assert (await customer.put(CARD, **upload_of())).status_code == 201

    async def test_stalled_body_times_out(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        async def stalled() -> AsyncIterator[bytes]:
            yield WHOLE[:400]
            await asyncio.Event().wait()

        headers = {"Content-Type": CONTENT_TYPE}
        async with asyncio.timeout(5):
            response = await customer.put(CARD, content=stalled(), headers=headers)
        assert refusal(response)[:2] == (408, "request-timeout")
        assert await stored_state(resources) == NOTHING_STORED


class TestFailingStore:
    """Uploads while the blob store rejects writes."""

    @pytest.mark.own_store("it inspects files")
    async def test_failing_store_rejects_upload_and_recovers(
        self, customer: httpx.AsyncClient, resources: Resources, settings: Settings
    ) -> None:
        root = settings.data_dir / "blobs"
        blockers = [root / f"{number:02x}" for number in range(256)]
        for path in blockers:
            path.touch()
        response = await customer.put(CARD, **upload_of())
        assert refusal(response)[:2] == (503, "storage-unavailable")
        assert int(response.headers["retry-after"]) >= 1
        held = await stored_state(resources)
        assert (held.versions, held.attached, held.in_spool) == (0, frozenset(), frozenset())
        for path in blockers:
            path.unlink()
        assert (await customer.put(CARD, **upload_of())).status_code == 201


class TestCredentials:
    """Uploads by staff and third parties."""

    @pytest.mark.parametrize("scope", ["admin", "integration"])
    async def test_unknown_customer_cannot_upload(
        self,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        resources: Resources,
        scope: str,
    ) -> None:
        await make_type(admin, "Identity card")
        client = {"admin": admin, "integration": integration}[scope]
        body = Chunks(WHOLE)
        response = await client.put(
            f"/v1/{scope}/customers/c-9/documents/identity-card",
            content=body,
            headers={"Content-Type": CONTENT_TYPE},
        )
        assert refusal(response) == (404, "customer-not-found", None)
        assert (body.bytes_read, response.headers["connection"]) == (0, "close")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_upload_requires_credential(
        self, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(WHOLE)
        response = await http.put(CARD, content=body, headers={"Content-Type": CONTENT_TYPE})
        assert refusal(response)[:2] == (401, "authentication-required")
        assert (body.bytes_read, response.headers["connection"]) == (0, "close")
        assert await stored_state(resources) == NOTHING_STORED


class TestReservation:
    """The storage that an upload reserves before its body is read."""

    @pytest.mark.req("B-072")
    @pytest.mark.parametrize(
        ("arguments", "status"),
        [
            (upload_of(b"", "a.pdf"), 422),
            (upload_of(b"nothing", "a.exe"), 415),
            (upload_of(field_values="{"), 400),
            (multipart(part(FILE, files.pdf()), closed=False), 400),
        ],
        ids=["empty", "type", "values", "broken body"],
    )
    async def test_rejected_upload_gives_it_back(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        arguments: dict[str, Any],
        status: int,
    ) -> None:
        response = await customer.put(CARD, **arguments)
        assert response.status_code == status, response.text
        assert await reservations(resources) == []

    @pytest.mark.req("B-072")
    async def test_replay_gives_it_back(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"Idempotency-Key": "k"}
        for _ in range(2):
            assert (await customer.put(CARD, **upload_of(), headers=headers)).status_code == 201
        assert await reservations(resources) == []

    @pytest.mark.req("B-073")
    async def test_after_a_rejection_nothing_is_reserved_before_the_body(
        self, customer: httpx.AsyncClient
    ) -> None:
        bad = upload_of(b"nothing", "a.exe")
        numbers = []
        for _ in range(3):
            with sent_statements() as sent:
                assert (await customer.put(CARD, **bad)).status_code == 415
            numbers.append(len(sent))
        # Look-up and release, then the look-up alone.
        assert numbers == [2, 1, 1]
        with sent_statements() as sent:
            assert (await customer.put(CARD, **upload_of())).status_code == 201
        assert len(sent) == 3

    async def test_attached_file_has_its_own_size_and_digest(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = files.pdf()
        await customer.put(CARD, **upload_of(body))
        async with resources.database.transaction() as session:
            found = await session.execute(text("SELECT state, size_bytes, sha256 FROM blobs"))
            assert found.all() == [("stored", len(body), hashlib.sha256(body).hexdigest())]

    async def test_every_file_of_an_upload_has_a_blob(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", max_files=3)
        pages = [("file", (f"{n}.pdf", files.pdf(), "application/pdf")) for n in range(3)]
        assert (await customer.put(CARD, files=pages)).status_code == 201
        state = await stored_state(resources)
        assert (len(state.attached), len(state.in_store), state.unsettled) == (3, 3, frozenset())

    async def test_unknown_parameter_is_rejected_before_anything_is_counted(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await customer.put(CARD, **upload_of(), params={"x": "1"})
        assert refusal(response)[:2] == (422, "validation-error")
        async with resources.database.transaction() as session:
            assert (await session.execute(text("SELECT * FROM rate_limits"))).all() == []
        assert await reservations(resources) == []


async def reservations(resources: Resources) -> list[Any]:
    """Return the blobs that are not attached."""
    async with resources.database.transaction() as session:
        found = await session.execute(text("SELECT state FROM blobs WHERE state <> 'stored'"))
        return list(found)
