"""The objects of a PDF, read with qpdf and compared with what lenient readers would find.

Import this module only to inspect a PDF: the library takes 0.1 s to import.
"""

import logging
import re
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from itertools import islice, pairwise
from typing import BinaryIO

from pikepdf import Dictionary, Object, PasswordError, Pdf, PikepdfError, Stream, settings

from docvault.inspection.pdf_embedded_files import find_embedded_files, holds_only_xml
from docvault.inspection.pdf_names import (
    BLANK,
    REGULAR,
    NameSearch,
    Uninspectable,
    goes_to_page,
)

# Each object takes some 15 microseconds, each token some 100 bytes of memory.
_MAX_OBJECTS = 20_000
_MAX_TOKENS = 1_000_000
# White space and delimiters (ISO 32000-1, 7.2.2).
_DELIMITERS = b"\x00\t\n\f\r ()<>[]{}/%"
_MAX_DEFINITIONS = 50_000
# Objects that are not in the cross-references, such as those of earlier versions.
_MAX_UNKNOWN = 1_000
_MAX_STREAM_BYTES = 4 << 20
# For all object streams of a file; compressed and decompressed bytes together.
_MAX_WORK_BYTES = 32 << 20
_BATCH_OBJECTS = 1000

# Each line may be a cross-reference, which takes 500 bytes of memory; random bytes have 260,000
# lines in 32 MiB.
_MAX_LINES = 300_000
# Each save adds one. They are decompressed when a file is opened, before objects can be counted.
_MAX_XREF_STREAMS = 64
_MAX_XREF_STREAM_BYTES = 512 << 10
# To repair a file, the library inspects each line, and searches for the end of each stream.
_MAX_REPAIRED_LINES = 100_000
_MAX_REPAIRED_STREAM_BYTES = 1 << 30

# Applies to the whole process, in which nothing else uses qpdf.
settings.set_qpdf_limits(
    doc_max_warnings=100, parser_max_nesting=100, parser_max_container_size=200_000
)

# Its messages could quote the file.
logging.getLogger("pikepdf").setLevel(logging.CRITICAL)
# The library raises built-in exceptions for numbers that do not fit into those of C++.
_LIBRARY_ERRORS = (PikepdfError, ArithmeticError, IndexError, RuntimeError, ValueError)
# The page tree is malformed.
_PAGE_ERRORS = (AttributeError, TypeError)

# A warning about unused numbers at the end of the cross-references, for which nothing is repaired.
_WRONG_SIZE = "reported number of objects"
# The keyword of an object definition; the object's number is shortly before it.
_DEFINITION_END = re.compile(rb"obj(?!" + REGULAR + rb")")
_BEFORE_DEFINITION_END = b"0123456789\x00\t\n\f\r "
_DEFINITION_BYTES = 40
_NUMBER = re.compile(rb"(?:^|\D)0*+(\d{1,10})" + BLANK + rb"{1,9}\d{1,5}" + BLANK + rb"{0,9}\Z")
_END_OF_VALUE = re.compile(rb"endobj|stream")
_REFERENCE = re.compile(rb"\d{1,10}" + BLANK + rb"{1,9}\d{1,5}" + BLANK + rb"{1,9}R")
# The dictionary of an object stream as programs write it. Readers interpret one with a comment,
# another filter or a predictor differently.
_OBJECT_STREAM = re.compile(
    rb"""BLANK*+ \d{1,10} BLANK{1,9} \d{1,5} BLANK{1,9} obj BLANK*+ << (?: BLANK*+ / (?:
        Type BLANK*+ /ObjStm
        | N BLANK++ (?P<number> \d{1,7})
        | First BLANK++ (?P<first> \d{1,10})
        | Length BLANK++ (?: \d{1,10} BLANK++ \d{1,5} BLANK++ R | \d{1,10})
        | Filter BLANK*+ (?: /FlateDecode | \[ BLANK*+ /FlateDecode BLANK*+ \])
        | Extends BLANK++ \d{1,10} BLANK++ \d{1,5} BLANK++ R
    ))++ BLANK*+ >> BLANK*+ stream \r?\n""".replace(b"BLANK", BLANK),
    re.VERBOSE,
)
# Each is required exactly once: of two values, some readers use the first and others the second.
_SAID_ONCE = (b"/N", b"/First", b"/Filter")


