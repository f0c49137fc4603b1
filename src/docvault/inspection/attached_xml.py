"""XML embedded in another file, such as an invoice: whether it is only data."""

from xml.parsers import expat

from docvault.inspection.xml_encoding import HiddenMarkup, choose_encoding

# What browsers and office suites render or run.
_ACTIVE_NAMESPACES = (
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/1999/xsl/",
    "http://www.mozilla.org/",
    "http://schemas.microsoft.com/",
    "http://schemas.openxmlformats.org/",
    "urn:schemas-microsoft-com:",
    "urn:oasis:names:tc:opendocument:",
)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BEFORE = b"\xef\xbb\xbf\0 \t\r\n"
_HEAD_BYTES = 1024
_ACTIVE_ROOTS = frozenset({"html", "svg"})


class _Refused(Exception):
    """The XML does more than carry data."""


def is_plain_xml(data: bytes) -> bool:
    """Return whether the bytes are XML without a DTD, instructions, or an active vocabulary."""

    def refuse(*_: object) -> None:
        raise _Refused

    def check_namespace(_prefix: str | None, uri: str | None) -> None:
        if (uri or "").strip().lower().startswith(_ACTIVE_NAMESPACES):
            raise _Refused

    def check_root(name: str, _: object) -> None:
        if name.lower() in _ACTIVE_ROOTS:
            raise _Refused
        # Python is slow; the other elements are of no interest.
        parser.StartElementHandler = None

    is_utf_16 = data.startswith(_UTF_16)
    try:
        beginning = data.lstrip(_BEFORE)[:_HEAD_BYTES]
        parser = expat.ParserCreate("utf-16" if is_utf_16 else choose_encoding(beginning), " ")
    except HiddenMarkup:
        return False
    parser.StartDoctypeDeclHandler = refuse
    parser.ProcessingInstructionHandler = refuse
    parser.StartNamespaceDeclHandler = check_namespace
    parser.StartElementHandler = check_root
    try:
        parser.Parse(data if is_utf_16 else data.strip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, _Refused):
        return False
    return True
