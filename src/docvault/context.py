"""The context of a use case: who acts, in which request."""

from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

import uuid_utils.compat

from docvault.auth.keyring import Keyring
from docvault.domain.actors import Access, Actor, CustomerActor, System
from docvault.domain.audit import AuditAction, EventDetails, NewAuditEvent, describe_file
from docvault.domain.customers import Customer
from docvault.domain.events import PUBLISHED
from docvault.settings import Settings


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who acts and in which request, independent of any transaction."""

    actor: Actor
    request_id: UUID
    keyring: Keyring
    settings: Settings
    # Whether the portal settings let customers delete documents, when the request began.
    customer_may_delete: bool = False

    @classmethod
    def system(cls, keyring: Keyring, settings: Settings) -> "RequestContext":
        """Return the context of docvault itself: jobs and the command line."""
        return cls(System(), uuid_utils.compat.uuid7(), keyring, settings)

    @property
    def access(self) -> Access:
        """Which customers' rows the actor may reach."""
        return Access.of(self.actor)

    def audit_event(self, action: AuditAction, **details: Unpack[EventDetails]) -> NewAuditEvent:
        """Return an audit event of what the actor does."""
        actor, customer = self.actor, details.get("customer")
        is_customer = isinstance(actor, CustomerActor)
        subject = audited_customer(self.keyring, customer)
        # Filenames are personal data: only details that an erasure can find may hold them.
        files = details.get("files") if "customer_id" in subject else None
        return NewAuditEvent(
            actor_kind=actor.kind,
            actor_id=self.keyring.pseudonym(actor.id) if is_customer else actor.id,
            action=action,
            result=details.get("result", "ok"),
            request_id=self.request_id,
            document_type=details.get("document_type"),
            version=details.get("version"),
            changes=details.get("changes"),
            files=[describe_file(file) for file in files] if files else None,
            **_published(action, details),
            **subject,
        )


def _published(action: AuditAction, details: EventDetails) -> dict[str, Any]:
    """Return the members of an audit event that its event for other systems has, if any."""
    event_type = details.get("event_type", PUBLISHED.get(action))
    if event_type is None or details.get("result", "ok") != "ok":
        return {}
    about = {"document_type": details.get("document_type"), "version": details.get("version")}
    known = {name: value for name, value in about.items() if value is not None}
    return {"event_type": event_type, "event_data": known | details.get("event_data", {})}


def audited_customer(keyring: Keyring, customer: Customer | None) -> dict[str, Any]:
    """Return the members of an audit event that identify the customer it is about.

    A customer being erased is recorded by pseudonym only: no later erasure would delete the id.
    """
    if customer is None:
        return {}
    pseudonym = keyring.pseudonym(customer.external_id)
    if customer.erasure_id is not None:
        return {"customer_pseudonym": pseudonym}
    return {
        "customer_pseudonym": pseudonym,
        "customer_id": customer.id,
        "customer": customer.external_id,
    }
