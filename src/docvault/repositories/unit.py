"""The repositories of one transaction, all with the same access."""

from functools import cached_property

from docvault.auth.principals import Access
from docvault.database import Session, Statements
from docvault.repositories.api_keys import ApiKeyRepository
from docvault.repositories.attachments import AttachmentRepository
from docvault.repositories.audit_events import AuditEventRepository
from docvault.repositories.blobs import BlobRepository
from docvault.repositories.customers import CustomerRepository
from docvault.repositories.document_types import DocumentTypeRepository
from docvault.repositories.documents import DocumentRepository
from docvault.repositories.dossiers import DossierRepository
from docvault.repositories.erasures import ErasureRepository
from docvault.repositories.holdings import HoldingRepository
from docvault.repositories.idempotency_keys import IdempotencyKeyRepository
from docvault.repositories.jobs import JobRepository
from docvault.repositories.previews import PreviewRepository
from docvault.repositories.rate_limits import RateLimitRepository
from docvault.repositories.scans import ScanRepository
from docvault.repositories.settings import SettingsRepository
from docvault.repositories.upload_sessions import UploadSessionRepository


class Unit:
    """A unit of work: what services read and write through, in one transaction."""

    def __init__(self, work: Session | Statements, access: Access) -> None:
        self._work = work
        self._access = access

    def narrowed(self, access: Access) -> "Unit":
        """Return the same transaction with another access."""
        return Unit(self._work, access)

    @cached_property
    def api_keys(self) -> ApiKeyRepository:
        """API keys."""
        return ApiKeyRepository(self._work, self._access)

    @cached_property
    def attachments(self) -> AttachmentRepository:
        """Attaching stored bytes to slots."""
        return AttachmentRepository(self._work, self._access)

    @cached_property
    def audit_events(self) -> AuditEventRepository:
        """The audit trail."""
        return AuditEventRepository(self._work, self._access)

    @cached_property
    def blobs(self) -> BlobRepository:
        """Blobs."""
        return BlobRepository(self._work, self._access)

    @cached_property
    def customers(self) -> CustomerRepository:
        """Customers."""
        return CustomerRepository(self._work, self._access)

    @cached_property
    def document_types(self) -> DocumentTypeRepository:
        """Document types."""
        return DocumentTypeRepository(self._work, self._access)

    @cached_property
    def documents(self) -> DocumentRepository:
        """Slots, versions and files."""
        return DocumentRepository(self._work, self._access)

    @cached_property
    def dossiers(self) -> DossierRepository:
        """Customers with their slots."""
        return DossierRepository(self._work, self._access)

    @cached_property
    def erasures(self) -> ErasureRepository:
        """Erasures."""
        return ErasureRepository(self._work, self._access)

    @cached_property
    def holdings(self) -> HoldingRepository:
        """Holdings."""
        return HoldingRepository(self._work, self._access)

    @cached_property
    def idempotency_keys(self) -> IdempotencyKeyRepository:
        """Idempotency keys."""
        return IdempotencyKeyRepository(self._work, self._access)

    @cached_property
    def jobs(self) -> JobRepository:
        """The job queue."""
        return JobRepository(self._work, self._access)

    @cached_property
    def previews(self) -> PreviewRepository:
        """Previews."""
        return PreviewRepository(self._work, self._access)

    @cached_property
    def scans(self) -> ScanRepository:
        """Stored files as the scanner sees them."""
        return ScanRepository(self._work, self._access)

    @cached_property
    def rate_limits(self) -> RateLimitRepository:
        """Rate limits."""
        return RateLimitRepository(self._work, self._access)

    @cached_property
    def settings(self) -> SettingsRepository:
        """Portal settings."""
        return SettingsRepository(self._work, self._access)

    @cached_property
    def upload_sessions(self) -> UploadSessionRepository:
        """Upload sessions."""
        return UploadSessionRepository(self._work, self._access)
