"""Documents inside ZIP archives: Office Open XML (ECMA-376, part 2) and OpenDocument 1.3."""

import re
from typing import BinaryIO
from xml.parsers import expat

from docvault.rules.content import Content, CorruptContent, UnknownContent
from docvault.rules.zip_content import check_archive, read_entry
from docvault.rules.zip_directory import Entry, read_archive

_OOXML = "application/vnd.openxmlformats-officedocument."
DOCX = _OOXML + "wordprocessingml.document"
XLSX = _OOXML + "spreadsheetml.sheet"
PPTX = _OOXML + "presentationml.presentation"
_ODF = "application/vnd.oasis.opendocument."
ODT = _ODF + "text"
ODS = _ODF + "spreadsheet"
ODP = _ODF + "presentation"

# Entries (in lower case) that tell the two families.
_OOXML_MARK = "[content_types].xml"
_ODF_MARK = "mimetype"

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
_MACRO_FOLDERS = re.compile(r"(?:^|/)(?:basic|scripts|macrosheets)/")
# What a part holds, wherever it lies.
_MACRO_KINDS = ("vbaproject", "macrosheet", "activex")


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
    if not entries.keys() & {_OOXML_MARK, _ODF_MARK}:
        raise UnknownContent("application/zip")
    check_archive(file, archive)
    is_ooxml = _OOXML_MARK in entries
    parts = _content_types(file, entries) if is_ooxml else []
    media_type = _ooxml_media_type(parts, entries) if is_ooxml else _odf_media_type(file, entries)
    if media_type not in _ACCEPTED:
        raise UnknownContent(media_type)
    is_active = any(map(_is_macro, entries)) or any(_holds_macros(kind) for kind, _ in parts)
    return Content(media_type, has_active_content=is_active)


def _is_macro(name: str) -> bool:
    return name.endswith("vbaproject.bin") or _MACRO_FOLDERS.search(name) is not None


def _holds_macros(kind: str) -> bool:
    """Whether a part of this kind holds macros or controls, under whatever name."""
    return any(macro in kind for macro in _MACRO_KINDS)


def _content_types(file: BinaryIO, entries: dict[str, Entry]) -> list[tuple[str, str | None]]:
    return _parse_content_types(read_entry(file, entries[_OOXML_MARK], _MAX_CONTENT_TYPES_BYTES))


def _odf_media_type(file: BinaryIO, entries: dict[str, Entry]) -> str:
    """The stored first entry names the type (OpenDocument 1.3, part 2, 3.3)."""
    first = entries[_ODF_MARK]
    if first.offset != 0 or first.method != _STORED:
        raise CorruptContent("The document does not start with its media type.")
    media_type = read_entry(file, first, _MAX_MIMETYPE_BYTES).decode("ascii", "replace")
    if media_type not in _ACCEPTED | _OTHER_ODF:
        return "application/zip"
    if "content.xml" not in entries and media_type in _ACCEPTED:
        raise CorruptContent("The document has no content.")
    return media_type


def _ooxml_media_type(parts: list[tuple[str, str | None]], entries: dict[str, Entry]) -> str:
    """The content type of the main part decides; more than one main part is a trick."""
    main_parts = [(_MAIN_PARTS[kind], part) for kind, part in parts if kind in _MAIN_PARTS]
    media_types = {media_type for media_type, _ in main_parts}
    if len(media_types) > 1:
        raise CorruptContent("The document claims to be of two types.")
    if any(part and part.lstrip("/").casefold() not in entries for _, part in main_parts):
        raise CorruptContent("The document's main part is missing.")
    return media_types.pop() if media_types else "application/zip"


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
        parser.Parse(xml, True)
    except expat.ExpatError:
        raise CorruptContent("The document's parts list is not XML.") from None
    return parts