class PasswordNeeded(Exception):
    """The document can only be opened with a password."""


def can_be_opened(data: bytes) -> bool:
    """Return whether the library can open the document, possibly after a repair."""
    try:
        _with_document(data, lambda _: None)
    except PasswordError:
        return True
    except (*_LIBRARY_ERRORS, Uninspectable):
        return False
    return True


def needs_password(data: BinaryIO) -> bool:
    """Return whether a document that is not inspected needs a password, as far as is known."""
    settings.set_qpdf_limits(flate_max_memory=_MAX_XREF_STREAM_BYTES)
    try:
        with Pdf.open(data, attempt_recovery=False, inherit_page_attributes=False) as pdf:
            return _is_locked(pdf)
    except PasswordError:
        return True
    except _LIBRARY_ERRORS:
        return False


def _is_locked(pdf: Pdf) -> bool:
    """Return whether a document opens only because its owner's password is empty.

    The library takes the empty password for either one. Other readers ask the user for the other.
    """
    return pdf.is_encrypted and not pdf.user_password_matched


def count_pages(data: bytes) -> int | None:
    """Return the number of pages; None if it cannot be determined."""
    counts: list[int] = []
    with suppress(*_LIBRARY_ERRORS, *_PAGE_ERRORS, PasswordError, Uninspectable):
        _with_document(data, lambda pdf: counts.append(_count_pages(pdf)))
    return counts[0] if counts and counts[0] > 0 else None


def _count_pages(pdf: Pdf) -> int:
    # The document declares a number, but readers show the pages that it has.
    declared = int(pdf.Root.Pages.get("/Count", 0))
    return len(pdf.pages) if declared <= _MAX_OBJECTS else 0


def inspect_objects(data: bytes, marks: list[int], search: NameSearch) -> int | None:
    """Search every object, and compare the file with its cross-references.

    Returns the number of pages, None if it cannot be determined without a repair. It is counted
    here because opening the document once more took a quarter of the time of an inspection.

    Args:
        data: the file, from its header on.
        marks: the positions of names that only object streams and outlines have.
        search: the search that has scanned `data`.

    Raises:
        Uninspectable: something cannot be inspected.
        PasswordNeeded: nothing can.
    """
    embedded_files = search.embedded_files
    pages = 0

    def use(pdf: Pdf) -> None:
        nonlocal pages
        # A second time with the repaired document.
        search.embedded_files = embedded_files
        _Inspection(pdf, data, search).run(marks)
        with suppress(*_LIBRARY_ERRORS, *_PAGE_ERRORS):
            pages = _count_pages(pdf)

    try:
        _with_document(data, use)
    except PasswordError:
        raise PasswordNeeded from None
    except _LIBRARY_ERRORS:
        raise Uninspectable from None
    return pages or None


def _with_document(data: bytes, use: Callable[[Pdf], None]) -> None:
    """Call `use` with the document; if it is corrupt, again with the repaired document."""
    if _has_more_lines(data, _MAX_LINES) or data.count(b"/XRef") > _MAX_XREF_STREAMS:
        raise Uninspectable
    try:
        _use_document(data, use, repair=False)
    except PasswordError:
        raise
    except _LIBRARY_ERRORS:
        work_bytes = data.count(b"endstream") * len(data)
        if _has_more_lines(data, _MAX_REPAIRED_LINES) or work_bytes > _MAX_REPAIRED_STREAM_BYTES:
            raise
        _use_document(data, use, repair=True)


def _has_more_lines(data: bytes, number: int) -> bool:
    # Most files are too short for it, and counting took a fifth of the time of their inspection.
    return len(data) > number and data.count(b"\n") + data.count(b"\r") > number


