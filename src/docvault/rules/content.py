"""What the content checks share: their result, their three refusals and bounded reads."""

from dataclasses import dataclass
from typing import BinaryIO

# Offsets come from the file. Seeking past a file system's own limit would be an OSError.
_MAX_OFFSET = 1 << 40


@dataclass(frozen=True, slots=True)
class Content:
    """What the bytes of an accepted file are.

    `has_active_content` is true for a file that could act by itself when opened (scripts,
    launch actions, macros, attachments), and for one that could not be looked into.
    """

    media_type: str
    has_active_content: bool


class UnknownContent(Exception):
    """The bytes are of no type this service stores.

    `detected` is a media type worth naming in the answer (`image/svg+xml`, `application/zip`),
    or None when nothing was recognised.
    """

    def __init__(self, detected: str | None = None) -> None:
        super().__init__(detected)
        self.detected = detected


class CorruptContent(Exception):
    """The signature claims a known type, but the structure behind it is broken or hostile.

    `reason` is one sentence for the uploader; it holds nothing of the file's content.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ExtensionMismatch(Exception):
    """The file name's extension promises another type than the bytes are (D20).

    `detected` is the media type of the bytes, `extension` is in lower case without the dot.
    """

    def __init__(self, detected: str, extension: str) -> None:
        super().__init__(detected, extension)
        self.detected = detected
        self.extension = extension


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Up to `length` bytes from `offset`; fewer only where the file ends."""
    if offset > _MAX_OFFSET:
        return b""
    file.seek(offset)
    return file.read(length)


def read_exactly(file: BinaryIO, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`; raises `CorruptContent` where the file ends before."""
    data = read_at(file, offset, length)
    if len(data) < length:
        raise CorruptContent("The file ends too early.")
    return data
