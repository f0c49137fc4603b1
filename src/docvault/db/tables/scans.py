"""Progress of rescanning stored files."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base


class ScanPassRow(Base):
    """The single row of the current or last pass over all stored files.

    A pass runs from the newest file to the oldest. `position` is the last file it handled.
    """

    __tablename__ = "scan_passes"
    __table_args__ = (CheckConstraint("id = 1", "single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    scanned_with: Mapped[str]
    position: Mapped[UUID | None]
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
