"""Rows of statements that share columns; see `sql/fragments/*_columns.sql`.

Columns of the outer side of a join are null if there is no row, whatever their type says here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass
class CustomerRecord:
    """A row of customers."""

    customer_id: UUID
    external_id: str
    pseudonym: str
    customer_name: str | None
    email: str | None
    tags: list[str]
    erasure_id: UUID | None
    tokens_valid_from: datetime | None
    customer_created_at: datetime
    customer_updated_at: datetime


@dataclass
class PortalCustomerRecord(CustomerRecord):
    """A customer and the switches of the portal."""

    section_enabled: bool
    gate_enabled: bool
    customer_may_delete: bool


@dataclass
class DocumentTypeRecord:
    """A document type with its active fields, each with the names of `DocumentField`.

    Every column has a hash; see `to_document_type`.
    """

    type_id: UUID
    type_key: str
    type_name: str
    upload_mode: str
    collects_fields: bool
    fields: str | None
    instructions: str | None
    accepted_media_types: str | None
    max_size_bytes: int | None
    max_files: int
    password_protected: str
    position: int
    archived: bool
    type_created_at: datetime
    type_updated_at: datetime


@dataclass
class VersionRecord:
    """A version with its files, each with the names of `StoredFile`."""

    version_id: UUID
    version_number: int
    uploaded_at: datetime
    uploaded_by_kind: str
    uploaded_by_id: str
    version_values: dict[str, str]
    files: list[dict[str, Any]] | None


@dataclass
class DocumentRecord(VersionRecord, DocumentTypeRecord):
    """A document type, and the document of a customer with its current version."""

    document_values: dict[str, str] | None
    last_version: int | None
    is_uploaded: bool


@dataclass
class CustomerDocumentRecord(DocumentRecord, PortalCustomerRecord):
    """A customer and one of their documents."""

    has_type: bool


@dataclass
class OpenedUploadRecord(CustomerDocumentRecord):
    """The look-up of an upload, and what it counted and reserved."""

    upload_number: int | None
    upload_seconds_left: float | None
    reserved_bytes: int | None


@dataclass
class AuditedDownloadRecord(CustomerDocumentRecord):
    """A customer and one of their documents, whose download may be recorded."""

    is_audited: bool
