"""Office documents in ZIP archives: Office Open XML (ECMA-376, part 2) and OpenDocument 1.3."""

from typing import BinaryIO
from xml.parsers import expat

from docvault.domain.media_types import DOCX, ODF, ODP, ODS, ODT, OOXML, PPTX, XLSX, ZIP
from docvault.inspection.containers import (
    CONTAINERS,
    SIGNED,
    detect_container,
    is_locked,
    refuse_program,
)
from docvault.inspection.odf_content import ENCRYPTED_PACKAGE, inspect_odf
from docvault.inspection.office_package import Package
from docvault.inspection.ooxml_content import inspect_ooxml
from docvault.inspection.result import Content, CorruptContent, UnknownContent, uninspected
from docvault.inspection.zip import Entry, check_archive, read_archive, read_entry

# Entries (in lower case) that identify the two families.
_OOXML_MARK = "[content_types].xml"
_ODF_MARK = "mimetype"
# The whole document, of LibreOffice since 24.8, in which nothing can be inspected.
_ENCRYPTED_PACKAGE = "encrypted-package"

_MAX_CONTENT_TYPES_BYTES = 1 << 20
_MAX_MIMETYPE_BYTES = 128
_ACCEPTED = frozenset({DOCX, XLSX, PPTX, ODT, ODS, ODP})
# Recognized to name them when they are rejected: drawings, templates, documents with macros.
_OTHER_ODF = frozenset(
    {ODF + kind for kind in ("graphics", "chart", "formula", "image", "text-master")}
    | {ODF + kind + "-template" for kind in ("text", "spreadsheet", "presentation", "graphics")}
    | {"application/epub+zip"}
)
_MAIN_PARTS = {
    DOCX + ".main+xml": DOCX,
    XLSX + ".main+xml": XLSX,
    PPTX + ".main+xml": PPTX,
} | {
    (kind + ".main" + suffix).lower(): kind.removesuffix("Template") + version
    for kind, suffix, version in (
        (OOXML + "wordprocessingml.template", "+xml", ""),
        (OOXML + "spreadsheetml.template", "+xml", ""),
        (OOXML + "presentationml.template", "+xml", ""),
        (OOXML + "presentationml.slideshow", "+xml", ""),
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


def inspect_office(file: BinaryIO, size_bytes: int, extension: str) -> Content:
    """Detect which office document or other container a ZIP archive is.

    Raises:
        UnknownContent: of a kind that is rejected (macros, templates, programs).
        CorruptContent: a broken, hostile or oversized archive, or an encrypted document.
    """
    archive = read_archive(file, size_bytes)
    entries = {entry.name.casefold(): entry for entry in archive.entries}
    refuse_program(entries.keys())
    is_document = bool(entries.keys() & {_OOXML_MARK, _ODF_MARK})
    try:
        check_archive(file, archive, may_be_encrypted=not is_document)
    except CorruptContent as error:
        if is_document:
            raise
        raise UnknownContent(ZIP, error.reason) from None
    if not is_document:
        media_type = detect_container(file, entries, extension)
        return uninspected(media_type, needs_password=is_locked(entries))
    is_ooxml = _OOXML_MARK in entries
    parts = _read_content_types(file, entries) if is_ooxml else []
    media_type = (
        _detect_ooxml(parts, entries) if is_ooxml else _detect_odf(file, entries, extension)
    )
    if media_type in CONTAINERS:
        return uninspected(media_type)
    if media_type not in _ACCEPTED:
        raise UnknownContent(media_type)
    package = Package(file, media_type, entries, parts)
    return inspect_ooxml(package) if is_ooxml else inspect_odf(package)


def _read_content_types(file: BinaryIO, entries: dict[str, Entry]) -> list[tuple[str, str | None]]:
    return _parse_content_types(read_entry(file, entries[_OOXML_MARK], _MAX_CONTENT_TYPES_BYTES))


def _detect_odf(file: BinaryIO, entries: dict[str, Entry], extension: str) -> str:
    """Read the type from its entry (OpenDocument 1.3, part 2, 3.3).

    It should be the first one and uncompressed, but programs that sign or repack a document move or
    compress it, and no reader minds.
    """
    mark = read_entry(file, entries[_ODF_MARK], _MAX_MIMETYPE_BYTES)
    media_type = mark.decode("ascii", "replace").strip()
    media_type = SIGNED.get(media_type, media_type)
    if media_type not in _ACCEPTED | _OTHER_ODF | {*SIGNED.values()}:
        # A container with one signed file may name the type of that.
        return detect_container(file, entries, extension)
    if not entries.keys() & {"content.xml", ENCRYPTED_PACKAGE} and media_type in _ACCEPTED:
        raise CorruptContent("The document has no content.")
    return media_type


def _detect_ooxml(parts: list[tuple[str, str | None]], entries: dict[str, Entry]) -> str:
    """Return the type of the main part; main parts of two types are hostile."""
    main_parts = [(_MAIN_PARTS[kind], part) for kind, part in parts if kind in _MAIN_PARTS]
    media_types = {media_type for media_type, _ in main_parts}
    if len(media_types) > 1:
        raise CorruptContent("The document declares two types.")
    if any(
        part and part.replace("\\", "/").lstrip("/").casefold() not in entries
        for _, part in main_parts
    ):
        raise CorruptContent("The document's main part is missing.")
    return media_types.pop() if media_types else ZIP


def _parse_content_types(xml: bytes) -> list[tuple[str, str | None]]:
    """Return the content types in lower case, each with its part (None: for an extension)."""
    parts: list[tuple[str, str | None]] = []

    def refuse(*_: object) -> None:
        raise CorruptContent("The document's content types contain a DTD.")

    def collect(_name: str, attributes: dict[str, str]) -> None:
        if "ContentType" in attributes:
            parts.append((attributes["ContentType"].strip().lower(), attributes.get("PartName")))

    # With a fixed encoding, since a declared one could be any of Python's codecs.
    parser = expat.ParserCreate("utf-8")
    # Without a document type declaration there are no entities to expand.
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = collect
    try:
        parser.Parse(xml, True)
    except expat.ExpatError:
        raise CorruptContent("The document's content types are not valid XML.") from None
    return parts
