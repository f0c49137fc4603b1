"""Sets of what customers have delivered, shared by all who delivered the same."""

from sqlalchemy import Identity, Index, Integer, Sequence
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from docvault.models.base import Base

# Types and fields have numbers out of one sequence; none is ever given out twice.
HOLDING_NUMBERS = Sequence("holding_numbers", data_type=Integer, metadata=Base.metadata)


class Holding(Base):
    """What some customers hold: numbers of types with a current file, and of fields with a value.

    Fields count while their type has a file. The set of row 0 is empty, and new customers have
    it; triggers on `documents` look up or add the others. Rows never change.
    """

    __tablename__ = "holdings"
    # Not unique: two uploads that need the same new set would wait for each other.
    __table_args__ = (Index("ix_holdings_numbers", "numbers"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    numbers: Mapped[list[int]] = mapped_column(ARRAY(Integer))
