"""Bodies of uploads: broken, hostile, oversized; what is refused leaves nothing behind."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.api.holdings import (
    BOUNDARY,
    NOTHING,
    Chunks,
    holdings,
    multipart,
    part,
    raw_body,
    refusal,
)
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources
from docvault.settings import Settings

CARD = "/v1/customer/documents/identity-card"
FILE = 'name="file"; filename="a.pdf"'
MEBIBYTE = 1 << 20
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1 who is asked for an identity card with the place of issue."""
    await make_type(admin, "Identity card", collects_fields=True, field_labels="Issued in")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def sent(parts: tuple[bytes, ...]) -> bytes:
    """Return the bytes of a whole body with these parts."""
    body: bytes = multipart(*parts)["content"]
    return body


WHOLE = sent((part(FILE, files.pdf()),))
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
    "header-without-colon": sent((b"garbage\r\n\r\nx",)),
    "binary-header": sent((b"\x00\xff\xfe: x\r\n\r\nx",)),
    "no-headers": sent((b"\r\nx",)),
    "no-disposition": sent((b"Content-Type: text/plain\r\n\r\nx",)),
    "no-name": sent((part('filename="a.pdf"', files.pdf()),)),
    "no-form-data": sent((b'Content-Disposition: attachment; name="file"\r\n\r\nx',)),
    "long-header": sent((part(FILE, files.pdf(), LONG_HEADER),)),
    "long-filename": sent((part(f'name="file"; filename="{"a" * 65_536}"', files.pdf()),)),
    "many-headers": sent((part(FILE, files.pdf(), *[b"X-%d: 1" % i for i in range(1000)]),)),
    "bare-line-feeds": WHOLE.replace(b"\r\n", b"\n"),
}


