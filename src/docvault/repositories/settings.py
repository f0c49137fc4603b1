"""SQL about the portal settings."""

from typing import Any

from sqlalchemy import func, select, update

from docvault.models import PortalSettings
from docvault.repositories.base import Repository


class SettingsRepository(Repository):
    """The one row of portal settings, made by the first migration."""

    async def portal(self, *, lock: bool = False) -> PortalSettings:
        """Return the settings as they are now."""
        query = select(PortalSettings).execution_options(populate_existing=True)
        if lock:
            query = query.with_for_update()
        return (await self._session.scalars(query)).one()

    async def update_portal(self, values: dict[str, Any]) -> PortalSettings:
        """Change settings and return them."""
        statement = (
            update(PortalSettings)
            .values(updated_at=func.clock_timestamp(), **values)
            .returning(PortalSettings)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one()
