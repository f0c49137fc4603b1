"""From a verified credential to an actor."""

from collections.abc import Set
from datetime import UTC, datetime

from docvault.auth.api_keys import hash_secret, parse_key, secret_matches
from docvault.auth.keyring import Keyring
from docvault.auth.tokens import TokenClaims
from docvault.domain.actors import ApiKeyActor, Staff
from docvault.domain.customer_documents import CustomerDocuments, DocumentSelection
from docvault.domain.scopes import Scope, StaffRole
from docvault.errors import CustomerNotRegistered, InsufficientScope, InvalidApiKey, InvalidToken
from docvault.repositories.unit_of_work import UnitOfWork


def staff_from_claims(claims: TokenClaims, roles: Set[StaffRole]) -> Staff:
    """Return the staff member of a valid token; raises `InsufficientScope` without such a role."""
    if not claims.roles:
        raise InsufficientScope("The token does not make its holder a member of staff.")
    if claims.roles.isdisjoint(roles):
        raise InsufficientScope("The token allows its holder only to read events and audit events.")
    return Staff(claims.subject)


async def customer_from_claims(
    uow: UnitOfWork, claims: TokenClaims, choice: DocumentSelection
) -> CustomerDocuments:
    """Return the customer of a valid token with the selected documents; never creates one.

    Raises `InsufficientScope`, `CustomerNotRegistered` for a customer that does not exist or is
    being erased, and `InvalidToken` for a token from before an erasure (R-104).
    """
    if not claims.is_customer or claims.customer is None:
        raise InsufficientScope("The token does not make its holder a customer.")
    customer_documents = await uow.customer_documents.find(claims.customer, choice)
    if customer_documents is None or customer_documents.customer.erasure_id is not None:
        raise CustomerNotRegistered
    valid_from = customer_documents.customer.tokens_valid_from
    if valid_from is not None and datetime.fromtimestamp(claims.issued_at, UTC) < valid_from:
        raise InvalidToken("The token was issued before the customer was erased.")
    return customer_documents


async def integration_from_key(uow: UnitOfWork, keyring: Keyring, text: str) -> ApiKeyActor:
    """Return the holder of an API key and record the use; raises `InvalidApiKey`.

    The error is the same for an unknown, wrong, revoked or expired key (D13).
    """
    presented = parse_key(text)
    if presented is None:
        raise InvalidApiKey
    key = await uow.api_keys.find_public(presented.public_id)
    # Each pepper for every key, or the time would tell which one a key was stored with.
    matches = [
        secret_matches(pepper, presented.secret, key.secret_hash)
        for pepper in keyring.api_key_peppers
    ]
    if not (any(matches) and key.is_valid):
        raise InvalidApiKey
    if not matches[0]:
        await uow.api_keys.replace_hash(key, hash_secret(keyring.api_key_pepper, presented.secret))
    if key.use_is_due:
        await uow.api_keys.record_use(key.id)
    return ApiKeyActor(key.id, frozenset(Scope(scope) for scope in key.scopes))
