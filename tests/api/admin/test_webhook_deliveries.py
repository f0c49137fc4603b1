"""The deliveries of a webhook, as staff list, retry and replay them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api.stored_state import audited, refusal
from tests.factories.setups import make_customer
from tests.factories.webhooks import (
    WEBHOOKS,
    deliver,
    execute,
    list_deliveries,
    make_due,
    make_webhook,
    states,
)
from tests.fixtures.webhook_receiver import Receiver

from docvault.services import webhook_deliveries
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.settings import Settings

UNKNOWN = uuid4()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that allow receivers on this machine."""
    return settings.model_copy(update={"webhook_allowed_networks": ("127.0.0.0/8",)})


@pytest.fixture
async def webhook(admin: httpx.AsyncClient, receiver: Receiver) -> str:
    """The path of a webhook that gets the events of customers."""
    created = await make_webhook(
        admin, url=receiver.url, types=["customer.created", "customer.erased"]
    )
    return f"{WEBHOOKS}/{created['id']}"


def id_of(webhook: str) -> str:
    """Return the id in the path of a webhook."""
    return webhook.rpartition("/")[2]


async def make_customers(admin: httpx.AsyncClient, *numbers: int) -> None:
    """Create customers, with an event each."""
    for number in numbers:
        await make_customer(admin, f"c-{number}")


async def latest(admin: httpx.AsyncClient) -> str:
    """Return the cursor of the latest event."""
    response = await admin.get("/v1/admin/events", params={"after": "latest"})
    cursor: str = response.json()["next_after"]
    return cursor


def positions(items: list[dict[str, Any]]) -> list[int]:
    """Return the positions of deliveries."""
    return [item["position"] for item in items]


class TestList:
    """GET /v1/admin/webhooks/{id}/deliveries, and one of them."""

    async def test_latest_event_comes_first_and_pages_follow(
        self, admin: httpx.AsyncClient, webhook: str
    ) -> None:
        await make_customers(admin, 1, 2, 3)
        await latest(admin)
        response = await admin.get(
            f"{webhook}/deliveries", params={"limit": 2, "include_total": True}
        )
        page = response.json()
        assert (positions(page["items"]), page["total"]) == ([3, 2], 3)
        following = {"limit": 2, "cursor": page["next_cursor"]}
        page = (await admin.get(f"{webhook}/deliveries", params=following)).json()
        assert (positions(page["items"]), page["next_cursor"]) == ([1], None)
        event = (await admin.get("/v1/admin/events")).json()["items"][0]
        assert page["items"][0]["event"] == event["id"]
        assert page["items"][0]["type"] == event["type"] == "customer.created"

    async def test_filters_by_state_and_time(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources
    ) -> None:
        await make_customers(admin, 1)
        await deliver(resources)
        await make_customers(admin, 2)
        await latest(admin)
        listed = await list_deliveries(admin, id_of(webhook), state="delivered")
        assert positions(listed) == [1]
        assert positions(await list_deliveries(admin, id_of(webhook), state="pending")) == [2]
        soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        assert await list_deliveries(admin, id_of(webhook), since=soon) == []
        assert len(await list_deliveries(admin, id_of(webhook), until=soon)) == 2

    async def test_delivery_shows_its_attempts(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources, receiver: Receiver
    ) -> None:
        receiver.set(503)
        await make_customers(admin, 1)
        await deliver(resources)
        receiver.set(200)
        await make_due(resources)
        await deliver(resources)
        (listed,) = await list_deliveries(admin, id_of(webhook))
        found = (await admin.get(f"{webhook}/deliveries/{listed['id']}")).json()
        attempts = found.pop("attempts")
        assert found == listed
        assert found["next_attempt_at"] is None
        assert [(one["status"], one["error"]) for one in attempts] == [(503, None), (200, None)]

    async def test_delivery_of_another_webhook_is_not_found(
        self, admin: httpx.AsyncClient, webhook: str
    ) -> None:
        other = await make_webhook(admin)
        await make_customers(admin, 1)
        await latest(admin)
        (listed,) = await list_deliveries(admin, other["id"])
        for path in (
            f"{webhook}/deliveries/{listed['id']}",
            f"{webhook}/deliveries/{UNKNOWN}",
            f"{WEBHOOKS}/{UNKNOWN}/deliveries/{listed['id']}",
        ):
            assert refusal(await admin.get(path))[:2] == (404, "not-found")
            assert refusal(await admin.post(f"{path}/retry"))[:2] == (404, "not-found")


