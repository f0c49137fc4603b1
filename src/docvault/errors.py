"""docvault's own errors: each knows its status, its code and its title (RFC 9457).

    DocvaultError
    ├── BadRequest           400  MalformedRequest, InvalidCursor
    ├── Unauthenticated      401  AuthenticationRequired, InvalidToken, TokenExpired, InvalidApiKey
    ├── Forbidden            403  InsufficientScope, AdminOnlyDocument, ...
    ├── NotFound             404  CustomerUnknown, DocumentTypeUnknown, NoFile, NoPreview
    ├── Conflict             409  NameConflict, KeyConflict, CustomerExists, ...
    ├── ContentTooLarge      413  FileTooLarge, BodyTooLarge
    ├── Invalid              422  ValidationFailed, FieldsNotEnabled, UnknownField, ...
    ├── Unavailable          503  StorageUnavailable, DatabaseUnavailable, ...
    └── one each for 405, 406, 408, 410, 411, 412, 415, 416, 428, 429, 431

The docstring of a class is its title: the summary that is the same for every occurrence.
Layers raise these and know nothing of HTTP; `api/error_handlers.py` turns them into answers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """One thing that is wrong, and where.

    `pointer` is an RFC 6901 JSON pointer into the body, `parameter` the name of a query
    parameter, path parameter or header; at most one of them is set.
    """

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None


class DocvaultError(Exception):
    """Internal error"""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        pointer: str | None = None,
        parameter: str | None = None,
        errors: list[ErrorDetail] | None = None,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or f"{self.title()}."
        self.errors = errors or []
        if pointer is not None or parameter is not None:
            self.errors = [ErrorDetail(self.code, self.detail, pointer, parameter)]
        self.members = dict(members or {})
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """Return the summary that is the same for every occurrence of this error."""
        return (cls.__doc__ or "Error").strip()


class BadRequest(DocvaultError):
    """The request cannot be parsed"""

    status = 400
    code = "malformed-request"


class MalformedRequest(BadRequest):
    """The request cannot be parsed"""


class InvalidCursor(BadRequest):
    """The cursor is not one this list has given out"""

    code = "invalid-cursor"


class Unauthenticated(DocvaultError):
    """A valid credential is required"""

    status = 401
    code = "authentication-required"


class AuthenticationRequired(Unauthenticated):
    """A credential is required"""


class InvalidToken(Unauthenticated):
    """The bearer token is not valid here"""

    code = "invalid-token"


class TokenExpired(Unauthenticated):
    """The bearer token has expired"""

    code = "token-expired"


class InvalidApiKey(Unauthenticated):
    """The API key is not valid"""

    code = "invalid-api-key"


class Forbidden(DocvaultError):
    """The caller may not do this"""

    status = 403
    code = "insufficient-scope"


class InsufficientScope(Forbidden):
    """The credential lacks a scope"""


class AdminOnlyDocument(Forbidden):
    """Only staff may change this document"""

    code = "admin-only-document"


class PortalSectionDisabled(Forbidden):
    """The documents section is switched off"""

    code = "portal-section-disabled"


class DeleteNotAllowed(Forbidden):
    """This document cannot be deleted by the customer"""

    code = "delete-not-allowed"


class CallerUnknown(Forbidden):
    """The token's customer is not known"""

    code = "customer-unknown"


class NotFound(DocvaultError):
    """Nothing is here"""

    status = 404
    code = "not-found"


class CustomerUnknown(NotFound):
    """There is no such customer"""

    code = "customer-unknown"


class DocumentTypeUnknown(NotFound):
    """There is no such document type"""

    code = "document-type-unknown"


class NoFile(NotFound):
    """No file is stored here"""

    code = "no-file"


class NoPreview(NotFound):
    """This file has no preview"""

    code = "no-preview"


class MethodNotAllowed(DocvaultError):
    """The method is not allowed here"""

    status = 405
    code = "method-not-allowed"


class NotAcceptable(DocvaultError):
    """No acceptable representation"""

    status = 406
    code = "not-acceptable"


class RequestTimeout(DocvaultError):
    """The request took too long to arrive"""

    status = 408
    code = "request-timeout"


class Conflict(DocvaultError):
    """The request conflicts with the present state"""

    status = 409
    code = "conflict"


class NameConflict(Conflict):
    """An active document type has this name"""

    code = "name-conflict"


