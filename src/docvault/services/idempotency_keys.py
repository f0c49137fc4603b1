"""Doing a repeated request once (R-117)."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from docvault.errors import DatabaseUnavailable, IdempotencyKeyReused, RequestInProgress
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.unit import Unit
from docvault.rules.stored_answers import StoredAnswer
from docvault.services.resources import Resources
from docvault.services.work import Asker, Work

# A claim is extended this often while the body arrives; well within its lease.
EXTEND_SECONDS = 10


@dataclass(slots=True)
class Claim:
    """A claimed key, or one that was answered before.

    The fingerprint covers what was sent; it is known once the body has been read.
    """

    key_id: bytes
    token: UUID | None
    stored: StoredAnswer | None
    extended_at: float = field(default_factory=time.monotonic)

    def replay(self, fingerprint: bytes) -> StoredAnswer | None:
        """Return the answer to repeat, None when the request has to be done.

        Raises `IdempotencyKeyReused` when the key came with another request.
        """
        if self.stored is None:
            return None
        if self.stored.fingerprint != fingerprint:
            raise IdempotencyKeyReused(parameter="Idempotency-Key")
        return self.stored

    async def keep(self, resources: Resources, asker: Asker) -> None:
        """Show now and then that the request still runs."""
        if self.token is None or time.monotonic() - self.extended_at < EXTEND_SECONDS:
            return
        self.extended_at = time.monotonic()
        async with resources.unit(asker.access) as unit:
            if not await unit.idempotency_keys.extend(self.key_id, self.token):
                raise RequestInProgress

    def completion(self, answer: StoredAnswer, customer_id: UUID | None) -> Completion | None:
        """Return what is to be kept of the answer; nothing of one that is repeated."""
        if self.token is None:
            return None
        return Completion(self.key_id, self.token, answer, customer_id)

    async def release(self, resources: Resources, asker: Asker) -> None:
        """Let the request be tried again after a refusal."""
        if self.token is None:
            return
        # When even this fails, the lease ends.
        with suppress(DatabaseUnavailable):
            async with resources.unit(asker.access) as unit:
                await unit.idempotency_keys.release(self.key_id, self.token)


async def keep_answer(work: Work, completion: Completion | None) -> None:
    """Store an answer in the transaction of its change; raises `RequestInProgress`."""
    if completion is not None and not await work.unit.idempotency_keys.complete(completion):
        raise RequestInProgress


async def claim_key(unit: Unit, key_id: bytes, customer_id: UUID | None) -> Claim:
    """Claim a key before the body is read; raises `RequestInProgress`."""
    token = await unit.idempotency_keys.claim(key_id, customer_id)
    if token is not None:
        return Claim(key_id, token, None)
    stored = await unit.idempotency_keys.answer(key_id)
    if stored is None:
        raise RequestInProgress(headers={"Retry-After": "1"})
    return Claim(key_id, None, stored)
