"""The event feed of staff and third parties."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import KeyClients

from docvault.domain.scopes import Scope
from docvault.repositories import events as events_repository
from docvault.services import event_poll
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

FEED = "/v1/admin/events"
CONTRACT = "/v1/admin/customers/c-1/documents/contract"


async def read(client: httpx.AsyncClient, path: str = FEED, **params: Any) -> dict[str, Any]:
    """Return a page of the feed."""
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def types(page: dict[str, Any]) -> list[str]:
    """Return the types of a page."""
    return [event["type"] for event in page["items"]]


@pytest.fixture
async def contract(admin: httpx.AsyncClient) -> None:
    """A customer with a contract."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1", name="Anna")
    assert (await admin.put(CONTRACT, **upload_of())).status_code == 201


@pytest.mark.req("B-232")
@pytest.mark.usefixtures("contract")
class TestPage:
    """What a page contains."""

    async def test_events_have_positions_actor_and_facts(self, admin: httpx.AsyncClient) -> None:
        page = await read(admin)
        assert types(page) == ["document_type.created", "customer.created", "document.uploaded"]
        assert [event["position"] for event in page["items"]] == [1, 2, 3]
        uploaded = page["items"][2]
        audit = (await admin.get("/v1/admin/audit-events")).json()["items"]
        audited = next(item for item in audit if item["action"] == "document.upload")
        assert {name: uploaded[name] for name in ("id", "request_id")} == {
            name: audited[name] for name in ("id", "request_id")
        }
        assert uploaded["actor"] == {"kind": "admin", "id": "staff-1"}
        customer = (await admin.get("/v1/admin/customers/c-1")).json()
        assert uploaded["customer"] == {"id": "c-1", "pseudonym": customer["pseudonym"]}
        assert uploaded["data"] == {
            "document_type": "contract",
            "version": 1,
            "upload_state": "uploaded",
            "status": "accepted",
            "file": None,
        }
        assert (page["oldest"], page["latest"], page["has_more"]) == (1, 3, False)
        assert page["next_after"] == f"{page['log'].replace('-', '')}-3"

    async def test_following_reads_each_event_once(self, admin: httpx.AsyncClient) -> None:
        first = await read(admin, limit=2)
        assert first["has_more"]
        second = await read(admin, limit=2, after=first["next_after"])
        assert [event["position"] for page in (first, second) for event in page["items"]] == [
            1,
            2,
            3,
        ]
        assert (await read(admin, after=second["next_after"]))["items"] == []

    async def test_latest_returns_only_a_position(self, admin: httpx.AsyncClient) -> None:
        page = await read(admin, after="latest")
        assert (page["items"], page["has_more"]) == ([], False)
        await admin.delete(CONTRACT)
        assert types(await read(admin, after=page["next_after"])) == ["document.deleted"]

    async def test_filtered_pages_advance_past_other_events(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = await read(admin, types=["customer.created", "document.updated"])
        assert types(page) == ["customer.created"]
        assert page["next_after"].endswith("-3")
        monkeypatch.setattr(events_repository, "WINDOW", 2)
        page = await read(admin, types=["document.uploaded"])
        assert (page["items"], page["has_more"]) == ([], True)
        page = await read(admin, types=["document.uploaded"], after=page["next_after"])
        assert types(page) == ["document.uploaded"]

    async def test_filter_by_customer(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-2")
        page = await read(admin, customer="c-1", limit=1)
        assert types(page) == ["customer.created"]
        page = await read(admin, customer="c-1", after=page["next_after"])
        assert types(page) == ["document.uploaded"]
        assert not page["has_more"]
        assert (await read(admin, customer="unknown"))["items"] == []

    async def test_reading_events_is_audited_unless_there_are_none(
        self, admin: httpx.AsyncClient
    ) -> None:
        page = await read(admin)
        await read(admin, after=page["next_after"])
        trail = await admin.get("/v1/admin/audit-events", params={"action": "event.list"})
        assert len(trail.json()["items"]) == 1

    async def test_erased_customer_is_known_by_pseudonym_alone(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        before = (await read(admin))["items"][1]["customer"]
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        page = await read(admin)
        about = [event for event in page["items"] if event["customer"]]
        assert [(e["type"], e["data"] is None) for e in about] == [
            ("customer.created", True),
            ("document.uploaded", True),
            ("customer.erased", False),
        ]
        erased = {"id": None, "pseudonym": before["pseudonym"]}
        assert [event["customer"] for event in about] == [erased] * 3
        # With its quotes: identifiers of events contain the letters now and then.
        assert "'c-1'" not in str(page)


@pytest.mark.req("B-233")
@pytest.mark.usefixtures("contract")
class TestRefusals:
    """Cursors and parameters that are not accepted."""

    async def test_cursor_of_another_log_is_gone(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        page = await read(admin)
        async with resources.database.transaction() as session:
            await session.execute(text("UPDATE event_log SET log = gen_random_uuid()"))
        response = await admin.get(FEED, params={"after": page["next_after"]})
        assert response.status_code == 410
        assert response.json()["code"] == "events-expired"
        assert response.json()["oldest"] == 1

    async def test_cursor_beyond_the_log_or_before_it_is_gone(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        log = (await read(admin))["log"].replace("-", "")
        async with resources.database.transaction() as session:
            await session.execute(text("DELETE FROM events WHERE position < 3"))
            await session.execute(text("UPDATE event_log SET oldest = 3"))
        statuses = {
            position: (await admin.get(FEED, params={"after": f"{log}-{position}"})).status_code
            for position in (1, 2, 3, 4)
        }
        assert statuses == {1: 410, 2: 200, 3: 200, 4: 410}
        assert types(await read(admin)) == ["document.uploaded"]

    @pytest.mark.parametrize(
        ("params", "status"),
        [
            ({"after": "x"}, 400),
            ({"after": f"{'0' * 32}-{'9' * 17}"}, 400),
            ({"after": f"{'0' * 32}-{'9' * 16}"}, 410),
            ({"types": "customer.made"}, 422),
            ({"limit": 0}, 422),
            ({"limit": 501}, 422),
            ({"wait": 26}, 422),
            ({"customer": ""}, 422),
            ({"since": "x"}, 422),
        ],
    )
    async def test_bad_parameter_is_refused(
        self, admin: httpx.AsyncClient, params: dict[str, Any], status: int
    ) -> None:
        assert (await admin.get(FEED, params=params)).status_code == status


@pytest.mark.req("B-234")
@pytest.mark.usefixtures("contract")
class TestKeys:
    """The events that API keys may read."""

    PATH = "/v1/integration/events"

    async def test_key_reads_events_that_its_scopes_allow(self, key_client: KeyClients) -> None:
        told = {}
        for scope in (Scope.CUSTOMERS_READ, Scope.DOCUMENTS_READ, Scope.TYPES_READ):
            client = await key_client(Scope.EVENTS_READ, scope)
            told[scope] = types(await read(client, self.PATH))
        assert told == {
            Scope.CUSTOMERS_READ: ["customer.created"],
            Scope.DOCUMENTS_READ: ["document.uploaded"],
            Scope.TYPES_READ: ["document_type.created"],
        }

    async def test_type_that_a_key_may_not_read_is_refused(self, key_client: KeyClients) -> None:
        client = await key_client(Scope.EVENTS_READ, Scope.DOCUMENTS_READ)
        for type_ in ("customer.created", "portal_settings.updated"):
            response = await client.get(self.PATH, params={"types": type_})
            assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")

    async def test_key_does_not_see_which_of_the_staff_acted(self, key_client: KeyClients) -> None:
        client = await key_client()
        actors = [event["actor"] for event in (await read(client, self.PATH))["items"]]
        assert actors == [{"kind": "admin", "id": None}] * 3


@pytest.mark.req("B-235")
@pytest.mark.usefixtures("contract")
class TestWait:
    """Waiting for an event."""

    @pytest.fixture(autouse=True)
    def poll_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(event_poll, "POLL_SECONDS", 0.01)

    async def test_waiting_ends_with_the_next_event(self, admin: httpx.AsyncClient) -> None:
        page = await read(admin)
        waiting = asyncio.create_task(read(admin, after=page["next_after"], wait=25))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await admin.delete(CONTRACT)
        async with asyncio.timeout(20):
            assert types(await waiting) == ["document.deleted"]

    async def test_waiting_holds_no_connection(self, admin: httpx.AsyncClient) -> None:
        page = await read(admin)
        waits = [
            asyncio.create_task(read(admin, after=page["next_after"], wait=25)) for _ in range(40)
        ]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            # The pool has ten connections.
            await admin.delete(CONTRACT)
            assert {tuple(types(await wait)) for wait in waits} == {("document.deleted",)}

    async def test_waiting_ends_without_an_event(self, admin: httpx.AsyncClient) -> None:
        page = await read(admin)
        async with asyncio.timeout(20):
            empty = await read(admin, after=page["next_after"], wait=1)
        assert (empty["items"], empty["next_after"]) == ([], page["next_after"])

    async def test_filtered_wait_continues_past_other_events(
        self, admin: httpx.AsyncClient
    ) -> None:
        page = await read(admin)
        waiting = asyncio.create_task(
            read(admin, after=page["next_after"], wait=25, types="document.deleted")
        )
        await make_customer(admin, "c-2")
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await admin.delete(CONTRACT)
        async with asyncio.timeout(20):
            assert types(await waiting) == ["document.deleted"]

    async def test_requests_over_the_limit_do_not_wait(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_poll, "MAX_WAITING", 0)
        page = await read(admin)
        async with asyncio.timeout(20):
            assert (await read(admin, after=page["next_after"], wait=25))["items"] == []

    async def test_shutdown_ends_waiting(
        self, admin: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = await read(admin)
        waiting = asyncio.create_task(read(admin, after=page["next_after"], wait=25))
        await asyncio.sleep(0.1)
        monkeypatch.setattr(app.state, "stopping", True, raising=False)
        async with asyncio.timeout(20):
            assert (await waiting)["items"] == []
