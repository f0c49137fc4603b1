"""What most requests about a customer begin with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from docvault.rules.customers import CustomerFacts
from docvault.rules.portal import PortalSwitches
from docvault.rules.slots import Slot


@dataclass(frozen=True, slots=True)
class Dossier:
    """A customer, what is switched on, and those of the customer's slots that were asked for."""

    customer: CustomerFacts
    switches: PortalSwitches
    slots: Sequence[Slot] = ()


@dataclass(frozen=True, slots=True)
class SlotChoice:
    """Which slots a dossier is to hold: none, the one of `key`, or all of them.

    Archived types show only with `with_archived`, and only while they hold a file (R-060).
    """

    which: Literal["none", "one", "all"] = "none"
    key: str | None = None
    with_archived: bool = False
