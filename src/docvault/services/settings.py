"""Use cases of the portal settings."""

from typing import Any

from docvault.errors import GateRequiresSection
from docvault.models import PortalSettings
from docvault.rules.introductions import render_introduction
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.settings import IntroductionInput, PortalSettingsUpdate
from docvault.services.work import Work, difference

_AUDITED = ("section_enabled", "gate_enabled", "customer_may_delete", "introduction_source")


async def read_portal_settings(work: Work) -> PortalSettings:
    """Return the settings as they are now."""
    return await work.unit.settings.portal()


async def lock_portal_settings(work: Work) -> PortalSettings:
    """Return the settings, which nobody else changes until the transaction ends."""
    return await work.unit.settings.portal(lock=True)


async def update_portal_settings(work: Work, data: PortalSettingsUpdate) -> PortalSettings:
    """Change the settings; raises `GateRequiresSection` (A-08).

    The caller holds the row's lock through `lock_portal_settings`.
    """
    current = await work.unit.settings.portal()
    before = {name: getattr(current, name) for name in _AUDITED}
    switches = {"section_enabled", "gate_enabled", "customer_may_delete"} & data.model_fields_set
    values: dict[str, Any] = {name: getattr(data, name) for name in switches}
    if "introduction" in data.model_fields_set:
        values |= _introduction_columns(data.introduction)
    after = before | values
    if after["gate_enabled"] and not after["section_enabled"]:
        raise GateRequiresSection(pointer="/gate_enabled")
    updated = await work.unit.settings.update_portal(values)
    changes = difference(before, {name: getattr(updated, name) for name in _AUDITED})
    await work.record(AuditAction.PORTAL_SETTINGS_UPDATE, changes=changes)
    return updated


def _introduction_columns(introduction: IntroductionInput | None) -> dict[str, str | None]:
    if introduction is None:
        return dict.fromkeys(("introduction_format", "introduction_source", "introduction_html"))
    return {
        "introduction_format": introduction.format,
        "introduction_source": introduction.source,
        "introduction_html": render_introduction(introduction.format, introduction.source),
    }
