"""Upload sessions: announced files whose bytes come by a signed URL."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.models.base import Base, new_id


class UploadSession(Base):
    """A file on its way to a slot; size and SHA-256 are those of its blob.

    It goes with its blob, with its customer and with its type; once completed it is kept for a
    day, so that completing can be repeated.
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
    created_by_kind: Mapped[str]
    created_by_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
