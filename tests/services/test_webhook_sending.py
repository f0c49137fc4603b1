"""Sending deliveries: what is sent, when again, and what ends it."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.factories.webhooks import (
    WEBHOOKS,
    attempts,
    deliver,
    execute,
    list_deliveries,
    make_due,
    make_webhook,
    read_webhook,
    states,
    verify,
)
from tests.fixtures.events import written_events
from tests.fixtures.webhook_receiver import Answer, Receiver, running_receiver

from docvault.domain.webhooks import MAX_ATTEMPTS, Attempt
from docvault.presenters import webhooks as presenters
from docvault.services import webhook_sending
from docvault.services.erasures import finish_erasures
from docvault.services.events import publish_events
from docvault.services.resources import Resources
from docvault.services.webhook_deliveries import drop_deliveries, prune_deliveries
from docvault.services.webhook_sending import Deliverer
from docvault.settings import Settings

SUCCEEDED = "UPDATE webhooks SET last_success_at = now()"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that allow receivers on this machine."""
    return settings.model_copy(update={"webhook_allowed_networks": ("127.0.0.0/8",)})


@pytest.fixture
async def webhook(admin: httpx.AsyncClient, receiver: Receiver) -> dict[str, Any]:
    """A webhook that gets the events of customers."""
    types = ["customer.created", "customer.updated", "customer.erased"]
    return await make_webhook(admin, url=receiver.url, types=types)


async def next_attempt(admin: httpx.AsyncClient, webhook: dict[str, Any]) -> timedelta:
    """Return how long the latest delivery has to wait."""
    (latest, *_) = await list_deliveries(admin, webhook["id"])
    return datetime.fromisoformat(latest["next_attempt_at"]) - datetime.now(UTC)


async def fail(resources: Resources, times: int) -> None:
    """Let so many attempts fail, without the waits between them."""
    for _ in range(times):
        await deliver(resources)
        await make_due(resources)


