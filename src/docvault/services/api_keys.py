"""Use cases of API keys."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from docvault.auth.api_keys import generate_key, hash_secret
from docvault.domain.actors import ApiKeyActor
from docvault.domain.api_keys import ApiKey, NewApiKey
from docvault.domain.audit import AuditAction, difference
from docvault.errors import NotFound, ValidationFailed
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.api_keys import ApiKeyCreate, ApiKeyUpdate


async def create_api_key(uow: UnitOfWork, data: ApiKeyCreate) -> tuple[ApiKey, str]:
    """Create a key; return it with its text, which is shown only once."""
    _require_future(data.expires_at)
    text, parts = generate_key()
    row = await uow.api_keys.add(
        NewApiKey(
            public_id=parts.public_id,
            secret_hash=hash_secret(uow.context.keyring.api_key_pepper, parts.secret),
            name=data.name,
            scopes=_scopes(data),
            expires_at=data.expires_at,
        )
    )
    await uow.audit(AuditAction.API_KEY_CREATE, changes=difference({}, _audited(row)))
    return row, text


async def list_api_keys(
    uow: UnitOfWork, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[ApiKey]:
    """Return up to `limit` keys, oldest first."""
    return await uow.api_keys.list_page(after=after, limit=limit)


async def count_api_keys(uow: UnitOfWork) -> int:
    """Return how many keys there are, revoked ones included."""
    return await uow.api_keys.count()


async def get_api_key(uow: UnitOfWork, key_id: UUID, *, lock: bool = False) -> ApiKey:
    """Return a key, revoked or not; raises `NotFound`."""
    row = await uow.api_keys.get(key_id, lock=lock)
    if row is None:
        raise NotFound
    return row


async def get_own_api_key(uow: UnitOfWork) -> ApiKey:
    """Return the key of the caller."""
    caller = uow.context.actor
    if not isinstance(caller, ApiKeyActor):
        raise TypeError("the caller has no key")
    return await get_api_key(uow, caller.key_id)


async def update_api_key(uow: UnitOfWork, key_id: UUID, data: ApiKeyUpdate) -> ApiKey:
    """Rename a key or change its scopes or expiry."""
    before = _audited(await get_api_key(uow, key_id))
    values = {name: getattr(data, name) for name in data.model_fields_set}
    if "scopes" in values:
        values["scopes"] = _scopes(data)
    if "expires_at" in values:
        _require_future(data.expires_at)
    if not values:
        return await get_api_key(uow, key_id)
    row = await uow.api_keys.update(key_id, values)
    changes = difference(before, _audited(row))
    if changes is not None:
        await uow.audit(AuditAction.API_KEY_UPDATE, changes=changes)
    return row


async def revoke_api_key(uow: UnitOfWork, key_id: UUID) -> None:
    """Revoke a key with immediate effect; idempotent."""
    row = await get_api_key(uow, key_id, lock=True)
    if row.revoked_at is not None:
        return
    await uow.api_keys.update(key_id, {"revoked_at": datetime.now(UTC)})
    await uow.audit(AuditAction.API_KEY_REVOKE, changes={"id": {"old": str(key_id), "new": None}})


def _require_future(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise ValidationFailed("The expiry is in the past.", pointer="/expires_at")


def _scopes(data: ApiKeyCreate | ApiKeyUpdate) -> list[str]:
    return sorted({scope.value for scope in data.scopes})


def _audited(row: ApiKey) -> dict[str, object]:
    return {
        "id": str(row.id),
        "name": row.name,
        "scopes": row.scopes,
        "expires_at": row.expires_at and row.expires_at.isoformat(),
    }
