"""The parts of an Office document, and a bounded search of those that are XML."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from docvault.inspection.result import CorruptContent
from docvault.inspection.zip import Entry, read_entry, unpack_entry

# Elements and attributes; each takes about a microsecond. A document of 500 pages has some 400,000.
_MAX_NODES = 600_000
# In memory: in pieces, the parser would read a long attribute again for each piece.
_MAX_PART_BYTES = 16 << 20
_HEAD_BYTES = 512
_DECLARED_ENCODING = re.compile(
    rb"<\?xml[^>]{0,200}?encoding[\t\n\r ]{0,9}=[\t\n\r ]{0,9}[\"']([\w.-]{1,40})"
)
# Names of elements and attributes are written in ASCII letters in these.
_ASCII_LETTERS = re.compile(rb"(?i:utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d)")

OnElement = Callable[[str, dict[str, str]], None]
OnText = Callable[[str], None]


class UninspectablePart(Exception):
    """A part is not XML, declares entities, or exceeds a limit."""


@dataclass(slots=True)
class Package:
    """An archive that was checked; the names of its entries are in lower case."""

    file: BinaryIO
    media_type: str
    entries: dict[str, Entry]
    # The content types, each with its part (None: for an extension).
    content_types: Sequence[tuple[str, str | None]] = ()
    _nodes: int = field(default=0, init=False)

    def parse_if_mentioned(
        self,
        name: str,
        mentions: Sequence[bytes],
        on_element: OnElement,
        on_text: OnText | None = None,
    ) -> None:
        """Parse a part unless the bytes show that it mentions none of these, in lower case.

        Raises as `parse`. Most parts are large and have none, and searching is faster.
        """
        if self._may_mention(name, mentions):
            self.parse(name, on_element, on_text)

    def parse(self, name: str, on_element: OnElement, on_text: OnText | None = None) -> None:
        """Call `on_element` with each element of an XML part, and `on_text` with each text.

        Names consist of the namespace, a space and the local name. Raises `UninspectablePart`.
        """

        def refuse(*_: object) -> None:
            raise UninspectablePart

        def count(element: str, attributes: dict[str, str]) -> None:
            self._nodes += 1 + len(attributes)
            if self._nodes > _MAX_NODES:
                raise UninspectablePart
            on_element(element, attributes)

        # With a fixed encoding, since a declared one could be any of Python's codecs.
        parser = expat.ParserCreate("utf-8", " ")
        # Manifests of OpenOffice.org have a document type declaration, but declare no entities.
        parser.EntityDeclHandler = refuse
        parser.StartElementHandler = count
        if on_text is not None:
            parser.buffer_text = True
            parser.CharacterDataHandler = on_text
        try:
            parser.Parse(read_entry(self.file, self.entries[name], _MAX_PART_BYTES), True)
        except (CorruptContent, expat.ExpatError):
            raise UninspectablePart from None

    def _may_mention(self, name: str, mentions: Sequence[bytes]) -> bool:
        overlap = max(map(len, mentions))
        before = b""
        try:
            for piece in unpack_entry(self.file, self.entries[name]):
                if not before and not _is_ascii_based(piece[:_HEAD_BYTES]):
                    return True
                text = before + piece
                lower = text.lower()
                if any(mention in lower for mention in mentions):
                    return True
                before = text[-overlap:]
        except CorruptContent:
            raise UninspectablePart from None
        return False


def _is_ascii_based(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    declared = _DECLARED_ENCODING.match(text)
    return text.startswith(b"<") and (
        _ASCII_LETTERS.fullmatch(declared[1]) is not None if declared else b"\0" not in text
    )


def local_name(name: str) -> str:
    """Return the name of an element or attribute without its namespace."""
    return name.rpartition(" ")[2]
