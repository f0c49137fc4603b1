"""What the examples of problems have beyond their code: as the service really sends it."""

from collections.abc import Callable, Mapping

from docvault.domain.media_types import KNOWN_MEDIA_TYPES
from docvault.errors import (
    ContentTooLarge,
    CustomerExists,
    DocvaultError,
    DuplicateLabel,
    EmptyFile,
    ErrorDetail,
    EventsExpired,
    FieldsNotEnabled,
    FileRequired,
    FileTooLarge,
    IdempotencyKeyReused,
    InvalidCursor,
    QuotaExceeded,
    TooManyFiles,
    UnknownField,
    UnknownFilterType,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    ValidationFailed,
    WebhookUrlNotAllowed,
    WrongExtension,
)

_LIMIT = 26214400
EXAMPLES: Mapping[type[DocvaultError], Callable[[], DocvaultError]] = {
    ContentTooLarge: lambda: ContentTooLarge(members={"limit_bytes": 1048576}),
    CustomerExists: lambda: CustomerExists(pointer="/id"),
    DuplicateLabel: lambda: DuplicateLabel(pointer="/fields/1/label"),
    EmptyFile: lambda: EmptyFile(pointer="/file"),
    EventsExpired: lambda: EventsExpired(members={"oldest": 1}),
    FieldsNotEnabled: lambda: FieldsNotEnabled(pointer="/field_values"),
    FileRequired: lambda: FileRequired(pointer="/file"),
    FileTooLarge: lambda: FileTooLarge.above(_LIMIT, pointer="/file"),
    IdempotencyKeyReused: lambda: IdempotencyKeyReused(parameter="Idempotency-Key"),
    InvalidCursor: lambda: InvalidCursor(parameter="cursor"),
    QuotaExceeded: lambda: QuotaExceeded(members={"quota": "files", "limit": 1000, "used": 1000}),
    TooManyFiles: lambda: TooManyFiles(
        "The maximum number of files is 2.", pointer="/file", params={"max": 2}
    ),
    UnknownField: lambda: UnknownField(
        errors=[ErrorDetail("unknown-field", "Unknown field.", pointer="/field_values/number")]
    ),
    UnknownFilterType: lambda: UnknownFilterType(
        errors=[ErrorDetail("unknown-filter-type", "Unknown document type.", parameter="uploaded")]
    ),
    UnsupportedContentEncoding: lambda: UnsupportedContentEncoding(parameter="Content-Encoding"),
    UnsupportedMediaType: lambda: UnsupportedMediaType(
        pointer="/file",
        members={"allowed": sorted(KNOWN_MEDIA_TYPES)[:2], "detected": "application/zip"},
    ),
    WebhookUrlNotAllowed: lambda: WebhookUrlNotAllowed(pointer="/url"),
    WrongExtension: lambda: WrongExtension(
        pointer="/file", members={"detected": "image/png", "extensions": ["png"]}
    ),
    ValidationFailed: lambda: ValidationFailed(
        errors=[
            ErrorDetail(
                "too-long",
                "Must be at most 200 characters.",
                pointer="/name",
                params={"max": 200},
            )
        ]
    ),
}


def example_of_error(error: type[DocvaultError]) -> DocvaultError:
    """Return an error as the service raises it."""
    return EXAMPLES.get(error, error)()
