"""SQL about webhooks."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, tuple_, update

from docvault.db.tables import WebhookRow
from docvault.domain.webhooks import NewWebhook, Webhook
from docvault.repositories.base import Repository

_NUMBER_LOCK = 0x646F6376_00000002  # "docv", 2


class WebhookRepository(Repository):
    """Webhooks; they belong to no customer, and only staff manage them."""

    async def lock_number(self) -> None:
        """Lock the number of webhooks until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(_NUMBER_LOCK)))

    async def add(self, new: NewWebhook) -> Webhook:
        """Store a new webhook."""
        statement = insert(WebhookRow).values(**asdict(new)).returning(WebhookRow)
        return _to_webhook((await self._session.scalars(statement)).one())

    async def get(self, webhook_id: UUID, *, lock: bool = False) -> Webhook | None:
        """Return a webhook by its id."""
        query = select(WebhookRow).where(WebhookRow.id == webhook_id)
        if lock:
            query = query.with_for_update()
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else _to_webhook(row)

    async def list_page(
        self, *, after: tuple[datetime, UUID] | None, limit: int
    ) -> Sequence[Webhook]:
        """Return up to `limit` webhooks, oldest first."""
        query = select(WebhookRow).order_by(WebhookRow.created_at, WebhookRow.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(WebhookRow.created_at, WebhookRow.id) > tuple_(*after))
        return [_to_webhook(row) for row in await self._session.scalars(query)]

    async def count(self) -> int:
        """Return the number of webhooks."""
        return await self._session.scalar(select(func.count()).select_from(WebhookRow)) or 0

    async def update(self, webhook_id: UUID, values: dict[str, Any]) -> Webhook:
        """Change a webhook and return it."""
        statement = (
            update(WebhookRow)
            .where(WebhookRow.id == webhook_id)
            .values(**values)
            .returning(WebhookRow)
            .execution_options(populate_existing=True)
        )
        return _to_webhook((await self._session.scalars(statement)).one())

    async def delete(self, webhook_id: UUID) -> None:
        """Delete a webhook; its deliveries are pruned like all others."""
        await self._session.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))


def _to_webhook(row: WebhookRow) -> Webhook:
    return Webhook(**{one.name: getattr(row, one.name) for one in fields(Webhook)})
