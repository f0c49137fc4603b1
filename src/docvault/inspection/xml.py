"""XML: well-formedness, the root element, and what would run or be fetched.

Also finds what only looks like XML: pages, drawings and scripts.
"""

from typing import BinaryIO
from xml.parsers import expat

from docvault.domain.media_types import XML
from docvault.inspection.result import Content, UnknownContent
from docvault.inspection.xml_encoding import HiddenMarkup, choose_encoding

# A larger file is not read to its end, and counts as active.
_MAX_PARSED_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_MAX_NAMESPACES = 10_000
_SEPARATOR = "\n"

_HTML = "http://www.w3.org/1999/xhtml"
_SVG = "http://www.w3.org/2000/svg"
_XSLT = "http://www.w3.org/1999/XSL/Transform"
# Of elements that a program would run or fetch; office documents in one XML file have macros.
_ACTIVE_NAMESPACES = (
    _HTML,
    _SVG,
    _XSLT,
    "http://www.w3.org/2001/XInclude",
    "http://schemas.microsoft.com/",
    "urn:schemas-microsoft-com:",
    "urn:oasis:names:tc:opendocument:",
)
# Root elements of what is not data.
_REFUSED_ROOTS = {"html": "text/html", "svg": "image/svg+xml", "stylesheet": "application/xslt+xml"}

# A fragment of a page may be named .xml; browsers sniff for some of these elements.
_PAGE_ELEMENTS = frozenset(
    name
    for names in (
        "a article b base body br button center div embed font form frame frameset h1 h2 h3 head",
        "i iframe img input link main math meta object p pre script section span strong style",
        "table template title ul video",
    )
    for name in names.split()
)


def inspect_xml(
    file: BinaryIO, start: int, beginning: bytes, *, is_utf_16: bool, is_named_xml: bool
) -> Content:
    """Detect what a file that begins with an element or an XML declaration is.

    Args:
        file: the file.
        start: where it begins after blanks and a byte order mark.
        beginning: its first bytes from there, in lower case and in UTF-8 or ASCII.
        is_utf_16: whether the file has the byte order mark of UTF-16.
        is_named_xml: whether its extension says so, which counts without a declaration.

    Raises:
        UnknownContent: a page, drawing or script; or XML that is not well-formed, has entities, or
            is in an encoding that hides its markup.
    """
    document = _Document()
    is_declared = beginning.startswith(b"<?xml")
    try:
        encoding = "utf-16" if is_utf_16 else choose_encoding(beginning)
        document.parse(file, start, encoding)
    except HiddenMarkup:
        raise UnknownContent(XML, "The XML is in an encoding that is not supported.") from None
    except expat.ExpatError:
        if document.refused or not is_declared:
            raise UnknownContent(document.refused or "text/html") from None
        raise UnknownContent(XML, "The XML is not well-formed.") from None
    is_data = is_declared or document.has_namespace
    is_data |= is_named_xml and document.root not in _PAGE_ELEMENTS
    if document.refused or not is_data:
        raise UnknownContent(document.refused or "text/html")
    # Files in it would be text, which is not searched.
    return Content(XML, document.is_active, has_attachments=None)


class _Document:
    """What the parser has seen of one document."""

    def __init__(self) -> None:
        self.refused: str | None = None
        self.root = ""
        self.has_namespace = False
        self.is_active = False
        self._namespaces = 0

    def parse(self, file: BinaryIO, start: int, encoding: str) -> None:
        """Parse the file up to the limit; raises `ExpatError`."""
        parser = expat.ParserCreate(encoding, _SEPARATOR)
        parser.StartDoctypeDeclHandler = self._meet_doctype
        parser.EntityDeclHandler = _refuse_entity
        parser.StartNamespaceDeclHandler = self._meet_namespace
        parser.ProcessingInstructionHandler = self._meet_instruction
        parser.StartElementHandler = self._meet_root
        self._parser = parser
        file.seek(start)
        left = _MAX_PARSED_BYTES
        while chunk := file.read(min(left, _CHUNK_BYTES)):
            left -= len(chunk)
            parser.Parse(chunk, False)
        if left > 0:
            parser.Parse(b"", True)
        else:
            self.is_active = True

    def _meet_root(self, name: str, _attributes: object) -> None:
        self._parser.StartElementHandler = None
        namespace, _, local = name.rpartition(_SEPARATOR)
        self.root = local.lower()
        self.has_namespace = bool(namespace)
        if self.root in _REFUSED_ROOTS and (not namespace or namespace in {_HTML, _SVG, _XSLT}):
            self.refused = _REFUSED_ROOTS[self.root]
        elif namespace in {_HTML, _SVG}:
            self.refused = "text/html" if namespace == _HTML else "image/svg+xml"

    def _meet_namespace(self, _prefix: str | None, uri: str | None) -> None:
        self._namespaces += 1
        if self._namespaces > _MAX_NAMESPACES or (uri or "").startswith(_ACTIVE_NAMESPACES):
            self.is_active = True
            self._parser.StartNamespaceDeclHandler = None

    def _meet_doctype(self, name: str, *_: object) -> None:
        # Readers fetch what it names.
        self.is_active = True
        if name.lower() in _REFUSED_ROOTS:
            self.refused = _REFUSED_ROOTS[name.lower()]

    def _meet_instruction(self, _target: str, _data: str) -> None:
        # A style sheet, or the program to open the file with.
        self.is_active = True
        self._parser.ProcessingInstructionHandler = None


def _refuse_entity(*_: object) -> None:
    raise UnknownContent(XML, "The XML declares entities.")