def _use_document(data: bytes, use: Callable[[Pdf], None], *, repair: bool) -> None:
    settings.set_qpdf_limits(flate_max_memory=_MAX_XREF_STREAM_BYTES)
    with Pdf.open(
        BytesIO(data),
        attempt_recovery=repair,
        inherit_page_attributes=False,
        conversion_mode="explicit",
    ) as pdf:
        if _is_locked(pdf):
            raise PasswordError
        settings.set_qpdf_limits(flate_max_memory=_MAX_STREAM_BYTES)
        use(pdf)


class _Inspection:
    """The inspection of the objects of one file; offsets are those in `data`."""

    def __init__(self, pdf: Pdf, data: bytes, search: NameSearch) -> None:
        self._pdf = pdf
        self._data = data
        self._search = search
        self._entries = pdf.get_xref_table()
        if len(self._entries) > _MAX_OBJECTS:
            raise Uninspectable
        self._objects = {entry.offset: key for key, entry in self._entries.items() if entry.offset}
        self._offsets = sorted(self._objects)
        self._definitions: list[int] = []
        # The numbers of the object streams read so far, and of the objects in them.
        self._object_streams: set[int] = set()
        self._packed: list[bytes] = []
        self._has_warnings = False
        self._work_bytes = self._tokens = self._unknown = 0

    def run(self, marks: list[int]) -> None:
        if marks or self._search.open_actions:
            self._definitions = _find_definitions(self._data)
        for index in {bisect_right(self._definitions, mark) - 1 for mark in marks}:
            self._check_marked_object(index)
        containers = {entry.obj_stream_number for entry in self._entries.values()} - {None}
        if not containers <= self._object_streams:
            raise Uninspectable
        embedded_files = self._search.embedded_files
        for text in self._read_texts():
            self._search.scan(text)
        if self._search.has_attachments:
            self._check_attachments(embedded_files)
        if self._object_streams and (self._search.moves_bytes or self._is_corrupt()):
            raise Uninspectable
        if self._search.open_actions:
            self._check_open_actions()

    def _is_corrupt(self) -> bool:
        """Return whether the library had to repair anything, which other readers do differently."""
        # The library returns each warning once.
        warnings = self._pdf.get_warnings()
        self._has_warnings |= any(_WRONG_SIZE not in warning for warning in warnings)
        return self._has_warnings

    def _check_marked_object(self, index: int) -> None:
        offset = self._find_offset(index)
        if offset is None:
            self._check_unknown(index, b"endobj")
            return
        key = self._objects[offset]
        marked = self._pdf.get_object(key)
        if isinstance(marked, Stream):
            # Some readers would consider a definition within another object a part of that.
            if index > 0 and self._find_offset(index - 1) is None:
                self._check_unknown(index - 1, b"endobj", b"stream")
            self._read_object_stream(offset, marked)
            self._object_streams.add(key[0])
        elif not isinstance(marked, Dictionary):
            raise Uninspectable
        elif self._is_corrupt():
            self._check_unknown(index, b"endobj")

    def _find_offset(self, index: int) -> int | None:
        """Return where a definition begins; None if it is not in the cross-references."""
        if index < 0:
            raise Uninspectable
        place = bisect_right(self._offsets, self._definitions[index]) - 1
        before = self._definitions[index - 1] if index > 0 else -1
        is_known = place >= 0 and before < self._offsets[place]
        return self._offsets[place] if is_known else None

    def _check_unknown(self, index: int, *ends: bytes) -> None:
        """Check that an object the library may have missed has an end that all readers see."""
        self._unknown += 1
        start = self._definitions[index] + len(b"obj")
        next_one = (*self._definitions[index + 1 : index + 2], len(self._data))[0]
        end = _END_OF_VALUE.search(self._data, start, next_one)
        if self._unknown > _MAX_UNKNOWN or not end or end[0] not in ends:
            raise Uninspectable
        # Without a document, the library cannot parse references.
        Object.parse(_REFERENCE.sub(b"0", self._data[start : end.start()]))

    def _read_object_stream(self, offset: int, stream: Stream) -> None:
        match = _OBJECT_STREAM.match(self._data, offset)
        if not match or any(match[0].count(name) != 1 for name in _SAID_ONCE):
            raise Uninspectable
        packed = stream.read_raw_bytes()
        text = _decompress(packed)
        self._work_bytes += len(packed) + len(text)
        self._count_tokens(text)
        length = 2 * int(match["number"])
        header = text[: int(match["first"])].split(None, length)[:length]
        self._packed += header[::2]
        if (
            self._work_bytes > _MAX_WORK_BYTES
            or len(self._packed) > _MAX_OBJECTS
            or len(header) < length
            or not all(map(bytes.isdigit, header))
        ):
            raise Uninspectable
        self._search.scan(text)

    def _read_texts(self) -> Iterator[bytes]:
        """Yield the objects as the library has read them; of a stream, its dictionary."""
        for start, end in pairwise([*self._offsets, len(self._data)]):
            stream = self._data.find(b"stream", start, end)
            self._count_tokens(self._data[start : stream if stream >= 0 else end])
        texts = map(self._unparse, self._entries)
        while batch := b"\n".join(islice(texts, _BATCH_OBJECTS)):
            yield batch

    def _unparse(self, key: tuple[int, int]) -> bytes:
        item = self._pdf.get_object(key)
        if isinstance(item, Stream):
            return item.stream_dict.unparse()
        # The library returns None for null.
        return item.unparse(resolved=True) if isinstance(item, Object) else b"null"

    def _count_tokens(self, text: bytes) -> None:
        self._tokens += len(text) - len(text.translate(None, _DELIMITERS))
        if self._tokens > _MAX_TOKENS:
            raise Uninspectable

    def _check_open_actions(self) -> None:
        """Check that each object goes to a page, and is the only one with its number."""
        found = Counter(token.lstrip(b"0") for token in self._packed)
        found.update(_parse_number(self._data, end) for end in self._definitions)
        for number in self._search.open_actions:
            keys = [key for key in self._entries if key[0] == int(number)]
            if found[number] != 1 or len(keys) != 1 or not goes_to_page(self._unparse(keys[0])):
                self._search.is_active = True

    def _check_attachments(self, in_file: int) -> None:
        """Count attachments as active unless they are XML alone, and no reader can see others.

        `in_file` is how many embedded files the texts of the file refer to.
        """
        in_objects = self._search.embedded_files - in_file
        holding = [key for key in self._entries if b"/EF" in self._unparse(key)]
        holders = find_embedded_files(map(self._pdf.get_object, holding))
        is_complete = in_file == in_objects == len(holders) > 0 and not self._is_corrupt()
        if not is_complete or not all(map(holds_only_xml, holders)):
            self._search.is_active = True


def _find_definitions(data: bytes) -> list[int]:
    """Return the positions of the keyword of object definitions."""
    found = [match.start() for match in islice(_DEFINITION_END.finditer(data), _MAX_DEFINITIONS)]
    if len(found) == _MAX_DEFINITIONS:
        raise Uninspectable
    return [end for end in found if data[end - 1] in _BEFORE_DEFINITION_END]


def _parse_number(data: bytes, end: int) -> bytes:
    """Return the number of the object whose definition has its keyword at `end`."""
    match = _NUMBER.search(data[max(0, end - _DEFINITION_BYTES) : end])
    if not match:
        raise Uninspectable
    return match[1]


def _decompress(packed: bytes) -> bytes:
    """Decompress an object stream, which must end where its compressed data ends.

    Other filters would also decompress what follows, to different bytes.
    """
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, _MAX_STREAM_BYTES)
    except zlib.error:
        raise Uninspectable from None
    if not inflater.eof or inflater.unused_data.strip():
        raise Uninspectable
    return text
