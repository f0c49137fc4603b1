"""Tables."""

from docvault.models.api_keys import ApiKey
from docvault.models.audit_events import AuditDetail, AuditEvent
from docvault.models.base import Base, new_id
from docvault.models.blobs import Blob
from docvault.models.customers import Customer
from docvault.models.document_types import DocumentType, DocumentTypeField
from docvault.models.documents import Document, DocumentFile, DocumentVersion, Preview
from docvault.models.erasures import Erasure
from docvault.models.holdings import Holding
from docvault.models.idempotency_keys import IdempotencyKey
from docvault.models.rate_limits import RateLimit
from docvault.models.scans import ScanPass
from docvault.models.settings import PortalSettings
from docvault.models.upload_sessions import UploadSession

__all__ = [
    "ApiKey",
    "AuditDetail",
    "AuditEvent",
    "Base",
    "Blob",
    "Customer",
    "Document",
    "DocumentFile",
    "DocumentType",
    "DocumentTypeField",
    "DocumentVersion",
    "Erasure",
    "Holding",
    "IdempotencyKey",
    "PortalSettings",
    "Preview",
    "RateLimit",
    "ScanPass",
    "UploadSession",
    "new_id",
]
