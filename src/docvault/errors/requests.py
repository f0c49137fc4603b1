"""Errors of the HTTP request itself: 400, 405, 408, 411 to 413, 415, 416, 428, 431."""

from typing import Self

from docvault.errors.base import DocvaultError

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


class BadRequest(DocvaultError):
    """Bad request"""

    status = 400


class MalformedRequest(BadRequest):
    """Malformed request

    The request cannot be parsed.
    """

    code = "malformed-request"


class InvalidCursor(BadRequest):
    """Invalid cursor

    The cursor was not issued by this list with these filters.
    """

    code = "invalid-cursor"


class MethodNotAllowed(DocvaultError):
    """Method not allowed

    The resource does not support this method.
    """

    status = 405
    code = "method-not-allowed"


class RequestTimeout(DocvaultError):
    """Request timeout

    The request took too long to arrive.
    """

    status = 408
    code = "request-timeout"


class LengthRequired(DocvaultError):
    """Length required

    The request needs a Content-Length header.
    """

    status = 411
    code = "length-required"


class PreconditionFailed(DocvaultError):
    """Precondition failed

    The resource does not match If-Match or If-None-Match.
    """

    status = 412
    code = "precondition-failed"


class ContentTooLarge(DocvaultError):
    """Content too large

    The request body is too large.
    """

    status = 413
    code = "content-too-large"


class FileTooLarge(ContentTooLarge):
    """File too large"""

    code = "file-too-large"

    @classmethod
    def above(cls, limit_bytes: int, *, pointer: str | None) -> Self:
        """Return the error for a file that is larger than a limit."""
        # Rounded down: a file of the size that is named must not be refused.
        number, unit = next(
            (limit_bytes * 10 // size / 10, unit) for size, unit in _UNITS if limit_bytes >= size
        )
        return cls(
            f"Files of at most {number:g} {unit} are accepted here.",
            pointer=pointer,
            params={"max": limit_bytes},
            members={"limit_bytes": limit_bytes},
        )


class UnsupportedMediaType(DocvaultError):
    """Unsupported media type

    The media type is not accepted here.
    """

    status = 415
    code = "unsupported-media-type"


class WrongExtension(DocvaultError):
    """Wrong extension

    The name of the file has an extension that its content must not have.
    """

    status = 415
    code = "extension-mismatch"


class UnsupportedContentEncoding(DocvaultError):
    """Unsupported content encoding

    The body must not have a Content-Encoding.
    """

    status = 415
    code = "unsupported-content-encoding"


class RangeNotSatisfiable(DocvaultError):
    """Range not satisfiable

    The requested range is outside the file, or more than one range was requested.
    """

    status = 416
    code = "range-not-satisfiable"


class PreconditionRequired(DocvaultError):
    """Precondition required

    The request must be conditional.
    """

    status = 428
    code = "precondition-required"


class HeaderTooLarge(DocvaultError):
    """Request header fields too large"""

    status = 431
    code = "header-too-large"
