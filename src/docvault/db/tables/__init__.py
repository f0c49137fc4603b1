"""Tables."""

from docvault.db.tables.api_keys import ApiKeyRow
from docvault.db.tables.audit_events import AuditDetailRow, AuditEventRow
from docvault.db.tables.base import Base, new_id
from docvault.db.tables.blobs import BlobRow
from docvault.db.tables.customers import CustomerRow, CustomerWordRow
from docvault.db.tables.document_types import DocumentTypeFieldRow, DocumentTypeRow
from docvault.db.tables.documents import (
    DocumentFileRow,
    DocumentRow,
    DocumentVersionRow,
    PreviewRow,
)
from docvault.db.tables.erasures import ErasureRow
from docvault.db.tables.events import EventLogRow, EventRow, GateRequirementsRow
from docvault.db.tables.fact_sets import FactSetRow
from docvault.db.tables.idempotency_keys import IdempotencyKeyRow
from docvault.db.tables.portal_settings import PortalSettingsRow
from docvault.db.tables.rate_limits import RateLimitRow
from docvault.db.tables.scans import ScanPassRow
from docvault.db.tables.upload_sessions import UploadSessionRow
from docvault.db.tables.webhooks import WebhookDeliveryRow, WebhookRow

__all__ = [
    "ApiKeyRow",
    "AuditDetailRow",
    "AuditEventRow",
    "Base",
    "BlobRow",
    "CustomerRow",
    "CustomerWordRow",
    "DocumentFileRow",
    "DocumentRow",
    "DocumentTypeFieldRow",
    "DocumentTypeRow",
    "DocumentVersionRow",
    "ErasureRow",
    "EventLogRow",
    "EventRow",
    "FactSetRow",
    "GateRequirementsRow",
    "IdempotencyKeyRow",
    "PortalSettingsRow",
    "PreviewRow",
    "RateLimitRow",
    "ScanPassRow",
    "UploadSessionRow",
    "WebhookDeliveryRow",
    "WebhookRow",
    "new_id",
]
