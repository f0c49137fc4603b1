"""The files embedded in a PDF: whether they are XML alone, as in an electronic invoice.

Import this module only to inspect a PDF, as `pdf_objects`.
"""

import zlib
from collections.abc import Iterable

from pikepdf import Array, Dictionary, Object, Stream

from docvault.inspection.attached_xml import is_plain_xml
from docvault.inspection.pdf_names import Uninspectable

# An invoice of a thousand items has some 2 MB.
_MAX_FILE_BYTES = 4 << 20
# Each takes a microsecond or two.
_MAX_VALUES = 100_000
# Of the related files (Mac forks and the like), none is looked at.
_FILE, _RELATED = "/EF", "/RF"
_NAMES = ("/F", "/UF", "/DOS", "/Mac", "/Unix")


def find_embedded_files(items: Iterable[Object]) -> list[Object]:
    """Return the dictionaries in these objects that refer to an embedded file.

    Raises:
        Uninspectable: the objects have too many values.
    """
    found: list[Object] = []
    pending = list(items)
    visited = 0
    while pending:
        item = pending.pop()
        if isinstance(item, Dictionary | Stream):
            if _FILE in item:
                found.append(item)
            children = [value for _, value in item.items()]
        else:
            children = list(item)
        visited += len(children)
        if visited > _MAX_VALUES:
            raise Uninspectable
        pending += [
            child
            for child in children
            if isinstance(child, Dictionary | Array) and not child.is_indirect
        ]
    return found


def holds_only_xml(specification: Object) -> bool:
    """Return whether a file specification refers to plain XML alone, also by its name."""
    files = specification[_FILE]
    names = [str(specification[name]) for name in _NAMES if name in specification]
    if _RELATED in specification or not isinstance(files, Dictionary) or not names:
        return False
    streams = [stream for _, stream in files.items()]
    return (
        len(streams) > 0
        and all(name.lower().endswith(".xml") for name in names)
        and all(isinstance(stream, Stream) and _is_xml(stream) for stream in streams)
    )


def _is_xml(stream: Object) -> bool:
    if "/F" in stream or "/DecodeParms" in stream:
        return False
    data = stream.read_raw_bytes()
    filters = stream.get("/Filter", Array())
    names = list(map(str, filters)) if isinstance(filters, Array) else [str(filters)]
    if names == ["/FlateDecode"]:
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(data, _MAX_FILE_BYTES)
        except zlib.error:
            return False
        if not inflater.eof:
            return False
    elif names:
        return False
    return len(data) <= _MAX_FILE_BYTES and is_plain_xml(data)
