"""The repositories of one transaction."""

from typing import Unpack

from docvault.context import RequestContext
from docvault.db.engine import AutocommitConnection, Session
from docvault.domain.audit import AuditAction, EventDetails
from docvault.repositories.api_keys import ApiKeyRepository
from docvault.repositories.attachments import AttachmentRepository
from docvault.repositories.audit_events import AuditEventRepository
from docvault.repositories.blobs import BlobRepository
from docvault.repositories.customer_documents import CustomerDocumentsRepository
from docvault.repositories.customers import CustomerRepository
from docvault.repositories.document_lists import DocumentListRepository
from docvault.repositories.document_types import DocumentTypeRepository
from docvault.repositories.documents import DocumentRepository
from docvault.repositories.erasures import ErasureRepository
from docvault.repositories.events import EventRepository
from docvault.repositories.fact_sets import FactSetRepository
from docvault.repositories.idempotency_keys import IdempotencyKeyRepository
from docvault.repositories.jobs import JobRepository
from docvault.repositories.portal_settings import PortalSettingsRepository
from docvault.repositories.previews import PreviewRepository
from docvault.repositories.rate_limits import RateLimitRepository
from docvault.repositories.scans import ScanRepository
from docvault.repositories.upload_sessions import UploadSessionRepository
from docvault.repositories.webhook_deliveries import WebhookDeliveryRepository
from docvault.repositories.webhooks import WebhookRepository


class UnitOfWork:
    """The repositories of one transaction, with the access of its actor.

    In autocommit mode every statement is a transaction of its own.
    """

    def __init__(self, connection: Session | AutocommitConnection, context: RequestContext) -> None:
        self._connection = connection
        self.context = context
        access = context.access
        self.api_keys = ApiKeyRepository(connection, access)
        self.attachments = AttachmentRepository(connection, access)
        self.audit_events = AuditEventRepository(connection, access)
        self.blobs = BlobRepository(connection, access)
        self.customer_documents = CustomerDocumentsRepository(connection, access)
        self.customers = CustomerRepository(connection, access)
        self.document_lists = DocumentListRepository(connection, access)
        self.document_types = DocumentTypeRepository(connection, access)
        self.documents = DocumentRepository(connection, access)
        self.erasures = ErasureRepository(connection, access)
        self.events = EventRepository(connection, access)
        self.fact_sets = FactSetRepository(connection, access)
        self.idempotency_keys = IdempotencyKeyRepository(connection, access)
        self.jobs = JobRepository(connection, access)
        self.portal_settings = PortalSettingsRepository(connection, access)
        self.previews = PreviewRepository(connection, access)
        self.rate_limits = RateLimitRepository(connection, access)
        self.scans = ScanRepository(connection, access)
        self.upload_sessions = UploadSessionRepository(connection, access)
        self.webhook_deliveries = WebhookDeliveryRepository(connection, access)
        self.webhooks = WebhookRepository(connection, access)

    def with_context(self, context: RequestContext) -> "UnitOfWork":
        """Return the same transaction for another actor."""
        return UnitOfWork(self._connection, context)

    async def audit(self, action: AuditAction, **details: Unpack[EventDetails]) -> None:
        """Record what the actor does, in this transaction; see `RequestContext.audit_event`."""
        await self.audit_events.add(self.context.audit_event(action, **details))
