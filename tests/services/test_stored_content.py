"""Looking at stored bytes without fetching them all."""

import asyncio
import hashlib
import io
import os
import zipfile
from collections.abc import AsyncIterator

import pytest
from tests.factories import files

from docvault.errors import StorageUnavailable
from docvault.rules.content import CorruptContent, UnknownContent
from docvault.rules.media_types import inspect_content
from docvault.rules.pdf_content import MAX_SEARCHED_BYTES
from docvault.services.stored_content import BLOCK_BYTES, RangedFile, digest_of, inspect_stored


class Reader:
    """A blob in memory that notes what is fetched of it."""

    def __init__(self, body: bytes, sha256: str | None = None) -> None:
        self.body = body
        self.size_bytes = len(body)
        self.sha256 = sha256
        self.fetched = 0

    async def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        assert start + length <= self.size_bytes
        self.fetched += length
        # As the filesystem store does: a thread of the common pool for each read.
        yield await asyncio.to_thread(lambda: self.body[start : start + length])

    async def close(self) -> None:
        pass


class BrokenReader(Reader):
    """A blob whose store fails."""

    async def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        raise StorageUnavailable(f"{start} {length}")
        yield b""


def large_pdf(size: int) -> bytes:
    """A PDF whose middle is a large stream."""
    return files.pdf_of(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
            4: b"<< /Length %d >>\nstream\n" % size + b"0" * size + b"\nendstream",
        }
    )


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
    async def test_it_finds_what_the_rules_find_in_a_file(self, name: str, body: bytes) -> None:
        expected = inspect_content(io.BytesIO(body), len(body), name)
        assert await inspect_stored(Reader(body), name) == expected

    async def test_refusals_come_through(self) -> None:
        with pytest.raises(UnknownContent):
            await inspect_stored(Reader(files.svg()), "a.svg")
        with pytest.raises(CorruptContent):
            await inspect_stored(Reader(files.jpeg()[:30]), "a.jpg")

    async def test_a_store_that_fails_is_unavailable(self) -> None:
        with pytest.raises(StorageUnavailable):
            await inspect_stored(BrokenReader(files.pdf()), "a.pdf")

    async def test_of_a_large_office_file_the_directory_and_the_small_parts_are_fetched(
        self,
    ) -> None:
        media = {"word/media/a.bin": os.urandom(16 * BLOCK_BYTES)}
        reader = Reader(files.archive({**files.docx_parts(), **media}, zipfile.ZIP_STORED))
        await inspect_stored(reader, "a.docx")
        assert reader.fetched <= 3 * BLOCK_BYTES

    async def test_no_block_is_fetched_twice_on_the_way_through(self) -> None:
        reader = Reader(large_pdf(16 * BLOCK_BYTES))
        await inspect_stored(reader, "a.pdf")
        assert reader.fetched <= reader.size_bytes + 2 * BLOCK_BYTES

    async def test_of_a_very_large_pdf_both_ends_are_fetched(self) -> None:
        reader = Reader(large_pdf(MAX_SEARCHED_BYTES))
        content = await inspect_stored(reader, "a.pdf")
        assert content.has_active_content
        assert reader.fetched <= 3 * BLOCK_BYTES

    async def test_more_at_once_than_there_are_threads_do_not_wait_for_each_other(self) -> None:
        body = large_pdf(3 * BLOCK_BYTES)
        async with asyncio.timeout(30):
            found = await asyncio.gather(
                *(inspect_stored(Reader(body), "a.pdf") for _ in range(64))
            )
        assert {content.media_type for content in found} == {"application/pdf"}


class TestDigestOf:
    """digest_of()."""

    async def test_what_the_store_has_checked_is_not_read_again(self) -> None:
        reader = Reader(b"x", sha256="ab" * 32)
        assert (await digest_of(reader), reader.fetched) == ("ab" * 32, 0)

    async def test_without_it_every_byte_is_read(self) -> None:
        reader = Reader(b"some bytes")
        assert await digest_of(reader) == hashlib.sha256(b"some bytes").hexdigest()


def test_a_ranged_file_reads_as_the_bytes_do() -> None:
    body = os.urandom(2 * BLOCK_BYTES + 10)

    def block(number: int) -> bytes:
        return body[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]

    ranged = io.BufferedReader(RangedFile(block, len(body)))
    whole = io.BytesIO(body)
    for offset, whence, length in (
        (0, 0, 10),
        (BLOCK_BYTES - 5, 0, 10),
        (-20, 2, 100),
        (5, 1, 10),
        (len(body) + 50, 0, 10),
        (3, 0, -1),
    ):
        assert ranged.seek(offset, whence) == whole.seek(offset, whence)
        assert ranged.read(length) == whole.read(length)
        assert ranged.tell() == whole.tell()