class TestMessages:
    """What receivers get."""

    @pytest.mark.req("B-243")
    @pytest.mark.parametrize("signing", ["hmac", "ed25519"])
    async def test_message_is_the_event_as_the_feed_has_it_and_signed(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver, signing: str
    ) -> None:
        webhook = await make_webhook(admin, url=receiver.url, signing=signing)
        await make_type(admin, "Contract", upload_mode="required")
        await make_customer(admin, "c-1", name="Anna")
        await admin.put("/v1/admin/customers/c-1/documents/contract", **upload_of())
        await deliver(resources)
        events = (await admin.get("/v1/admin/events")).json()["items"]
        messages = {message.id: message for message in receiver.messages}
        assert messages.keys() == {event["id"] for event in events}
        for event in events:
            message = messages[event["id"]]
            verify(webhook["secret"], message)
            about = {"customer": event["customer"], "position": event["position"]}
            assert message.content == {
                "type": event["type"],
                "timestamp": event["at"],
                "data": event["data"] | about,
            }
            assert message.headers["content-type"] == "application/json"
            assert message.body == json.dumps(message.content, separators=(",", ":")).encode()

    async def test_long_lists_are_left_to_the_feed(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(presenters, "MAX_MESSAGE_BYTES", 300)
        await make_webhook(admin, url=receiver.url, types=["requirements.changed"])
        for name in ("a" * 50, "b" * 50):
            await make_type(admin, name, upload_mode="required")
            await make_type(admin, f"{name} too", upload_mode="required")
        await patch_portal(admin, gate_enabled=True)
        await deliver(resources)
        data = [message.content["data"] for message in receiver.messages]
        assert all(len(message.body) <= 300 for message in receiver.messages)
        required = {one["position"]: one["required"] for one in data}
        assert (required[min(required)], required[max(required)]) == (["a" * 50], None)


@pytest.mark.req("B-240")
class TestWhichEvents:
    """Which events have a delivery."""

    async def test_event_and_delivery_appear_together(
        self, admin: httpx.AsyncClient, resources: Resources, webhook: dict[str, Any]
    ) -> None:
        await make_customer(admin, "c-1")
        await make_type(admin, "Contract")
        assert await states(admin, webhook["id"]) == []
        events = (await admin.get("/v1/admin/events")).json()["items"]
        (delivery,) = await list_deliveries(admin, webhook["id"])
        assert (delivery["event"], delivery["state"]) == (events[0]["id"], "pending")
        await publish_events(resources)
        assert len(await list_deliveries(admin, webhook["id"])) == 1

    async def test_events_from_before_the_webhook_are_not_sent(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver
    ) -> None:
        await make_customer(admin, "c-1")
        await publish_events(resources)
        await make_webhook(admin, url=receiver.url)
        await make_customer(admin, "c-2")
        await deliver(resources)
        assert [m.content["data"]["customer"]["id"] for m in receiver.messages] == ["c-2"]

    async def test_each_webhook_gets_each_event_once(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver
    ) -> None:
        for _ in range(3):
            await make_webhook(admin, url=receiver.url)
        for number in range(10):
            await make_customer(admin, f"c-{number}")
        await asyncio.gather(*(deliver(resources) for _ in range(3)))
        counts = Counter(message.id for message in receiver.messages)
        assert sorted(counts.values()) == [3] * 10


@pytest.mark.req("B-241")
class TestRepeating:
    """Attempts that fail."""

    @pytest.mark.parametrize(
        "answer",
        [
            {"status": 500},
            {"status": 404},
            {"status": 302, "headers": {"Location": "/elsewhere"}},
            {"resets": True},
        ],
    )
    async def test_delivery_is_sent_again_under_the_same_id_until_it_is_received(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
        answer: dict[str, Any],
    ) -> None:
        receiver.set(**answer)
        await make_customer(admin, "c-1")
        await deliver(resources)
        assert timedelta(seconds=2) < await next_attempt(admin, webhook) < timedelta(seconds=6)
        await deliver(resources)
        assert len(receiver.messages) == 1
        assert (await read_webhook(admin, webhook["id"]))["consecutive_failures"] == 1
        receiver.set(204)
        await make_due(resources)
        await deliver(resources)
        assert await states(admin, webhook["id"]) == ["delivered"]
        first, second = receiver.messages
        assert (first.id, first.body) == (second.id, second.body)
        verify(webhook["secret"], second)
        known = await read_webhook(admin, webhook["id"])
        assert known["consecutive_failures"] == 0
        assert known["last_success_at"] is not None

    async def test_delivery_has_failed_after_ten_attempts(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.set(500)
        await make_customer(admin, "c-1")
        await fail(resources, MAX_ATTEMPTS - 1)
        assert await states(admin, webhook["id"]) == ["pending"]
        await fail(resources, 2)
        assert await states(admin, webhook["id"]) == ["failed"]
        assert len(receiver.messages) == len(await attempts(admin, webhook["id"])) == MAX_ATTEMPTS

    async def test_receiver_can_ask_for_a_longer_wait(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.set(429, headers={"Retry-After": "3600"})
        await make_customer(admin, "c-1")
        await deliver(resources)
        assert timedelta(minutes=59) < await next_attempt(admin, webhook) <= timedelta(hours=1)

    async def test_address_that_the_operators_no_longer_allow_is_a_failed_attempt(
        self, admin: httpx.AsyncClient, resources: Resources, webhook: dict[str, Any]
    ) -> None:
        await execute(resources, "UPDATE webhooks SET url = 'http://192.0.2.1/hook'")
        await make_customer(admin, "c-1")
        await deliver(resources)
        (attempt,) = await attempts(admin, webhook["id"])
        assert (attempt["status"], attempt["error"]) == (None, "destination_refused")


@pytest.mark.req("B-242")
class TestDisabling:
    """Webhooks that are disabled by what their receivers do."""

    async def test_receiver_that_is_gone_is_not_asked_again(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.answer = lambda message: Answer(
            410 if message.content["data"]["position"] == 1 else 500
        )
        for number in range(3):
            await make_customer(admin, f"c-{number}")
        await deliver(resources)
        known = await read_webhook(admin, webhook["id"])
        assert (known["enabled"], known["disabled_reason"]) == (False, "gone")
        # Results that were being recorded meanwhile.
        await drop_deliveries(resources)
        assert await states(admin, webhook["id"]) == ["dropped"] * 3
        sent = len(receiver.messages)
        await make_due(resources)
        await make_customer(admin, "c-9")
        await deliver(resources)
        assert len(receiver.messages) == sent

    async def test_webhook_that_fails_for_five_days_is_disabled(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.set(500)
        for number in range(3):
            await make_customer(admin, f"c-{number}")
        await fail(resources, 7)
        assert (await read_webhook(admin, webhook["id"]))["consecutive_failures"] >= 20
        assert (await read_webhook(admin, webhook["id"]))["enabled"]
        past = "UPDATE webhooks SET failing_since = now() - interval '5 days'"
        await execute(resources, past)
        await fail(resources, 1)
        known = await read_webhook(admin, webhook["id"])
        assert (known["enabled"], known["disabled_reason"]) == (False, "failing")
        await drop_deliveries(resources)
        assert await states(admin, webhook["id"]) == ["dropped"] * 3

    async def test_success_ends_the_failing(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        await execute(
            resources,
            "UPDATE webhooks SET failing_since = now() - interval '6 days',"
            " consecutive_failures = 50",
        )
        await make_customer(admin, "c-1")
        await deliver(resources)
        receiver.set(500)
        await make_customer(admin, "c-2")
        await deliver(resources)
        known = await read_webhook(admin, webhook["id"])
        assert (known["enabled"], known["consecutive_failures"]) == (True, 1)

    async def test_disabling_is_an_event_and_recorded(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.set(410)
        await make_customer(admin, "c-1")
        await deliver(resources)
        (event,) = await written_events(resources, "webhook.disabled")
        assert event.data == {"webhook": webhook["id"], "reason": "gone"}
        trail = await admin.get("/v1/admin/audit-events", params={"action": "webhook.update"})
        (recorded,) = trail.json()["items"]
        assert (recorded["id"], recorded["actor"]["kind"]) == (str(event.id), "system")
        assert recorded["changes"]["disabled_reason"] == {"old": None, "new": "gone"}
        feed = (await admin.get("/v1/admin/events")).json()["items"]
        assert feed[-1]["data"] == {"webhook": webhook["id"], "reason": "gone"}

    async def test_delivery_of_a_disabled_webhook_that_was_missed_is_dropped_later(
        self, admin: httpx.AsyncClient, resources: Resources, webhook: dict[str, Any]
    ) -> None:
        await make_customer(admin, "c-1")
        await publish_events(resources)
        # As when the sequencer reads the webhook before it is disabled, and commits afterwards.
        await execute(resources, "UPDATE webhooks SET enabled = false")
        await drop_deliveries(resources)
        assert await states(admin, webhook["id"]) == ["dropped"]


@pytest.mark.req("B-245")
class TestLeases:
    """Deliveries whose sender dies."""

    async def test_delivery_is_sent_again_when_the_lease_has_ended(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.set(hangs=True)
        await make_customer(admin, "c-1")
        await publish_events(resources)
        killed = Deliverer(resources)
        assert await killed.start_due() == 1
        while not receiver.messages:  # noqa: ASYNC110 - the receiver has no event for it
            await asyncio.sleep(0.01)
        await killed.finish(0)
        assert await attempts(admin, webhook["id"]) == []
        receiver.set(204)
        await deliver(resources)
        assert len(receiver.messages) == 1
        await make_due(resources)
        await deliver(resources)
        assert await states(admin, webhook["id"]) == ["delivered"]
        first, second = receiver.messages
        assert first.id == second.id

    async def test_result_from_after_the_lease_is_ignored(
        self, admin: httpx.AsyncClient, resources: Resources, webhook: dict[str, Any]
    ) -> None:
        await make_customer(admin, "c-1")
        await publish_events(resources)
        late, other = Deliverer(resources), Deliverer(resources)
        async with resources.autocommit(resources.system_context()) as uow:
            (claimed,) = await uow.webhook_deliveries.claim({}, places=5, free=5)
        await make_due(resources)
        await other.start_due()
        await other.finish(60)
        attempt = Attempt(status=500, error=None, duration_ms=1)
        await webhook_sending._fail(resources, claimed, attempt, datetime.now(UTC), None)
        assert await states(admin, webhook["id"]) == ["delivered"]
        assert await late.start_due() == 0


@pytest.mark.req("B-246")
class TestPlaces:
    """How many deliveries are in flight."""

    async def test_dead_receiver_takes_few_places_and_slows_nobody(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        del webhook
        async with AsyncExitStack() as stack:
            dead = await stack.enter_async_context(running_receiver())
            dead.set(hangs=True)
            await make_webhook(admin, url=dead.url, types=["customer.created"])
            await execute(resources, SUCCEEDED)
            for number in range(30):
                await make_customer(admin, f"c-{number}")
            await publish_events(resources)
            deliverer = Deliverer(resources)
            while len(receiver.messages) < 30:
                await deliverer.start_due()
                await deliverer.wait(0.1)
            assert len(dead.messages) <= webhook_sending.MAX_PER_WEBHOOK
            await deliverer.finish(0)

    @pytest.mark.parametrize("known", ["consecutive_failures = 1", "last_success_at = NULL"])
    async def test_webhook_that_fails_or_has_not_succeeded_has_one_place(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
        known: str,
    ) -> None:
        del webhook
        receiver.set(hangs=True)
        for number in range(3):
            await make_customer(admin, f"c-{number}")
        await publish_events(resources)
        await execute(resources, SUCCEEDED)
        await execute(resources, f"UPDATE webhooks SET {known}")
        deliverer = Deliverer(resources)
        assert [await deliverer.start_due() for _ in range(2)] == [1, 0]
        await deliverer.finish(0)

    async def test_process_has_fifty_places(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver
    ) -> None:
        receiver.set(hangs=True)
        for _ in range(11):
            await make_webhook(admin, url=receiver.url)
        await execute(resources, SUCCEEDED)
        for number in range(6):
            await make_customer(admin, f"c-{number}")
        await publish_events(resources)
        deliverer = Deliverer(resources)
        assert [await deliverer.start_due() for _ in range(2)] == [50, 0]
        await deliverer.finish(0)


@pytest.mark.req("B-247")
class TestErasure:
    """Deliveries of customers who are erased."""

    async def test_events_from_before_are_dropped_and_the_erasure_is_sent(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        receiver.set(500)
        for customer in ("c-1", "c-2"):
            await make_customer(admin, customer, name="Anna")
        await deliver(resources)
        receiver.messages.clear()
        receiver.set(204)
        # One that has no position yet.
        changed = await admin.put("/v1/admin/customers/c-1", json={"name": "Bea"})
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        await make_due(resources)
        await deliver(resources)
        assert await states(admin, webhook["id"]) == ["dropped", "delivered", "delivered"]
        sent = {message.content["type"]: message.content["data"] for message in receiver.messages}
        pseudonym = changed.json()["pseudonym"]
        assert sent["customer.erased"]["customer"] == {"id": None, "pseudonym": pseudonym}
        assert sent["customer.created"]["customer"]["id"] == "c-2"
        assert len(receiver.messages) == 2
        assert b'"c-1"' not in b"".join(message.body for message in receiver.messages)

    async def test_event_that_is_erased_after_its_delivery_was_made_again_is_not_sent(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        await make_customer(admin, "c-1")
        await publish_events(resources)
        await admin.delete("/v1/admin/customers/c-1")
        # As when a replay commits after the erasure.
        pending = "UPDATE webhook_deliveries SET state = 'pending', due_at = now()"
        await execute(resources, pending)
        await deliver(resources)
        assert await states(admin, webhook["id"]) == ["dropped", "delivered"]
        assert [message.content["type"] for message in receiver.messages] == ["customer.erased"]


@pytest.mark.req("B-249")
class TestPrune:
    """prune_deliveries()."""

    async def test_deliveries_are_deleted_after_thirty_days_unless_they_are_pending(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        receiver: Receiver,
        webhook: dict[str, Any],
    ) -> None:
        for number in range(3):
            await make_customer(admin, f"c-{number}")
        await deliver(resources)
        receiver.set(500)
        await make_customer(admin, "c-9")
        await deliver(resources)
        old = "UPDATE webhook_deliveries SET created_at = now() - interval '30 days 1 minute'"
        await execute(resources, f"{old} WHERE position <> 2")
        await prune_deliveries(resources)
        left = await list_deliveries(admin, webhook["id"])
        assert [item["position"] for item in left] == [4, 2]

    async def test_deliveries_of_a_deleted_webhook_are_deleted_too(
        self, admin: httpx.AsyncClient, resources: Resources, webhook: dict[str, Any]
    ) -> None:
        await make_customer(admin, "c-1")
        await publish_events(resources)
        await admin.delete(f"{WEBHOOKS}/{webhook['id']}")
        old = "UPDATE webhook_deliveries SET created_at = now() - interval '31 days'"
        await execute(resources, old)
        await prune_deliveries(resources)
        async with resources.database.transaction() as session:
            left = await session.execute(text("SELECT count(*) FROM webhook_deliveries"))
            assert left.scalar_one() == 0
