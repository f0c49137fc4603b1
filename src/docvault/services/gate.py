"""The gate of one customer, from the facts as they are now (R-079)."""

from docvault.rules.customers import CustomerFacts
from docvault.rules.gate import Gate, evaluate_gate
from docvault.rules.portal import PortalSwitches
from docvault.services.work import Work


async def read_gate(work: Work, customer: CustomerFacts, switches: PortalSwitches) -> Gate:
    """Return whether the host may give this customer full access."""
    slots = await work.unit.documents.slots(customer.id)
    return evaluate_gate(slots, enforced=switches.gate_enabled)
