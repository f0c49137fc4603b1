"""Rate limits: what several processes count together."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from docvault.models.base import Base


class RateLimit(Base):
    """How often something happened in a window of a minute; `id` is a keyed hash of whom.

    Unlogged: counting costs no write-ahead log and no wait for the disk, and when the database
    crashes the counts of a minute are what is lost.
    """

    __tablename__ = "rate_limits"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 - SQLAlchemy reads it

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    number: Mapped[int]
    ends_at: Mapped[datetime]
