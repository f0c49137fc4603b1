"""Errors of the service: 500 and 503."""

from docvault.errors.base import DocvaultError


class InternalError(DocvaultError):
    """Internal error

    The request failed because of a bug. The logs have the details.
    """

    status = 500
    code = "internal-error"


class ServiceUnavailable(DocvaultError):
    """Service unavailable

    The service cannot handle the request now.
    """

    status = 503
    code = "service-unavailable"

    def __init__(
        self,
        detail: str | None = None,
        *,
        cause: str | None = None,
        retry_after_seconds: int = 2,
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})
        # For the log, so without the name of any host, user, file or customer.
        self.cause = cause


class Overloaded(ServiceUnavailable):
    """Overloaded

    The service is at its capacity.
    """

    code = "overloaded"


class StorageUnavailable(ServiceUnavailable):
    """Storage unavailable

    The blob store is unavailable.
    """

    code = "storage-unavailable"


class DatabaseUnavailable(ServiceUnavailable):
    """Database unavailable

    The database is unavailable.
    """

    code = "database-unavailable"


class ScannerUnavailable(ServiceUnavailable):
    """Scanner unavailable

    The malware scanner is unavailable.
    """

    code = "scanner-unavailable"
