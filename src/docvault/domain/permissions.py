"""Who may change which document."""

from docvault.domain.actors import Actor, ApiKeyActor, CustomerActor
from docvault.domain.document_types import DocumentType, UploadMode
from docvault.domain.documents import Document
from docvault.domain.scopes import Scope
from docvault.errors import AdminOnlyDocument, DeleteNotAllowed, DocvaultError, InsufficientScope


def require_scope(actor: Actor, scope: Scope) -> None:
    """Raise `InsufficientScope` if the actor is an API key without the scope."""
    if isinstance(actor, ApiKeyActor) and scope not in actor.scopes:
        raise InsufficientScope(f"The key lacks the scope {scope}.")


def write_refusal(actor: Actor, document_type: DocumentType) -> DocvaultError | None:
    """Return why the actor may not upload or change a document, or None (R-034, R-115)."""
    if isinstance(actor, ApiKeyActor) and Scope.DOCUMENTS_WRITE not in actor.scopes:
        return InsufficientScope(f"The key lacks the scope {Scope.DOCUMENTS_WRITE}.")
    if document_type.upload_mode is not UploadMode.ADMIN_ONLY or writes_admin_only(actor):
        return None
    if isinstance(actor, CustomerActor):
        return AdminOnlyDocument()
    return InsufficientScope(f"The key lacks the scope {Scope.DOCUMENTS_WRITE_ADMIN_ONLY}.")


def writes_admin_only(actor: Actor) -> bool:
    """Return whether the actor may write documents of types that only staff upload."""
    if isinstance(actor, ApiKeyActor):
        return Scope.DOCUMENTS_WRITE_ADMIN_ONLY in actor.scopes
    return not isinstance(actor, CustomerActor)


def may_write(actor: Actor, document_type: DocumentType) -> bool:
    """Return whether the actor may upload or change a document."""
    return write_refusal(actor, document_type) is None


def require_write(actor: Actor, document_type: DocumentType) -> None:
    """Raise unless the actor may upload or change a document."""
    refusal = write_refusal(actor, document_type)
    if refusal is not None:
        raise refusal


def may_delete(actor: Actor, document: Document, *, customer_may_delete: bool) -> bool:
    """Return whether the actor can delete the document: there is a file, and they may.

    Integrations have no operation for it.
    """
    if document.version is None or isinstance(actor, ApiKeyActor):
        return False
    if isinstance(actor, CustomerActor):
        return _customers_may_delete(document.type, customer_may_delete)
    return True


def require_customer_delete(document_type: DocumentType, *, customer_may_delete: bool) -> None:
    """Raise unless customers may delete documents of this type (A-19)."""
    if not _customers_may_delete(document_type, customer_may_delete):
        raise DeleteNotAllowed


def _customers_may_delete(document_type: DocumentType, switched_on: bool) -> bool:
    return switched_on and document_type.upload_mode is UploadMode.OPTIONAL


def may_edit_fields(actor: Actor, document: Document) -> bool:
    """Return whether the actor can change field values without sending a file."""
    return (
        bool(document.type.asked_fields)
        and may_write(actor, document.type)
        and not needs_file(actor, document)
    )


def needs_file(actor: Actor, document: Document) -> bool:
    """Return whether values have to wait for a file (A-11)."""
    is_required = document.type.upload_mode is UploadMode.REQUIRED
    return document.version is None and is_required and isinstance(actor, CustomerActor)