@pytest.mark.req("B-244")
class TestRetry:
    """POST /v1/admin/webhooks/{id}/deliveries/{delivery_id}/retry."""

    @pytest.mark.parametrize("state", ["delivered", "failed", "dropped", "pending"])
    async def test_delivery_is_sent_now_whatever_its_state(
        self,
        admin: httpx.AsyncClient,
        webhook: str,
        resources: Resources,
        receiver: Receiver,
        state: str,
    ) -> None:
        await make_customers(admin, 1)
        await latest(admin)
        await execute(
            resources,
            "UPDATE webhook_deliveries SET state = :state, used_attempts = 9,"
            " due_at = now() + interval '1 day'",
            state=state,
        )
        (listed,) = await list_deliveries(admin, id_of(webhook))
        response = await admin.post(f"{webhook}/deliveries/{listed['id']}/retry")
        assert (response.status_code, response.json()["state"]) == (202, "pending")
        receiver.set(500)
        await deliver(resources)
        assert await states(admin, id_of(webhook)) == ["pending"]
        assert [message.id for message in receiver.messages] == [listed["event"]]
        (event,) = await audited(admin, "webhook.replay")
        assert event["changes"]["delivery"]["new"] == listed["id"]

    async def test_repeated_request_is_done_once(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources
    ) -> None:
        await make_customers(admin, 1)
        await deliver(resources)
        (listed,) = await list_deliveries(admin, id_of(webhook))
        path, key = f"{webhook}/deliveries/{listed['id']}/retry", {"Idempotency-Key": "k-1"}
        assert (await admin.post(path, headers=key)).status_code == 202
        again = await admin.post(path, headers=key)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
        assert len(await audited(admin, "webhook.replay")) == 1

    async def test_disabled_webhook_and_erased_event_are_conflicts(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources
    ) -> None:
        await make_customers(admin, 1)
        await deliver(resources)
        (listed,) = await list_deliveries(admin, id_of(webhook))
        path = f"{webhook}/deliveries/{listed['id']}/retry"
        await admin.patch(webhook, json={"enabled": False})
        assert refusal(await admin.post(path))[:2] == (409, "webhook-disabled")
        await admin.patch(webhook, json={"enabled": True})
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        assert refusal(await admin.post(path))[:2] == (409, "event-not-kept")
        assert await states(admin, id_of(webhook)) == ["delivered"]


