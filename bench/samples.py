"""The uploaded files: valid PDFs of an exact size."""

import random
from collections.abc import Iterator
from functools import cache

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

_WIDTH = 256
_OBJECTS = (
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 595 842]>>",
    b"<</Type/Page/Parent 2 0 R/Resources<</XObject<</S 5 0 R>>>>/Contents 4 0 R>>",
    b"<</Length 29>>\nstream\nq 595 0 0 842 0 0 cm\n/S Do\nQ\n\nendstream",
)
# Numbers have a fixed width, so that the size of the frame does not depend on them.
_SCAN = b"""5 0 obj
<</Type/XObject/Subtype/Image/ColorSpace/DeviceGray/BitsPerComponent 8
/Width %d/Height %010d/Length %010d>>
stream
"""
_TRAILER = b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%010d\n%%%%EOF\n"


@cache
def pdf(size_bytes: int) -> bytes:
    """Return a PDF of one page that shows a scan; see `pdf_chunks`."""
    return b"".join(pdf_chunks(size_bytes))


def pdf_chunks(size_bytes: int) -> Iterator[bytes]:
    """Yield a PDF of one page that shows a scan, in chunks.

    Its preview can be rendered and the scan does not compress, so that processing it costs as much
    as a real file.
    """
    room = size_bytes - sum(map(len, _frame(0, 0)))
    if room < _WIDTH:
        raise ValueError(f"a PDF cannot be as small as {size_bytes} bytes")
    height = room // _WIDTH
    before, after = _frame(height, room % _WIDTH)
    yield before
    yield from _scan(height * _WIDTH)
    yield after


def _scan(length: int) -> Iterator[bytes]:
    block = random.Random(7).randbytes(min(length, MEBIBYTE))
    whole, rest = divmod(length, len(block))
    for _ in range(whole):
        yield block
    yield block[:rest]


def _frame(height: int, padding: int) -> tuple[bytes, bytes]:
    """Return the bytes before and after the scan, padded with line ends."""
    before, offsets = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(_OBJECTS, 1):
        offsets.append(len(before))
        before += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    offsets.append(len(before))
    length = height * _WIDTH
    before += _SCAN % (_WIDTH, height, length)
    after = b"\nendstream\nendobj\n" + b"\n" * padding
    table = b"xref\n0 6\n0000000000 65535 f \n"
    table += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return before, after + table + _TRAILER % (len(before) + length + len(after))
