"""Documents, their versions, the files of a version and their previews."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base, new_id, size_of_values


class DocumentRow(Base):
    """The document of one customer of one type, uploaded or missing.

    `last_version` only grows, so that a version number is never reused. Triggers update the
    customer's `fact_set_id` and `documents_changed_at` when files or values change.
    """

    __tablename__ = "documents"
    __table_args__ = (
        Index(
            "uq_documents_customer_id_document_type_id",
            "customer_id",
            "document_type_id",
            unique=True,
        ),
        # Newest first, and for the check of the reference when a version is deleted.
        Index(
            "ix_documents_current_version_id",
            "current_version_id",
            postgresql_where=text("current_version_id IS NOT NULL"),
        ),
        # The same for each group of documents with the same type, kind of uploader and status.
        Index(
            "ix_documents_listed",
            "document_type_id",
            "uploaded_by_kind",
            text("filled_fields(field_values)"),
            "current_version_id",
            postgresql_where=text("current_version_id IS NOT NULL"),
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
    # Of the current version, or the last one. The default is for processes of an earlier release,
    # during an upgrade.
    uploaded_by_kind: Mapped[str] = mapped_column(
        Text(collation="C"), server_default=text("'customer'")
    )
    last_version: Mapped[int] = mapped_column(default=0)
    field_values: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    value_bytes: Mapped[int] = size_of_values("field_values")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DocumentVersionRow(Base):
    """One upload: by whom, when, and the field values at that time."""

    __tablename__ = "document_versions"
    __table_args__ = (
        Index("uq_document_versions_document_id_number", "document_id", "number", unique=True),
        CheckConstraint("number >= 1", "number"),
        Index(
            "ix_document_versions_previews_due_at",
            "previews_due_at",
            postgresql_where=text("previews_due_at IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    number: Mapped[int]
    uploaded_at: Mapped[datetime] = mapped_column(server_default=func.now())
    uploaded_by_kind: Mapped[str]
    uploaded_by_id: Mapped[str]
    field_values: Mapped[dict[str, Any]] = mapped_column(JSONB)
    value_bytes: Mapped[int] = size_of_values("field_values")
    # When the worker may next try to render the previews; null if there is nothing to render.
    previews_due_at: Mapped[datetime | None]


class DocumentFileRow(Base):
    """One file of a version; its bytes are in a blob, which versions of a document may share."""

    __tablename__ = "document_files"
    __table_args__ = (
        Index("uq_document_files_version_id_number", "version_id", "number", unique=True),
        Index("ix_document_files_blob_id", "blob_id"),
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
    # Null: not known.
    has_attachments: Mapped[bool | None]
    needs_password: Mapped[bool | None]
    # Null if unknown, or if a file of this type has no pages.
    pages: Mapped[int | None]
    scan: Mapped[str]
    # Version of the scanner and its signatures; null if the scan failed or did not run.
    scanned_with: Mapped[str | None]
    # Whether the first page cannot be rendered, and which of the other pages cannot.
    preview_failed: Mapped[bool] = mapped_column(default=False)
    failed_pages: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default="{}")


class PreviewRow(Base):
    """A rendered image of a page of a file in one size, stored as a blob."""

    __tablename__ = "previews"
    __table_args__ = (CheckConstraint("page >= 1", "page"),)

    file_id: Mapped[UUID] = mapped_column(
        ForeignKey("document_files.id", ondelete="CASCADE"), primary_key=True
    )
    # The default is for processes of an earlier release, during an upgrade.
    page: Mapped[int] = mapped_column(primary_key=True, server_default="1")
    size: Mapped[str] = mapped_column(primary_key=True)
    blob_id: Mapped[UUID] = mapped_column(ForeignKey("blobs.id"), unique=True)
    media_type: Mapped[str]
