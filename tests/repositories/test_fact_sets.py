"""Fact sets after any history of changes, and the deletion of unused ones."""

import asyncio
import json
import random
from typing import Any

import httpx
import pytest
from sqlalchemy import and_, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of

from docvault.repositories import fact_sets as fact_sets_module
from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.services.resources import Resources

CUSTOMERS = "/v1/admin/customers"
TYPES = "/v1/admin/document-types"
SEEDS = range(4)
STEPS = 200
LABELS = ("F", "G")
VALUES = ("", " \t", "x", "\u00a0", None)
MODES = ("required", "required", "optional", "admin_only")

WRONG = text(
    """
    SELECT external_id FROM customers JOIN fact_sets ON fact_sets.id = fact_set_id
    WHERE numbers <> customer_facts(customers.id)
    """
)


class History:
    """Random operations by staff, including rejected ones, which change nothing."""

    def __init__(self, admin: httpx.AsyncClient, resources: Resources, seed: int) -> None:
        self._admin = admin
        self._resources = resources
        self._random = random.Random(seed)
        self._types = 0
        self.done: dict[str, int] = {}

    async def step(self) -> None:
        """Perform a random operation."""
        (act,) = self._random.choices(
            (self.make_type, self.change_type, self.delete_type, self.make_customer, self.upload,
             self.patch_values, self.delete_document, self.erase),
            (2, 8, 1, 3, 20, 6, 5, 1),
        )  # fmt: skip
        response = await act()
        assert response.status_code < 500, response.text
        if response.is_success:
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1

    async def make_type(self) -> httpx.Response:
        """Create a document type."""
        self._types += 1
        return await self._admin.post(TYPES, json={"name": f"T{self._types}"} | self._definition())

    async def change_type(self) -> httpx.Response:
        """Change the mode or the fields of a type, archive or restore it."""
        change: dict[str, Any] = self._random.choice(
            [self._definition(), self._definition(), {"archived": True}, {"archived": False}]
        )
        path = f"{TYPES}/{self._type()}"
        etag = (await self._admin.get(path)).headers.get("etag", "*")
        return await self._admin.patch(path, json=change, headers={"If-Match": etag})

    async def delete_type(self) -> httpx.Response:
        """Delete a type, which only works if it was never used."""
        return await self._admin.delete(f"{TYPES}/{self._type()}")

    async def make_customer(self) -> httpx.Response:
        """Create or update a customer."""
        return await self._admin.put(f"{CUSTOMERS}/{self._customer()}", json={})

    async def upload(self) -> httpx.Response:
        """Upload or replace a document."""
        fields: dict[str, Any] = (
            {"field_values": self._values()} if self._random.random() < 0.5 else {}
        )
        return await self._admin.put(self._document(), **upload_of(**fields))

    async def patch_values(self) -> httpx.Response:
        """Correct the values of a document, with or without a file."""
        return await self._admin.patch(
            self._document(), content=f'{{"field_values": {self._values()}}}',
            headers={"Content-Type": "application/json"},
        )  # fmt: skip

    async def delete_document(self) -> httpx.Response:
        """Delete a document."""
        return await self._admin.delete(self._document())

    async def erase(self) -> httpx.Response:
        """Erase a customer, whose row is deleted now or with a later erasure."""
        response = await self._admin.delete(f"{CUSTOMERS}/{self._customer()}")
        if self._random.random() < 0.5:
            await finish_erasures(self._resources)
        return response

    def _definition(self) -> dict[str, Any]:
        chosen = [label for label in LABELS if self._random.random() < 0.7]
        required = [self._random.random() < 0.6 for _ in chosen]
        return {
            "upload_mode": self._random.choice(MODES),
            "collects_fields": bool(chosen) and self._random.random() < 0.8,
            "fields": [
                {"label": label, "required": is_required}
                for label, is_required in zip(chosen, required, strict=True)
            ],
        }

    def _values(self) -> str:
        keys = [label.lower() for label in LABELS if self._random.random() < 0.4]
        return json.dumps({key: self._random.choice(VALUES) for key in keys})

    def _customer(self) -> str:
        return f"c-{self._random.randrange(4)}"

    def _type(self) -> str:
        return f"t{max(self._types - self._random.randrange(4), 1)}"

    def _document(self) -> str:
        return f"{CUSTOMERS}/{self._customer()}/documents/{self._type()}"