class TestBrokenBodies:
    """Bodies that cannot be parsed."""

    async def test_broken_bodies_are_malformed_and_leave_nothing(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for name, body in BROKEN.items():
            answer = await customer.put(CARD, **raw_body(body))
            assert (name, *refusal(answer)[:2]) == (name, 400, "malformed-request")
            assert (name, await holdings(resources)) == (name, NOTHING)

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
    async def test_a_missing_or_endless_boundary_is_malformed(
        self, customer: httpx.AsyncClient, resources: Resources, content_type: str
    ) -> None:
        answer = await customer.put(CARD, **raw_body(WHOLE, content_type))
        assert refusal(answer)[:2] == (400, "malformed-request")
        assert await holdings(resources) == NOTHING

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
    async def test_another_kind_of_body_is_not_supported(
        self, customer: httpx.AsyncClient, resources: Resources, content_type: str
    ) -> None:
        headers = [(b"Content-Type", content_type.encode("latin-1"))] if content_type else []
        answer = await customer.put(CARD, content=WHOLE, headers=headers)
        assert refusal(answer) == (415, "media-type-not-allowed", "Content-Type")
        assert answer.json()["allowed"] == ["multipart/form-data"]
        assert await holdings(resources) == NOTHING

    async def test_a_request_without_a_body_is_refused(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.put(CARD)
        assert refusal(answer)[:2] == (415, "media-type-not-allowed")

    async def test_a_client_that_hangs_up_leaves_nothing(
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
        messages = [
            {"type": "http.request", "body": WHOLE[:400], "more_body": True},
            {"type": "http.disconnect"},
        ]
        scope = {"type": "http", "method": "PUT", "path": CARD, "headers": headers}
        scope |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1"}

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        answered: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            answered.append(message)

        await app(scope, receive, send)
        assert messages == []
        assert [m["status"] for m in answered if "status" in m] in ([], [400])
        assert await holdings(resources) == NOTHING


class TestOddBodies:
    """Bodies that are unusual but right."""

    async def test_a_browsers_body_is_understood(self, customer: httpx.AsyncClient) -> None:
        boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
        body = WHOLE.replace(BOUNDARY.encode(), boundary.encode())
        content_type = f"multipart/form-data; boundary={boundary}"
        answer = await customer.put(CARD, **raw_body(body, content_type))
        assert answer.status_code == 201, answer.text

    async def test_a_quoted_boundary_and_capitals_are_understood(
        self, customer: httpx.AsyncClient
    ) -> None:
        content_type = f'Multipart/Form-Data; Boundary="{BOUNDARY}"'
        answer = await customer.put(CARD, **raw_body(WHOLE, content_type))
        assert answer.status_code == 201, answer.text

    async def test_a_file_may_look_like_a_boundary(self, customer: httpx.AsyncClient) -> None:
        body = f"--{BOUNDARY[:-1]}\r\n\r\n--\r\n--{BOUNDARY}".encode()[:-1]
        answer = await customer.put(CARD, **multipart(part('name="file"; filename="a"', body)))
        assert answer.status_code == 201, answer.text
        assert (await customer.get(f"{CARD}/content")).content == body

    @pytest.mark.parametrize("size", [1, 7, 64])
    async def test_a_body_in_tiny_pieces_is_the_same(
        self, customer: httpx.AsyncClient, size: int
    ) -> None:
        headers = {"Content-Type": CONTENT_TYPE}
        answer = await customer.put(CARD, content=Chunks(WHOLE, size), headers=headers)
        assert answer.status_code == 201, answer.text
        assert (await customer.get(f"{CARD}/content")).content == files.pdf()


class TestParts:
    """Which parts there may be."""

    async def test_no_file_part(self, customer: httpx.AsyncClient, resources: Resources) -> None:
        values = part('name="field_values"', b'{"issued-in": "Delft"}')
        answer = await customer.put(CARD, **multipart(values))
        assert refusal(answer) == (422, "file-required", "/file")
        assert (await customer.get(CARD)).json()["field_values"] == {}
        assert await holdings(resources) == NOTHING

    async def test_too_many_files(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", max_files=2)
        answer = await customer.put(CARD, **multipart(*[part(FILE, files.pdf())] * 3))
        assert refusal(answer) == (422, "too-many-files", "/file")
        assert await holdings(resources) == NOTHING

    async def test_one_bad_file_of_several_refuses_all(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", max_files=2)
        parts = [part(FILE, files.pdf()), part('name="file"; filename="b"', files.executable())]
        answer = await customer.put(CARD, **multipart(*parts))
        assert refusal(answer) == (415, "media-type-not-allowed", "/file")
        assert await holdings(resources) == NOTHING

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
    async def test_an_unknown_part_is_refused_by_its_name(
        self, customer: httpx.AsyncClient, resources: Resources, name: str, pointer: str
    ) -> None:
        parts = [part(FILE, files.pdf()), part(f'name="{name}"', b"x")]
        answer = await customer.put(CARD, **multipart(*parts))
        assert refusal(answer) == (422, "validation-error", pointer)
        assert await holdings(resources) == NOTHING

    async def test_values_may_come_only_once(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        values = [part('name="field_values"', b"{}")] * 2
        answer = await customer.put(CARD, **multipart(part(FILE, files.pdf()), *values))
        assert refusal(answer) == (422, "validation-error", "/field_values")
        assert await holdings(resources) == NOTHING

    async def test_values_over_64_kib_are_refused(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        values = part('name="field_values"', b" " * 65_600 + b"{}")
        answer = await customer.put(CARD, **multipart(values, part(FILE, files.pdf())))
        assert refusal(answer)[0] in {413, 422}
        assert await holdings(resources) == NOTHING


WRONG_VALUES = [
    (b"", (400, "malformed-request", "/field_values")),
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
    async def test_wrong_values_store_nothing(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for raw, expected in WRONG_VALUES:
            parts = [part(FILE, files.pdf()), part('name="field_values"', raw)]
            answer = await customer.put(CARD, **multipart(*parts))
            assert (raw, refusal(answer)) == (raw, expected)
            assert (raw, await holdings(resources)) == (raw, NOTHING)

    async def test_deep_nesting_is_malformed(self, customer: httpx.AsyncClient) -> None:
        raw = b'{"issued-in": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
        parts = [part(FILE, files.pdf()), part('name="field_values"', raw)]
        answer = await customer.put(CARD, **multipart(*parts))
        assert refusal(answer)[:2] == (400, "malformed-request")

    @pytest.mark.req("R-046")
    async def test_a_type_that_collects_none_takes_no_values(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "identity-card", collects_fields=False)
        answer = await customer.put(CARD, **upload_of(field_values='{"issued-in": "x"}'))
        assert refusal(answer)[:2] == (422, "fields-not-enabled")
        assert await holdings(resources) == NOTHING


class TestContentOfFiles:
    """What the bytes are (A-14, D20)."""

    @pytest.mark.parametrize("filename", ["a.pdf", "a.txt", "a"])
    async def test_an_empty_file(
        self, customer: httpx.AsyncClient, resources: Resources, filename: str
    ) -> None:
        answer = await customer.put(CARD, **upload_of(b"", filename))
        assert refusal(answer) == (422, "empty-file", "/file")
        assert await holdings(resources) == NOTHING

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
    async def test_a_type_that_is_not_accepted(
        self, customer: httpx.AsyncClient, resources: Resources, body: bytes, filename: str
    ) -> None:
        answer = await customer.put(CARD, **upload_of(body, filename))
        assert refusal(answer) == (415, "media-type-not-allowed", "/file")
        assert "image/png" in answer.json()["allowed"]
        assert "detected" in answer.json()
        assert await holdings(resources) == NOTHING

    async def test_the_refusal_names_what_is_allowed_and_what_came(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", accepted_media_types=["image/png"])
        problem = (await customer.put(CARD, **upload_of())).json()
        assert (problem["status"], problem["allowed"], problem["detected"]) == (
            415,
            ["image/png"],
            "application/pdf",
        )

    @pytest.mark.parametrize(
        ("body", "filename", "detected"),
        [
            (files.png(), "a.pdf", "image/png"),
            (files.png(), "a.JPG", "image/png"),
            (files.pdf(), "a.docx", "application/pdf"),
            (files.text(), "a.pdf", "text/plain"),
            (files.jpeg(), "a.png. ", "image/jpeg"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_a_name_that_promises_another_type(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        body: bytes,
        filename: str,
        detected: str,
    ) -> None:
        answer = await customer.put(CARD, **upload_of(body, filename))
        assert refusal(answer) == (415, "media-type-not-allowed", "/file")
        assert answer.json()["detected"] == detected
        assert await holdings(resources) == NOTHING

    @pytest.mark.parametrize("filename", ["a", "a.unknown", "a.php.jpg", ".jpeg", "a.JPEG"])
    async def test_a_name_that_promises_nothing_else(
        self, customer: httpx.AsyncClient, filename: str
    ) -> None:
        answer = await customer.put(CARD, **upload_of(files.jpeg(), filename))
        assert answer.status_code == 201, answer.text
        assert answer.json()["files"][0]["media_type"] == "image/jpeg"

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
    async def test_a_damaged_or_hostile_file(
        self, customer: httpx.AsyncClient, resources: Resources, body: bytes, filename: str
    ) -> None:
        answer = await customer.put(CARD, **upload_of(body, filename))
        assert refusal(answer) == (422, "corrupt-file", "/file")
        assert await holdings(resources) == NOTHING

    async def test_a_refused_replacement_leaves_the_document_as_it_was(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(CARD, **upload_of(field_values='{"issued-in": "Delft"}'))
        before = (await customer.get(CARD)).json(), await holdings(resources)
        answer = await customer.put(
            CARD, **upload_of(files.executable(), field_values='{"issued-in": "Gouda"}')
        )
        assert answer.status_code == 415
        assert ((await customer.get(CARD)).json(), await holdings(resources)) == before


class TestNames:
    """File names as clients send them (D23, F7)."""

    @pytest.mark.parametrize(
        ("raw", "stored"),
        [
            (b"../../etc/passwd", "passwd"),
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
    async def test_a_name_is_made_harmless_or_refused(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        raw: bytes,
        stored: str | None,
    ) -> None:
        disposition = b'name="file"; filename="' + raw + b'"'
        answer = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        if stored is None:
            assert refusal(answer) == (422, "validation-error", "/file")
            assert await holdings(resources) == NOTHING
        else:
            assert answer.json()["files"][0]["filename"] == stored

    async def test_a_long_name_keeps_its_end_within_255_bytes(
        self, customer: httpx.AsyncClient
    ) -> None:
        disposition = f'name="file"; filename="{"é" * 2000}.pdf"'
        answer = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        name = answer.json()["files"][0]["filename"]
        assert name == "é" * 125 + ".pdf"

    @pytest.mark.parametrize("control", [b"\x00", b"\x01", b"\x1b", b"\x7f", b"\r", b"\n"])
    async def test_a_control_character_is_dropped_or_malformed(
        self, customer: httpx.AsyncClient, control: bytes
    ) -> None:
        disposition = b'name="file"; filename="a' + control + b'b.pdf"'
        answer = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        assert answer.status_code in {201, 400}, answer.text
        if answer.status_code == 201:
            assert answer.json()["files"][0]["filename"] == "ab.pdf"

    async def test_a_file_without_a_name_is_refused(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        answer = await customer.put(CARD, **multipart(part('name="file"', files.pdf())))
        assert refusal(answer) == (422, "validation-error", "/file")
        assert await holdings(resources) == NOTHING

    async def test_the_extended_name_is_ignored(self, customer: httpx.AsyncClient) -> None:
        disposition = 'name="file"; filename="a.pdf"; filename*=UTF-8\'\'evil.exe'
        answer = await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        assert answer.json()["files"][0]["filename"] == "a.pdf"

    async def test_nothing_is_created_under_the_sent_name(
        self, customer: httpx.AsyncClient, tmp_path: Path
    ) -> None:
        disposition = 'name="file"; filename="../../canary-name.pdf"'
        await customer.put(CARD, **multipart(part(disposition, files.pdf())))
        names = [name for _, *both in os.walk(tmp_path) for some in both for name in some]
        assert [name for name in names if "canary" in name] == []


class TestSizes:
    """Files and bodies over their limits (A-15, D19)."""

    @pytest.fixture
    async def limited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> httpx.AsyncClient:
        """The customer, whose file may have 1,000 bytes."""
        await patch_type(admin, "identity-card", max_size_bytes=1000)
        return customer

    @pytest.mark.req("A-15")
    @pytest.mark.parametrize(("size", "status"), [(1, 201), (999, 201), (1000, 201), (1001, 413)])
    async def test_the_limit_is_exact(
        self, limited: httpx.AsyncClient, size: int, status: int
    ) -> None:
        answer = await limited.put(CARD, **upload_of(b"x" * size, "a.txt"))
        assert answer.status_code == status, answer.text

    async def test_the_refusal_names_the_limit(
        self, limited: httpx.AsyncClient, resources: Resources
    ) -> None:
        answer = await limited.put(CARD, **upload_of(b"x" * 1001, "a.txt"))
        assert refusal(answer)[:2] == (413, "file-too-large")
        assert answer.json()["limit_bytes"] == 1000
        assert await holdings(resources) == NOTHING

    async def test_a_true_length_over_the_limit_is_refused_unread(
        self, limited: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(sent((part(FILE, b"x" * 3 * MEBIBYTE),)))
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(3 * MEBIBYTE + 120)}
        answer = await limited.put(CARD, content=body, headers=headers)
        assert refusal(answer)[:2] == (413, "file-too-large")
        assert (body.taken, answer.headers["connection"]) == (0, "close")
        assert await holdings(resources) == NOTHING

    @pytest.mark.parametrize("announced", [None, "1000"])
    async def test_an_absent_or_false_length_is_counted(
        self, limited: httpx.AsyncClient, resources: Resources, announced: str | None
    ) -> None:
        body = Chunks(sent((part(FILE, b"x" * 4 * MEBIBYTE),)))
        headers = {"Content-Type": CONTENT_TYPE}
        headers |= {"Content-Length": announced} if announced else {}
        answer = await limited.put(CARD, content=body, headers=headers)
        assert refusal(answer)[:2] == (413, "file-too-large")
        assert body.taken <= MEBIBYTE + 1000
        assert await holdings(resources) == NOTHING

    @pytest.mark.parametrize("announced", ["999999999999", "9" * 40])
    async def test_an_enormous_length_is_refused_whatever_comes(
        self, limited: httpx.AsyncClient, announced: str
    ) -> None:
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": announced}
        answer = await limited.put(CARD, content=Chunks(WHOLE), headers=headers)
        assert refusal(answer)[:2] == (413, "file-too-large")

    @pytest.mark.parametrize("announced", ["-1", "abc", "1e3", "+5", "٣"])
    async def test_a_length_that_is_no_number_is_malformed(
        self, limited: httpx.AsyncClient, announced: str
    ) -> None:
        headers = [
            (b"Content-Type", CONTENT_TYPE.encode()),
            (b"Content-Length", announced.encode()),
        ]
        answer = await limited.put(CARD, content=Chunks(WHOLE), headers=headers)
        assert refusal(answer)[:2] == (400, "malformed-request")

    async def test_padding_around_the_parts_does_not_get_past_the_limit(
        self, limited: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(WHOLE + b"\r\n" * MEBIBYTE)
        answer = await limited.put(CARD, content=body, headers={"Content-Type": CONTENT_TYPE})
        assert answer.status_code in {400, 413}
        assert await holdings(resources) == NOTHING

    async def test_the_limit_is_for_each_of_several_files(
        self, admin: httpx.AsyncClient, limited: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", max_files=2)
        name = 'name="file"; filename="a.txt"'
        right = [part(name, b"x" * 1000)] * 2
        wrong = [part(name, b"x"), part(name, b"x" * 1001)]
        assert (await limited.put(CARD, **multipart(*right))).status_code == 201
        assert (await limited.put(CARD, **multipart(*wrong))).status_code == 413


class TestDeploymentLimits:
    """What the settings of a deployment refuse."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        """A deployment with narrow limits."""
        return Settings(
            data_dir=tmp_path / "data",
            max_upload_bytes=2000,
            default_max_file_bytes=1500,
            max_parallel_uploads=1,
            body_idle_seconds=0.2,
        )

    @pytest.mark.req("A-15")
    async def test_a_type_without_a_limit_has_the_default_one(
        self, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.put(CARD, **upload_of(b"x" * 1501, "a.txt"))
        assert (answer.status_code, answer.json()["limit_bytes"]) == (413, 1500)

    @pytest.mark.req("A-15")
    async def test_no_type_gets_over_the_ceiling(self, admin: httpx.AsyncClient) -> None:
        data = {"name": "Large", "max_size_bytes": 1 << 30}
        answer = await admin.post("/v1/admin/document-types", json=data)
        assert refusal(answer) == (422, "validation-error", "/max_size_bytes")

    async def test_an_upload_too_many_is_refused_unread(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(WHOLE)
        async with resources.upload_slots:
            answer = await customer.put(CARD, content=body, headers={"Content-Type": CONTENT_TYPE})
        assert refusal(answer)[:2] == (503, "overloaded")
        assert (body.taken, int(answer.headers["retry-after"]) >= 1) == (0, True)

    async def test_a_refusal_frees_its_place(self, customer: httpx.AsyncClient) -> None:
        assert (await customer.put(CARD, **upload_of(b""))).status_code == 422
        assert (await customer.put(CARD, **raw_body(BROKEN["not-closed"]))).status_code == 400
        assert (await customer.put(CARD, **upload_of())).status_code == 201

    async def test_a_stalled_body_times_out(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        async def stalled() -> AsyncIterator[bytes]:
            yield WHOLE[:400]
            await asyncio.Event().wait()

        headers = {"Content-Type": CONTENT_TYPE}
        async with asyncio.timeout(5):
            answer = await customer.put(CARD, content=stalled(), headers=headers)
        assert refusal(answer)[:2] == (408, "request-timeout")
        assert await holdings(resources) == NOTHING


class TestStoreOutOfOrder:
    """Uploads while the blob store does not take bytes."""

    @pytest.mark.own_store("they look at files")
    async def test_the_upload_is_refused_and_works_again_later(
        self, customer: httpx.AsyncClient, resources: Resources, settings: Settings
    ) -> None:
        root = settings.data_dir / "blobs"
        in_the_way = [root / f"{number:02x}" for number in range(256)]
        for path in in_the_way:
            path.touch()
        answer = await customer.put(CARD, **upload_of())
        assert refusal(answer)[:2] == (503, "storage-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        held = await holdings(resources)
        assert (held.versions, held.attached, held.in_spool) == (0, frozenset(), frozenset())
        for path in in_the_way:
            path.unlink()
        assert (await customer.put(CARD, **upload_of())).status_code == 201


class TestAnyAudience:
    """PUT by staff and by third parties."""

    @pytest.mark.parametrize("scope", ["admin", "integration"])
    async def test_a_customer_who_is_not_known_takes_no_file(
        self,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        resources: Resources,
        scope: str,
    ) -> None:
        await make_type(admin, "Identity card")
        client = {"admin": admin, "integration": integration}[scope]
        body = Chunks(WHOLE)
        answer = await client.put(
            f"/v1/{scope}/customers/c-9/documents/identity-card",
            content=body,
            headers={"Content-Type": CONTENT_TYPE},
        )
        assert refusal(answer) == (404, "customer-unknown", None)
        assert (body.taken, answer.headers["connection"]) == (0, "close")
        assert await holdings(resources) == NOTHING

    async def test_nobody_uploads_without_a_credential(
        self, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(WHOLE)
        answer = await http.put(CARD, content=body, headers={"Content-Type": CONTENT_TYPE})
        assert refusal(answer)[:2] == (401, "authentication-required")
        assert (body.taken, answer.headers["connection"]) == (0, "close")
        assert await holdings(resources) == NOTHING
