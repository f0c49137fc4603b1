"""Documents inside ZIP archives: Office Open XML (ECMA-376, part 2) and OpenDocument 1.3."""

from typing import BinaryIO
from xml.parsers import expat

from docvault.rules.content import Content, CorruptContent, UnknownContent
from docvault.rules.zip_content import check_archive, read_entry
from docvault.rules.zip_directory import Archive, Entry, read_archive

_OOXML = "application/vnd.openxmlformats-officedocument."
DOCX = _OOXML + "wordprocessingml.document"
XLSX = _OOXML + "spreadsheetml.sheet"
PPTX = _OOXML + "presentationml.presentation"
_ODF = "application/vnd.oasis.opendocument."
ODT = _ODF + "text"
ODS = _ODF + "spreadsheet"
ODP = _ODF + "presentation"

_MAX_CONTENT_TYPES_BYTES = 1 << 20
_MAX_MIMETYPE_BYTES = 128
_STORED = 0
_ACCEPTED = frozenset({DOCX, XLSX, PPTX, ODT, ODS, ODP})
# Recognised to be refused by name: drawings, templates, slide shows, whatever carries macros.
_OTHER_ODF = frozenset(
    {_ODF + kind for kind in ("graphics", "chart", "formula", "image", "text-master")}
    | {_ODF + kind + "-template" for kind in ("text", "spreadsheet", "presentation", "graphics")}
    | {"application/epub+zip"}
)
_MAIN_PARTS = {
    DOCX + ".main+xml": DOCX,
    XLSX + ".main+xml": XLSX,
    PPTX + ".main+xml": PPTX,
} | {
    (kind + ".main" + suffix).lower(): kind.removesuffix("Template") + version
    for kind, suffix, version in (
        (_OOXML + "wordprocessingml.template", "+xml", ""),
        (_OOXML + "spreadsheetml.template", "+xml", ""),
        (_OOXML + "presentationml.template", "+xml", ""),
        (_OOXML + "presentationml.slideshow", "+xml", ""),
        ("application/vnd.ms-word.document.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-word.template.macroEnabledTemplate", "+xml", ".12"),
        ("application/vnd.ms-excel.sheet.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-excel.template.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-excel.addin.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-excel.sheet.binary.macroEnabled", "", ".12"),
        ("application/vnd.ms-powerpoint.presentation.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-powerpoint.template.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-powerpoint.slideshow.macroEnabled", "+xml", ".12"),
        ("application/vnd.ms-powerpoint.addin.macroEnabled", "+xml", ".12"),
    )
}
# Macros: VBA, Excel 4 macro sheets, LibreOffice Basic and other scripts.
_MACRO_FOLDERS = ("basic/", "scripts/", "xl/macrosheets/")


def inspect_office(file: BinaryIO, size_bytes: int) -> Content:
    """Which office document a ZIP archive is.

    Raises:
        UnknownContent: an archive that is none, or one of a refused kind (macros, templates).
        CorruptContent: a broken, hostile, encrypted or oversized archive.
    """
    archive = read_archive(file, size_bytes)
    entries = {entry.name.casefold(): entry for entry in archive.entries}
    if "meta-inf/manifest.mf" in entries:
        raise UnknownContent("application/java-archive")
    if "[content_types].xml" in entries:
        media_type = _ooxml_media_type(file, archive, entries)
    elif "mimetype" in entries:
        media_type = _odf_media_type(file, archive, entries)
    else:
        raise UnknownContent("application/zip")
    if media_type not in _ACCEPTED:
        raise UnknownContent(media_type)
    return Content(media_type, has_active_content=any(map(_is_macro, entries)))


def _is_macro(name: str) -> bool:
    return name.endswith("vbaproject.bin") or name.startswith(_MACRO_FOLDERS)


def _odf_media_type(file: BinaryIO, archive: Archive, entries: dict[str, Entry]) -> str:
    """The stored first entry names the type (OpenDocument 1.3, part 2, 3.3)."""
    check_archive(file, archive)
    first = entries["mimetype"]
    if first.offset != 0 or first.method != _STORED:
        raise CorruptContent("The document does not start with its media type.")
    media_type = read_entry(file, first, _MAX_MIMETYPE_BYTES).decode("ascii", "replace")
    if media_type in _ACCEPTED and "content.xml" not in entries:
        raise CorruptContent("The document has no content.")
    known = media_type in _ACCEPTED or media_type in _OTHER_ODF
    return media_type if known else "application/zip"


def _ooxml_media_type(file: BinaryIO, archive: Archive, entries: dict[str, Entry]) -> str:
    """The content type of the main part decides; more than one main part is a trick."""
    check_archive(file, archive)
    content_types = read_entry(file, entries["[content_types].xml"], _MAX_CONTENT_TYPES_BYTES)
    parts = _parse_content_types(content_types)
    found = {_MAIN_PARTS[kind] for kind, _ in parts if kind in _MAIN_PARTS}
    if len(found) > 1:
        raise CorruptContent("The document claims to be of two types.")
    for kind, part in parts:
        if kind in _MAIN_PARTS and part and part.lstrip("/").casefold() not in entries:
            raise CorruptContent("The document's main part is missing.")
    return found.pop() if found else "application/zip"


def _parse_content_types(xml: bytes) -> list[tuple[str, str | None]]:
    """The content types in lower case, each with the part it is for (None: an extension)."""
    parts: list[tuple[str, str | None]] = []

    def refuse(*_: object) -> None:
        raise CorruptContent("The document's parts list has a document type declaration.")

    def collect(_name: str, attributes: dict[str, str]) -> None:
        if "ContentType" in attributes:
            parts.append((attributes["ContentType"].strip().lower(), attributes.get("PartName")))

    # The encoding is given, as a declared one could name any of Python's codecs.
    parser = expat.ParserCreate("utf-8")
    # Without a document type there are no entities to expand.
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = collect
    try:
        parser.Parse(xml, True)  # noqa: FBT003
    except expat.ExpatError:
        raise CorruptContent("The document's parts list is not XML.") from None
    return parts
