"""The result of an inspection, the three reasons to reject a file, and bounded reads."""

from dataclasses import dataclass
from typing import BinaryIO

# Offsets come from the file. Seeking past the limit of a file system would be an OSError.
_MAX_OFFSET = 1 << 40


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of an accepted file: its media type and three facts.

    Active content runs, fetches or misleads when the file is opened (scripts, launch actions,
    macros, remote templates, embedded programs). What cannot be inspected counts as active.
    `has_attachments` is None if it cannot be known whether other files are embedded.
    """

    media_type: str
    has_active_content: bool
    has_attachments: bool | None = False
    # Nothing of it can be read without a password.
    needs_password: bool = False
    # None if unknown, or if a file of this type has no pages.
    pages: int | None = None


def uninspected(media_type: str, *, needs_password: bool = False) -> Content:
    """Return what is known of a file in which nothing was searched."""
    return Content(media_type, True, None, needs_password)


class UnknownContent(Exception):
    """The file is of no type that can be stored.

    `detected` is a media type for the response (`image/svg+xml`, `text/html`), or None if no type
    was recognized. `reason` is a sentence for the uploader if there is more to say than the type;
    it quotes nothing of the file.
    """

    def __init__(self, detected: str | None = None, reason: str | None = None) -> None:
        super().__init__(detected, reason)
        self.detected = detected
        self.reason = reason


class CorruptContent(Exception):
    """The signature is of a known type, but the structure is broken or hostile.

    `reason` is one sentence for the uploader; it quotes nothing of the file.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ExtensionMismatch(Exception):
    """The file name has the extension of another type (D20).

    `detected` is the media type of the content; `extension` is in lower case without the dot.
    """

    def __init__(self, detected: str, extension: str) -> None:
        super().__init__(detected, extension)
        self.detected = detected
        self.extension = extension


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`, or fewer if the file ends before."""
    if offset > _MAX_OFFSET:
        return b""
    file.seek(offset)
    return file.read(length)


def read_exactly(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`; raises `CorruptContent` if the file ends before."""
    data = read_at(file, offset, length)
    if len(data) < length:
        raise CorruptContent("The file is truncated.")
    return data
