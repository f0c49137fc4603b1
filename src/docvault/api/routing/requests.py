"""The request types of endpoints; the annotation of an endpoint says what the guard loads."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from fastapi import Request

from docvault.context import RequestContext
from docvault.domain.customer_documents import CustomerDocuments
from docvault.domain.customers import Customer
from docvault.domain.documents import Document
from docvault.domain.idempotency import StoredResponse
from docvault.domain.portal import PortalSwitches
from docvault.domain.upload_openings import OpenedUpload
from docvault.errors import DocumentTypeNotFound
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.idempotency_keys import Claim, store_response
from docvault.services.resources import Resources


class ApiRequest(Request):
    """An authenticated request."""

    # Set by `bind`; an operation without `in_transaction` opens its own transactions instead.
    uow: UnitOfWork

    def __init__(self, request: Request, context: RequestContext) -> None:
        super().__init__(request.scope, request.receive)
        self.resources: Resources = request.app.state.resources
        self.context = context
        # The customer the request concerns, once known; audit events and stored responses name it.
        self.subject: Customer | None = None
        self.claim: Claim | None = None
        self.fingerprint = b""
        self._raw_and_parsed: tuple[bytes, Any] = (b"", None)

    @property
    def service_url(self) -> str:
        """The address at which clients reach the service, without a final slash."""
        return self.resources.settings.public_url or str(self.base_url).rstrip("/")

    def bind(self, uow: UnitOfWork) -> Self:
        """Let the endpoint work in this transaction."""
        self.uow = uow.with_context(self.context)
        return self

    def completion(self, response: StoredResponse) -> Completion | None:
        """Return the response to store under the idempotency key, None without a key."""
        if self.claim is None:
            return None
        return self.claim.completion(response, self.subject.id if self.subject else None)

    async def complete(self, uow: UnitOfWork, response: StoredResponse) -> None:
        """Store the response for replays, in the transaction of the change."""
        await store_response(uow, self.completion(response))

    def set_json(self, raw: bytes, parsed: object) -> None:
        """Hand FastAPI a body that the guard has read and parsed."""
        self._raw_and_parsed = (raw, parsed)

    async def body(self) -> bytes:
        """Return the body that the guard has read."""
        return self._raw_and_parsed[0]

    async def json(self) -> Any:  # noqa: ANN401 - JSON is whatever was sent
        """Return the body that the guard has parsed."""
        return self._raw_and_parsed[1]


class CustomerRequest(ApiRequest):
    """A request about one customer: the one in the path, or the caller."""

    # Which of the customer's documents the guard loads, in the same statement.
    loads: ClassVar[Literal["none", "one", "all"]] = "none"

    customer: Customer
    portal: PortalSwitches
    # Whether the credential is the URL, as in a request by an element of a page.
    is_embedded = False

    def load(self, found: CustomerDocuments) -> None:
        """Attach what the guard found."""
        self.customer = self.subject = found.customer
        self.portal = found.switches
        self.context = replace(self.context, customer_may_delete=found.switches.customer_may_delete)


class DocumentRequest(CustomerRequest):
    """A request about the document in the path, as it was before the body was read."""

    loads = "one"
    document: Document
    # What the look-up of an upload counted and reserved.
    upload: OpenedUpload | None = None
    # Whether the guard has recorded the download; see `PlainDownload`.
    is_audited: bool

    def load(self, found: CustomerDocuments) -> None:
        """Attach what the guard found; raises `DocumentTypeNotFound`."""
        super().load(found)
        self.upload = found.upload
        if not found.documents:
            raise DocumentTypeNotFound
        self.document = found.documents[0]
        self.is_audited = found.is_audited


class DocumentsRequest(CustomerRequest):
    """A request about all documents of the customer."""

    loads = "all"
    documents: Sequence[Document]

    def load(self, found: CustomerDocuments) -> None:
        """Attach what the guard found."""
        super().load(found)
        self.documents = found.documents
