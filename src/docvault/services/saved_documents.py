"""The target and the result of saving a document."""

from dataclasses import dataclass
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.customers import Customer
from docvault.domain.documents import Document
from docvault.domain.idempotency import StoredResponse
from docvault.domain.preconditions import UNCONDITIONAL, Preconditions
from docvault.errors import PreconditionFailed
from docvault.presenters.documents import present_document
from docvault.presenters.representation import Representation, represent
from docvault.repositories.idempotency_keys import Completion
from docvault.services.idempotency_keys import Claim


@dataclass(frozen=True, slots=True)
class SaveTarget:
    """The document to save to, and the conditions of the request."""

    customer: Customer
    key: str
    preconditions: Preconditions = UNCONDITIONAL
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class SavedDocument:
    """A saved document as its actor sees it; `created` if its first or one more file was added."""

    document: Document
    created: bool
    representation: Representation

    @property
    def status(self) -> int:
        """The HTTP status of the response, which is stored for replays."""
        return 201 if self.created else 200

    def completion(self, claim: Claim | None, customer_id: UUID) -> Completion | None:
        """Return the response to store in the transaction of the save, None without a key."""
        if claim is None:
            return None
        headers = {"etag": self.representation.etag}
        response = StoredResponse(claim.fingerprint, self.status, headers, self.representation.body)
        return claim.completion(response, customer_id)


def saved_document(document: Document, context: RequestContext, *, created: bool) -> SavedDocument:
    """Present a document right after it was saved."""
    return SavedDocument(document, created, represent(present_document(document, context)))


def check_preconditions(
    preconditions: Preconditions, document: Document, context: RequestContext
) -> None:
    """Raise `PreconditionFailed` unless the document is as the request expects.

    A document without a file has an ETag, but does not match `*`: `If-None-Match: *` means only
    if there is no file, `If-Match: *` only if there is one.
    """
    if document.version is None and preconditions.if_match == "*":
        raise PreconditionFailed
    if document.version is None and preconditions.if_none_match == "*":
        return
    if not preconditions.are_absent:
        preconditions.check(represent(present_document(document, context)).etag)
