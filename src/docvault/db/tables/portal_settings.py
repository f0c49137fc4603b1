"""The settings of the customer portal."""

from datetime import datetime

from sqlalchemy import CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base


class PortalSettingsRow(Base):
    """The single row of portal settings."""

    __tablename__ = "portal_settings"
    __table_args__ = (
        CheckConstraint("id = 1", "single_row"),
        CheckConstraint("section_enabled OR NOT gate_enabled", "gate_requires_section"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    section_enabled: Mapped[bool] = mapped_column(default=True)
    gate_enabled: Mapped[bool] = mapped_column(default=False)
    customer_may_delete: Mapped[bool] = mapped_column(default=False)
    introduction_format: Mapped[str | None]
    introduction_source: Mapped[str | None]
    introduction_html: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
