"""The customer portal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortalSwitches:
    """What is enabled for all customers."""

    section_enabled: bool
    gate_enabled: bool
    customer_may_delete: bool


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """The settings of the portal."""

    section_enabled: bool
    gate_enabled: bool
    customer_may_delete: bool
    introduction_format: str | None
    introduction_source: str | None
    introduction_html: str | None
