"""The gate decisions in the feed, after any history of changes."""

import asyncio

import httpx
import pytest
from sqlalchemy import text
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.fixtures.events import compare_gates, written_events
from tests.repositories.test_fact_sets import CUSTOMERS, History

from docvault.services.resources import Resources

SEEDS = (0, 1)
STEPS = 120


class FeedReader:
    """Follows the gates: open until an event says otherwise."""

    def __init__(self) -> None:
        self.read = 0
        self.gates: dict[str, tuple[str, list[str]]] = {}

    async def follow(self, resources: Resources) -> None:
        """Apply the events that were written since the last call."""
        events = await written_events(resources)
        for event in events[self.read :]:
            if event.type == "gate.changed" and event.customer is not None:
                assert event.data is not None
                before, _ = self.gates.get(event.customer, ("open", []))
                assert event.data["was"] in {before, None}
                assert event.data["decision"] != before, "said twice"
                self.gates[event.customer] = event.data["decision"], event.data["due"]
        self.read = len(events)


async def shown_gates(admin: httpx.AsyncClient) -> dict[str, str]:
    """Return the decision of each customer as the API computes it."""
    customers = (await admin.get(CUSTOMERS, params={"limit": 100})).json()["items"]
    return {
        item["id"]: (await admin.get(f"{CUSTOMERS}/{item['id']}/gate")).json()["decision"]
        for item in customers
    }


@pytest.mark.req("B-231")
@pytest.mark.parametrize("seed", SEEDS)
async def test_follower_knows_every_gate_after_any_history(
    admin: httpx.AsyncClient, resources: Resources, seed: int
) -> None:
    history = History(admin, resources, seed)
    for number in range(STEPS):
        await history.step()
        if number % 30 == 10:
            await patch_portal(admin, gate_enabled=number % 60 == 10)
        if number % 15 == 14:
            await compare_gates(resources)
            # A customer who was erased and came back begins anew, so that the reader does too.
            reader = FeedReader()
            await reader.follow(resources)
            for id_, decision in (await shown_gates(admin)).items():
                assert reader.gates.get(id_, ("open", []))[0] == decision, (number, id_)
    assert history.done.keys() >= {"make_type", "change_type", "upload"}


@pytest.mark.req("B-231")
async def test_upload_before_the_comparison_is_not_lost(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    """`blocked` was published; the requirement is dropped, so the upload finds an open gate."""
    await patch_portal(admin, gate_enabled=True)
    await make_type(admin, "t", upload_mode="required")
    await make_customer(admin, "c-1")
    await patch_portal(admin, gate_enabled=False)
    await admin.put(f"{CUSTOMERS}/c-1/documents/t", **upload_of())
    await compare_gates(resources)
    gates = await written_events(resources, "gate.changed")
    assert [(event.data or {})["decision"] for event in gates] == ["blocked", "open"]


@pytest.mark.req("B-231")
async def test_decision_shown_before_the_comparison_is_published_before_the_next(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    """Who has read the list in between knows a blocked gate, and has to hear that it is open."""
    await make_type(admin, "t", upload_mode="required")
    await make_customer(admin, "c-1")
    await patch_portal(admin, gate_enabled=True)
    assert (await shown_gates(admin))["c-1"] == "blocked"
    await admin.put(f"{CUSTOMERS}/c-1/documents/t", **upload_of())
    await compare_gates(resources)
    gates = [event.data or {} for event in await written_events(resources, "gate.changed")]
    assert [(gate["was"], gate["decision"], gate["cause"], gate["due"]) for gate in gates] == [
        ("open", "blocked", "requirements", ["t"]),
        ("blocked", "open", "documents", []),
    ]


@pytest.mark.req("B-231")
async def test_transaction_that_read_the_old_requirements_is_compared_when_it_has_ended(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_type(admin, "t", upload_mode="required")
    insert = (
        "INSERT INTO customers (id, external_id, tags) VALUES (gen_random_uuid(), 'late', '{}')"
    )
    async with resources.database.transaction() as late:
        await late.execute(text(insert))
        await patch_portal(admin, gate_enabled=True)
        async with resources.autocommit(resources.system_context()) as uow:
            # It stays open, so that no pass is the last one.
            assert [await uow.events.compare_gates(3) for _ in range(5)] == [0] * 5
    await compare_gates(resources)
    gates = await written_events(resources, "gate.changed")
    assert [(event.customer, (event.data or {})["decision"]) for event in gates] == [
        ("late", "blocked")
    ]


@pytest.mark.req("B-231")
async def test_locked_customer_is_compared_in_a_later_pass(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_type(admin, "t", upload_mode="required")
    await make_customer(admin, "c-1")
    await make_customer(admin, "c-2")
    await patch_portal(admin, gate_enabled=True)
    async with resources.database.transaction() as holder:
        await holder.execute(text("SELECT FROM customers WHERE external_id = 'c-1' FOR UPDATE"))
        async with asyncio.timeout(20), resources.autocommit(resources.system_context()) as uow:
            assert await uow.events.compare_gates(3) == 1
        before = await written_events(resources, "gate.changed")
    await compare_gates(resources)
    after = await written_events(resources, "gate.changed")
    assert [event.customer for event in before] == ["c-2"]
    assert [event.customer for event in after] == ["c-2", "c-1"]
