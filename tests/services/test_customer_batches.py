"""Batches of customers: what is written, what is recorded, and how they wait for each other."""

import asyncio
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest
from tests.factories.setups import make_customer

from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

BATCHES = "/v1/integration/customer-batches"
SIZE = 500


async def put_batch(client: httpx.AsyncClient, items: list[dict[str, Any]]) -> list[int]:
    """Send a batch and return the status of each item."""
    response = await client.post(BATCHES, json={"items": items})
    assert response.status_code == 207, response.text
    results = response.json()["items"]
    assert [result["id"] for result in results] == [item["id"] for item in items]
    return [result["status"] for result in results]


async def events(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return all events about customers, oldest first."""
    page = (await admin.get("/v1/admin/audit-events", params={"limit": 100})).json()
    return [e for e in reversed(page["items"]) if e["action"].startswith("customer.")]


def rows(database_url: str) -> dict[str, tuple[Any, ...]]:
    """Return what is stored of each customer, and the transaction that wrote it."""
    query = (
        "SELECT external_id, name, email, tags, tokens_valid_from, created_at, updated_at,"
        " xmin::text FROM customers"
    )
    with psycopg.connect(database_url) as connection:
        return {row[0]: row[1:] for row in connection.execute(query).fetchall()}


class TestWrites:
    """Which rows and events a batch writes."""

    async def test_created_rows_hold_items(
        self, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        items: list[dict[str, Any]] = [
            {
                "id": "c-1",
                "name": "Ä \U0001f600 \"'\\",
                "email": "a@b.example",
                "tags": ["{", "a,b"],
            },
            {"id": "c|2"},
        ]
        assert await put_batch(integration, items) == [201, 201]
        found = rows(database_url)
        assert found["c-1"][:4] == (items[0]["name"], "a@b.example", ["{", "a,b"], None)
        assert found["c|2"][:4] == (None, None, [], None)
        for row in found.values():
            assert row[4] == row[5]

    async def test_changed_row_keeps_creation_time(
        self, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        await put_batch(integration, [{"id": "c-1", "name": "A", "tags": ["x"]}])
        before = rows(database_url)["c-1"]
        assert await put_batch(integration, [{"id": "c-1", "email": "a@b.example"}]) == [200]
        after = rows(database_url)["c-1"]
        assert after[:3] == (None, "a@b.example", [])
        assert after[4] == before[4]
        assert after[5] > before[5]

    async def test_unchanged_rows_are_not_written(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        items = [{"id": f"c-{n}", "name": f"N {n}", "tags": ["b", "a"]} for n in range(5)]
        await put_batch(integration, items)
        before, recorded = rows(database_url), await events(admin)
        assert await put_batch(integration, items) == [200] * 5
        assert rows(database_url) == before
        assert await events(admin) == recorded
        items[3]["tags"] = ["a", "b"]
        assert await put_batch(integration, items) == [200] * 5
        after = rows(database_url)
        assert [id_ for id_ in after if after[id_] != before[id_]] == ["c-3"]

    @pytest.mark.req("R-104")
    async def test_recreated_customer_refuses_old_tokens(
        self,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        resources: Resources,
        database_url: str,
    ) -> None:
        await make_customer(admin, "c-1")
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        assert await put_batch(integration, [{"id": "c-1"}, {"id": "c-2"}]) == [201, 201]
        erasure = (await admin.get("/v1/admin/erasures")).json()["items"][0]
        found = rows(database_url)
        assert found["c-1"][3] == datetime.fromisoformat(erasure["requested_at"])
        assert found["c-2"][3] is None

    async def test_events_are_recorded_in_order_of_id(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "b", name="Old", email="b@x.example", tags=["x", "y"])
        await make_customer(admin, "d", name="Same")
        await make_customer(admin, "e")
        await admin.delete("/v1/admin/customers/e")
        before = await events(admin)
        items = [
            {"id": "f", "name": "F"},
            {"id": "d", "name": "Same"},
            {"id": "c"},
            {"id": "b", "name": "New", "email": "b@x.example", "tags": ["y", "z"]},
            {"id": "e", "name": "E"},
            {"id": "Z"},
        ]
        response = await integration.post(BATCHES, json={"items": items})
        recorded = (await events(admin))[len(before) :]
        changes = {
            "name": {"old": "Old", "new": "New"},
            "tags": {"old": ["x"], "new": ["z"]},
        }
        assert [(e["action"], e["customer"], e["changes"]) for e in recorded] == [
            ("customer.create", "Z", None),
            ("customer.update", "b", changes),
            ("customer.create", "c", None),
            ("customer.create", "f", None),
        ]
        for event in recorded:
            assert event["actor"]["kind"] == "integration"
            assert event["request_id"] == response.headers["x-request-id"]
            assert (event["result"], event["files"], event["times"]) == ("ok", None, 1)
        times = [e["at"] for e in recorded]
        assert times == sorted(times)


class TestSimultaneous:
    """Batches at once."""

    async def test_overlapping_batches_both_succeed(
        self, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        ids = [f"c-{number:03}" for number in range(SIZE + 100)]
        for turn in range(3):
            first = [{"id": id_, "name": f"A {turn}"} for id_ in ids[:SIZE]]
            second = [{"id": id_, "name": f"B {turn}"} for id_ in reversed(ids[-SIZE:])]
            statuses = await asyncio.gather(
                put_batch(integration, first), put_batch(integration, second)
            )
            assert {status for each in statuses for status in each} <= {200, 201}
        found = rows(database_url)
        # The second one has replaced every customer of the first.
        assert len({found[id_][0] for id_ in ids[100:SIZE]}) == 1

    async def test_batch_waits_for_change_and_records_its_values(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        await put_batch(integration, [{"id": "c-1", "name": "A"}, {"id": "c-2", "name": "A"}])
        items = [{"id": "c-1", "name": "C"}, {"id": "c-2", "name": "A"}]
        change = "UPDATE customers SET name = 'B' WHERE external_id = 'c-1'"
        assert await put_meanwhile(integration, items, database_url, change) == [200, 200]
        assert (await events(admin))[-1]["changes"] == {"name": {"old": "B", "new": "C"}}

    async def test_customer_created_meanwhile_is_replaced(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        items = [{"id": "c-1"}, {"id": "c-2", "name": "B"}]
        change = (
            "INSERT INTO customers (id, external_id, name, tags)"
            " VALUES (gen_random_uuid(), 'c-2', 'A', '{}')"
        )
        assert await put_meanwhile(integration, items, database_url, change) == [201, 200]
        assert (await events(admin))[-1]["changes"] == {"name": {"old": "A", "new": "B"}}

    async def test_customer_erased_meanwhile_is_refused(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, database_url: str
    ) -> None:
        await put_batch(integration, [{"id": "c-1"}, {"id": "c-2"}])
        items = [{"id": "c-1", "name": "A"}, {"id": "c-2", "name": "A"}]
        change = "DELETE FROM customers WHERE external_id = 'c-1'"
        assert await put_meanwhile(integration, items, database_url, change) == [409, 200]
        assert [event["customer"] for event in (await events(admin))[2:]] == ["c-2"]


async def put_meanwhile(
    client: httpx.AsyncClient, items: list[dict[str, Any]], database_url: str, change: str
) -> list[int]:
    """Send a batch while another transaction makes a change, which the batch waits for."""
    waiting = (
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute(change)
        batch = asyncio.create_task(put_batch(client, items))
        async with asyncio.timeout(4):
            while not (await other.execute(waiting)).rowcount:
                # The view is kept for the length of a transaction.
                await other.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.01)
    return await batch
