"""Blobs: what is, was or will be in the blob store."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from docvault.models.base import Base, new_id


class Blob(Base):
    """The bytes behind a file or a preview (SECURITY D1 to D6).

    `pending`: announced, perhaps written, not yet attached; the reaper takes it after
    `expires_at`. `stored`: attached. `delete_queued`: a job deletes the bytes, then the row, at
    once or after `expires_at`.
    There is no foreign key to the customer: the row must outlive it until the bytes are gone.
    """

    __tablename__ = "blobs"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'stored', 'delete_queued')", "state"),
        CheckConstraint("kind IN ('file', 'preview')", "kind"),
        Index(
            "ix_blobs_unsettled",
            "state",
            "expires_at",
            postgresql_where=text("state <> 'stored'"),
        ),
        Index("ix_blobs_customer_id", "customer_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID]
    key: Mapped[str] = mapped_column(unique=True)
    # Previews are ours: they count for no quota.
    kind: Mapped[str] = mapped_column(server_default="file")
    state: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    expires_at: Mapped[datetime | None]
    # Names the key that encrypts the bytes; unused until envelope encryption exists.
    key_ref: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
