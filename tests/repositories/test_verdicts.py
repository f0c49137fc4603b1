"""The verdicts in SQL and the rules in Python say the same of the same slots."""

import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from docvault.models import (
    Customer,
    Document,
    DocumentType,
    DocumentTypeField,
    DocumentVersion,
    new_id,
)
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFilter, CustomerSort
from docvault.rules.dossiers import SlotChoice
from docvault.rules.gate import GateDecision, evaluate_gate
from docvault.rules.slots import Slot, UploadMode
from docvault.rules.states import UploadState, totals, upload_state

SEEDS = range(8)
CUSTOMERS = 12
KEYS = ("f", "g-1", "it's")
BLANK_VALUES = (None, "", " ", "\t\r\n ", "\n")
VALUES = ("x", " x ", "\u00a0", "\u2003", "\x0b", "0", "null", "\tx")
MODES = (UploadMode.REQUIRED, UploadMode.REQUIRED, *UploadMode)


@dataclass(frozen=True)
class Setup:
    """Random types and customers: the customers' ids, and the ids of all types."""

    customers: dict[str, UUID]
    types: list[UUID]


def some_field(rng: random.Random, type_id: UUID, key: str) -> dict[str, Any]:
    return {
        "id": new_id(),
        "document_type_id": type_id,
        "key": key,
        "label": key,
        "folded_label": key,
        "required": rng.random() < 0.6,
        "position": 0,
        "retired_at": rng.choice([None, None, "2024-01-01T00:00:00Z"]),
    }


def some_type(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": new_id(),
        "key": f"t-{number}",
        "name": f"T {number}",
        "folded_name": f"t {number}",
        "upload_mode": rng.choice(MODES),
        "collects_fields": rng.random() < 0.6,
        "max_files": 1,
        "position": rng.randrange(3),
        "archived_at": rng.choice([None, None, None, "2024-01-01T00:00:00Z"]),
    }


async def fill_slot(
    session: AsyncSession, rng: random.Random, customer_id: UUID, type_id: UUID
) -> None:
    """Leave the slot without a row, or give it one with or without a file, values, a past."""
    if rng.random() < 0.2:
        return
    values = {
        key: value
        for key in KEYS
        if (value := rng.choice(rng.choice((VALUES, VALUES, BLANK_VALUES)))) is not None
    }
    last = rng.choice((0, 1, 1, 2))
    document: dict[str, Any] = {"id": new_id(), "customer_id": customer_id,
                                "document_type_id": type_id, "last_version": last,
                                "field_values": values}  # fmt: skip
    await session.execute(insert(Document).values(document))
    if last == 0 or rng.random() < 0.1:
        return
    version_id = new_id()
    await session.execute(
        insert(DocumentVersion).values(
            id=version_id,
            document_id=document["id"],
            number=last,
            uploaded_by_kind="admin",
            uploaded_by_id="staff-1",
            field_values={},
        )
    )
    await session.execute(
        update(Document).where(Document.id == document["id"]).values(current_version_id=version_id)
    )


async def random_setup(unit: Unit, seed: int) -> Setup:
    rng = random.Random(seed)
    session = unit._work.orm
    types = [some_type(rng, number) for number in range(rng.randrange(6))]
    fields = [some_field(rng, t["id"], key) for t in types for key in KEYS if rng.random() < 0.7]
    for table, rows in ((DocumentType, types), (DocumentTypeField, fields)):
        for row in rows:
            await session.execute(insert(table).values(row))
    customers = {f"c-{number}": new_id() for number in range(CUSTOMERS)}
    for external_id, id_ in customers.items():
        values = {"id": id_, "external_id": external_id, "tags": []}
        await session.execute(insert(Customer).values(values))
        for row in types:
            await fill_slot(session, rng, id_, row["id"])
    return Setup(customers, [row["id"] for row in types])


async def slots_of(unit: Unit, setup: Setup) -> dict[str, list[Slot]]:
    """Return every slot of each customer, archived types with a file included."""
    choice = SlotChoice("all", with_archived=True)
    dossiers = [await unit.dossiers.find(external_id, choice) for external_id in setup.customers]
    return {found.customer.external_id: list(found.slots) for found in dossiers if found}


async def listed(unit: Unit, **conditions: Any) -> set[str]:
    filter_ = CustomerFilter(**conditions)
    rows = await unit.customers.list_page(filter_, CustomerSort.CREATED_AT, None, 100)
    assert await unit.customers.count(filter_) == len(rows)
    return {row.external_id for row in rows}


@pytest.mark.parametrize("seed", SEEDS)
class TestVerdicts:
    """`repositories/verdicts.py` against `rules/states.py` and `rules/gate.py`."""

    @pytest.mark.req("R-074", "R-077", "R-078", "A-05", "A-10")
    async def test_the_gate_filter(self, unit: Unit, seed: int) -> None:
        setup = await random_setup(unit, seed)
        slots = await slots_of(unit, setup)
        for enforced in (True, False):
            decisions = {
                id_: evaluate_gate(of_one, enforced=enforced).decision
                for id_, of_one in slots.items()
            }
            for wanted in GateDecision:
                expected = {id_ for id_, decision in decisions.items() if decision is wanted}
                assert await listed(unit, gate=wanted, gate_enforced=enforced) == expected

    @pytest.mark.req("R-090", "R-091", "A-16")
    async def test_has_documents_and_the_counts(self, unit: Unit, seed: int) -> None:
        setup = await random_setup(unit, seed)
        slots = await slots_of(unit, setup)
        counts = await unit.customers.counts(list(setup.customers.values()))
        has = {
            id_
            for id_, of_one in slots.items()
            if any(upload_state(slot) is UploadState.UPLOADED for slot in of_one)
        }
        assert await listed(unit, has_documents=True) == has
        assert await listed(unit, has_documents=False) == setup.customers.keys() - has
        for external_id, id_ in setup.customers.items():
            assert counts[id_].has_documents is (external_id in has)
            assert counts[id_].totals == totals(slots[external_id])

    @pytest.mark.req("R-092", "R-093")
    async def test_the_filters_by_type(self, unit: Unit, seed: int) -> None:
        setup = await random_setup(unit, seed)
        slots = await slots_of(unit, setup)
        for type_id in setup.types:
            has = {
                id_
                for id_, of_one in slots.items()
                if any(slot.type.id == type_id and slot.version for slot in of_one)
            }
            assert await listed(unit, uploaded=(type_id,)) == has
            assert await listed(unit, not_uploaded=(type_id,)) == setup.customers.keys() - has


def test_the_random_setups_differ_in_what_matters() -> None:
    """Enough of each kind, or the tests above would show little."""
    rng = random.Random(1)
    types = [some_type(rng, number) for number in range(100)]
    assert {t["upload_mode"] for t in types} == set(UploadMode)
    assert {t["archived_at"] is None for t in types} == {True, False}
    assert {t["collects_fields"] for t in types} == {True, False}
