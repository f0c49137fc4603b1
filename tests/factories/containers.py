"""Sample files of kinds that are stored without being searched: old, signed and packed ones.

They have the outer structure of real files, as far as docvault reads it.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping

OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
FREE, END_OF_CHAIN, _TABLE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_ENVELOPED_DATA = bytes.fromhex("06092a864886f70d010703")
_DATA = bytes.fromhex("06092a864886f70d010701")


def ole(*names: str, program: bytes = bytes(16), sector_shift: int = 9) -> bytes:
    """A compound file with entries of these names at its top level."""
    sector_bytes = 1 << sector_shift
    entries = [ole_entry("Root Entry", 5, child=1 if names else FREE, program=program)]
    for number, name in enumerate(names, 1):
        right = number + 1 if number < len(names) else FREE
        entries.append(ole_entry(name, 2, right=right))
    directory = b"".join(entries)
    sectors = -(-len(directory) // sector_bytes)
    table = [_TABLE, *range(2, sectors + 1), END_OF_CHAIN]
    table += [FREE] * (sector_bytes // 4 - len(table))
    return (
        ole_header(sector_shift)
        + struct.pack(f"<{sector_bytes // 4}L", *table)
        + directory.ljust(sectors * sector_bytes, b"\0")
    )


def ole_header(sector_shift: int) -> bytes:
    """The first sector: the table is in the next one, and the directory in the one after it."""
    header = struct.pack(
        "<8s16s6H6L4L", OLE_SIGNATURE, b"", 0x3E, 3, 0xFFFE, sector_shift, 6, 0,
        0, 0, 1, 1, 0, 4096, END_OF_CHAIN, 0, END_OF_CHAIN, 0,
    )  # fmt: skip
    header += struct.pack("<109L", 0, *[FREE] * 108)
    return header.ljust(1 << sector_shift, b"\0")


def ole_entry(
    name: str,
    kind: int,
    *,
    right: int = FREE,
    child: int = FREE,
    program: bytes = bytes(16),
    first: int = 0,
    size: int = 0,
) -> bytes:
    """One entry of the directory."""
    encoded = name.encode("utf-16-le") + b"\0\0"
    return struct.pack(
        "<64sHBBLLL16sLQQLQ", encoded, len(encoded), kind, 1, FREE, right, child, program,
        0, 0, 0, first, size,
    )  # fmt: skip


def der(tag: int, *parts: bytes) -> bytes:
    """A field of DER."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def p7m(content: bytes = b"%PDF-1.7\n%%EOF\n") -> bytes:
    """A signed file with its content and no signature."""
    return _signed(der(0x30, _DATA, der(0xA0, der(0x04, content))))


def p7s() -> bytes:
    """A signature over a file that is elsewhere."""
    return _signed(der(0x30, _DATA))


def _signed(content: bytes) -> bytes:
    signed = der(0x30, b"\x02\x01\x01", der(0x31), content, der(0x31))
    return der(0x30, _SIGNED_DATA, der(0xA0, signed))


def enveloped() -> bytes:
    """An encrypted file."""
    return der(0x30, _ENVELOPED_DATA, der(0xA0, der(0x30, b"\x02\x01\x00")))


def packed(entries: Mapping[str, bytes | str]) -> bytes:
    """A ZIP archive whose entries are not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, data in entries.items():
            target.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


def asice() -> bytes:
    kind = "application/vnd.etsi.asic-e+zip"
    parts = {"mimetype": kind, "contract.pdf": "%PDF-1.7\n%%EOF\n"}
    return packed(parts | {"META-INF/manifest.xml": "<m/>", "META-INF/signatures0.xml": "<s/>"})


def asics() -> bytes:
    kind = "application/vnd.etsi.asic-s+zip"
    return packed({"mimetype": kind, "contract.pdf": b"%PDF-1.7\n", "META-INF/signature.p7s": "s"})


def pages() -> bytes:
    return packed({"Index/Document.iwa": b"\0", "preview.jpg": b"\xff", "Metadata/a.plist": b"b"})


def keynote() -> bytes:
    return packed({"Index/Document.iwa": b"\0", "Index/Slide-12.iwa": b"\0"})


def rtf() -> bytes:
    return b"{\\rtf1\\ansi Hello}\r\n"


def eml() -> bytes:
    return (
        b"Received: from a.example by b.example; Mon, 30 Nov 2026 08:00:00 +0100\r\n"
        b"From: a@a.example\r\nTo: b@b.example\r\nSubject: Contract\r\n\r\nHello\r\n"
    )


def xml() -> bytes:
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt/>'
        b"</Document>\n"
    )


FILES: dict[str, tuple[Callable[[], bytes], str, bool]] = {
    "application/vnd.ms-office.encrypted": (
        lambda: ole("EncryptionInfo", "EncryptedPackage"), "docx", True,
    ),
    "application/msword": (lambda: ole("1Table", "WordDocument"), "doc", True),
    "application/vnd.ms-excel": (lambda: ole("Workbook"), "xls", True),
    "application/vnd.ms-powerpoint": (lambda: ole("PowerPoint Document"), "ppt", True),
    "application/vnd.ms-outlook": (lambda: ole("__properties_version1.0"), "msg", True),
    "application/rtf": (rtf, "rtf", True),
    "message/rfc822": (eml, "eml", True),
    "application/xml": (xml, "xml", False),
    "application/vnd.apple.pages": (pages, "pages", True),
    "application/vnd.apple.numbers": (pages, "numbers", True),
    "application/vnd.apple.keynote": (keynote, "key", True),
    "application/zip": (lambda: packed({"a.txt": b"a"}), "zip", True),
    "application/vnd.etsi.asic-e+zip": (asice, "asice", True),
    "application/vnd.etsi.asic-s+zip": (asics, "asics", True),
    "application/pkcs7-mime": (p7m, "p7m", True),
    "application/pkcs7-signature": (p7s, "p7s", False),
}  # fmt: skip
"""By media type: what makes a file of it, its usual extension, and whether it counts as active."""
