"""SQL about API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, func, or_, select, tuple_, update

from docvault.models import ApiKey
from docvault.models.base import columns
from docvault.prepared_statements import PreparedStatement
from docvault.repositories.base import Repository

LAST_USE_RESOLUTION = timedelta(minutes=1)

_keys = columns(ApiKey)
_USE_IS_DUE = or_(
    _keys.last_used_at.is_(None), _keys.last_used_at < func.now() - LAST_USE_RESOLUTION
)
_IS_VALID = and_(
    _keys.revoked_at.is_(None), or_(_keys.expires_at.is_(None), _keys.expires_at > func.now())
)
_FIND = PreparedStatement(
    select(_keys.id, _keys.secret_hash, _keys.scopes, _IS_VALID, _USE_IS_DUE).where(
        _keys.public_id == bindparam("public_id")
    )
)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What checking a key needs: its hash, its scopes, and how it stands at this moment."""

    id: UUID
    secret_hash: bytes
    scopes: list[str]
    is_valid: bool
    use_is_due: bool


class ApiKeyRepository(Repository):
    """API keys; they belong to no customer."""

    async def add(self, row: ApiKey) -> ApiKey:
        """Store a new key."""
        self._session.add(row)
        await self._session.flush()
        await self._session.refresh(row)
        return row

    async def get(self, key_id: UUID, *, lock: bool = False) -> ApiKey | None:
        """Return a key by its id, revoked or not."""
        query = select(ApiKey).where(ApiKey.id == key_id)
        if lock:
            query = query.with_for_update()
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def find_public(self, public_id: str) -> KnownKey | None:
        """Return a key by the id that stands in it."""
        rows = await self._rows(_FIND, {"public_id": public_id})
        return KnownKey(*rows[0]) if rows else None

    async def record_use(self, key_id: UUID) -> None:
        """Set the time of last use, at most once a minute, never waiting for another request."""
        due = (
            select(ApiKey.id)
            .where(
                ApiKey.id == key_id,
                _USE_IS_DUE,
            )
            .with_for_update(skip_locked=True)
        )
        await self._session.execute(
            update(ApiKey)
            .where(ApiKey.id.in_(due))
            .values(last_used_at=func.now())
            .execution_options(synchronize_session=False)
        )

    async def list_page(
        self, *, after: tuple[datetime, UUID] | None, limit: int
    ) -> Sequence[ApiKey]:
        """Return up to `limit` keys, oldest first."""
        query = select(ApiKey).order_by(ApiKey.created_at, ApiKey.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(ApiKey.created_at, ApiKey.id) > tuple_(*after))
        return (await self._session.scalars(query)).all()

    async def count(self) -> int:
        """Return how many keys there are, revoked ones included."""
        return await self._session.scalar(select(func.count()).select_from(ApiKey)) or 0

    async def update(self, key_id: UUID, values: dict[str, Any]) -> ApiKey:
        """Change a key and return it."""
        statement = (
            update(ApiKey)
            .where(ApiKey.id == key_id)
            .values(**values)
            .returning(ApiKey)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one()
