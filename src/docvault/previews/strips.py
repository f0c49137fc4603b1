"""PNG and TIFF pictures that do not fit into memory, for `images`: decoded a few rows at a time.

Pillow cannot decode a part of a picture. So each band of rows becomes a small file of its own: a
header for these rows, and their bytes as they are.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, TiffTags

from docvault.previews.failures import OverLimitError

BAND_PIXELS = 4_000_000
# For a TIFF with long strips.
_MAX_BAND_PIXELS = 40_000_000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# By color type, with 8 bits: bytes for each pixel. The others fit into memory, or Pillow loses the
# lower bytes, which the filter of the next row needs.
_PNG_PIXEL_BYTES = {2: 3, 4: 2, 6: 4}
_PNG_KEPT_CHUNKS = frozenset({b"PLTE", b"tRNS"})
_READ_BYTES = 1 << 18

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS = 256, 257, 258, 259, 273
_SAMPLES, _STRIP_ROWS, _COUNTS, _PLANES = 277, 278, 279, 284
# What the decoder needs beside these: photometric interpretation, order of bits, options of faxes,
# predictor, palette, kinds of samples, tables and subsampling of JPEG.
_TIFF_KEPT_TAGS = (262, 266, 292, 293, 317, 320, 338, 339, 347, 529, 530, 531, 532)
_UNCOMPRESSED = 1


def count_rows(image: Image.Image) -> int:
    """Return the number of rows as stored; the size of a TIFF may be that of the turned picture."""
    return int(image.tag_v2[_HEIGHT]) if hasattr(image, "tag_v2") else image.height


def read_bands(source: BinaryIO, image: Image.Image, factor: int) -> Iterator[Image.Image]:
    """Yield a picture that was opened and not loaded, in bands of a multiple of `factor` rows.

    The bands of a truncated picture end early. Raises `OverLimitError` if the picture can only be
    decoded as a whole.
    """
    if image.format == "PNG":
        return _read_png(source, image.size, factor)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _read_tiff(source, image, factor)
    raise OverLimitError


# --- PNG --------------------------------------------------------------------------------------


def _read_png(source: BinaryIO, size: tuple[int, int], factor: int) -> Iterator[Image.Image]:
    """Yield the bands; each is decoded below the last row of the one before, for the filters."""
    source.seek(len(_PNG_SIGNATURE) + 8)
    header = source.read(13)
    depth, color, _, _, interlaced = header[8:]
    if depth != 8 or interlaced or color not in _PNG_PIXEL_BYTES:  # noqa: PLR2004 - bits
        raise OverLimitError
    width, height = size
    row_bytes = width * _PNG_PIXEL_BYTES[color]
    rows = max(1, BAND_PIXELS // width // factor) * factor
    kept: list[bytes] = []
    above = bytes(row_bytes)
    data = bytearray()
    done = 0
    for piece in _inflate_png(source, kept):
        data += piece
        while done < height and len(data) >= (1 + row_bytes) * min(rows, height - done):
            count = min(rows, height - done)
            length = (1 + row_bytes) * count
            small = struct.pack(">2L", width, count + 1) + header[8:]
            band = _decode_png(small, kept, b"\0" + above + data[:length])
            yield band.crop((0, 1, width, count + 1))
            above = band.crop((0, count, width, count + 1)).tobytes()
            del data[:length]
            done += count


def _decode_png(header: bytes, kept: list[bytes], rows: bytes) -> Image.Image:
    chunks = [_chunk(b"IHDR", header), *kept, _chunk(b"IDAT", zlib.compress(rows, 0))]
    file = io.BytesIO(_PNG_SIGNATURE + b"".join(chunks) + _chunk(b"IEND", b""))
    image = Image.open(file, formats=("PNG",))
    image.load()
    return image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join(
        (struct.pack(">L", len(data)), kind, data, struct.pack(">L", zlib.crc32(kind + data)))
    )


def _inflate_png(source: BinaryIO, kept: list[bytes]) -> Iterator[bytes]:
    """Yield the rows with their filters, and collect the chunks before them that change colors."""
    inflater = zlib.decompressobj()
    source.seek(len(_PNG_SIGNATURE))
    while len(head := source.read(8)) == 8:  # noqa: PLR2004 - length and kind
        length, kind = struct.unpack(">L4s", head)
        end = source.tell() + length + 4
        if kind in _PNG_KEPT_CHUNKS:
            kept.append(_chunk(kind, source.read(length)))
        elif kind == b"IDAT":
            while length > 0 and (packed := source.read(min(length, _READ_BYTES))):
                length -= len(packed)
                yield from _inflate(inflater, packed)
        source.seek(end)


def _inflate(inflater: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    while packed and not inflater.eof:
        try:
            yield inflater.decompress(packed, 1 << 20)
        except zlib.error:
            # The rest is lost; what was decoded is shown.
            return
        packed = inflater.unconsumed_tail


# --- TIFF -------------------------------------------------------------------------------------


def _read_tiff(
    source: BinaryIO, image: TiffImagePlugin.TiffImageFile, factor: int
) -> Iterator[Image.Image]:
    tags = image.tag_v2
    width, height = tags[_WIDTH], tags[_HEIGHT]
    if _OFFSETS not in tags or _COUNTS not in tags or tags.get(_PLANES, 1) != 1:
        raise OverLimitError
    strip_rows = min(tags.get(_STRIP_ROWS, height), height)
    offsets, counts = tags[_OFFSETS], tags[_COUNTS]
    if len(offsets) == 1 and tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED:
        # Rows that nothing separates.
        bits = tags.get(_BITS, (1,))[0] * tags.get(_SAMPLES, 1)
        row_bytes = -(-width * bits // 8)
        strip_rows = 1
        offsets = range(offsets[0], offsets[0] + height * row_bytes, row_bytes)
        counts = [row_bytes] * height
    step = factor // math.gcd(factor, strip_rows)
    step *= max(1, BAND_PIXELS // width // (strip_rows * step))
    if strip_rows * step * width > _MAX_BAND_PIXELS:
        raise OverLimitError
    for start in range(0, min(len(offsets), len(counts)), step):
        strips = []
        for offset, count in zip(
            offsets[start : start + step], counts[start : start + step], strict=False
        ):
            source.seek(offset)
            strips.append(source.read(count))
        rows = min(strip_rows * step, height - start * strip_rows)
        yield _decode_tiff(tags, strips, strip_rows, rows)


def _decode_tiff(
    tags: TiffImagePlugin.ImageFileDirectory_v2, strips: list[bytes], strip_rows: int, rows: int
) -> Image.Image:
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=tags.prefix)
    for tag in (_WIDTH, _BITS, _COMPRESSION, _SAMPLES, *_TIFF_KEPT_TAGS):
        if tag in tags:
            directory.tagtype[tag] = tags.tagtype[tag]
            directory[tag] = tags[tag]
    for tag in (_HEIGHT, _STRIP_ROWS, _OFFSETS, _COUNTS):
        directory.tagtype[tag] = TiffTags.LONG
    directory[_HEIGHT], directory[_STRIP_ROWS] = rows, strip_rows
    sizes = [len(strip) for strip in strips]
    # Counted from the end of the directory.
    directory[_OFFSETS] = tuple(sum(sizes[:index]) for index in range(len(sizes)))
    directory[_COUNTS] = tuple(sizes)
    file = io.BytesIO()
    directory.save(file)
    file.write(b"".join(strips))
    file.seek(0)
    image = Image.open(file, formats=("TIFF",))
    image.load()
    return image
