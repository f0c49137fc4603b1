"""OpenDocument: what runs, fetches, is embedded, or is encrypted (OpenDocument 1.3)."""

import re

from docvault.domain.media_types import ODF
from docvault.inspection.formulas import MENTIONS, calls_active_function, without_texts
from docvault.inspection.office_package import Package, UninspectablePart, local_name
from docvault.inspection.result import Content, CorruptContent

# What LibreOffice 24.8 and later encrypt: the whole package as one entry of another.
ENCRYPTED_PACKAGE = "encrypted-package"
_MANIFEST = "meta-inf/manifest.xml"
# Basic and other scripts.
_MACRO_FOLDERS = re.compile(r"(?:^|/)(?:basic|scripts)/")
_TEXT = re.compile(r"(?:^|/)(?:content|styles|meta)\.xml$")
_OLE = "application/vnd.sun.star.oleobject"
# Charts and formulas are parts of a document rather than documents.
_DOCUMENTS = tuple(ODF + kind for kind in ("text", "spreadsheet", "presentation", "graphics"))

_MENTIONS = (
    *(b"event-listener", b"dde-", b"href", b"object-ole", b"applet", b"plugin"),
    *(b"'#", b"&apos;#"), *MENTIONS,
)  # fmt: skip
# Attributes with a formula: of a cell, a name, a format or a rule for values.
_FORMULAS = frozenset({"formula", "expression", "condition"})
# A sheet of another document: `'file:///a.ods'#$Sheet1.A1`.
_OTHER_DOCUMENT = "'#"
_ACTIVE_ELEMENTS = frozenset(
    {"dde-source", "dde-connection-decl", "object-ole", "applet", "plugin"}
)
# A hyperlink is only followed when it is clicked.
_HYPERLINKS = frozenset({"a", "area-rectangle", "area-circle", "area-polygon"})
_ACTIVE_EVENTS = frozenset({"execute", "verb"})
# An address outside of the package: with a scheme, on another machine, or in another folder. A
# single letter is a drive.
_OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]{0,40}:|/|\\|\.\./", re.IGNORECASE)
# The template of a document is mostly on a drive, where it was written.
_REMOTE = re.compile(r"(?!file:///)[a-z][a-z0-9+.-]{1,40}://|//|\\\\", re.IGNORECASE)
_MACRO_ADDRESS = re.compile(r"vnd\.sun\.star\.|macro:|service:|\.uno:|slot:", re.IGNORECASE)


def inspect_odf(package: Package) -> Content:
    """Return the facts of a document; raises `CorruptContent` if it has no content."""
    search = _Search(package)
    try:
        search.run()
    except UninspectablePart:
        search.is_active = True
    if "content.xml" not in package.entries and not search.is_encrypted:
        raise CorruptContent("The document has no content.")
    if search.is_encrypted:
        return Content(package.media_type, True, search.has_attachments or None, True)
    return Content(package.media_type, search.is_active, search.has_attachments)


class _Search:
    """A search of all parts of a document."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.is_active = any(map(_MACRO_FOLDERS.search, package.entries))
        self.has_attachments = False
        self.is_encrypted = False

    def run(self) -> None:
        if _MANIFEST in self._package.entries:
            self._package.parse(_MANIFEST, self._check_manifest)
        if self.is_encrypted:
            return
        for name in self._package.entries:
            if _TEXT.search(name):
                self._package.parse_if_mentioned(name, _MENTIONS, self._check_element)

    def _check_manifest(self, element: str, attributes: dict[str, str]) -> None:
        self.is_encrypted |= local_name(element) == "encryption-data"
        values = {local_name(key): value for key, value in attributes.items()}
        media_type = values.get("media-type", "").strip().lower()
        is_part = values.get("full-path") not in {"/", ENCRYPTED_PACKAGE}
        is_embedded = is_part and media_type.startswith(_DOCUMENTS)
        self.has_attachments |= is_embedded or media_type == _OLE
        self.is_active |= media_type == _OLE

    def _check_element(self, element: str, attributes: dict[str, str]) -> None:
        namespace, _, name = element.rpartition(" ")
        values = {local_name(key): value.strip() for key, value in attributes.items()}
        is_script = name == "event-listener" and ":script:" in namespace
        address = values.get("href", "")
        pattern = _MACRO_ADDRESS if name in _HYPERLINKS else _OUTSIDE
        if name == "template":
            pattern = _REMOTE
        self.is_active |= is_script or name in _ACTIVE_ELEMENTS
        self.is_active |= values.get("action", "").lower() in _ACTIVE_EVENTS
        self.is_active |= pattern.match(address) is not None
        for key in _FORMULAS & values.keys():
            code = without_texts(values[key])
            self.is_active |= calls_active_function(code) or _OTHER_DOCUMENT in code
        self.has_attachments |= name == "object-ole"
