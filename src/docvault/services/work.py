"""The circumstances of a use case: who asks, in which transaction."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack
from uuid import UUID

from docvault.auth.keyring import Keyring
from docvault.auth.principals import Access, Caller, CustomerCaller
from docvault.repositories.audit_events import NewAuditEvent
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts
from docvault.schemas.audit_events import AuditAction
from docvault.settings import Settings


class EventFacts(TypedDict, total=False):
    """What an audit event tells beside who did what."""

    result: Literal["ok", "denied"]
    customer: CustomerFacts | None
    document_type: str | None
    version: int | None
    changes: dict[str, Any] | None
    anonymous: bool


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks and in which request, before any transaction."""

    caller: Caller
    request_id: UUID
    keyring: Keyring
    settings: Settings

    @property
    def access(self) -> Access:
        """Which customers' rows the caller may reach."""
        return Access.of(self.caller)

    def event(self, action: AuditAction, **facts: Unpack[EventFacts]) -> NewAuditEvent:
        """Return an audit event of what the caller does (D26).

        An anonymous one names the customer by pseudonym alone, for there will be no erasure
        after it to take the name away.
        """
        caller, customer = self.caller, facts.get("customer")
        is_customer = isinstance(caller, CustomerCaller)
        return NewAuditEvent(
            actor_kind=caller.kind,
            actor_id=self.keyring.pseudonym(caller.id) if is_customer else caller.id,
            action=action,
            result=facts.get("result", "ok"),
            request_id=self.request_id,
            document_type=facts.get("document_type"),
            version=facts.get("version"),
            changes=facts.get("changes"),
            **audited_customer(self.keyring, customer, anonymous=facts.get("anonymous", False)),
        )

    def work(self, unit: Unit) -> "Work":
        """Return the same in a transaction."""
        return Work(self.caller, self.request_id, self.keyring, self.settings, unit)


@dataclass(frozen=True, slots=True)
class Work(Asker):
    """Who asks, and the transaction in which it is answered."""

    unit: Unit

    async def record(self, action: AuditAction, **facts: Unpack[EventFacts]) -> None:
        """Write an audit event in this transaction; see `Asker.event`."""
        await self.unit.audit_events.add(self.event(action, **facts))


def audited_customer(
    keyring: Keyring, customer: CustomerFacts | None, *, anonymous: bool = False
) -> dict[str, Any]:
    """Return how an audit event tells which customer it is about."""
    if customer is None:
        return {}
    pseudonym = keyring.pseudonym(customer.external_id)
    if anonymous or customer.erasure_id is not None:
        return {"customer_pseudonym": pseudonym}
    return {
        "customer_pseudonym": pseudonym,
        "customer_id": customer.id,
        "customer": customer.external_id,
    }


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any] | None:
    """Return what changed as `{name: {old, new}}`, None when nothing did."""
    changes = {
        name: {"old": old.get(name), "new": new.get(name)}
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }
    return changes or None
