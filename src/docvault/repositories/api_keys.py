"""SQL about API keys."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, or_, select, tuple_, update

from docvault.db.tables import ApiKeyRow, new_id
from docvault.domain.api_keys import ApiKey, NewApiKey
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

LAST_USE_RESOLUTION = timedelta(minutes=1)

_USE_IS_DUE = or_(
    ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < func.now() - LAST_USE_RESOLUTION
)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What authentication needs of a key."""

    id: UUID
    secret_hash: bytes
    scopes: list[str]
    is_valid: bool
    use_is_due: bool


_FIND = load_statement("find_api_key", KnownKey)


class ApiKeyRepository(Repository):
    """API keys; they belong to no customer."""

    async def add(self, new: NewApiKey) -> ApiKey:
        """Store a new key."""
        statement = insert(ApiKeyRow).values(id=new_id(), **asdict(new)).returning(ApiKeyRow)
        return _to_key((await self._session.scalars(statement)).one())

    async def get(self, key_id: UUID, *, lock: bool = False) -> ApiKey | None:
        """Return a key by its id, revoked or not."""
        query = select(ApiKeyRow).where(ApiKeyRow.id == key_id)
        if lock:
            query = query.with_for_update()
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else _to_key(row)

    async def find_public(self, public_id: str) -> KnownKey:
        """Return a key by the public id that is part of it.

        An unknown id returns a stand-in that is never valid: reading no row would be faster,
        and the response time would reveal which ids exist.
        """
        parameters = {"public_id": public_id, "resolution": LAST_USE_RESOLUTION}
        return (await self._rows(_FIND, parameters))[0]

    async def record_use(self, key_id: UUID) -> None:
        """Set the time of last use, at most once a minute; never waits for another request."""
        due = (
            select(ApiKeyRow.id)
            .where(
                ApiKeyRow.id == key_id,
                _USE_IS_DUE,
            )
            .with_for_update(skip_locked=True)
        )
        await self._session.execute(
            update(ApiKeyRow)
            .where(ApiKeyRow.id.in_(due))
            .values(last_used_at=func.now())
            .execution_options(synchronize_session=False)
        )

    async def replace_hash(self, key: KnownKey, secret_hash: bytes) -> None:
        """Store the hash under another pepper, unless another request has."""
        await self._session.execute(
            update(ApiKeyRow)
            .where(ApiKeyRow.id == key.id, ApiKeyRow.secret_hash == key.secret_hash)
            .values(secret_hash=secret_hash)
            .execution_options(synchronize_session=False)
        )

    async def list_page(self, *, after: tuple[datetime, UUID] | None, limit: int) -> list[ApiKey]:
        """Return up to `limit` keys, oldest first."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(ApiKeyRow.created_at, ApiKeyRow.id) > tuple_(*after))
        return [_to_key(row) for row in await self._session.scalars(query)]

    async def count(self) -> int:
        """Return the number of keys, revoked ones included."""
        return await self._session.scalar(select(func.count()).select_from(ApiKeyRow)) or 0

    async def update(self, key_id: UUID, values: dict[str, Any]) -> ApiKey:
        """Change a key and return it."""
        statement = (
            update(ApiKeyRow)
            .where(ApiKeyRow.id == key_id)
            .values(**values)
            .returning(ApiKeyRow)
            .execution_options(populate_existing=True)
        )
        return _to_key((await self._session.scalars(statement)).one())


def _to_key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(**{one.name: getattr(row, one.name) for one in fields(ApiKey)})
