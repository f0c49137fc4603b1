"""The header `Idempotency-Key` (IETF draft idempotency-key-header)."""

import hashlib
import re

from fastapi import Response

from docvault.api.calls import Call
from docvault.api.conditional import field_value
from docvault.api.responses import JsonResponse
from docvault.errors import ValidationFailed
from docvault.repositories.unit import Unit
from docvault.rules.stored_answers import StoredAnswer
from docvault.services.idempotency_keys import Claim, claim_key

HEADER = "Idempotency-Key"
_KEY = re.compile(r'(?P<quote>"?)(?P<key>[\x21\x23-\x7e]{1,255})(?P=quote)')
_KEPT_HEADERS = ("etag", "location")


async def claim_from_header(call: Call, unit: Unit) -> Claim | None:
    """Claim the key of the request, None when it has none.

    A key is good for one caller, method and path. Raises `RequestInProgress`.
    """
    value = field_value(call, HEADER)
    if value is None:
        return None
    match = _KEY.fullmatch(value)
    if match is None:
        raise ValidationFailed("Use up to 255 visible ASCII characters.", parameter=HEADER)
    caller = call.asker.caller
    customer = call.customer_or_none
    key_id = call.resources.keyring.idempotency_id(
        caller.kind, caller.id, call.method, call.url.path, match["key"]
    )
    return await claim_key(unit, key_id, customer.id if customer else None)


def fingerprint_of(*parts: bytes) -> bytes:
    """Return a digest of what was sent."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def stored(fingerprint: bytes, response: Response) -> StoredAnswer:
    """Return an answer in the form that is kept."""
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return StoredAnswer(fingerprint, response.status_code, headers, bytes(response.body))


def replayed(answer: StoredAnswer) -> Response:
    """Return a kept answer."""
    return JsonResponse(
        answer.body, answer.status, {**answer.headers, "Idempotency-Replayed": "true"}
    )
