"""Idempotency keys: a repeated request is executed once (R-117)."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.actors import CustomerActor
from docvault.domain.idempotency import MAX_CUSTOMER_KEYS, MAX_OTHER_KEYS, StoredResponse
from docvault.domain.rate_limits import Limit
from docvault.errors import (
    DatabaseUnavailable,
    IdempotencyKeyReused,
    RateLimited,
    RequestInProgress,
)
from docvault.observability import metrics
from docvault.repositories.idempotency_keys import Completion, KeyHolder
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.resources import Resources

# How often a claim is renewed while the body arrives; well within its lease.
RENEW_SECONDS = 10


@dataclass(slots=True)
class Claim:
    """A claimed key, or one that has a stored response already."""

    key_id: bytes
    token: UUID | None
    stored: StoredResponse | None
    # A digest of the request, known once the body has been read.
    fingerprint: bytes = b""
    renewed_at: float = field(default_factory=time.monotonic)

    def replay(self, fingerprint: bytes) -> StoredResponse | None:
        """Return the response to replay, None when the request has to be executed.

        Raises `IdempotencyKeyReused` when the key belongs to a different request.
        """
        self.fingerprint = fingerprint
        if self.stored is None:
            return None
        if self.stored.fingerprint != fingerprint:
            raise IdempotencyKeyReused(parameter="Idempotency-Key")
        return self.stored

    async def renew_lease(self, resources: Resources, context: RequestContext) -> None:
        """Show every few seconds that the request is still running."""
        if self.token is None or time.monotonic() - self.renewed_at < RENEW_SECONDS:
            return
        self.renewed_at = time.monotonic()
        async with resources.transaction(context) as uow:
            if not await uow.idempotency_keys.extend(self.key_id, self.token):
                raise RequestInProgress

    def completion(self, response: StoredResponse, customer_id: UUID | None) -> Completion | None:
        """Return what to store for replays, None when this response is a replay itself."""
        if self.token is None:
            return None
        return Completion(self.key_id, self.token, response, customer_id)

    async def release(self, resources: Resources, context: RequestContext) -> None:
        """Let the request be retried after it failed."""
        if self.token is None:
            return
        # If this fails too, the lease expires.
        with suppress(DatabaseUnavailable):
            async with resources.transaction(context) as uow:
                await uow.idempotency_keys.release(self.key_id, self.token)


async def store_response(uow: UnitOfWork, completion: Completion | None) -> None:
    """Store a response in the transaction of its change; raises `RequestInProgress`."""
    if completion is not None and not await uow.idempotency_keys.complete(completion):
        raise RequestInProgress


async def release_claim(uow: UnitOfWork, claim: Claim | None) -> None:
    """Release a claim in the transaction of a request that changed nothing."""
    if claim is not None and claim.token is not None:
        await uow.idempotency_keys.release(claim.key_id, claim.token)


async def claim_key(
    uow: UnitOfWork, context: RequestContext, key_ids: Sequence[bytes], customer_id: UUID | None
) -> Claim:
    """Claim a key of the context's actor before the body is read.

    It may be known under any of the ids; if it is not, it gets the first one. Raises
    `RequestInProgress`, and `RateLimited` when the actor has too many keys.
    """
    holder = key_holder(context)
    # Only while the secret key is being replaced there are several.
    key_id = key_ids[0] if len(key_ids) == 1 else await uow.idempotency_keys.find(key_ids)
    token = await uow.idempotency_keys.claim(key_id, customer_id, holder)
    if token is not None:
        return Claim(key_id, token, None)
    stored = await uow.idempotency_keys.response(key_id)
    if stored is not None:
        return Claim(key_id, None, stored)
    seconds = await uow.idempotency_keys.seconds_until_room(holder)
    if seconds is None:
        raise RequestInProgress(headers={"Retry-After": "1"})
    metrics.LIMITS_REACHED.labels(Limit.IDEMPOTENCY_KEYS).inc()
    detail = f"At most {holder.max_keys} idempotency keys within a day."
    raise RateLimited(detail, retry_after_seconds=seconds)


def key_holder(context: RequestContext) -> KeyHolder:
    """Return under which id the actor's keys are counted, and how many are allowed."""
    actor = context.actor
    is_customer = isinstance(actor, CustomerActor)
    return KeyHolder(
        context.keyring.idempotency_id(actor.kind, actor.id),
        MAX_CUSTOMER_KEYS if is_customer else MAX_OTHER_KEYS,
    )
