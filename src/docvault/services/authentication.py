"""From a credential to a caller."""

from datetime import UTC, datetime

from docvault.auth.api_keys import parse_key, secret_matches
from docvault.auth.keyring import Keyring
from docvault.auth.principals import Integration, Staff
from docvault.auth.scopes import ADMIN_SCOPE, CUSTOMER_SCOPE, Scope
from docvault.auth.tokens import TokenClaims
from docvault.errors import CallerUnknown, InsufficientScope, InvalidApiKey, InvalidToken
from docvault.repositories.unit import Unit
from docvault.rules.dossiers import Dossier, SlotChoice


def staff_from_claims(claims: TokenClaims) -> Staff:
    """Return the staff member of a valid token; raises `InsufficientScope`."""
    if not claims.is_admin:
        raise InsufficientScope(f"The token lacks the scope {ADMIN_SCOPE}.")
    return Staff(claims.subject)


async def customer_from_claims(unit: Unit, claims: TokenClaims, choice: SlotChoice) -> Dossier:
    """Return the customer of a valid token, and what is asked about it; never creates one.

    Raises `InsufficientScope`, `CallerUnknown` for a customer that does not exist or is being
    erased, and `InvalidToken` for a token from before an erasure (R-104).
    """
    if not claims.is_customer or claims.customer is None:
        raise InsufficientScope(f"The token lacks the scope {CUSTOMER_SCOPE}.")
    dossier = await unit.dossiers.find(claims.customer, choice)
    if dossier is None or dossier.customer.erasure_id is not None:
        raise CallerUnknown
    valid_from = dossier.customer.tokens_valid_from
    if valid_from is not None and datetime.fromtimestamp(claims.issued_at, UTC) < valid_from:
        raise InvalidToken("The token was issued before the customer was erased.")
    return dossier


async def integration_from_key(unit: Unit, keyring: Keyring, text: str) -> Integration:
    """Return the holder of an API key and record the use; raises `InvalidApiKey`.

    The answer is the same for a key that is unknown, wrong, revoked or expired (D13).
    """
    presented = parse_key(text)
    if presented is None:
        raise InvalidApiKey
    key = await unit.api_keys.find_public(presented.public_id)
    stored = None if key is None else key.secret_hash
    if not secret_matches(keyring.api_key_pepper, presented.secret, stored) or key is None:
        raise InvalidApiKey
    if not key.is_valid:
        raise InvalidApiKey
    if key.use_is_due:
        await unit.api_keys.record_use(key.id)
    return Integration(key.id, frozenset(Scope(scope) for scope in key.scopes))
