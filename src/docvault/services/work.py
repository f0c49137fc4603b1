"""The circumstances of a use case: who asks, in which transaction."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from docvault.auth.keyring import Keyring
from docvault.auth.principals import Access, Caller, CustomerCaller
from docvault.repositories.audit_events import NewAuditEvent
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts
from docvault.schemas.audit_events import AuditAction
from docvault.settings import Settings


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

    def work(self, unit: Unit) -> "Work":
        """Return the same in a transaction."""
        return Work(self.caller, self.request_id, self.keyring, self.settings, unit)


@dataclass(frozen=True, slots=True)
class Work(Asker):
    """Who asks, and the transaction in which it is answered."""

    unit: Unit

    async def record(
        self,
        action: AuditAction,
        *,
        result: Literal["ok", "denied"] = "ok",
        customer: CustomerFacts | None = None,
        document_type: str | None = None,
        version: int | None = None,
        changes: dict[str, Any] | None = None,
        anonymous: bool = False,
    ) -> None:
        """Write an audit event in this transaction (D26).

        An anonymous one names the customer by pseudonym alone, for there will be no erasure
        after it to take the name away.
        """
        caller = self.caller
        is_customer = isinstance(caller, CustomerCaller)
        named = None if anonymous else customer
        await self.unit.audit_events.add(
            NewAuditEvent(
                actor_kind=caller.kind,
                actor_id=self.keyring.pseudonym(caller.id) if is_customer else caller.id,
                action=action,
                result=result,
                request_id=self.request_id,
                customer_pseudonym=(
                    self.keyring.pseudonym(customer.external_id) if customer else None
                ),
                customer_id=named.id if named else None,
                customer=named.external_id if named else None,
                document_type=document_type,
                version=version,
                changes=changes,
            )
        )


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any] | None:
    """Return what changed as `{name: {old, new}}`, None when nothing did."""
    changes = {
        name: {"old": old.get(name), "new": new.get(name)}
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }
    return changes or None
