"""Which files a document type accepts: media types, sizes and number (A-14, A-15)."""

from collections.abc import Sequence
from typing import Protocol

from docvault.domain.document_types import DocumentType, PasswordPolicy
from docvault.domain.file_extensions import extensions_of
from docvault.domain.media_type_names import describe_media_type
from docvault.domain.media_types import DEFAULT_MEDIA_TYPES
from docvault.errors import FileTooLarge, PasswordProtected, TooManyFiles, UnsupportedMediaType
from docvault.settings import Settings


class InspectedFile(Protocol):
    """A file whose content was inspected."""

    @property
    def media_type(self) -> str:
        """Detected from the content."""

    @property
    def size_bytes(self) -> int:
        """Size of the content."""

    @property
    def needs_password(self) -> bool | None:
        """Whether it cannot be read without a password, if that is known."""


def check_accepted(
    document_type: DocumentType,
    files: Sequence[InspectedFile],
    settings: Settings,
    *,
    pointer: str | None,
) -> None:
    """Raise an error unless all are accepted.

    Raises `TooManyFiles`, `FileTooLarge`, `UnsupportedMediaType` or `PasswordProtected`.
    """
    check_number(document_type, len(files), pointer=pointer)
    for file in files:
        check_size(document_type, file.size_bytes, settings, pointer=pointer)
        if file.media_type not in allowed_media_types(document_type):
            raise not_allowed(document_type, file.media_type, pointer=pointer)
        check_password(document_type, file.needs_password, pointer=pointer)


def check_password(
    document_type: DocumentType, needs_password: bool | None, *, pointer: str | None
) -> None:
    """Raise `PasswordProtected` if the type refuses files that need a password."""
    if needs_password and document_type.password_protected is PasswordPolicy.REFUSE:
        raise PasswordProtected(pointer=pointer)


def check_number(document_type: DocumentType, number: int, *, pointer: str | None) -> None:
    """Raise `TooManyFiles` if the type accepts fewer files."""
    if number > document_type.max_files:
        raise TooManyFiles(
            f"The maximum number of files is {document_type.max_files}.",
            pointer=pointer,
            params={"max": document_type.max_files},
        )


def check_size(
    document_type: DocumentType, size_bytes: int, settings: Settings, *, pointer: str | None
) -> None:
    """Raise `FileTooLarge` if the type accepts only smaller files."""
    limit = max_file_bytes(document_type, settings)
    if size_bytes > limit:
        raise FileTooLarge.above(limit, pointer=pointer)


def allowed_media_types(document_type: DocumentType) -> tuple[str, ...]:
    """Return the media types that the type accepts, by default the default ones (A-14)."""
    return document_type.accepted_media_types or DEFAULT_MEDIA_TYPES


def max_file_bytes(document_type: DocumentType, settings: Settings) -> int:
    """Return the effective size limit: of the type or the default, capped by the maximum."""
    return min(
        document_type.max_size_bytes or settings.default_max_file_bytes, settings.max_upload_bytes
    )


def not_allowed(
    document_type: DocumentType,
    detected: str | None,
    detail: str | None = None,
    *,
    pointer: str | None = "/file",
) -> UnsupportedMediaType:
    """Return the error for a file whose content is of no accepted media type."""
    allowed = allowed_media_types(document_type)
    if detail is None and detected is not None:
        # Two media types may have the same one, as image/heic and image/heif do.
        usual = dict.fromkeys(extensions_of(media_type)[0] for media_type in allowed)
        endings = ", ".join(f".{extension}" for extension in usual)
        detail = (
            f"Files of this kind are not accepted here: {describe_media_type(detected)}."
            f" Accepted are {endings}."
        )
    return UnsupportedMediaType(
        detail, pointer=pointer, members={"allowed": list(allowed), "detected": detected}
    )
