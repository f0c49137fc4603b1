"""From facts to what goes over the wire."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

from docvault.api.calls import Call
from docvault.auth.api_keys import PREFIX
from docvault.models import ApiKey, AuditDetail, AuditEvent, PortalSettings
from docvault.rules.customers import CustomerCounts, CustomerFacts
from docvault.rules.erasures import ErasureFacts
from docvault.rules.gate import Gate, evaluate_gate
from docvault.rules.introductions import IntroductionFormat
from docvault.rules.permissions import may_write
from docvault.rules.previews import can_preview
from docvault.rules.slots import FileFacts, Slot, TypeFacts, VersionFacts
from docvault.rules.states import status, totals, upload_state
from docvault.schemas.api_keys import ApiKeyRead
from docvault.schemas.audit_events import AuditAction, AuditActor, AuditEventRead
from docvault.schemas.customers import (
    CustomerRead,
    CustomerSummary,
    SummaryDocument,
    SummaryDocumentType,
    document_totals,
)
from docvault.schemas.document_types import AskedDocumentType, DocumentTypeRead, field_reads
from docvault.schemas.documents import (
    AdminDocumentRead,
    AdminUploader,
    DocumentRead,
    DocumentVersionRead,
    FileRead,
    Uploader,
    UploaderKind,
)
from docvault.schemas.erasures import ErasureCounts, ErasureRead
from docvault.schemas.gate import GateRead, gate_read
from docvault.schemas.settings import (
    IntroductionRead,
    PortalIntroduction,
    PortalRead,
    PortalSettingsRead,
)
from docvault.services.accepted_files import allowed_media_types, max_file_bytes
from docvault.settings import Settings


def document_type_view(facts: TypeFacts, settings: Settings) -> DocumentTypeRead:
    """Return a document type as staff and third parties see it."""
    return DocumentTypeRead(
        **_type_members(facts, settings),
        fields=field_reads(facts.fields),
        collects_fields=facts.collects_fields,
        position=facts.position,
        archived=facts.archived,
        created_at=facts.created_at,
        updated_at=facts.updated_at,
    )


def _type_members(facts: TypeFacts, settings: Settings) -> dict[str, Any]:
    return {
        "key": facts.key,
        "name": facts.name,
        "upload_mode": facts.upload_mode,
        "instructions": facts.instructions,
        "accepted_media_types": list(allowed_media_types(facts)),
        "max_size_bytes": max_file_bytes(facts, settings),
        "max_files": facts.max_files,
    }


def document_view(call: Call, slot: Slot) -> DocumentRead:
    """Return a document as customers and third parties see it."""
    version = slot.version
    uploader = Uploader(kind=_kind(version)) if version else None
    return DocumentRead(**_document_members(call, slot), uploaded_by=uploader)


def admin_document_view(call: Call, slot: Slot) -> AdminDocumentRead:
    """Return a document as staff see it: with who uploaded."""
    uploader = _admin_uploader(slot.version) if slot.version else None
    return AdminDocumentRead(**_document_members(call, slot), uploaded_by=uploader)


def _document_members(call: Call, slot: Slot) -> dict[str, Any]:
    settings = call.resources.settings
    version = slot.version
    return {
        "type": AskedDocumentType(
            **_type_members(slot.type, settings), fields=field_reads(slot.type.asked_fields)
        ),
        "upload_state": upload_state(slot),
        "status": status(slot),
        "version": version.number if version else 0,
        "uploaded_at": version.uploaded_at if version else None,
        "files": [_file_view(file) for file in version.files] if version else [],
        "field_values": slot.shown_values,
        "can_upload": may_write(call.asker.caller, slot.type),
    }


def version_view(version: VersionFacts, current: int) -> DocumentVersionRead:
    """Return a version as staff see it."""
    return DocumentVersionRead(
        version=version.number,
        uploaded_at=version.uploaded_at,
        uploaded_by=_admin_uploader(version),
        files=[_file_view(file) for file in version.files],
        field_values=dict(version.field_values),
        is_current=version.number == current,
    )


def _file_view(file: FileFacts) -> FileRead:
    return FileRead(
        number=file.number,
        filename=file.filename,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        has_preview=can_preview(file),
        has_active_content=file.has_active_content,
        scan=file.scan,
    )


def _kind(version: VersionFacts) -> UploaderKind:
    return cast("UploaderKind", version.uploaded_by_kind)


def _admin_uploader(version: VersionFacts) -> AdminUploader:
    return AdminUploader(kind=_kind(version), id=version.uploaded_by_id)


def customer_view(customer: CustomerFacts, counts: CustomerCounts) -> CustomerRead:
    """Return a customer as staff and third parties see it."""
    return CustomerRead(
        id=customer.external_id,
        name=customer.data.name,
        email=customer.data.email,
        tags=list(customer.data.tags),
        has_documents=counts.has_documents,
        documents=document_totals(counts.totals),
        created_at=customer.created_at,
        updated_at=customer.updated_at,
    )


def summary_view(
    customer: CustomerFacts, slots: Sequence[Slot], *, enforced: bool
) -> CustomerSummary:
    """Return the state of a customer's documents at a glance."""
    return CustomerSummary(
        customer_id=customer.external_id,
        documents=[_summary_document(slot) for slot in slots],
        totals=document_totals(totals(slots)),
        gate=gate_view(evaluate_gate(slots, enforced=enforced)),
    )


