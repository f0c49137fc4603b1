"""Filters and counts in SQL agree with the rules in Python."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from docvault.db.tables import (
    CustomerRow,
    DocumentRow,
    DocumentTypeFieldRow,
    DocumentTypeRow,
    DocumentVersionRow,
    new_id,
)
from docvault.domain.customer_documents import DocumentSelection
from docvault.domain.customers import CustomerFilter, CustomerSort
from docvault.domain.document_status import UploadState, totals, upload_state
from docvault.domain.document_types import UploadMode
from docvault.domain.documents import Document
from docvault.domain.gate import GateDecision, evaluate_gate
from docvault.repositories.unit_of_work import UnitOfWork

SEEDS = range(8)
CUSTOMERS = 12
KEYS = ("f", "g-1", "it's")
BLANK_VALUES = (None, "", " ", "\t\r\n ", "\n")
VALUES = ("x", " x ", "\u00a0", "\u2003", "\x0b", "0", "null", "\tx")
MODES = (UploadMode.REQUIRED, UploadMode.REQUIRED, *UploadMode)


@dataclass(frozen=True)
class Setup:
    """Create random types and customers; return the ids of the customers and of all types."""

    customers: dict[str, UUID]
    types: list[UUID]


def random_field(rng: random.Random, type_id: UUID, key: str) -> dict[str, Any]:
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


def random_type(rng: random.Random, number: int) -> dict[str, Any]:
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


async def fill_document(
    session: AsyncSession, rng: random.Random, customer_id: UUID, type_id: UUID
) -> None:
    """Leave the document without a row, or with one: with or without file, values and history."""
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
    await session.execute(insert(DocumentRow).values(document))
    if last == 0 or rng.random() < 0.1:
        return
    version_id, kind = new_id(), rng.choice(("admin", "customer", "customer", "integration"))
    await session.execute(
        insert(DocumentVersionRow).values(
            id=version_id,
            document_id=document["id"],
            number=last,
            uploaded_at=datetime.now(UTC) - timedelta(hours=rng.randrange(48)),
            uploaded_by_kind=kind,
            uploaded_by_id="staff-1",
            field_values={},
        )
    )
    await session.execute(
        update(DocumentRow)
        .where(DocumentRow.id == document["id"])
        .values(current_version_id=version_id, uploaded_by_kind=kind)
    )


async def random_setup(uow: UnitOfWork, seed: int) -> Setup:
    rng = random.Random(seed)
    session = uow._connection.orm
    types = [random_type(rng, number) for number in range(rng.randrange(6))]
    fields = [random_field(rng, t["id"], key) for t in types for key in KEYS if rng.random() < 0.7]
    for table, rows in ((DocumentTypeRow, types), (DocumentTypeFieldRow, fields)):
        for row in rows:
            await session.execute(insert(table).values(row))
    customers = {f"c-{number}": new_id() for number in range(CUSTOMERS)}
    for external_id, id_ in customers.items():
        values = {"id": id_, "external_id": external_id, "tags": []}
        await session.execute(insert(CustomerRow).values(values))
        for row in types:
            await fill_document(session, rng, id_, row["id"])
    return Setup(customers, [row["id"] for row in types])


async def documents_of(uow: UnitOfWork, setup: Setup) -> dict[str, list[Document]]:
    """Return every document of each customer, archived types with a file included."""
    choice = DocumentSelection("all", with_archived=True)
    customer_documents = [
        await uow.customer_documents.find(external_id, choice) for external_id in setup.customers
    ]
    return {
        found.customer.external_id: list(found.documents) for found in customer_documents if found
    }


async def listed(uow: UnitOfWork, **conditions: Any) -> set[str]:
    filter_ = CustomerFilter(**conditions)
    rows = await uow.customers.list_page(filter_, CustomerSort.CREATED_AT, None, 100)
    assert await uow.customers.count(filter_) == len(rows)
    return {row.external_id for row in rows}


@pytest.mark.parametrize("seed", SEEDS)
class TestFilters:
    """list_page(), count() and counts() agree with `domain.document_status` and `domain.gate`."""

    @pytest.mark.req("R-074", "R-077", "R-078", "A-05", "A-10")
    async def test_gate_filter_matches_domain(self, uow: UnitOfWork, seed: int) -> None:
        setup = await random_setup(uow, seed)
        documents = await documents_of(uow, setup)
        for enforced in (True, False):
            decisions = {
                id_: evaluate_gate(of_one, enforced=enforced).decision
                for id_, of_one in documents.items()
            }
            for wanted in GateDecision:
                expected = {id_ for id_, decision in decisions.items() if decision is wanted}
                assert await listed(uow, gate=wanted, gate_enforced=enforced) == expected

    @pytest.mark.req("R-090", "R-091", "A-16")
    async def test_has_documents_and_counts_match_domain(self, uow: UnitOfWork, seed: int) -> None:
        setup = await random_setup(uow, seed)
        documents = await documents_of(uow, setup)
        counts = await uow.customers.progress(list(setup.customers.values()))
        has = {
            id_
            for id_, of_one in documents.items()
            if any(upload_state(document) is UploadState.UPLOADED for document in of_one)
        }
        assert await listed(uow, has_documents=True) == has
        assert await listed(uow, has_documents=False) == setup.customers.keys() - has
        for external_id, id_ in setup.customers.items():
            assert counts[id_].has_documents is (external_id in has)
            assert counts[id_].totals == totals(documents[external_id])

    @pytest.mark.req("R-092", "R-093")
    async def test_type_filters_match_domain(self, uow: UnitOfWork, seed: int) -> None:
        setup = await random_setup(uow, seed)
        documents = await documents_of(uow, setup)
        for type_id in setup.types:
            has = {
                id_
                for id_, of_one in documents.items()
                if any(document.type.id == type_id and document.version for document in of_one)
            }
            assert await listed(uow, uploaded=(type_id,)) == has
            assert await listed(uow, not_uploaded=(type_id,)) == setup.customers.keys() - has


def test_random_setups_cover_relevant_cases() -> None:
    """Check that every kind occurs often enough for the tests above."""
    rng = random.Random(1)
    types = [random_type(rng, number) for number in range(100)]
    assert {t["upload_mode"] for t in types} == set(UploadMode)
    assert {t["archived_at"] is None for t in types} == {True, False}
    assert {t["collects_fields"] for t in types} == {True, False}
