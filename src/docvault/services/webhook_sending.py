"""Sending messages to webhooks: due deliveries, each until it is received or has failed too often.

A delivery is claimed with a lease. Whoever dies before its result is recorded leaves it to be sent
again when the lease ends, so that each is sent at least once.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from uuid import UUID

from docvault.db.tables import new_id
from docvault.domain.webhooks import (
    Attempt,
    ClaimedDelivery,
    DisabledReason,
    Webhook,
    wait_after,
)
from docvault.observability import metrics
from docvault.presenters.webhooks import render_message, render_test_message
from docvault.services.resources import Resources
from docvault.services.webhooks import disable_webhook
from docvault.webhooks.sender import Outcome
from docvault.webhooks.signatures import sign

_log = logging.getLogger(__name__)

# How many deliveries one process sends at the same time, in all and to one webhook.
MAX_IN_FLIGHT = 50
MAX_PER_WEBHOOK = 5
# How long a result waits for others, so that one statement claims several deliveries.
GATHER_SECONDS = 0.005
UNREADABLE = "secret_unreadable"


async def send_test(resources: Resources, webhook: Webhook) -> Attempt:
    """Send `webhook.test` now, also to a disabled webhook; nothing is recorded."""
    body = render_test_message(webhook, datetime.now(UTC))
    sealed = [webhook.sealed_secret]
    until = webhook.previous_secret_until
    if webhook.sealed_previous_secret is not None and until and until > datetime.now(UTC):
        sealed.append(webhook.sealed_previous_secret)
    outcome = await _send(resources, webhook.id, webhook.url, sealed, new_id(), body)
    return _attempt_of(outcome)


class Deliverer:
    """Sends the due deliveries of a process, each in a task of its own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._busy: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start_due(self) -> int:
        """Begin to send due deliveries, as many as there are places; return how many."""
        free = MAX_IN_FLIGHT - len(self._tasks)
        if not free:
            return 0
        resources = self._resources
        async with resources.autocommit(resources.system_context()) as uow:
            claimed = await uow.webhook_deliveries.claim(
                self._busy, places=MAX_PER_WEBHOOK, free=free
            )
        for delivery in claimed:
            self._busy[delivery.webhook_id] += 1
            task = asyncio.create_task(_deliver(resources, delivery))
            self._tasks.add(task)
            task.add_done_callback(partial(self._release, delivery.webhook_id))
        return len(claimed)

    async def wait(self, seconds: float) -> None:
        """Wait until a place becomes free, or for so long."""
        if not self._tasks:
            await asyncio.sleep(seconds)
            return
        ended, _ = await asyncio.wait(
            self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if ended:
            await asyncio.sleep(GATHER_SECONDS)

    async def finish(self, seconds: float) -> None:
        """Wait for the deliveries in flight; what takes longer is sent again by another process."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _release(self, webhook_id: UUID, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._busy[webhook_id] -= 1
        if not self._busy[webhook_id]:
            del self._busy[webhook_id]


async def _deliver(resources: Resources, claimed: ClaimedDelivery) -> None:
    """Send a delivery once and record the result."""
    try:
        if claimed.event is None:
            await _drop(resources, claimed)
            return
        body = render_message(claimed.event)
        at = datetime.now(UTC)
        outcome = await _send(
            resources,
            claimed.webhook_id,
            claimed.url,
            claimed.sealed_secrets,
            claimed.event.id,
            body,
        )
        attempt = _attempt_of(outcome)
        if attempt.is_success:
            await _complete(resources, claimed, attempt, at)
        else:
            retry_after = None if outcome is None else outcome.retry_after
            await _fail(resources, claimed, attempt, at, retry_after)
    except Exception:  # noqa: BLE001 - whatever it is, the lease ends
        _log.warning("the result of a delivery is lost, it will be sent again", exc_info=True)


async def _send(
    resources: Resources,
    webhook_id: UUID,
    url: str,
    sealed_secrets: Sequence[bytes],
    message_id: UUID,
    body: bytes,
) -> Outcome | None:
    """Sign a message and send it once; None if the secret cannot be opened."""
    opened = [resources.keyring.open_webhook_secret(webhook_id, one) for one in sealed_secrets]
    secrets = [secret for secret in opened if secret is not None]
    if not secrets:
        _log.warning("the secret of a webhook was sealed with another secret key")
        return None
    timestamp = int(datetime.now(UTC).timestamp())
    signatures = [sign(secret, str(message_id), timestamp, body) for secret in secrets]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "docvault",
        "webhook-id": str(message_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
    return await resources.webhook_sender.post(url, headers, body)


def _attempt_of(outcome: Outcome | None) -> Attempt:
    if outcome is None:
        return Attempt(status=None, error=UNREADABLE, duration_ms=0)
    return Attempt(outcome.status, outcome.error, outcome.duration_ms)


async def _drop(resources: Resources, claimed: ClaimedDelivery) -> None:
    """Drop a delivery whose event was erased or deleted since it was made."""
    async with resources.transaction(resources.system_context()) as uow:
        await uow.webhook_deliveries.drop(claimed.id)
    metrics.WEBHOOK_DELIVERIES.labels("dropped").inc()


async def _complete(
    resources: Resources, claimed: ClaimedDelivery, attempt: Attempt, at: datetime
) -> None:
    async with resources.autocommit(resources.system_context()) as uow:
        await uow.webhook_deliveries.complete(claimed, attempt, at)
    metrics.WEBHOOK_DELIVERIES.labels("delivered").inc()


async def _fail(
    resources: Resources,
    claimed: ClaimedDelivery,
    attempt: Attempt,
    at: datetime,
    retry_after: timedelta | None,
) -> None:
    """Record a failed attempt; disable the webhook if it is gone or has failed for too long."""
    chance = random.random()  # noqa: S311 - it only spreads the attempts
    wait = wait_after(claimed.used_attempts + 1, retry_after, chance)
    async with resources.transaction(resources.system_context()) as uow:
        failures = await uow.webhook_deliveries.fail(claimed, attempt, at, wait)
        if attempt.status == HTTPStatus.GONE:
            await disable_webhook(uow, claimed.webhook_id, DisabledReason.GONE)
        elif failures is not None and failures.is_too_many:
            await disable_webhook(uow, claimed.webhook_id, DisabledReason.FAILING)
    metrics.WEBHOOK_DELIVERIES.labels("failed" if wait is None else "retried").inc()
