"""Which files a document type takes: their kinds, sizes and number (A-14, A-15)."""

from collections.abc import Sequence
from typing import Protocol

from docvault.errors import FileTooLarge, MediaTypeNotAllowed, TooManyFiles
from docvault.rules.media_types import DEFAULT_MEDIA_TYPES
from docvault.rules.slots import TypeFacts
from docvault.settings import Settings


class InspectedFile(Protocol):
    """A file of which is known what it is."""

    @property
    def media_type(self) -> str:
        """Decided from its bytes."""

    @property
    def size_bytes(self) -> int:
        """Its size."""


def check_accepted(
    document_type: TypeFacts,
    files: Sequence[InspectedFile],
    settings: Settings,
    *,
    pointer: str | None,
) -> None:
    """Raise `TooManyFiles`, `FileTooLarge` or `MediaTypeNotAllowed` for what is not taken."""
    check_number(document_type, len(files), pointer=pointer)
    for file in files:
        check_size(document_type, file.size_bytes, settings, pointer=pointer)
        if file.media_type not in allowed_media_types(document_type):
            raise not_allowed(document_type, file.media_type, pointer=pointer)


def check_number(document_type: TypeFacts, number: int, *, pointer: str | None) -> None:
    """Raise `TooManyFiles` for more than the type takes."""
    if number > document_type.max_files:
        raise TooManyFiles(f"At most {document_type.max_files} here.", pointer=pointer)


def check_size(
    document_type: TypeFacts, size_bytes: int, settings: Settings, *, pointer: str | None
) -> None:
    """Raise `FileTooLarge` for a file that is larger than the type takes."""
    limit = max_file_bytes(document_type, settings)
    if size_bytes > limit:
        raise FileTooLarge(pointer=pointer, members={"limit_bytes": limit})


def allowed_media_types(document_type: TypeFacts) -> tuple[str, ...]:
    """Return the type's own allow-list or the default one (A-14)."""
    return document_type.accepted_media_types or DEFAULT_MEDIA_TYPES


def max_file_bytes(document_type: TypeFacts, settings: Settings) -> int:
    """Return the size limit in force: the type's own or the default, under the ceiling (A-15)."""
    return min(
        document_type.max_size_bytes or settings.default_max_file_bytes, settings.max_upload_bytes
    )


def not_allowed(
    document_type: TypeFacts,
    detected: str | None,
    detail: str | None = None,
    *,
    pointer: str | None = "/file",
) -> MediaTypeNotAllowed:
    """Return the refusal of a file whose bytes are not of an accepted type."""
    return MediaTypeNotAllowed(
        detail,
        pointer=pointer,
        members={"allowed": list(allowed_media_types(document_type)), "detected": detected},
    )