def _summary_document(slot: Slot) -> SummaryDocument:
    facts = slot.type
    return SummaryDocument(
        type=SummaryDocumentType(key=facts.key, name=facts.name, upload_mode=facts.upload_mode),
        upload_state=upload_state(slot),
        status=status(slot),
        uploaded_at=slot.version.uploaded_at if slot.version else None,
    )


def gate_view(gate: Gate) -> GateRead:
    """Return a verdict of this moment."""
    return gate_read(gate, datetime.now(UTC))


def portal_settings_view(row: PortalSettings) -> PortalSettingsRead:
    """Return the portal settings as staff see them."""
    introduction = None
    if row.introduction_format is not None:
        introduction = IntroductionRead(
            format=IntroductionFormat(row.introduction_format),
            source=row.introduction_source or "",
            html=row.introduction_html or "",
        )
    return PortalSettingsRead(
        section_enabled=row.section_enabled,
        gate_enabled=row.gate_enabled,
        customer_may_delete=row.customer_may_delete,
        introduction=introduction,
    )


def portal_view(row: PortalSettings, slots: Sequence[Slot]) -> PortalRead:
    """Return what a customer's front end needs."""
    html = row.introduction_html
    return PortalRead(
        section_enabled=row.section_enabled,
        introduction=None if html is None else PortalIntroduction(html=html),
        gate=gate_view(evaluate_gate(slots, enforced=row.gate_enabled)),
        documents=document_totals(totals(slots)),
    )


def erasure_view(erasure: ErasureFacts) -> ErasureRead:
    """Return an erasure; it does not say whose."""
    return ErasureRead(
        id=erasure.id,
        state="pending" if erasure.completed_at is None else "completed",
        requested_at=erasure.requested_at,
        completed_at=erasure.completed_at,
        counts=ErasureCounts(
            documents=erasure.documents,
            versions=erasure.versions,
            blobs_deleted=max(0, erasure.blobs - erasure.blobs_pending),
            blobs_pending=erasure.blobs_pending,
        ),
    )


def api_key_view(row: ApiKey) -> ApiKeyRead:
    """Return a key without its secret."""
    return ApiKeyRead(**api_key_members(row))


def api_key_members(row: ApiKey) -> dict[str, Any]:
    """Return what is told of a key, a new one or an old one."""
    return {
        "id": row.id,
        "name": row.name,
        "prefix": PREFIX + row.public_id,
        "scopes": row.scopes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "revoked_at": row.revoked_at,
    }


def audit_event_view(event: AuditEvent, detail: AuditDetail | None) -> AuditEventRead:
    """Return an event; without its details the customer is a pseudonym."""
    customer = detail.customer if detail and detail.customer else event.customer_pseudonym
    is_customer = event.actor_kind == "customer"
    actor_id = customer if is_customer and customer else event.actor_id
    return AuditEventRead(
        id=event.id,
        at=event.at,
        actor=AuditActor(
            kind=cast("Literal['admin', 'customer', 'integration', 'system']", event.actor_kind),
            id=actor_id,
        ),
        action=AuditAction(event.action),
        customer=customer,
        document_type=event.document_type,
        version=event.version,
        result=cast("Literal['ok', 'denied']", event.result),
        request_id=event.request_id,
        changes=detail.changes if detail else None,
    )
