"""Document types and the fields they collect."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from docvault.db.tables.base import Base, new_id
from docvault.db.tables.fact_sets import FACT_NUMBERS


class DocumentTypeRow(Base):
    """The definition of a document that customers are asked for."""

    __tablename__ = "document_types"
    __table_args__ = (
        CheckConstraint("upload_mode IN ('optional', 'required', 'admin_only')", "upload_mode"),
        CheckConstraint("password_protected IN ('accept', 'refuse')", "password_protected"),
        CheckConstraint("max_files BETWEEN 1 AND 20", "max_files"),
        # Names are unique among active types, trimmed and case-insensitive.
        Index(
            "uq_document_types_active_name",
            "folded_name",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
        Index("ix_document_types_position_id", "position", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    # In a fact set: "has a current file of this type".
    number: Mapped[int] = mapped_column(
        FACT_NUMBERS, unique=True, server_default=FACT_NUMBERS.next_value()
    )
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    folded_name: Mapped[str]
    upload_mode: Mapped[str]
    collects_fields: Mapped[bool]
    instructions: Mapped[str | None]
    accepted_media_types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    max_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_files: Mapped[int]
    password_protected: Mapped[str] = mapped_column(server_default=text("'accept'"))
    position: Mapped[int]
    # Set by an erasure that deletes the last trace of an upload.
    was_used: Mapped[bool] = mapped_column(server_default=text("false"))
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DocumentTypeFieldRow(Base):
    """One text field of a document type. Values are stored under its key, which never changes."""

    __tablename__ = "document_type_fields"
    __table_args__ = (
        Index("uq_document_type_fields_key", "document_type_id", "key", unique=True),
        Index(
            "uq_document_type_fields_active_label",
            "document_type_id",
            "folded_label",
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    document_type_id: Mapped[UUID] = mapped_column(
        ForeignKey("document_types.id", ondelete="CASCADE")
    )
    # In a fact set: "the file has a value of this field".
    number: Mapped[int] = mapped_column(
        FACT_NUMBERS, unique=True, server_default=FACT_NUMBERS.next_value()
    )
    key: Mapped[str]
    label: Mapped[str]
    folded_label: Mapped[str]
    required: Mapped[bool]
    position: Mapped[int]
    retired_at: Mapped[datetime | None]
