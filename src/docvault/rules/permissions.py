"""Who may change which document."""

from docvault.auth.principals import Caller, CustomerCaller, Integration
from docvault.auth.scopes import Scope
from docvault.errors import AdminOnlyDocument, DeleteNotAllowed, DocvaultError, InsufficientScope
from docvault.rules.slots import TypeFacts, UploadMode


def refusal_to_write(caller: Caller, document_type: TypeFacts) -> DocvaultError | None:
    """Return why the caller may not upload or change this document, or None (R-034, R-115)."""
    if isinstance(caller, Integration) and Scope.DOCUMENTS_WRITE not in caller.scopes:
        return InsufficientScope(f"The key lacks the scope {Scope.DOCUMENTS_WRITE}.")
    if document_type.upload_mode is not UploadMode.ADMIN_ONLY:
        return None
    if isinstance(caller, CustomerCaller):
        return AdminOnlyDocument()
    if isinstance(caller, Integration) and Scope.DOCUMENTS_WRITE_ADMIN_ONLY not in caller.scopes:
        return InsufficientScope(f"The key lacks the scope {Scope.DOCUMENTS_WRITE_ADMIN_ONLY}.")
    return None


def may_write(caller: Caller, document_type: TypeFacts) -> bool:
    """Return whether the caller may upload to this slot."""
    return refusal_to_write(caller, document_type) is None


def require_write(caller: Caller, document_type: TypeFacts) -> None:
    """Raise the reason why the caller may not change this document, if there is one."""
    refusal = refusal_to_write(caller, document_type)
    if refusal is not None:
        raise refusal


def require_customer_delete(document_type: TypeFacts, *, customer_may_delete: bool) -> None:
    """Raise unless customers may delete and the type is optional (A-19)."""
    if not customer_may_delete or document_type.upload_mode is not UploadMode.OPTIONAL:
        raise DeleteNotAllowed
