"""Errors of the HTTP request itself: 400, 405, 408, 411 to 413, 415, 416, 428, 431."""

from docvault.errors.base import DocvaultError


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
