"""Customers, known by the host platform's own id."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from docvault.models.base import Base, new_id


class Customer(Base):
    """One customer.

    `id` is internal and stands in blob keys, jobs and logs, because the host's own
    `external_id` may be an e-mail address. A row with an `erasure_id` is being erased.
    """

    __tablename__ = "customers"
    __table_args__ = (
        Index("ix_customers_created_at_id", "created_at", "external_id"),
        Index(
            "ix_customers_name",
            text("lower(coalesce(name, ''))"),
            "external_id",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    external_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]
    email: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    erasure_id: Mapped[UUID | None] = mapped_column(ForeignKey("erasures.id"))
    # Tokens issued before this moment belong to an erased customer with the same id.
    tokens_valid_from: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


# For the case-insensitive prefix search; LIKE uses an index only with this operator class.
for _name, _column in {
    "id": Customer.external_id,
    "name": Customer.name,
    "email": Customer.email,
}.items():
    Index(
        f"ix_customers_lower_{_name}",
        func.lower(_column).label("lowered"),
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
