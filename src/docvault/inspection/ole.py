"""OLE compound files: which program wrote one, by the names in its directory.

Word, Excel and PowerPoint before 2007, Outlook messages, and office documents protected by a
password. The streams are not searched, so they count as active.
"""

from contextlib import suppress
from typing import BinaryIO

from docvault.domain.media_types import DOC, ENCRYPTED_OOXML, MSG, PPT, XLS
from docvault.inspection.compound_file import CompoundFile
from docvault.inspection.ole_passwords import needs_password
from docvault.inspection.result import Content, CorruptContent, UnknownContent, uninspected

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

# By the name of an entry at the top level, in this order.
_KINDS = {
    "encryptedpackage": ENCRYPTED_OOXML,
    "__properties_version1.0": MSG,
    "worddocument": DOC,
    "workbook": XLS,
    "book": XLS,
    "powerpoint document": PPT,
    "pp40": PPT,
    "visiodocument": "application/vnd.visio",
    "quill": "application/x-mspublisher",
}
_OTHER = "application/x-ole-storage"
_INSTALLERS = frozenset(
    bytes.fromhex(f"{n}0c0000000000c000000000000046") for n in ("8410", "8610", "8210")
)


def inspect_ole(file: BinaryIO, size_bytes: int) -> Content:
    """Detect which document a compound file is.

    Raises:
        UnknownContent: of another program, or an installer; or the directory cannot be read.
    """
    try:
        document = CompoundFile(file, size_bytes)
        names = document.streams().keys()
    except CorruptContent as error:
        raise UnknownContent(_OTHER, error.reason) from None
    if document.program in _INSTALLERS:
        raise UnknownContent("application/x-ms-installer")
    media_type = next((kind for name, kind in _KINDS.items() if name in names), None)
    if media_type not in {ENCRYPTED_OOXML, MSG, DOC, XLS, PPT}:
        raise UnknownContent(media_type or _OTHER)
    is_locked = media_type == ENCRYPTED_OOXML or _is_locked(document, media_type)
    return uninspected(media_type, needs_password=is_locked)


def _is_locked(document: CompoundFile, media_type: str) -> bool:
    # A broken stream does not mean that the document is encrypted.
    with suppress(CorruptContent):
        return needs_password(document, media_type)
    return False
