"""Erasures: how much was deleted of a customer, without naming the customer."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base, new_id


class ErasureRow(Base):
    """The erasure of one customer. `customer_pseudonym` is a keyed hash of `external_id`."""

    __tablename__ = "erasures"
    __table_args__ = (
        Index("ix_erasures_customer_pseudonym", "customer_pseudonym"),
        Index("ix_erasures_completed_at", "completed_at"),
        Index("ix_erasures_pending", "requested_at", postgresql_where=text("completed_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_pseudonym: Mapped[str]
    # The internal id; blobs of this customer refer to it until they are deleted.
    customer_id: Mapped[UUID]
    documents: Mapped[int]
    versions: Mapped[int]
    blobs: Mapped[int]
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