class KeyConflict(Conflict):
    """A document type has this key"""

    code = "key-conflict"


class CustomerExists(Conflict):
    """A customer has this id"""

    code = "customer-exists"


class DocumentTypeInUse(Conflict):
    """Files have been stored for this document type"""

    code = "document-type-in-use"


class RequestInProgress(Conflict):
    """A request with this idempotency key is still running"""

    code = "request-in-progress"


class CustomerBeingErased(Conflict):
    """The customer is being erased"""

    code = "customer-being-erased"


class DocumentQuarantined(Conflict):
    """The file was found infected and is not given out"""

    code = "document-quarantined"


class UploadNotComplete(Conflict):
    """The bytes of the upload have not arrived"""

    code = "upload-not-complete"


class TooManyUploads(Conflict):
    """Too many uploads for this customer are waiting for their bytes"""

    code = "too-many-uploads"


class QuotaExceeded(Conflict):
    """No more can be stored for this customer"""

    code = "quota-exceeded"


class UploadExpired(DocvaultError):
    """The time for this upload is over"""

    status = 410
    code = "upload-expired"


class LengthRequired(DocvaultError):
    """The length of the body must be announced"""

    status = 411
    code = "length-required"


class PreconditionFailed(DocvaultError):
    """A precondition does not hold"""

    status = 412
    code = "precondition-failed"


class ContentTooLarge(DocvaultError):
    """The request is too large"""

    status = 413
    code = "body-too-large"


class BodyTooLarge(ContentTooLarge):
    """The request body is too large"""


class FileTooLarge(ContentTooLarge):
    """The file is too large"""

    code = "file-too-large"


class MediaTypeNotAllowed(DocvaultError):
    """The media type is not accepted here"""

    status = 415
    code = "media-type-not-allowed"


class RangeNotSatisfiable(DocvaultError):
    """The requested range cannot be served"""

    status = 416
    code = "range-not-satisfiable"


class Invalid(DocvaultError):
    """The request is not valid"""

    status = 422
    code = "validation-error"


class ValidationFailed(Invalid):
    """The request is not valid"""


class FieldsNotEnabled(Invalid):
    """This document type collects no fields"""

    code = "fields-not-enabled"


class UnknownField(Invalid):
    """The document type has no such field"""

    code = "unknown-field"


class DuplicateLabel(Invalid):
    """Two fields have the same label"""

    code = "duplicate-label"


class LabelsRequired(Invalid):
    """Collecting fields needs at least one field"""

    code = "labels-required"


class FileRequired(Invalid):
    """A file is required"""

    code = "file-required"


class EmptyFile(Invalid):
    """The file is empty"""

    code = "empty-file"


class TooManyFiles(Invalid):
    """There are more files than the document type takes"""

    code = "too-many-files"


class CorruptFile(Invalid):
    """The file is damaged or not what it claims to be"""

    code = "corrupt-file"


class MalwareDetected(Invalid):
    """The file is infected"""

    code = "malware-detected"


class DigestMismatch(Invalid):
    """The bytes are not those that were announced"""

    code = "digest-mismatch"


class GateRequiresSection(Invalid):
    """The gate cannot be on while the section is off"""

    code = "gate-requires-section"


class IdempotencyKeyReused(Invalid):
    """The idempotency key was used for another request"""

    code = "idempotency-key-reused"


class UnknownFilterType(Invalid):
    """The filter names an unknown document type"""

    code = "unknown-filter-type"


class PreconditionRequired(DocvaultError):
    """The request must be conditional"""

    status = 428
    code = "precondition-required"


class RateLimited(DocvaultError):
    """The caller has reached a limit"""

    status = 429
    code = "rate-limited"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: float = 2) -> None:
        seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(detail, headers={"Retry-After": str(seconds)})


class HeaderTooLarge(DocvaultError):
    """The request's head is too large"""

    status = 431
    code = "header-too-large"


class Unavailable(DocvaultError):
    """The service cannot answer now"""

    status = 503
    code = "overloaded"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class Overloaded(Unavailable):
    """The service is at its limit"""


class StorageUnavailable(Unavailable):
    """The blob store does not answer"""

    code = "storage-unavailable"


class DatabaseUnavailable(Unavailable):
    """The database does not answer"""

    code = "database-unavailable"


class ScannerUnavailable(Unavailable):
    """The malware scanner does not answer"""

    code = "scanner-unavailable"
