"""Reading a file in blocks."""

import io
import os

from docvault.inspection.ranged_file import BLOCK_BYTES, RangedFile


def test_ranged_file_reads_like_bytes() -> None:
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
