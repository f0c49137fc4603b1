"""Use cases of the portal settings."""

from typing import Any

from docvault.domain.audit import AuditAction, difference
from docvault.domain.introductions import render_introduction
from docvault.domain.portal import PortalSettings
from docvault.errors import GateRequiresSection
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.portal_settings import IntroductionInput, PortalSettingsUpdate

_AUDITED = ("section_enabled", "gate_enabled", "customer_may_delete", "introduction_source")


async def read_portal_settings(uow: UnitOfWork) -> PortalSettings:
    """Return the current settings."""
    return await uow.portal_settings.portal()


async def lock_portal_settings(uow: UnitOfWork) -> PortalSettings:
    """Return the settings, locked until the transaction ends."""
    return await uow.portal_settings.portal(lock=True)


async def update_portal_settings(uow: UnitOfWork, data: PortalSettingsUpdate) -> PortalSettings:
    """Change the settings; raises `GateRequiresSection` (A-08).

    The caller holds the row's lock through `lock_portal_settings`.
    """
    current = await uow.portal_settings.portal()
    before = {name: getattr(current, name) for name in _AUDITED}
    switches = {"section_enabled", "gate_enabled", "customer_may_delete"} & data.model_fields_set
    values: dict[str, Any] = {name: getattr(data, name) for name in switches}
    if "introduction" in data.model_fields_set:
        values |= _introduction_columns(data.introduction)
    after = before | values
    if after["gate_enabled"] and not after["section_enabled"]:
        raise GateRequiresSection(pointer="/gate_enabled")
    updated = await uow.portal_settings.update_portal(values)
    changes = difference(before, {name: getattr(updated, name) for name in _AUDITED})
    if changes is not None:
        await uow.audit(
            AuditAction.PORTAL_SETTINGS_UPDATE,
            changes=changes,
            event_data={"changed": sorted(changes)},
        )
    return updated


def _introduction_columns(introduction: IntroductionInput | None) -> dict[str, str | None]:
    if introduction is None:
        return dict.fromkeys(("introduction_format", "introduction_source", "introduction_html"))
    return {
        "introduction_format": introduction.format,
        "introduction_source": introduction.source,
        "introduction_html": render_introduction(introduction.format, introduction.source),
    }