async def shown(admin: httpx.AsyncClient, **params: str) -> dict[str, Any]:
    """Return the listed customers by id."""
    response = await admin.get(CUSTOMERS, params={**params, "include_total": "true"})
    assert response.status_code == 200, response.text
    page = response.json()
    assert page["total"] == len(page["items"])
    return {item["id"]: item for item in page["items"]}


async def assert_lists_agree(admin: httpx.AsyncClient) -> None:
    """Compare lists with the rules, which the summary of each customer uses."""
    customers = await shown(admin)
    summaries = {id_: (await admin.get(f"{CUSTOMERS}/{id_}/summary")).json() for id_ in customers}
    held = {
        id_: {
            document["type"]["key"]
            for document in summary["documents"]
            if document["upload_state"] == "uploaded"
        }
        for id_, summary in summaries.items()
    }
    for id_, customer in customers.items():
        assert customer["documents"] == summaries[id_]["totals"], id_
        assert customer["has_documents"] == bool(held[id_]), id_
    types = [
        item["key"]
        for archived in ("true", "false")
        for item in (await admin.get(TYPES, params={"archived": archived})).json()["items"]
    ]
    expected: dict[tuple[str, str], set[str]] = {
        ("has_documents", "true"): {id_ for id_ in held if held[id_]},
        ("has_documents", "false"): {id_ for id_ in held if not held[id_]},
    }
    for key in types:
        expected["uploaded", key] = {id_ for id_ in held if key in held[id_]}
        expected["not_uploaded", key] = {id_ for id_ in held if key not in held[id_]}
    for decision in ("open", "blocked"):
        expected["gate", decision] = {
            id_ for id_, summary in summaries.items() if summary["gate"]["decision"] == decision
        }
    for (name, value), ids in expected.items():
        assert (await shown(admin, **{name: value})).keys() == ids, (name, value)


async def wrong(resources: Resources) -> list[str]:
    """Return the customers whose fact set does not match their documents."""
    async with resources.database.transaction() as session:
        return list(await session.scalars(WRONG))


async def fact_sets(resources: Resources) -> list[list[int]]:
    """Return every fact set."""
    async with resources.database.transaction() as session:
        return list(await session.scalars(text("SELECT numbers FROM fact_sets ORDER BY id")))


FILL = """
    WITH document AS (
        INSERT INTO documents (
            id, customer_id, document_type_id, current_version_id, last_version, field_values
        )
        SELECT gen_random_uuid(), customers.id, document_types.id, gen_random_uuid(), 1, '{}'
        FROM customers, document_types WHERE external_id = :customer AND key = :key
        RETURNING *
    )
    INSERT INTO document_versions (
        id, document_id, number, uploaded_by_kind, uploaded_by_id, field_values
    )
    SELECT current_version_id, id, 1, 'admin', 'staff-1', '{}' FROM document
"""


async def fill(session: AsyncSession, customer: str, key: str) -> None:
    """Add a file for a customer, in a transaction that stays open."""
    await session.execute(text(FILL), {"customer": customer, "key": key})


