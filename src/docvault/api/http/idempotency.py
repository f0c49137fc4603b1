"""The `Idempotency-Key` header (IETF draft idempotency-key-header)."""

import hashlib
import re

from fastapi import Response

from docvault.api.http.conditional import field_value
from docvault.api.http.responses import JsonResponse
from docvault.api.routing.requests import ApiRequest
from docvault.domain.idempotency import StoredResponse
from docvault.errors import ValidationFailed
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.idempotency_keys import Claim, claim_key

HEADER = "Idempotency-Key"
_KEY = re.compile(r'(?P<quote>"?)(?P<key>[\x21\x23-\x7e]{1,255})(?P=quote)')
_KEPT_HEADERS = ("etag", "location")


async def claim_from_header(request: ApiRequest, uow: UnitOfWork) -> Claim | None:
    """Claim the idempotency key of the request; return None if it has none.

    A key is bound to one caller, method and path. Raises `RequestInProgress` and `RateLimited`.
    """
    value = field_value(request, HEADER)
    if value is None:
        return None
    match = _KEY.fullmatch(value)
    if match is None:
        raise ValidationFailed("Must be 1 to 255 visible ASCII characters.", parameter=HEADER)
    caller = request.context.actor
    customer = request.subject
    key_ids = request.resources.keyring.idempotency_ids(
        caller.kind, caller.id, request.method, request.url.path, match["key"]
    )
    return await claim_key(uow, request.context, key_ids, customer.id if customer else None)


def fingerprint_of(*parts: bytes) -> bytes:
    """Return a digest of the request content."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def to_stored_response(fingerprint: bytes, response: Response) -> StoredResponse:
    """Convert a response to the form stored for replay."""
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return StoredResponse(fingerprint, response.status_code, headers, bytes(response.body))


def replay_response(response: StoredResponse) -> Response:
    """Convert a stored response back to a response."""
    return JsonResponse(
        response.body, response.status, {**response.headers, "Idempotency-Replayed": "true"}
    )
