"""Customers, known by the host platform's own id."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Computed, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from docvault.models.base import Base, new_id

# In the order of code points, the same in every database; a prefix is a range of it.
_BY_CODE_POINT = Text(collation="C")


def _lower(expression: str) -> Computed:
    return Computed(f"lower({expression})", persisted=True)


class Customer(Base):
    """One customer.

    `id` is internal and stands in blob keys, jobs and logs, because the host's own
    `external_id` may be an e-mail address. A row with an `erasure_id` is being erased.
    """

    __tablename__ = "customers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    external_id: Mapped[str] = mapped_column(_BY_CODE_POINT, unique=True)
    name: Mapped[str | None]
    email: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    erasure_id: Mapped[UUID | None] = mapped_column(ForeignKey("erasures.id"))
    # Tokens issued before this moment belong to an erased customer with the same id.
    tokens_valid_from: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Written by the triggers on `documents` alone.
    holding_id: Mapped[int] = mapped_column(ForeignKey("holdings.id"), server_default=text("0"))
    # For search and order; only queries use them.
    lower_external_id: Mapped[str] = mapped_column(
        _BY_CODE_POINT, _lower("external_id"), deferred=True
    )
    lower_name: Mapped[str] = mapped_column(
        _BY_CODE_POINT, _lower("coalesce(name, '')"), deferred=True
    )
    lower_email: Mapped[str] = mapped_column(
        _BY_CODE_POINT, _lower("coalesce(email, '')"), deferred=True
    )


# Each answers its part of a list without the table: what follows the key comes along.
_LISTED = text("erasure_id IS NULL")
Index(
    "ix_customers_created_at",
    Customer.created_at,
    Customer.external_id,
    postgresql_include=["holding_id"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_lower_name",
    Customer.lower_name,
    Customer.external_id,
    postgresql_include=["holding_id", "created_at"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_lower_external_id",
    Customer.lower_external_id,
    postgresql_include=["external_id", "holding_id", "created_at", "lower_name"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_lower_email",
    Customer.lower_email,
    postgresql_include=["external_id", "holding_id", "created_at", "lower_name"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_holding_id_lower_external_id",
    Customer.holding_id,
    Customer.lower_external_id,
    postgresql_include=["external_id", "created_at", "lower_name"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_holding_id_lower_email",
    Customer.holding_id,
    Customer.lower_email,
    postgresql_include=["external_id", "created_at", "lower_name"],
    postgresql_where=_LISTED,
)
# These have every row: removing holdings looks here too.
Index(
    "ix_customers_holding_id_created_at",
    Customer.holding_id,
    Customer.created_at,
    Customer.external_id,
    postgresql_include=["erasure_id"],
)
Index(
    "ix_customers_holding_id_lower_name",
    Customer.holding_id,
    Customer.lower_name,
    Customer.external_id,
    postgresql_include=["erasure_id", "created_at"],
)
