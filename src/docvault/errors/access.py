"""Errors of the caller: 401, 403 and 429."""

import math

from docvault.errors.base import DocvaultError


class Unauthenticated(DocvaultError):
    """Unauthenticated"""

    status = 401


class AuthenticationRequired(Unauthenticated):
    """Authentication required

    The request needs a credential.
    """

    code = "authentication-required"


class InvalidToken(Unauthenticated):
    """Invalid token

    The bearer token is not valid.
    """

    code = "invalid-token"


class TokenExpired(Unauthenticated):
    """Token expired

    The bearer token has expired.
    """

    code = "token-expired"


class InvalidApiKey(Unauthenticated):
    """Invalid API key

    The API key does not exist, has expired or was revoked.
    """

    code = "invalid-api-key"


class Forbidden(DocvaultError):
    """Forbidden"""

    status = 403


class InsufficientScope(Forbidden):
    """Insufficient scope

    The credential lacks a required scope.
    """

    code = "insufficient-scope"


class AdminOnlyDocument(Forbidden):
    """Admin-only document

    Only staff can change this document.
    """

    code = "admin-only-document"


class PortalSectionDisabled(Forbidden):
    """Documents section disabled

    The documents section of the portal is disabled.
    """

    code = "portal-section-disabled"


class DeleteNotAllowed(Forbidden):
    """Delete not allowed

    The customer cannot delete this document.
    """

    code = "delete-not-allowed"


class CustomerNotRegistered(Forbidden):
    """Customer not registered

    The token's subject is not a registered customer.
    """

    code = "customer-not-registered"


class InvalidContentUrl(Forbidden):
    """Invalid content URL

    The URL is invalid or no longer valid.
    """

    code = "invalid-content-url"


class RateLimited(DocvaultError):
    """Rate limit exceeded

    The caller has exceeded a rate limit.
    """

    status = 429
    code = "rate-limited"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: float = 2) -> None:
        seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(detail, headers={"Retry-After": str(seconds)})
