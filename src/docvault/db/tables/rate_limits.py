"""Rate limits: counters shared by all processes."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base


class RateLimitRow(Base):
    """A counter of a one-minute window; `id` is a keyed hash of what is limited.

    Unlogged: counting writes no write-ahead log and never waits for the disk; a database crash
    loses the counts of one minute.
    """

    __tablename__ = "rate_limits"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 - SQLAlchemy reads it

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    number: Mapped[int]
    ends_at: Mapped[datetime]
