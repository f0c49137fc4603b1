"""The kinds of files that can be stored, and what may be done with each.

`make reference` writes this table to docs/reference/kinds.md.
"""

from dataclasses import dataclass
from enum import StrEnum

OOXML = "application/vnd.openxmlformats-officedocument."
DOCX = OOXML + "wordprocessingml.document"
XLSX = OOXML + "spreadsheetml.sheet"
PPTX = OOXML + "presentationml.presentation"
ENCRYPTED_OOXML = "application/vnd.ms-office.encrypted"
ODF = "application/vnd.oasis.opendocument."
ODT = ODF + "text"
ODS = ODF + "spreadsheet"
ODP = ODF + "presentation"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
PPT = "application/vnd.ms-powerpoint"
MSG = "application/vnd.ms-outlook"
PAGES = "application/vnd.apple.pages"
NUMBERS = "application/vnd.apple.numbers"
KEYNOTE = "application/vnd.apple.keynote"
RTF = "application/rtf"
EML = "message/rfc822"
XML = "application/xml"
ZIP = "application/zip"
ASICE = "application/vnd.etsi.asic-e+zip"
ASICS = "application/vnd.etsi.asic-s+zip"
P7M = "application/pkcs7-mime"
P7S = "application/pkcs7-signature"


class Inline(StrEnum):
    """When a browser may show a file instead of saving it."""

    NEVER = "never"
    ALWAYS = "always"
    UNLESS_ACTIVE = "unless active"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file; the first of its extensions is the usual one."""

    media_type: str
    name: str
    extensions: tuple[str, ...]
    is_default: bool = True
    """Whether a document type accepts it unless it says otherwise."""
    inline: Inline = Inline.NEVER
    has_preview: bool = False


KINDS: tuple[Kind, ...] = (
    Kind("image/jpeg", "JPEG image", ("jpg", "jpeg", "jpe", "jfif"),
         inline=Inline.ALWAYS, has_preview=True),
    Kind("image/png", "PNG image", ("png",), inline=Inline.ALWAYS, has_preview=True),
    Kind("image/webp", "WebP image", ("webp",), inline=Inline.ALWAYS, has_preview=True),
    Kind("image/gif", "GIF image", ("gif",), inline=Inline.ALWAYS, has_preview=True),
    Kind("image/tiff", "TIFF image", ("tif", "tiff"), has_preview=True),
    Kind("image/heic", "HEIC image", ("heic", "heif", "hif"), has_preview=True),
    Kind("image/heif", "HEIF image", ("heic", "heif", "hif"), has_preview=True),
    Kind("image/avif", "AVIF image", ("avif",), inline=Inline.ALWAYS, has_preview=True),
    Kind("application/pdf", "PDF document", ("pdf",),
         inline=Inline.UNLESS_ACTIVE, has_preview=True),
    Kind(DOCX, "Word document", ("docx",)),
    Kind(XLSX, "Excel workbook", ("xlsx",)),
    Kind(ODT, "OpenDocument text", ("odt",)),
    Kind(ODS, "OpenDocument spreadsheet", ("ods",)),
    Kind("text/plain", "plain text", ("txt", "text", "log")),
    Kind("text/csv", "CSV table", ("csv",)),
    Kind(PPTX, "PowerPoint presentation", ("pptx",), is_default=False),
    Kind(ODP, "OpenDocument presentation", ("odp",), is_default=False),
    Kind(ENCRYPTED_OOXML, "Office document protected by a password", ("docx", "xlsx", "pptx"),
         is_default=False),
    Kind(DOC, "Word 97-2003 document", ("doc", "dot"), is_default=False),
    Kind(XLS, "Excel 97-2003 workbook", ("xls", "xlt"), is_default=False),
    Kind(PPT, "PowerPoint 97-2003 presentation", ("ppt", "pps", "pot"), is_default=False),
    Kind(MSG, "Outlook message", ("msg",), is_default=False),
    Kind(RTF, "RTF document", ("rtf",), is_default=False),
    Kind(EML, "email message", ("eml",), is_default=False),
    Kind(XML, "XML document, such as XRechnung or camt.053", ("xml",), is_default=False),
    Kind(PAGES, "Apple Pages document", ("pages",), is_default=False),
    Kind(NUMBERS, "Apple Numbers spreadsheet", ("numbers",), is_default=False),
    Kind(KEYNOTE, "Apple Keynote presentation", ("key",), is_default=False),
    Kind(ZIP, "ZIP archive", ("zip",), is_default=False),
    Kind(ASICE, "signed container (ASiC-E or BDOC)", ("asice", "sce", "bdoc", "edoc", "adoc"),
         is_default=False),
    Kind(ASICS, "signed container with one file (ASiC-S)", ("asics", "scs"), is_default=False),
    Kind(P7M, "signed or encrypted file (CAdES, PKCS #7)", ("p7m", "p7c"), is_default=False),
    Kind(P7S, "detached signature (CAdES, PKCS #7)", ("p7s",), is_default=False),
    Kind("image/bmp", "BMP image", ("bmp", "dib"), is_default=False, has_preview=True),
    Kind("image/jp2", "JPEG 2000 image", ("jp2", "jpx", "jpf"), is_default=False, has_preview=True),
)  # fmt: skip

DEFAULT_MEDIA_TYPES: tuple[str, ...] = tuple(k.media_type for k in KINDS if k.is_default)
"""What a document type accepts unless it says otherwise."""

KNOWN_MEDIA_TYPES: frozenset[str] = frozenset(kind.media_type for kind in KINDS)
"""What inspection can detect, and so what a document type may be set to accept."""

PREVIEWABLE_MEDIA_TYPES: frozenset[str] = frozenset(k.media_type for k in KINDS if k.has_preview)
"""The raster images and PDF."""

_INLINE = {kind.media_type: kind.inline for kind in KINDS}


def may_be_inline(media_type: str, *, is_active: bool) -> bool:
    """Return whether a browser may show such a file instead of saving it (D24)."""
    inline = _INLINE.get(media_type, Inline.NEVER)
    return inline is Inline.ALWAYS or (inline is Inline.UNLESS_ACTIVE and not is_active)