@pytest.mark.req("B-244")
class TestReplay:
    """POST /v1/admin/webhooks/{id}/replay."""

    async def test_events_that_were_never_delivered_are_sent(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources, receiver: Receiver
    ) -> None:
        start = await latest(admin)
        await make_customers(admin, 1)
        await deliver(resources)
        await admin.patch(webhook, json={"enabled": False})
        # Neither the second, which was dropped, nor the third, which has no delivery.
        await make_customers(admin, 2)
        await latest(admin)
        await admin.patch(webhook, json={"enabled": True})
        await make_customers(admin, 3)
        await latest(admin)
        await admin.patch(webhook, json={"enabled": False})
        await admin.patch(webhook, json={"enabled": True})
        assert await states(admin, id_of(webhook)) == ["delivered", "dropped"]
        response = await admin.post(f"{webhook}/replay", json={"after": start})
        assert (response.status_code, response.json()) == (202, {"deliveries": 2})
        await deliver(resources)
        assert await states(admin, id_of(webhook)) == ["delivered"] * 3
        customers = [message.content["data"]["customer"]["id"] for message in receiver.messages]
        assert sorted(customers) == ["c-1", "c-2", "c-3"]

    async def test_range_and_delivered_events_can_be_chosen(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources, receiver: Receiver
    ) -> None:
        await make_customers(admin, 1)
        after = await latest(admin)
        await make_customers(admin, 2)
        until = await latest(admin)
        await make_customers(admin, 3)
        await deliver(resources)
        receiver.messages.clear()
        body: dict[str, Any] = {"after": after, "until": until}
        assert (await admin.post(f"{webhook}/replay", json=body)).json() == {"deliveries": 0}
        body |= {"only_failed": False}
        assert (await admin.post(f"{webhook}/replay", json=body)).json() == {"deliveries": 1}
        await deliver(resources)
        assert [message.content["data"]["position"] for message in receiver.messages] == [2]
        event, _ = await audited(admin, "webhook.replay")
        replayed = {name: change["new"] for name, change in event["changes"].items()}
        assert replayed == {"id": id_of(webhook), "after": 1, "until": 2, "deliveries": 1}

    async def test_long_range_is_replayed_in_several_statements(
        self,
        admin: httpx.AsyncClient,
        webhook: str,
        resources: Resources,
        receiver: Receiver,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        start = await latest(admin)
        await make_customers(admin, *range(5))
        await deliver(resources)
        receiver.messages.clear()
        monkeypatch.setattr(webhook_deliveries, "REPLAYED", 2)
        body = {"after": start, "only_failed": False}
        assert (await admin.post(f"{webhook}/replay", json=body)).json() == {"deliveries": 5}
        await deliver(resources)
        positions = {message.content["data"]["position"] for message in receiver.messages}
        assert positions == {1, 2, 3, 4, 5}

    async def test_other_types_and_erased_events_are_left_out(
        self, admin: httpx.AsyncClient, webhook: str
    ) -> None:
        start = await latest(admin)
        await admin.patch(webhook, json={"enabled": False})
        await make_customers(admin, 1, 2)
        await admin.post("/v1/admin/document-types", json={"name": "Contract"})
        await admin.delete("/v1/admin/customers/c-1")
        await latest(admin)
        await admin.patch(webhook, json={"enabled": True})
        await admin.post(f"{webhook}/replay", json={"after": start})
        listed = await list_deliveries(admin, id_of(webhook))
        assert [item["type"] for item in listed] == ["customer.erased", "customer.created"]

    async def test_repeated_request_is_done_once(
        self, admin: httpx.AsyncClient, webhook: str, resources: Resources
    ) -> None:
        start = await latest(admin)
        await make_customers(admin, 1)
        await deliver(resources)
        body, key = {"after": start, "only_failed": False}, {"Idempotency-Key": "k-1"}
        first = await admin.post(f"{webhook}/replay", json=body, headers=key)
        await deliver(resources)
        again = await admin.post(f"{webhook}/replay", json=body, headers=key)
        assert again.json() == first.json() == {"deliveries": 1}
        assert await states(admin, id_of(webhook)) == ["delivered"]

    async def test_bad_cursors_and_too_many_events_are_refused(
        self,
        admin: httpx.AsyncClient,
        webhook: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        start = await latest(admin)
        await make_customers(admin, 1, 2)
        end = await latest(admin)
        monkeypatch.setattr(webhook_deliveries, "MAX_REPLAYED", 1)
        other = f"{uuid4().hex}-1"
        for body, expected in (
            ({"after": "latest"}, (400, "invalid-cursor", "/after")),
            ({"after": start, "until": "x"}, (400, "invalid-cursor", "/until")),
            ({"after": other}, (410, "events-expired", None)),
            ({"after": start, "until": end}, (422, "validation-error", "/until")),
            ({"after": start}, (422, "validation-error", "/until")),
            ({}, (422, "validation-error", "/after")),
        ):
            assert refusal(await admin.post(f"{webhook}/replay", json=body)) == expected
        assert await audited(admin, "webhook.replay") == []

    async def test_disabled_webhook_is_a_conflict(
        self, admin: httpx.AsyncClient, webhook: str
    ) -> None:
        await admin.patch(webhook, json={"enabled": False})
        response = await admin.post(f"{webhook}/replay", json={"after": await latest(admin)})
        assert refusal(response)[:2] == (409, "webhook-disabled")
