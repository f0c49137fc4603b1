"""SQL about idempotency keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg import IntegrityError
from sqlalchemy import delete, func, select, update

from docvault.db.tables import IdempotencyKeyRow, new_id
from docvault.domain.idempotency import StoredResponse
from docvault.errors import CustomerNotFound
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

RESPONSE_LIFETIME = timedelta(hours=24)
# How long a claim lasts without renewal; a retry after a crash waits at most this long.
LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Completion:
    """A response to store for a claimed key."""

    key_id: bytes
    token: UUID
    response: StoredResponse
    customer_id: UUID | None


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The hash that a caller's keys are counted under, and how many are allowed."""

    caller: bytes
    max_keys: int


@dataclass(slots=True)
class _Claimed:
    token: UUID


_CLAIM = load_statement("claim_idempotency_key", _Claimed)


class IdempotencyKeyRepository(Repository):
    """Claims and responses. The id identifies the caller, so the access does not limit them."""

    async def claim(
        self, key_id: bytes, customer_id: UUID | None, holder: KeyHolder
    ) -> UUID | None:
        """Claim a key; return the claim's token.

        None if the key is claimed or has a response, or if the holder has reached the limit.
        Takes over expired claims and responses. Raises `CustomerNotFound` if the customer is
        being deleted.
        """
        parameters = {
            "id": key_id,
            "caller": holder.caller,
            "max_keys": holder.max_keys,
            "token": new_id(),
            "lease": LEASE,
            "lifetime": RESPONSE_LIFETIME,
            "customer_id": customer_id,
        }
        try:
            rows = await self._rows(_CLAIM, parameters)
        except IntegrityError as error:
            raise CustomerNotFound from error
        return rows[0].token if rows else None

    async def find(self, key_ids: Sequence[bytes]) -> bytes:
        """Return the first of the ids that is in use, or else the first one."""
        query = select(IdempotencyKeyRow.id).where(
            IdempotencyKeyRow.id.in_(key_ids), IdempotencyKeyRow.expires_at > func.now()
        )
        known = set(await self._session.scalars(query))
        return next((key_id for key_id in key_ids if key_id in known), key_ids[0])

    async def seconds_until_room(self, holder: KeyHolder) -> float | None:
        """Return the seconds until a key of the holder expires; None if below the limit."""
        live = (IdempotencyKeyRow.caller == holder.caller) & (
            IdempotencyKeyRow.expires_at > func.now()
        )
        left = func.extract("epoch", func.min(IdempotencyKeyRow.expires_at) - func.now())
        query = select(func.count(), left).where(live)
        number, seconds = (await self._session.execute(query)).one()
        return float(seconds) if number >= holder.max_keys else None

    async def response(self, key_id: bytes) -> StoredResponse | None:
        """Return the stored response; None while the request is running."""
        row = await self._session.scalar(
            select(IdempotencyKeyRow).where(
                IdempotencyKeyRow.id == key_id, IdempotencyKeyRow.status.is_not(None)
            )
        )
        if row is None:
            return None
        return StoredResponse(
            row.fingerprint or b"", row.status or 0, row.headers or {}, row.body or b""
        )

    async def extend(self, key_id: bytes, token: UUID) -> bool:
        """Renew the lease of a running request; False if the claim was lost."""
        result = await self._session.scalars(
            update(IdempotencyKeyRow)
            .where(IdempotencyKeyRow.id == key_id, IdempotencyKeyRow.token == token)
            .values(locked_until=func.now() + LEASE)
            .returning(IdempotencyKeyRow.id)
        )
        return result.first() is not None

    async def complete(self, completion: Completion) -> bool:
        """Store the response in the transaction of the change; False if the claim was lost."""
        response = completion.response
        result = await self._session.scalars(
            update(IdempotencyKeyRow)
            .where(
                IdempotencyKeyRow.id == completion.key_id,
                IdempotencyKeyRow.token == completion.token,
            )
            .values(
                fingerprint=response.fingerprint,
                status=response.status,
                headers=response.headers,
                body=response.body,
                customer_id=completion.customer_id,
            )
            .returning(IdempotencyKeyRow.id)
        )
        return result.first() is not None

    async def release(self, key_id: bytes, token: UUID) -> None:
        """Release a claim after a failed request, so that it can be retried."""
        await self._session.execute(
            delete(IdempotencyKeyRow).where(
                IdempotencyKeyRow.id == key_id,
                IdempotencyKeyRow.token == token,
                IdempotencyKeyRow.status.is_(None),
            )
        )

    async def delete_of_customer(self, customer_id: UUID) -> None:
        """Delete the keys of requests about a customer; a running request loses its claim."""
        await self._session.execute(
            delete(IdempotencyKeyRow).where(IdempotencyKeyRow.customer_id == customer_id)
        )

    async def delete_naming(self, external_id: str) -> None:
        """Delete responses about several customers that name this one."""
        # JSON escapes no character that is allowed in an id.
        body = func.convert_from(IdempotencyKeyRow.body, "UTF8")
        await self._session.execute(
            delete(IdempotencyKeyRow).where(
                IdempotencyKeyRow.customer_id.is_(None), func.strpos(body, f'"{external_id}"') > 0
            )
        )

    async def delete_expired(self) -> None:
        """Delete expired keys."""
        await self._session.execute(
            delete(IdempotencyKeyRow).where(IdempotencyKeyRow.expires_at <= func.now())
        )
