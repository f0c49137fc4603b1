"""Which media types are stored, and what the bytes of an upload are (SECURITY D20).

The bytes alone decide: a signature and a bounded check of the structure behind it. The declared
media type plays no part, and the file name only one: it must not promise another type.
"""

from typing import BinaryIO

from docvault.rules.content import (
    Content,
    CorruptContent,
    ExtensionMismatch,
    UnknownContent,
    read_at,
)
from docvault.rules.image_content import inspect_image
from docvault.rules.office_content import DOCX, ODP, ODS, ODT, PPTX, XLSX, inspect_office
from docvault.rules.pdf_content import inspect_pdf
from docvault.rules.signatures import name_binary
from docvault.rules.text_content import check_text
from docvault.rules.zip_directory import ends_with_zip

__all__ = [
    "DEFAULT_MEDIA_TYPES",
    "KNOWN_MEDIA_TYPES",
    "PREVIEWABLE_MEDIA_TYPES",
    "Content",
    "CorruptContent",
    "ExtensionMismatch",
    "UnknownContent",
    "inspect_content",
]

_HEAD_BYTES = 1024

# Extensions by the media types they may stand for.
_EXTENSIONS: dict[str, frozenset[str]] = {
    extension: frozenset(media_types.split())
    for extensions, media_types in (
        ("jpg jpeg jpe jfif", "image/jpeg"),
        ("png", "image/png"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
        ("tif tiff", "image/tiff"),
        ("heic heif hif", "image/heic image/heif"),
        ("pdf", "application/pdf"),
        ("docx", DOCX),
        ("xlsx", XLSX),
        ("pptx", PPTX),
        ("odt", ODT),
        ("ods", ODS),
        ("odp", ODP),
        ("txt", "text/plain"),
        ("csv", "text/csv"),
    )
    for extension in extensions.split()
}

KNOWN_MEDIA_TYPES: frozenset[str] = frozenset().union(*_EXTENSIONS.values())
"""All that `inspect_content` can return: what a document type may be set to accept."""

DEFAULT_MEDIA_TYPES: tuple[str, ...] = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/tiff",
    "image/heic",
    "image/heif",
    "application/pdf",
    DOCX,
    XLSX,
    ODT,
    ODS,
    "text/plain",
    "text/csv",
)
"""What a document type accepts unless it says otherwise."""

PREVIEWABLE_MEDIA_TYPES: frozenset[str] = frozenset(DEFAULT_MEDIA_TYPES[:8])
"""The raster images and PDF."""

# A browser, an office suite or a shell would run files so named, whatever their bytes.
_DANGEROUS_EXTENSIONS = frozenset(
    "htm html shtml xhtml xht mht mhtml eml hta htc svg svgz xml xsl xslt swf "
    "js mjs cjs jse ts vbs vbe wsf wsh ws sct ps1 psm1 psd1 bat cmd com exe dll scr pif cpl msi "
    "msp jar war ear class jnlp apk app dmg pkg deb rpm elf so sh bash zsh csh command lnk url "
    "desktop reg inf scf library-ms settingcontent-ms "
    "php php3 php4 php5 php7 php8 phps pht phtml phar asp aspx asa asax ashx asmx ascx cer cfm "
    "cfml jsp jspx jspf cgi fcgi pl pm py pyc pyw rb htaccess "
    "docm dotm xlsm xltm xlam xlsb pptm potm ppsm ppam sldm".split()
)


def inspect_content(file: BinaryIO, size_bytes: int, filename: str | None) -> Content:
    """Decide what an upload is, reading it in bounded pieces.

    Args:
        file: seekable; its position is not kept.
        size_bytes: the length of the whole file, at least 1.
        filename: the name given by the client, if any.

    Raises:
        UnknownContent: of no type in `KNOWN_MEDIA_TYPES`.
        CorruptContent: of a known type by its signature, but broken or hostile.
        ExtensionMismatch: of a known type, under the extension of another or a dangerous one.
        ValueError: an empty file, which the caller refuses in its own words.
    """
    if size_bytes <= 0:
        raise ValueError("The file is empty.")
    extension = _extension(filename or "")
    content = _inspect_bytes(file, size_bytes, extension)
    expected = _EXTENSIONS.get(extension)
    is_other_type = expected is not None and content.media_type not in expected
    if is_other_type or extension in _DANGEROUS_EXTENSIONS:
        raise ExtensionMismatch(content.media_type, extension)
    return content


def _extension(filename: str) -> str:
    """The last extension as a file system or a web server would take it: `a.PHP. ` is php."""
    stem, _, extension = filename.rstrip(" .").lower().rpartition(".")
    return extension
