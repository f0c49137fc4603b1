"""SQL about the portal settings."""

from dataclasses import fields
from typing import Any

from sqlalchemy import func, select, update

from docvault.db.tables import PortalSettingsRow
from docvault.domain.portal import PortalSettings
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

_FIND = load_statement("find_portal_settings", PortalSettings)


class PortalSettingsRepository(Repository):
    """The single row of portal settings, inserted by the first migration."""

    async def portal(self, *, lock: bool = False) -> PortalSettings:
        """Return the current settings."""
        if not lock:
            return (await self._rows(_FIND, {}))[0]
        query = select(PortalSettingsRow).execution_options(populate_existing=True)
        return _to_settings((await self._session.scalars(query.with_for_update())).one())

    async def update_portal(self, values: dict[str, Any]) -> PortalSettings:
        """Change settings and return them."""
        statement = (
            update(PortalSettingsRow)
            .values(updated_at=func.clock_timestamp(), **values)
            .returning(PortalSettingsRow)
            .execution_options(populate_existing=True)
        )
        return _to_settings((await self._session.scalars(statement)).one())


def _to_settings(row: PortalSettingsRow) -> PortalSettings:
    return PortalSettings(**{one.name: getattr(row, one.name) for one in fields(PortalSettings)})
