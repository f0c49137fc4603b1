"""Upload sessions: declared files whose bytes are sent to a signed URL."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, false, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base, new_id, size_of_values


class UploadSessionRow(Base):
    """A pending upload of a document; size and SHA-256 are those of its blob.

    Deleted with its blob, its customer or its type. A completed session is kept for a day, so
    that completing it can be repeated.
    """

    __tablename__ = "upload_sessions"
    __table_args__ = (
        Index("ix_upload_sessions_customer_id", "customer_id"),
        Index("ix_upload_sessions_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"))
    document_type_id: Mapped[UUID] = mapped_column(
        ForeignKey("document_types.id", ondelete="CASCADE")
    )
    blob_id: Mapped[UUID] = mapped_column(ForeignKey("blobs.id", ondelete="CASCADE"), unique=True)
    filename: Mapped[str]
    field_values: Mapped[dict[str, Any]] = mapped_column(JSONB)
    value_bytes: Mapped[int] = size_of_values("field_values")
    appends: Mapped[bool] = mapped_column(server_default=false())
    created_by_kind: Mapped[str]
    created_by_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    # Why the bytes were refused: code, detail and members of the problem. Final.
    refusal: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
