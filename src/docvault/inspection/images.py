"""Raster images: detection by signature and a bounded check of the header (D20).

No image is decoded. Each check follows the structure of the format up to the image's dimensions;
a text or script with the signature of an image fails there.
"""
# ruff: noqa: PLR2004 - the numbers below are the formats' own

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from docvault.inspection.result import CorruptContent, UnknownContent, read_at, read_exactly

# Extended XMP of 10 MiB takes 160 JPEG segments, XMP of 64 KiB some 800 GIF blocks.
_MAX_BLOCKS = 4096
_MAX_TIFF_ENTRIES = 4096
_MAX_FTYP_BYTES = 1024
# Some PDF readers search for the PDF header up to here.
_PDF_HEADER_REACH = 1024 + len(b"%PDF-")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis"})
_SEQUENCE_BRANDS = frozenset({b"hevc", b"hevx", b"msf1"})
_HEIF_BRANDS = frozenset({b"mif1", b"mif2"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_JP2_BRANDS = frozenset({b"jp2 ", b"jpx "})
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
# Bytes outside of all JPEG segments, which cameras and editors leave and every reader skips.
_MAX_STRAY_BYTES = 64 * 1024
_STRAY_CHUNK_BYTES = 4096
_OTHER_BRANDS = {
    b"hevc": "image/heic-sequence",
    b"hevx": "image/heic-sequence",
    b"msf1": "image/heif-sequence",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"crx ": "image/x-canon-cr3",
}


def inspect_image(head: bytes, file: BinaryIO, size_bytes: int) -> str | None:
    """Return the media type of an image, or None if `head` has no signature of an image.

    Raises:
        UnknownContent: an ISO media file that is not an image (video).
        CorruptContent: the structure after the signature is not that of an image.
    """
    media_type = _detect_by_signature(head)
    if media_type is None:
        return None
    if b"%PDF-" in head[:_PDF_HEADER_REACH]:
        raise CorruptContent("The file is an image and a PDF at the same time.")
    _CHECKS[media_type](file, size_bytes)
    return media_type


def _detect_by_signature(head: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:2] == b"\0\0" and head[4:8] == b"ftyp":
        return _detect_iso_media(head)
    # A tape archive begins with the name of its first file, which may be anything.
    is_archive = head.startswith(b"ustar", 257)
    return "image/bmp" if _is_bmp(head) and not is_archive else None


def _is_bmp(head: bytes) -> bool:
    """Return whether the header is that of a bitmap; a text may begin with BM, too."""
    if not head.startswith(b"BM") or len(head) < 30:
        return False
    _size, reserved, offset, header_size = struct.unpack("<LLLL", head[2:18])
    # The oldest header has numbers of 16 bits.
    layout = "<HHH" if header_size == 12 else "<LLH"
    width, height, planes = struct.unpack_from(layout, head, 18)
    is_bitmap = header_size in _BMP_HEADER_SIZES and planes == 1 and offset >= 14 + header_size
    return is_bitmap and reserved == 0 and width > 0 and height > 0


def _detect_iso_media(head: bytes) -> str:
    """Return the type by the brands of the ftyp box (ISO/IEC 23008-12, annex B)."""
    length = int.from_bytes(head[:4], "big")
    if not 16 <= length <= min(_MAX_FTYP_BYTES, len(head)):
        raise CorruptContent("The file type box is malformed.")
    major = head[8:12]
    compatible = {head[i : i + 4] for i in range(16, length - 3, 4)}
    if ({major} | compatible) & _AVIF_BRANDS:
        return "image/avif"
    # Readers show the still picture of a burst that declares one.
    if major in _HEIC_BRANDS or (major in _SEQUENCE_BRANDS and compatible & _HEIC_BRANDS):
        return "image/heic"
    if major in _HEIF_BRANDS:
        return "image/heif"
    raise UnknownContent(_OTHER_BRANDS.get(major, "video/mp4"))


def _check_jpeg(file: BinaryIO, _size_bytes: int) -> None:
    """Follow the segments up to the frame header (ITU-T T.81, B.1 and B.2.2)."""
    position = 2
    stray = 0
    for _ in range(_MAX_BLOCKS):
        segment = read_exactly(file, position, 4)
        prefix, marker, length = struct.unpack(">BBH", segment)
        if position > 2 and (prefix != 0xFF or marker == 0):
            start, position = position, _find_marker(file, position, _MAX_STRAY_BYTES - stray)
            stray += position - start
            continue
        if prefix != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xDA:
            break
        if marker == 0xFF:  # a fill byte
            position += 1
        elif length < 2:
            break
        elif marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _check_jpeg_frame(read_exactly(file, position + 2, 8))
        else:
            position += 2 + length
    raise CorruptContent("The JPEG has no frame header.")


def _find_marker(file: BinaryIO, position: int, room: int) -> int:
    """Return where the next marker starts, at most `room` bytes on."""
    end = position + room
    while position < end:
        chunk = read_at(file, position, _STRAY_CHUNK_BYTES)
        found = chunk.find(b"\xff")
        while 0 <= found < len(chunk) - 1 and chunk[found + 1] == 0:
            found = chunk.find(b"\xff", found + 2)
        if found >= 0:
            return min(position + found, end)
        if len(chunk) < _STRAY_CHUNK_BYTES:
            break
        position += len(chunk)
    raise CorruptContent("The JPEG has no frame header.")


def _check_jpeg_frame(frame: bytes) -> None:
    # The height may be 0: it then follows in a DNL segment after the first scan.
    length, _precision, _height, width, components = struct.unpack(">HBHHB", frame)
    if width == 0 or not 1 <= components <= 4 or length != 8 + 3 * components:
        raise CorruptContent("The JPEG frame header is malformed.")


def _check_png(file: BinaryIO, _size_bytes: int) -> None:
    """Check the first chunk, IHDR, and its checksum (PNG 3rd edition, 11.2.1)."""
    chunk = read_exactly(file, len(_PNG_SIGNATURE), 25)
    length, kind, width, height, depth, colour, compression, filtering, interlace, checksum = (
        struct.unpack(">L4sLLBBBBBL", chunk)
    )
    if (
        (length, kind, compression, filtering) != (13, b"IHDR", 0, 0)
        or checksum != zlib.crc32(chunk[4:21])
        or not (0 < width < 1 << 31 and 0 < height < 1 << 31 and interlace in (0, 1))
        or depth not in _PNG_BIT_DEPTHS.get(colour, ())
    ):
        raise CorruptContent("The PNG header is malformed.")


def _check_gif(file: BinaryIO, _size_bytes: int) -> None:
    """Follow the blocks up to the first image descriptor (GIF89a, 20 to 26)."""
    flags = read_exactly(file, 10, 1)[0]
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    steps = iter(range(_MAX_BLOCKS))
    for _ in steps:
        block = read_at(file, position, 10)
        if block.startswith(b",") and len(block) == 10 and any(block[5:7]) and any(block[7:9]):
            return
        if not block.startswith(b"!"):
            break
        position = _skip_gif_extension(file, position, steps)
    raise CorruptContent("The GIF has no image.")


def _skip_gif_extension(file: BinaryIO, position: int, steps: Iterator[int]) -> int:
    position += 2
    for _ in steps:
        length = read_exactly(file, position, 1)[0]
        position += 1 + length
        if length == 0:
            break
    return position


def _check_webp(file: BinaryIO, _size_bytes: int) -> None:
    """Check the first chunk (RFC 9649, 2.3 to 2.7); the file may be cut, as other pictures may."""
    _riff, riff_size, _webp, kind, length = struct.unpack("<4sL4s4sL", read_exactly(file, 0, 20))
    data = read_exactly(file, 20, 10)
    sane = {
        b"VP8 ": data[3:6] == b"\x9d\x01\x2a",
        b"VP8L": data[0] == 0x2F,
        b"VP8X": length == 10,
    }.get(kind, False)
    if not sane or 12 + length > riff_size:
        raise CorruptContent("The WebP header is malformed.")


def _check_tiff(file: BinaryIO, _size_bytes: int) -> None:
    """Check that the first directory has the dimensions (TIFF 6.0, section 2; also BigTIFF)."""
    head = read_exactly(file, 0, 16)
    order = "<" if head.startswith(b"II") else ">"
    if b"+" in head[2:4]:
        offset_size, zero, offset = struct.unpack(order + "HHQ", head[4:16])
        count_format, entry_format, sane = "Q", "H18x", (offset_size, zero) == (8, 0)
    else:
        (offset,) = struct.unpack(order + "L", head[4:8])
        count_format, entry_format, sane = "H", "H10x", True
    if not sane or offset < 8:
        raise CorruptContent("The TIFF header is malformed.")
    count_size = struct.calcsize(order + count_format)
    (count,) = struct.unpack(order + count_format, read_exactly(file, offset, count_size))
    if count > _MAX_TIFF_ENTRIES:
        raise CorruptContent("The TIFF directory is malformed.")
    entry_size = struct.calcsize(order + entry_format)
    entries = read_exactly(file, offset + count_size, count * entry_size)
    tags = {tag for (tag,) in struct.iter_unpack(order + entry_format, entries)}
    if not {256, 257} <= tags:
        raise CorruptContent("The TIFF directory has no image dimensions.")


def _check_heif(file: BinaryIO, _size_bytes: int) -> None:
    """Find a meta box at the top level whose handler is pict (ISO/IEC 23008-12, 6.2)."""
    position = 0
    for _ in range(_MAX_BLOCKS):
        box = read_at(file, position, 32)
        length = int.from_bytes(box[:4], "big")
        if box[4:8] == b"meta":
            if box[16:20] == b"hdlr" and box[28:32] == b"pict":
                return
            break
        if length == 1:  # the size is a 64-bit number after the type
            length = int.from_bytes(box[8:16], "big")
        if length < 8:
            break
        position += length
    raise CorruptContent("The HEIF file has no image description.")


def _check_bmp(_file: BinaryIO, _size_bytes: int) -> None:
    """Accept it: `_is_bmp` has checked the whole header."""


def _check_jp2(file: BinaryIO, _size_bytes: int) -> None:
    """Check the brand, and find the box with the dimensions (ISO/IEC 15444-1, I.5)."""
    box = read_exactly(file, 12, 24)
    length = int.from_bytes(box[:4], "big")
    if box[4:8] != b"ftyp" or box[8:12] not in _JP2_BRANDS or not 20 <= length <= _MAX_FTYP_BYTES:
        raise CorruptContent("The JPEG 2000 header is malformed.")
    position = 12 + length
    for _ in range(_MAX_BLOCKS):
        box = read_at(file, position, 24)
        length = int.from_bytes(box[:4], "big")
        if box[4:8] == b"jp2h":
            if box[12:16] == b"ihdr" and any(box[16:20]) and any(box[20:24]):
                return
            break
        if length < 8:
            break
        position += length
    raise CorruptContent("The JPEG 2000 file has no image description.")


_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (_PNG_SIGNATURE, "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
)

_CHECKS = {
    "image/jpeg": _check_jpeg,
    "image/png": _check_png,
    "image/gif": _check_gif,
    "image/webp": _check_webp,
    "image/tiff": _check_tiff,
    "image/heic": _check_heif,
    "image/heif": _check_heif,
    "image/avif": _check_heif,
    "image/bmp": _check_bmp,
    "image/jp2": _check_jp2,
}
