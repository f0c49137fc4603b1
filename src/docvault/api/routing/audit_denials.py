"""Records denied requests in the audit trail (D26)."""

from fastapi import Request

from docvault.api.http.parameters import CUSTOMER_PATH
from docvault.api.routing.requests import ApiRequest
from docvault.auth.tokens import TokenClaims
from docvault.domain.audit import AuditAction
from docvault.domain.customer_ids import is_customer_id
from docvault.services import audit_events
from docvault.services.resources import Resources


async def record_denial(raw_request: Request, action: AuditAction) -> None:
    """Record a denial; a failure to do so does not change the response."""
    resources: Resources = raw_request.app.state.resources
    request: ApiRequest | None = getattr(raw_request.state, "request", None)
    if request is None:
        claims: TokenClaims = raw_request.state.claims
        request_id = raw_request.state.request_id
        denial = audit_events.denial_of_token(resources.keyring, claims, action, request_id)
        customer = None
    else:
        key = raw_request.path_params.get("key")
        denial = request.context.audit_event(action, result="denied", document_type=key)
        customer = request.subject
    external_id = _external_id_in_path(raw_request)
    await audit_events.record_denial(resources, denial, customer, external_id)


def _external_id_in_path(raw_request: Request) -> str | None:
    """Return the customer named in the path, even if the caller was denied before look-up."""
    if CUSTOMER_PATH not in raw_request.scope["route"].path_format:
        return None
    external_id: str = raw_request.path_params["id"]
    return external_id if is_customer_id(external_id) else None
