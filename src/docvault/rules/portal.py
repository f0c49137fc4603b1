"""Facts about the customer portal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortalSwitches:
    """What is switched on for all customers (R-070, R-079)."""

    section_enabled: bool
    gate_enabled: bool
