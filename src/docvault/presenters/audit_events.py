"""Audit events."""

from typing import Literal, cast

from docvault.domain.audit import ActorKind, AuditAction, AuditEvent
from docvault.schemas.audit_events import AuditActor, AuditedFileRead, AuditEventRead


def present_audit_event(event: AuditEvent) -> AuditEventRead:
    """Present an event; without its details the customer is a pseudonym."""
    customer = event.customer or event.customer_pseudonym
    # A customer refused access to another customer is not the one the event is about.
    is_about_actor = event.actor_kind == "customer" and event.actor_id == event.customer_pseudonym
    actor_id = customer if is_about_actor and customer else event.actor_id
    return AuditEventRead(
        id=event.id,
        at=event.at,
        actor=AuditActor(kind=cast("ActorKind", event.actor_kind), id=actor_id),
        action=AuditAction(event.action),
        customer=customer,
        document_type=event.document_type,
        version=event.version,
        result=cast("Literal['ok', 'denied']", event.result),
        request_id=event.request_id,
        changes=event.changes,
        files=_present_files(event),
        times=event.times,
    )


def _present_files(event: AuditEvent) -> list[AuditedFileRead] | None:
    return None if event.files is None else [AuditedFileRead(**file) for file in event.files]
