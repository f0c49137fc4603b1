"""Rate limits on invalid credentials (D18)."""

from contextlib import suppress

from fastapi import Request

from docvault.api.http.client_address import client_network
from docvault.auth.api_keys import parse_key
from docvault.domain.rate_limits import Limit
from docvault.errors import (
    AuthenticationRequired,
    DatabaseUnavailable,
    InvalidApiKey,
    TokenExpired,
    Unauthenticated,
)
from docvault.services.resources import Resources


async def count_failed_credential(request: Request, refusal: Unauthenticated) -> None:
    """Count a rejected credential; raises `RateLimited` instead of the refusal.

    Valid credentials are never limited by failures from the same address.
    """
    if isinstance(refusal, AuthenticationRequired):
        return
    resources: Resources = request.app.state.resources
    credential, shared = _credential(request, refusal)
    identities = [("credential", credential)]
    if not isinstance(refusal, TokenExpired):
        # An expired token is not a guess: only its holder is limited.
        identities.append(("address", client_network(request)))
    for identity in identities:
        resources.rate_limits.hit_local(Limit.FAILED_CREDENTIALS, *identity)
    if not shared:
        return
    # Without a database the credential is refused all the same.
    with suppress(DatabaseUnavailable):
        async with resources.autocommit(resources.system_context()) as uow:
            limits = resources.rate_limits
            await limits.hit_shared(uow, Limit.FAILED_CREDENTIALS, *identities)


def _credential(request: Request, refusal: Unauthenticated) -> tuple[str, bool]:
    """Return the presented credential, and whether all processes count it.

    A key with a wrong checksum is a typing error and causes no database access (D13).
    """
    if not isinstance(refusal, InvalidApiKey):
        return request.headers["authorization"], True
    text = request.headers["x-api-key"]
    key = parse_key(text)
    return (text, False) if key is None else (key.public_id, True)
