"""Customers, identified by an id that the host platform assigns."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Computed, ForeignKey, Index, PrimaryKeyConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from docvault.db.tables.base import Base, new_id

# Ordered by code point, the same in every database; a prefix is a range in this order.
_BY_CODE_POINT = Text(collation="C")


def _lower(expression: str) -> Computed:
    return Computed(f"lower({expression})", persisted=True)


class CustomerRow(Base):
    """One customer.

    `id` is internal and is used in blob keys, jobs and logs, because `external_id`, which the
    host assigns, may be an e-mail address. A row with an `erasure_id` is being erased.
    """

    __tablename__ = "customers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    external_id: Mapped[str] = mapped_column(_BY_CODE_POINT, unique=True)
    # For events, which keep it after an erasure; not the keyed hash of the audit trail.
    pseudonym: Mapped[str] = mapped_column(server_default=text("new_pseudonym()"))
    name: Mapped[str | None]
    email: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    erasure_id: Mapped[UUID | None] = mapped_column(ForeignKey("erasures.id"))
    # Tokens issued earlier belong to an erased customer with the same id.
    tokens_valid_from: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Written only by the triggers on `documents`.
    fact_set_id: Mapped[int] = mapped_column(ForeignKey("fact_sets.id"), server_default=text("0"))
    documents_changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), deferred=True)
    last_uploaded_at: Mapped[datetime | None] = mapped_column(deferred=True)
    # The gate decision that was published last; written only by triggers and `compare_gates`.
    gate_blocked: Mapped[bool] = mapped_column(server_default=text("false"), deferred=True)
    # For searching and sorting; never loaded.
    lower_external_id: Mapped[str] = mapped_column(
        _BY_CODE_POINT, _lower("external_id"), deferred=True
    )
    lower_name: Mapped[str] = mapped_column(
        _BY_CODE_POINT, _lower("coalesce(name, '')"), deferred=True
    )
    lower_email: Mapped[str] = mapped_column(
        _BY_CODE_POINT, _lower("coalesce(email, '')"), deferred=True
    )


class CustomerWordRow(Base):
    """The name of a customer from one of its words to the end; written only by triggers.

    It holds nothing that an upload changes.
    """

    __tablename__ = "customer_words"

    tail: Mapped[str] = mapped_column(_BY_CODE_POINT)
    external_id: Mapped[str] = mapped_column(_BY_CODE_POINT)
    word: Mapped[str] = mapped_column(
        _BY_CODE_POINT, Computed("split_part(spaced_words(tail), ' ', 1)", persisted=True)
    )
    lower_name: Mapped[str] = mapped_column(_BY_CODE_POINT)
    created_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint(
            "tail", "external_id", postgresql_include=["lower_name", "created_at"]
        ),
        Index(
            "ix_customer_words_word",
            "word",
            "lower_name",
            "external_id",
            postgresql_include=["tail"],
        ),
    )


# Index-only scans for the customer list: the included columns are all that a page needs.
_LISTED = text("erasure_id IS NULL")
Index(
    "ix_customers_created_at",
    CustomerRow.created_at,
    CustomerRow.external_id,
    postgresql_include=["fact_set_id"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_lower_name",
    CustomerRow.lower_name,
    CustomerRow.external_id,
    postgresql_include=["fact_set_id", "created_at"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_lower_external_id",
    CustomerRow.lower_external_id,
    postgresql_include=["external_id", "fact_set_id", "created_at", "lower_name"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_lower_email",
    CustomerRow.lower_email,
    postgresql_include=["external_id", "fact_set_id", "created_at", "lower_name"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_documents_changed_at",
    CustomerRow.documents_changed_at,
    CustomerRow.external_id,
    postgresql_include=["fact_set_id"],
    postgresql_where=_LISTED,
)
# A customer who never uploaded comes before all others.
_LAST_UPLOADED_AT = text("coalesce(last_uploaded_at, '1970-01-01 00:00:00+00'::timestamptz)")
Index(
    "ix_customers_last_uploaded_at",
    _LAST_UPLOADED_AT,
    CustomerRow.external_id,
    postgresql_include=["fact_set_id", "last_uploaded_at"],
    postgresql_where=_LISTED,
)
Index(
    "ix_customers_tags",
    CustomerRow.tags,
    postgresql_using="gin",
    postgresql_with={"fastupdate": "off"},
    postgresql_where=text("erasure_id IS NULL AND tags <> '{}'"),
)
# Not partial: they also serve the deletion of unused fact sets.
Index(
    "ix_customers_fact_set_id_created_at",
    CustomerRow.fact_set_id,
    CustomerRow.created_at,
    CustomerRow.external_id,
    postgresql_include=["erasure_id"],
)
Index(
    "ix_customers_fact_set_id_lower_name",
    CustomerRow.fact_set_id,
    CustomerRow.lower_name,
    CustomerRow.external_id,
    postgresql_include=["erasure_id", "created_at"],
)
Index(
    "ix_customers_fact_set_id_documents_changed_at",
    CustomerRow.fact_set_id,
    CustomerRow.documents_changed_at,
    CustomerRow.external_id,
    postgresql_include=["erasure_id"],
)
Index(
    "ix_customers_fact_set_id_last_uploaded_at",
    CustomerRow.fact_set_id,
    _LAST_UPLOADED_AT,
    CustomerRow.external_id,
    postgresql_include=["last_uploaded_at", "erasure_id"],
)
