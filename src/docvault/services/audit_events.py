"""Reading the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docvault.auth.keyring import Keyring
from docvault.auth.tokens import TokenClaims
from docvault.models import AuditDetail, AuditEvent
from docvault.repositories.audit_events import AuditFilter, NewAuditEvent
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.work import Work, audited_customer


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What staff ask for, in their words."""

    customer: str | None = None
    actor: str | None = None
    action: AuditAction | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_audit_events(
    work: Work, query: AuditQuery, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[tuple[AuditEvent, AuditDetail | None]]:
    """Return up to `limit` events, newest first."""
    return await work.unit.audit_events.list_page(_filter(work, query), before=before, limit=limit)


async def count_audit_events(work: Work, query: AuditQuery) -> int:
    """Return how many events the query finds."""
    return await work.unit.audit_events.count(_filter(work, query))


async def record_stranger(
    unit: Unit,
    keyring: Keyring,
    claims: TokenClaims,
    action: AuditAction,
    request_id: UUID,
    customer: CustomerFacts | None,
) -> None:
    """Record the refusal of a caller whose token is good, but not for this audience.

    `customer` is whom the request was about.
    """
    await unit.audit_events.add(
        NewAuditEvent(
            actor_kind="admin" if claims.is_admin else "customer",
            actor_id=claims.subject if claims.is_admin else keyring.pseudonym(claims.subject),
            action=action,
            result="denied",
            request_id=request_id,
            **audited_customer(keyring, customer),
        )
    )


def _filter(work: Work, query: AuditQuery) -> AuditFilter:
    """Return the query in terms of what is stored: customers stand there as pseudonyms.

    A pseudonym itself is understood too, for it is what a list shows after an erasure.
    """
    customer = query.customer
    if customer is not None and not customer.startswith("anon-"):
        customer = work.keyring.pseudonym(customer)
    actors = () if query.actor is None else (query.actor, work.keyring.pseudonym(query.actor))
    return AuditFilter(customer, actors, query.action, query.since, query.until)
