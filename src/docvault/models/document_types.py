"""Document types and the fields they collect."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import Text

from docvault.models.base import Base, new_id
from docvault.models.holdings import HOLDING_NUMBERS


class DocumentType(Base):
    """The definition of a document that is asked for (R-010)."""

    __tablename__ = "document_types"
    __table_args__ = (
        CheckConstraint("upload_mode IN ('optional', 'required', 'admin_only')", "upload_mode"),
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
    # Stands for "has a current file of this type" in `holdings`.
    number: Mapped[int] = mapped_column(
        HOLDING_NUMBERS, unique=True, server_default=HOLDING_NUMBERS.next_value()
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
    position: Mapped[int]
    # Set when the last trace of an upload goes with an erased customer.
    was_used: Mapped[bool] = mapped_column(server_default=text("false"))
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    fields: Mapped[list["DocumentTypeField"]] = relationship(
        lazy="raise",
        order_by="DocumentTypeField.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class DocumentTypeField(Base):
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
    # Stands for "the file has a value of this field" in `holdings`.
    number: Mapped[int] = mapped_column(
        HOLDING_NUMBERS, unique=True, server_default=HOLDING_NUMBERS.next_value()
    )
    key: Mapped[str]
    label: Mapped[str]
    folded_label: Mapped[str]
    required: Mapped[bool]
    position: Mapped[int]
    retired_at: Mapped[datetime | None]
