"""Refusals of authenticated callers, kept in the audit trail (D26)."""

from contextlib import suppress

from fastapi import Request

from docvault.api.calls import Call
from docvault.api.parameters import is_customer_id
from docvault.api.paths import CUSTOMER_PATH
from docvault.auth.principals import Access
from docvault.auth.tokens import TokenClaims
from docvault.errors import DatabaseUnavailable, Forbidden, MalwareDetected
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.audit_events import record_stranger
from docvault.services.resources import Resources

# Refusals of the caller or of what the caller brings, rather than of a mistake.
DENIALS = (Forbidden, MalwareDetected)


async def record_denial(
    request: Request, action: AuditAction, *, document_type: str | None = None
) -> None:
    """Record a refusal in a transaction of its own; the answer is the same when that fails."""
    resources: Resources = request.app.state.resources
    call: Call | None = getattr(request.state, "call", None)
    with suppress(DatabaseUnavailable):
        async with resources.statements(Access.everyone()) as unit:
            customer = call.customer_or_none if call else None
            customer = customer or await _named_customer(request, unit)
            if call is None:
                claims: TokenClaims = request.state.claims
                await record_stranger(
                    unit, resources.keyring, claims, action, request.state.request_id, customer
                )
                return
            await call.asker.work(unit).record(
                action,
                result="denied",
                customer=customer,
                document_type=document_type or request.path_params.get("key"),
            )


async def _named_customer(request: Request, unit: Unit) -> CustomerFacts | None:
    """Return the customer the path names, whom a refused caller did not get to see."""
    if CUSTOMER_PATH not in request.scope["route"].path_format:
        return None
    external_id = request.path_params["id"]
    return await unit.customers.find(external_id) if is_customer_id(external_id) else None
