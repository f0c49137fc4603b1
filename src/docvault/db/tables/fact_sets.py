"""Fact sets: which documents and field values customers have, shared between customers."""

from sqlalchemy import Identity, Index, Integer, Sequence
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base

# Numbers types and fields; one sequence, so that a number is never reused.
FACT_NUMBERS = Sequence("fact_numbers", data_type=Integer, metadata=Base.metadata)


class FactSetRow(Base):
    """The numbers of the types that have a current file, and of their fields that have a value.

    A field counts only while its type has a file. Row 0 is the empty set, which new customers
    refer to; triggers on `documents` find or insert the others. Rows are never updated.
    """

    __tablename__ = "fact_sets"
    # Not unique: two uploads that insert the same set would block each other.
    __table_args__ = (Index("ix_fact_sets_numbers", "numbers"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    numbers: Mapped[list[int]] = mapped_column(ARRAY(Integer))
