"""SQL about idempotency keys."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from docvault.models import IdempotencyKey, new_id
from docvault.repositories.base import Repository
from docvault.rules.stored_answers import StoredAnswer

ANSWER_LIFETIME = timedelta(hours=24)
# How long a claim holds without a sign of life; a retry after a crash waits no longer.
LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer to keep for a claimed key."""

    key_id: bytes
    token: UUID
    answer: StoredAnswer
    customer_id: UUID | None


class IdempotencyKeyRepository(Repository):
    """Claims and answers. The id says whose request it is, so the access narrows nothing."""

    async def claim(self, key_id: bytes, customer_id: UUID | None) -> UUID | None:
        """Claim a key; return the claim's token, or None when it is taken or answered.

        Takes over a claim whose lease has ended and an answer that is too old.
        """
        fresh = {
            "token": new_id(),
            "locked_until": func.now() + LEASE,
            "expires_at": func.now() + ANSWER_LIFETIME,
            "customer_id": customer_id,
        }
        cleared: dict[str, Any] = dict.fromkeys(("fingerprint", "status", "headers", "body"))
        statement = (
            insert(IdempotencyKey)
            .values(id=key_id, **fresh)
            .on_conflict_do_update(
                index_elements=[IdempotencyKey.id],
                set_={**fresh, **cleared},
                where=or_(
                    IdempotencyKey.expires_at <= func.now(),
                    IdempotencyKey.status.is_(None) & (IdempotencyKey.locked_until <= func.now()),
                ),
            )
            .returning(IdempotencyKey.token)
        )
        return await self._session.scalar(statement)

    async def answer(self, key_id: bytes) -> StoredAnswer | None:
        """Return the stored answer, None while the request still runs."""
        row = await self._session.scalar(
            select(IdempotencyKey).where(
                IdempotencyKey.id == key_id, IdempotencyKey.status.is_not(None)
            )
        )
        if row is None:
            return None
        return StoredAnswer(
            row.fingerprint or b"", row.status or 0, row.headers or {}, row.body or b""
        )

    async def extend(self, key_id: bytes, token: UUID) -> bool:
        """Show that the request still runs; False when the claim was lost."""
        result = await self._session.scalars(
            update(IdempotencyKey)
            .where(IdempotencyKey.id == key_id, IdempotencyKey.token == token)
            .values(locked_until=func.now() + LEASE)
            .returning(IdempotencyKey.id)
        )
        return result.first() is not None

    async def complete(self, completion: Completion) -> bool:
        """Store the answer in the transaction of the change; False when the claim was lost."""
        answer = completion.answer
        result = await self._session.scalars(
            update(IdempotencyKey)
            .where(IdempotencyKey.id == completion.key_id, IdempotencyKey.token == completion.token)
            .values(
                fingerprint=answer.fingerprint,
                status=answer.status,
                headers=answer.headers,
                body=answer.body,
                customer_id=completion.customer_id,
            )
            .returning(IdempotencyKey.id)
        )
        return result.first() is not None

    async def release(self, key_id: bytes, token: UUID) -> None:
        """Give a claim back after a refusal, so that the request can be tried again."""
        await self._session.execute(
            delete(IdempotencyKey).where(
                IdempotencyKey.id == key_id,
                IdempotencyKey.token == token,
                IdempotencyKey.status.is_(None),
            )
        )

    async def delete_of_customer(self, customer_id: UUID) -> None:
        """Remove what was kept about a customer; a running request loses its claim."""
        await self._session.execute(
            delete(IdempotencyKey).where(IdempotencyKey.customer_id == customer_id)
        )

    async def delete_naming(self, external_id: str) -> None:
        """Remove answers about several customers of whom this is one."""
        # No character that an id can have is escaped in JSON.
        body = func.convert_from(IdempotencyKey.body, "UTF8")
        await self._session.execute(
            delete(IdempotencyKey).where(
                IdempotencyKey.customer_id.is_(None), func.strpos(body, f'"{external_id}"') > 0
            )
        )

    async def delete_expired(self) -> None:
        """Remove answers that are too old to be repeated."""
        await self._session.execute(
            delete(IdempotencyKey).where(IdempotencyKey.expires_at <= func.now())
        )