class TestTriggers:
    """The triggers on `documents`."""

    @pytest.mark.req("R-090", "R-091", "R-092", "R-093", "R-097", "A-10", "A-16")
    @pytest.mark.parametrize("seed", SEEDS)
    async def test_fact_sets_match_domain_after_any_history(
        self, admin: httpx.AsyncClient, resources: Resources, seed: int
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        history = History(admin, resources, seed)
        for number in range(STEPS):
            await history.step()
            if number % 20 == 19:
                await assert_lists_agree(admin)
                assert await wrong(resources) == []
        assert history.done.keys() >= {"make_type", "change_type", "upload", "delete_document"}

    async def test_concurrent_uploads_of_one_customer_all_count(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        keys = [f"t{number}" for number in range(6)]
        for key in keys:
            await make_type(admin, key)
        for round_ in range(3):
            await make_customer(admin, f"c-{round_}")
            responses = await asyncio.gather(
                *(
                    admin.put(f"{CUSTOMERS}/c-{round_}/documents/{key}", **upload_of())
                    for key in keys
                )
            )
            assert [response.status_code for response in responses] == [201] * len(keys)
            assert await wrong(resources) == []

    async def test_customers_creating_same_set_do_not_wait(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_type(admin, "t")
        for id_ in ("c-1", "c-2"):
            await make_customer(admin, id_)
        async with resources.database.transaction() as session:
            await fill(session, "c-1", "t")
            # If it waited for the first, it would deadlock.
            async with asyncio.timeout(20), resources.database.transaction() as other:
                await fill(other, "c-2", "t")
        assert await wrong(resources) == []
        assert (await shown(admin, uploaded="t")).keys() == {"c-1", "c-2"}


class TestDeleteUnused:
    """FactSetRepository.delete_unused()."""

    @pytest.fixture(autouse=True)
    async def customers(self, admin: httpx.AsyncClient) -> None:
        """A customer with a document, one whose document was deleted, and one without any."""
        await make_type(admin, "t")
        await make_type(admin, "u")
        for id_ in ("c-1", "c-2", "c-3"):
            await make_customer(admin, id_)
        await admin.put(f"{CUSTOMERS}/c-1/documents/t", **upload_of())
        await admin.put(f"{CUSTOMERS}/c-2/documents/u", **upload_of())
        await admin.delete(f"{CUSTOMERS}/c-2/documents/u")

    async def test_reaper_deletes_unused_sets(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        assert len(await fact_sets(resources)) == 3
        await reap(resources)
        assert len(await fact_sets(resources)) == 2
        assert await wrong(resources) == []
        await assert_lists_agree(admin)

    async def test_empty_set_is_kept(self, admin: httpx.AsyncClient, resources: Resources) -> None:
        for id_ in ("c-2", "c-3"):
            await admin.put(f"{CUSTOMERS}/{id_}/documents/t", **upload_of())
        await reap(resources)
        await make_customer(admin, "c-4")
        assert [] in await fact_sets(resources)

    async def test_locked_set_is_skipped(self, resources: Resources) -> None:
        async with resources.database.transaction() as session:
            await fill(session, "c-3", "u")
            async with (
                asyncio.timeout(20),
                resources.transaction(resources.system_context()) as uow,
            ):
                await uow.fact_sets.delete_unused()
        assert await wrong(resources) == []
        assert len(await fact_sets(resources)) == 3

    async def test_set_used_before_locking_is_kept(
        self, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # With it the first query takes its snapshot and then waits for the test.
        gate = text("pg_advisory_xact_lock_shared(37) IS NOT NULL")
        monkeypatch.setattr(fact_sets_module, "_UNUSED", and_(fact_sets_module._UNUSED, gate))

        async def delete_unused() -> None:
            async with resources.transaction(resources.system_context()) as uow:
                await uow.fact_sets.delete_unused()

        async with resources.database.transaction() as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(37)"))
            deleting = asyncio.create_task(delete_unused())
            await waits_for_advisory_lock(resources)
            async with resources.database.transaction() as other:
                await fill(other, "c-3", "u")
        await deleting
        assert await wrong(resources) == []
        assert len(await fact_sets(resources)) == 3


async def waits_for_advisory_lock(resources: Resources) -> None:
    """Wait until a statement waits for the test's lock."""
    waiting = text("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with asyncio.timeout(20):
        while True:
            async with resources.database.transaction() as session:
                if (await session.execute(waiting)).first():
                    return
            await asyncio.sleep(0.01)
