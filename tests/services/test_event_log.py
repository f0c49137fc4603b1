"""The event log: deleted after a time, and replaced after a restore."""

import httpx
import pytest
from sqlalchemy import text
from tests.factories.setups import make_customer

from docvault.domain.events import EventLog
from docvault.services import events
from docvault.services.event_log import begin_log, check_log
from docvault.services.events import prune_events, publish_events, read_log
from docvault.services.resources import Resources
from docvault.storage.base import EVENTS_FOLDER


async def execute(resources: Resources, statement: str) -> None:
    """Change rows."""
    async with resources.database.transaction() as session:
        await session.execute(text(statement))


async def marks(resources: Resources) -> list[str]:
    """Return what the store knows of the log."""
    return [blob.key async for blob in resources.store.list_folder(EVENTS_FOLDER)]


@pytest.fixture
async def log(admin: httpx.AsyncClient, resources: Resources) -> EventLog:
    """A log with four events."""
    for number in range(4):
        await make_customer(admin, f"c-{number}")
    await publish_events(resources)
    return await read_log(resources)


@pytest.mark.req("B-238")
class TestCheckLog:
    """check_log() and begin_log()."""

    async def test_restored_database_begins_a_new_log(
        self, resources: Resources, log: EventLog
    ) -> None:
        await check_log(resources)
        await execute(resources, "DELETE FROM events WHERE position > 2")
        await execute(resources, "UPDATE event_log SET last = 2")
        await check_log(resources)
        begun = await read_log(resources)
        assert begun.log != log.log
        assert begun.latest == 2
        await check_log(resources)
        assert await read_log(resources) == begun

    async def test_database_that_went_on_keeps_its_log(
        self, admin: httpx.AsyncClient, resources: Resources, log: EventLog
    ) -> None:
        await check_log(resources)
        await make_customer(admin, "c-9")
        await read_log(resources)
        await check_log(resources)
        await check_log(resources)
        assert (await read_log(resources)).log == log.log
        assert await marks(resources) == [f"{EVENTS_FOLDER}/{log.log.hex[:16]}{5:016x}"]

    async def test_recorded_positions_are_no_blobs(
        self, resources: Resources, log: EventLog
    ) -> None:
        assert log.latest == 4
        await check_log(resources)
        assert not [blob async for blob in resources.store.list_blobs()]

    async def test_operator_begins_a_new_log(self, resources: Resources, log: EventLog) -> None:
        await begin_log(resources)
        assert (await read_log(resources)).log != log.log


@pytest.mark.req("B-236")
class TestPruneEvents:
    """prune_events()."""

    async def test_old_events_are_deleted_from_the_oldest_on(
        self, resources: Resources, log: EventLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "PRUNED", 2)
        monkeypatch.setattr(events, "PRUNED_IN_RUN", 10)
        old = "UPDATE events SET at = now() - interval '91 days' WHERE position <= 3"
        await execute(resources, old)
        await prune_events(resources)
        pruned = await read_log(resources)
        assert (pruned.log, pruned.oldest, pruned.latest) == (log.log, 4, 4)
        await prune_events(resources)
        assert await read_log(resources) == pruned

    async def test_log_may_become_empty(
        self, admin: httpx.AsyncClient, resources: Resources, log: EventLog
    ) -> None:
        await execute(resources, "UPDATE events SET at = now() - interval '91 days'")
        await prune_events(resources)
        pruned = await read_log(resources)
        assert (pruned.oldest, pruned.latest) == (5, log.latest)
        page = (await admin.get("/v1/admin/events")).json()
        assert page["items"] == []
        await make_customer(admin, "c-9")
        page = (await admin.get("/v1/admin/events", params={"after": page["next_after"]})).json()
        assert [event["position"] for event in page["items"]] == [5]
