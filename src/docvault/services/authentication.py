"""From a credential to a caller."""

from datetime import UTC, datetime

from docvault.auth.api_keys import parse_key, secret_matches
from docvault.auth.keyring import Keyring
from docvault.auth.principals import Integration, Staff
from docvault.auth.scopes import ADMIN_SCOPE, CUSTOMER_SCOPE, Scope
from docvault.auth.tokens import TokenClaims
from docvault.errors import CallerUnknown, InsufficientScope, InvalidApiKey, InvalidToken
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts


def staff_from_claims(claims: TokenClaims) -> Staff:
    """Return the staff member of a valid token; raises `InsufficientScope`."""
    if not claims.is_admin:
        raise InsufficientScope(f"The token lacks the scope {ADMIN_SCOPE}.")
    return Staff(claims.subject)


async def customer_from_claims(unit: Unit, claims: TokenClaims) -> CustomerFacts:
    """Return the customer of a valid token; never creates one.

    Raises `InsufficientScope`, `CallerUnknown` for a customer that does not exist or is being
    erased, and `InvalidToken` for a token from before an erasure (R-104).
    """
    if not claims.is_customer or claims.customer is None:
        raise InsufficientScope(f"The token lacks the scope {CUSTOMER_SCOPE}.")
    customer = await unit.customers.find(claims.customer)
    if customer is None or customer.erasure_id is not None:
        raise CallerUnknown
    valid_from = customer.tokens_valid_from
    if valid_from is not None and datetime.fromtimestamp(claims.issued_at, UTC) < valid_from:
        raise InvalidToken("The token was issued before the customer was erased.")
    return customer


async def integration_from_key(unit: Unit, keyring: Keyring, text: str) -> Integration:
    """Return the holder of an API key and record the use; raises `InvalidApiKey`.

    The answer is the same for a key that is unknown, wrong, revoked or expired (D13).
    """
    presented = parse_key(text)
    if presented is None:
        raise InvalidApiKey
    row = await unit.api_keys.find_public(presented.public_id)
    stored = None if row is None else row.secret_hash
    if not secret_matches(keyring.api_key_pepper, presented.secret, stored) or row is None:
        raise InvalidApiKey
    expired = row.expires_at is not None and row.expires_at <= datetime.now(UTC)
    if row.revoked_at is not None or expired:
        raise InvalidApiKey
    await unit.api_keys.record_use(row.id)
    return Integration(row.id, frozenset(Scope(scope) for scope in row.scopes))
