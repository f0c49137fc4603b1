"""Inspecting stored bytes without fetching all of them."""

import asyncio
import hashlib
import io
import os
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from uuid import uuid4

import pytest
from tests.factories import files

from docvault import inspection
from docvault.errors import StorageUnavailable
from docvault.inspection.pdf import MAX_SEARCHED_BYTES
from docvault.inspection.pool import Inspectors
from docvault.inspection.ranged_file import BLOCK_BYTES
from docvault.inspection.result import Content, CorruptContent, UnknownContent
from docvault.services.remote_files import digest_of, inspect_stored


class Reader:
    """A blob in memory that counts the fetched bytes."""

    def __init__(self, body: bytes, sha256: str | None = None) -> None:
        self.body = body
        self.size_bytes = len(body)
        self.sha256 = sha256
        self.content_encoding = "identity"
        self.fetched = 0

    async def chunks(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        assert start + length <= self.size_bytes
        self.fetched += length
        # Like the filesystem store: a thread of the shared pool for each read.
        yield await asyncio.to_thread(lambda: self.body[start : start + length])

    async def close(self) -> None:
        pass


class BrokenReader(Reader):
    """A blob whose store fails."""

    async def chunks(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        raise StorageUnavailable(f"{start} {length}")
        yield b""  # type: ignore[unreachable] # makes it a generator


def large_pdf(size: int) -> bytes:
    """A PDF with a large stream in the middle."""
    return files.pdf_of(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
            4: b"<< /Length %d >>\nstream\n" % size + b"0" * size + b"\nendstream",
        }
    )


Inspect = Callable[[Reader, str], Awaitable[Content]]


@pytest.fixture
def inspect(inspectors: Inspectors) -> Inspect:
    async def inspect(reader: Reader, name: str) -> Content:
        return await inspect_stored(inspectors, uuid4(), reader, name)

    return inspect


class TestInspectStored:
    """inspect_stored()."""

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("a.pdf", files.pdf()),
            ("a.pdf", files.pdf_with_javascript()),
            ("a.pdf", files.pdf_with_compressed_javascript()),
            ("a.jpg", files.jpeg()),
            ("a.heic", files.heic()),
            ("a.tif", files.tiff()),
            ("a.docx", files.docx()),
            ("a.xlsx", files.xlsx()),
            ("a.odt", files.odt()),
            ("a.txt", files.text() * 100_000),
        ],
    )
    async def test_result_equals_local_inspection(
        self, inspect: Inspect, name: str, body: bytes
    ) -> None:
        expected = inspection.inspect(io.BytesIO(body), len(body), name)
        assert await inspect(Reader(body), name) == expected

    async def test_rejections_are_propagated(self, inspect: Inspect) -> None:
        with pytest.raises(UnknownContent):
            await inspect(Reader(files.svg()), "a.svg")
        with pytest.raises(CorruptContent):
            await inspect(Reader(files.jpeg()[:30]), "a.jpg")

    async def test_failing_store_is_unavailable(self, inspect: Inspect) -> None:
        with pytest.raises(StorageUnavailable):
            await inspect(BrokenReader(files.pdf()), "a.pdf")

    async def test_only_directory_and_small_parts_of_office_file_are_fetched(
        self, inspect: Inspect
    ) -> None:
        media = {"word/media/a.bin": os.urandom(16 * BLOCK_BYTES)}
        reader = Reader(files.archive({**files.docx_parts(), **media}, zipfile.ZIP_STORED))
        await inspect(reader, "a.docx")
        assert reader.fetched <= 3 * BLOCK_BYTES

    async def test_no_block_is_fetched_twice(self, inspect: Inspect) -> None:
        reader = Reader(large_pdf(16 * BLOCK_BYTES))
        await inspect(reader, "a.pdf")
        assert reader.fetched <= reader.size_bytes + 2 * BLOCK_BYTES

    async def test_both_ends_of_very_large_pdf_are_fetched(self, inspect: Inspect) -> None:
        reader = Reader(large_pdf(MAX_SEARCHED_BYTES))
        content = await inspect(reader, "a.pdf")
        assert content.has_active_content
        assert reader.fetched <= 3 * BLOCK_BYTES

    async def test_concurrent_inspections_do_not_wait(self, inspect: Inspect) -> None:
        body = large_pdf(3 * BLOCK_BYTES)
        async with asyncio.timeout(30):
            found = await asyncio.gather(*(inspect(Reader(body), "a.pdf") for _ in range(64)))
        assert {content.media_type for content in found} == {"application/pdf"}


class TestDigestOf:
    """digest_of()."""

    async def test_digest_verified_by_store_is_trusted(self) -> None:
        reader = Reader(b"x", sha256="ab" * 32)
        assert (await digest_of(reader), reader.fetched) == ("ab" * 32, 0)

    async def test_bytes_are_hashed_without_digest(self) -> None:
        reader = Reader(b"some bytes")
        assert await digest_of(reader) == hashlib.sha256(b"some bytes").hexdigest()
