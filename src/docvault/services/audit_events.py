"""The audit trail: reading it, and recording denials."""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from docvault.auth.keyring import Keyring
from docvault.auth.tokens import TokenClaims
from docvault.context import audited_customer
from docvault.domain.audit import AuditAction, NewAuditEvent
from docvault.domain.customers import Customer
from docvault.domain.rate_limits import WINDOW_SECONDS
from docvault.errors import DatabaseUnavailable, Forbidden, MalwareDetected
from docvault.observability import metrics
from docvault.repositories.audit_events import AuditFilter, AuditPage
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.resources import Resources

# Denials that are audited: forbidden callers and infected files, not client mistakes.
AUDITED_REFUSALS = (Forbidden, MalwareDetected)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The filters of a list of audit events; customers are named by id or pseudonym."""

    customer: str | None = None
    actor: str | None = None
    action: AuditAction | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_audit_events(
    uow: UnitOfWork, query: AuditQuery, *, before: tuple[datetime, UUID] | None, limit: int
) -> AuditPage:
    """Return up to `limit` events, newest first; fewer if their details are large."""
    return await uow.audit_events.list_page(_filter(uow, query), before=before, limit=limit)


async def count_audit_events(uow: UnitOfWork, query: AuditQuery) -> int:
    """Return how many events match the filters."""
    return await uow.audit_events.count(_filter(uow, query))


def denial_of_token(
    keyring: Keyring, claims: TokenClaims, action: AuditAction, request_id: UUID
) -> NewAuditEvent:
    """Return the denial of a caller with a valid token that lacks the scope for this API."""
    kind, id_ = "token", keyring.pseudonym(claims.subject)
    if claims.roles:
        kind, id_ = "admin", claims.subject
    elif claims.customer is not None:
        kind, id_ = "customer", keyring.pseudonym(claims.customer)
    return NewAuditEvent(kind, id_, action, "denied", request_id)


async def record_denial(
    resources: Resources,
    denial: NewAuditEvent,
    customer: Customer | None = None,
    external_id: str | None = None,
) -> None:
    """Record a denial in a transaction of its own; if that fails, the response is the same.

    `external_id` names the customer if it was not looked up before. Repeated denials of one
    actor are counted in one event, so that nobody can fill the trail.
    """
    metrics.AUDITED_REFUSALS.labels(denial.action).inc()
    limits, keyring = resources.rate_limits, resources.keyring
    is_recorded = limits.records_denial(denial.actor_kind, denial.actor_id, denial.action)
    with suppress(DatabaseUnavailable):
        async with resources.autocommit(resources.system_context()) as uow:
            if not is_recorded:
                await _count_denial(uow, denial)
                return
            if customer is None and external_id is not None:
                customer = await uow.customers.find(external_id)
            event = replace(denial, **audited_customer(keyring, customer))
            await uow.audit_events.add(event)


async def _count_denial(uow: UnitOfWork, denial: NewAuditEvent) -> None:
    """Count a denial in the one event that its actor and action have for this minute.

    All processes derive the same id for it. It names no customer because it stands for many.
    """
    who = (denial.actor_kind, denial.actor_id, denial.action)
    event_id = UUID(bytes=uow.context.keyring.rate_limit_id("denials", *who, _minute())[:16])
    await uow.audit_events.count_up(event_id, NewAuditEvent(*who, denial.result, None))


def _minute() -> str:
    return str(int(time.time()) // WINDOW_SECONDS)


def _filter(uow: UnitOfWork, query: AuditQuery) -> AuditFilter:
    """Translate external ids to pseudonyms, which is what the events store.

    Pseudonyms are accepted too: after an erasure the list shows nothing else.
    """
    pseudonyms_of = uow.context.keyring.pseudonyms
    customers: tuple[str, ...] = ()
    if query.customer is not None:
        is_pseudonym = query.customer.startswith("anon-")
        customers = (query.customer,) if is_pseudonym else pseudonyms_of(query.customer)
    actors = () if query.actor is None else (query.actor, *pseudonyms_of(query.actor))
    return AuditFilter(customers, actors, query.action, query.since, query.until)
