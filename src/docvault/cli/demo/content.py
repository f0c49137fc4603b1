"""The example company: what it requests, and its customers in every state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docvault.cli.demo.files import (
    Drawing,
    draw_approval,
    draw_contract,
    draw_driving_licence,
    draw_passport,
    draw_payslip,
)

DOCUMENT_TYPES: tuple[dict[str, Any], ...] = (
    {
        "key": "passport",
        "name": "Passport",
        "upload_mode": "required",
        "instructions": "The page with your photo, or both sides of an identity card.",
        "accepted_media_types": ["image/jpeg", "image/png", "image/heic", "application/pdf"],
        "max_files": 2,
        "collects_fields": True,
        "fields": [{"label": "Number", "required": True}, {"label": "Expiry date"}],
    },
    {
        "key": "lease-contract",
        "name": "Lease contract",
        "upload_mode": "required",
        "instructions": "Sign the contract and scan every page.",
        "accepted_media_types": ["application/pdf"],
    },
    {
        "key": "driving-licence",
        "name": "Driving licence",
        "upload_mode": "required",
        "accepted_media_types": ["image/jpeg", "image/png", "application/pdf"],
    },
    {
        "key": "payslip",
        "name": "Payslip",
        "upload_mode": "optional",
        "instructions": "A recent payslip speeds up the decision.",
    },
    {"key": "credit-approval", "name": "Credit approval", "upload_mode": "admin_only"},
)

PORTAL_SETTINGS: dict[str, Any] = {
    "gate_enabled": True,
    "introduction": {"format": "markdown", "source": "Welcome to **Example Leasing**."},
}


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    """A customer and what they have sent, by the key of the document type."""

    id: str
    name: str
    sends: Mapping[str, Drawing] = field(default_factory=dict)
    field_values: Mapping[str, str] = field(default_factory=dict)
    # Of these, a second version replaces the first.
    replaces: frozenset[str] = frozenset()
    staff_send: Mapping[str, Drawing] = field(default_factory=dict)


_EVERYTHING: dict[str, Drawing] = {
    "passport": draw_passport,
    "lease-contract": draw_contract,
    "driving-licence": draw_driving_licence,
}
_PASSPORT_VALUES = {"number": "SPECI2025", "expiry-date": "2033-06-01"}

# The font of the drawings has the letters of ASCII.
CUSTOMERS = (
    DemoCustomer("demo-new", "Noor de Vries"),
    DemoCustomer("demo-started", "Emre Demir", {"passport": draw_passport}, _PASSPORT_VALUES),
    DemoCustomer("demo-value-missing", "Zoe Miller", _EVERYTHING),
    DemoCustomer("demo-complete", "Ada Bakker", _EVERYTHING, _PASSPORT_VALUES),
    DemoCustomer(
        "demo-replaced",
        "Joana Ferreira",
        {**_EVERYTHING, "payslip": draw_payslip},
        _PASSPORT_VALUES,
        replaces=frozenset({"lease-contract"}),
    ),
    DemoCustomer(
        "demo-approved",
        "Sofie Lund",
        {**_EVERYTHING, "payslip": draw_payslip},
        _PASSPORT_VALUES,
        staff_send={"credit-approval": draw_approval},
    ),
)
