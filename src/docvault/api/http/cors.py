"""Cross-origin requests of web pages (CORS, as in the Fetch standard).

Pages send their credential themselves, in `Authorization`. Credentials that a browser would add are
never allowed, so a page can act only for the holder of its own token.
"""

from collections.abc import Iterable

from fastapi import Request, Response

from docvault.api.http.conditional import field_value
from docvault.api.http.error_handlers import allowed_methods
from docvault.domain.web_origins import NO_ORIGINS, WebOrigins

Header = tuple[bytes, bytes]

# How long a browser may use a permission before it asks again.
MAX_AGE_SECONDS = 600
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# In addition to those that every page may send.
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Range",
)
RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Repr-Digest",
    "Retry-After",
    "X-Request-Id",
)

_PERMITTED = frozenset(name.lower() for name in REQUEST_HEADERS)
_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", ", ".join(RESPONSE_HEADERS).encode())


def origins_of(app: object) -> WebOrigins:
    """Return the origins that an application trusts; none while it has no settings."""
    resources = getattr(getattr(app, "state", None), "resources", None)
    origins: WebOrigins = getattr(resources, "origins", NO_ORIGINS)
    return origins


def cross_origin_headers(
    origins: WebOrigins, method: str, path: str, headers: Iterable[Header]
) -> list[Header]:
    """Return the headers that let the requesting page read a response, errors included."""
    if not origins.covers(path):
        return []
    sent = [value for name, value in headers if name == b"origin"]
    # A permission is only given by `preflight_response`.
    if method == "OPTIONS" or len(sent) != 1 or not origins.trusts(sent[0].decode("latin-1")):
        return [_VARY]
    return [_VARY, (b"access-control-allow-origin", sent[0]), _EXPOSED]


def preflight_response(origins: WebOrigins, request: Request) -> Response | None:
    """Return the response to a permitted preflight.

    None if the request is no preflight, or the method or a header is not permitted: it is then
    handled as any other OPTIONS request. On an unknown path every method is permitted, so that the
    page can read the 404.
    """
    origin = request.headers.get("origin", "")
    method = request.headers.get("access-control-request-method")
    if method is None or not (origins.covers(request.scope["path"]) and origins.trusts(origin)):
        return None
    names = (field_value(request, "access-control-request-headers") or "").lower().split(",")
    methods = allowed_methods(request) or METHODS
    if method not in methods or not {name.strip() for name in names} <= _PERMITTED | {""}:
        return None
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": ", ".join(REQUEST_HEADERS),
            "Access-Control-Max-Age": str(MAX_AGE_SECONDS),
        },
    )
