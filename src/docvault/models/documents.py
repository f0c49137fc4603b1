"""Documents (slots), their versions, the files of a version and their previews."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.models.base import Base, new_id


class Document(Base):
    """The slot of one customer for one document type.

    `last_version` only grows, so that a version number is never given out twice. Triggers keep
    the customer's `holding_id` in step with the files and values; see `holdings`.
    """

    __tablename__ = "documents"
    __table_args__ = (
        Index(
            "uq_documents_customer_id_document_type_id",
            "customer_id",
            "document_type_id",
            unique=True,
        ),
        CheckConstraint("last_version >= 0", "last_version"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"))
    document_type_id: Mapped[UUID] = mapped_column(ForeignKey("document_types.id"))
    current_version_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(
            "document_versions.id",
            use_alter=True,
            deferrable=True,
            initially="DEFERRED",
        ),
    )
    last_version: Mapped[int] = mapped_column(default=0)
    field_values: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DocumentVersion(Base):
    """One submission: who, when, and the field values at that time."""

    __tablename__ = "document_versions"
    __table_args__ = (
        Index("uq_document_versions_document_id_number", "document_id", "number", unique=True),
        CheckConstraint("number >= 1", "number"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    number: Mapped[int]
    uploaded_at: Mapped[datetime] = mapped_column(server_default=func.now())
    uploaded_by_kind: Mapped[str]
    uploaded_by_id: Mapped[str]
    field_values: Mapped[dict[str, Any]] = mapped_column(JSONB)


class DocumentFile(Base):
    """One file of a version; its bytes are in a blob."""

    __tablename__ = "document_files"
    __table_args__ = (
        Index("uq_document_files_version_id_number", "version_id", "number", unique=True),
        Index("ix_document_files_blob_id", "blob_id", unique=True),
        CheckConstraint("number BETWEEN 1 AND 20", "number"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("document_versions.id", ondelete="CASCADE"))
    blob_id: Mapped[UUID] = mapped_column(ForeignKey("blobs.id"))
    number: Mapped[int]
    filename: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    has_active_content: Mapped[bool]
    scan: Mapped[str]
    # The versions of the scanner and its signatures; none when it gave no verdict or was not there.
    scanned_with: Mapped[str | None]
    preview_failed: Mapped[bool] = mapped_column(default=False)


class Preview(Base):
    """A rendered picture of a file in one size, kept as a blob."""

    __tablename__ = "previews"

    file_id: Mapped[UUID] = mapped_column(
        ForeignKey("document_files.id", ondelete="CASCADE"), primary_key=True
    )
    size: Mapped[str] = mapped_column(primary_key=True)
    blob_id: Mapped[UUID] = mapped_column(ForeignKey("blobs.id"), unique=True)
    media_type: Mapped[str]
