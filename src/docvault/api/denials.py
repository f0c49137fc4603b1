"""Refusals of authenticated callers, kept in the audit trail (D26)."""

from contextlib import suppress

from fastapi import Request

from docvault.api.calls import Call
from docvault.auth.principals import Access
from docvault.auth.tokens import TokenClaims
from docvault.errors import DatabaseUnavailable
from docvault.repositories.audit_events import NewAuditEvent
from docvault.schemas.audit_events import AuditAction
from docvault.services.resources import Resources


async def record_denial(
    request: Request, action: AuditAction, *, document_type: str | None = None
) -> None:
    """Record a refusal in a transaction of its own; the answer is the same when that fails."""
    resources: Resources = request.app.state.resources
    call: Call | None = getattr(request.state, "call", None)
    with suppress(DatabaseUnavailable):
        async with resources.unit(Access.everyone()) as unit:
            if call is None:
                await unit.audit_events.add(_stranger(request, action))
                return
            await call.asker.work(unit).record(
                action,
                result="denied",
                customer=call.customer_or_none,
                document_type=document_type or request.path_params.get("key"),
            )


def _stranger(request: Request, action: AuditAction) -> NewAuditEvent:
    """Return the event of a caller whose credential is good, but not here."""
    claims: TokenClaims = request.state.claims
    keyring = request.app.state.resources.keyring
    return NewAuditEvent(
        actor_kind="admin" if claims.is_admin else "customer",
        actor_id=claims.subject if claims.is_admin else keyring.pseudonym(claims.subject),
        action=action,
        result="denied",
        request_id=request.state.request_id,
    )
