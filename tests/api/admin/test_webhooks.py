"""Webhooks, as staff manage them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import audited, refusal
from tests.factories.setups import make_customer
from tests.factories.strings import CONTROLS
from tests.factories.webhooks import (
    PUBLIC_URL,
    WEBHOOKS,
    attempts,
    deliver,
    execute,
    make_webhook,
    read_webhook,
    states,
    verify,
)
from tests.fixtures.webhook_receiver import Receiver

from docvault.services.resources import Resources
from docvault.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that allow receivers on this machine."""
    return settings.model_copy(update={"webhook_allowed_networks": ("127.0.0.0/8",)})


async def count(resources: Resources, table: str) -> int:
    """Return the number of rows."""
    async with resources.database.transaction() as session:
        number: int = (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
    return number


class TestCreate:
    """POST /v1/admin/webhooks."""

    @pytest.mark.req("B-243")
    @pytest.mark.parametrize(("signing", "prefix"), [("hmac", "whsec_"), ("ed25519", "whpk_")])
    async def test_secret_is_shown_once(
        self, admin: httpx.AsyncClient, signing: str, prefix: str
    ) -> None:
        created = await make_webhook(admin, signing=signing)
        secret = created.pop("secret")
        listed = await admin.get(WEBHOOKS, params={"include_total": True})
        assert secret.startswith(prefix)
        assert await read_webhook(admin, created["id"]) == created == listed.json()["items"][0]
        assert listed.json()["total"] == 1
        assert secret not in listed.text
        assert created | {"id": "", "created_at": ""} == {
            "id": "",
            "name": "CRM",
            "url": PUBLIC_URL,
            "types": ["*"],
            "enabled": True,
            "disabled_reason": None,
            "signing": signing,
            "consecutive_failures": 0,
            "created_at": "",
            "last_success_at": None,
        }

    @pytest.mark.req("B-243")
    @pytest.mark.parametrize("signing", ["hmac", "ed25519"])
    async def test_database_has_the_secret_only_sealed(
        self, admin: httpx.AsyncClient, resources: Resources, signing: str
    ) -> None:
        created = await make_webhook(admin, signing=signing)
        async with resources.database.transaction() as session:
            query = text("SELECT sealed_secret FROM webhooks")
            sealed = (await session.execute(query)).scalar_one()
        assert b"wh" not in sealed[:2]
        opened = resources.keyring.open_webhook_secret(UUID(created["id"]), sealed)
        assert opened is not None
        assert opened.startswith("whsec_" if signing == "hmac" else "whsk_")
        assert resources.keyring.open_webhook_secret(uuid4(), sealed) is None

    @pytest.mark.req("B-248")
    @pytest.mark.parametrize(
        ("members", "code", "place"),
        [
            ({"types": []}, "too-short", "/types"),
            ({"types": ["*", "gate.changed"]}, "invalid-value", "/types"),
            ({"types": ["gate.opened"]}, "not-one-of", "/types/0"),
            ({"types": ["gate.changed"] * 51}, "too-long", "/types"),
            ({"name": " "}, "invalid-value", "/name"),
            ({"signing": "rsa"}, "not-one-of", "/signing"),
            ({"enabled": 1}, "wrong-type", "/enabled"),
            ({"url": "https://example.org/" + "a" * 2000}, "too-long", "/url"),
            ({"secret": "mine"}, "unknown-member", "/secret"),
        ],
    )
    async def test_bad_member_is_located_and_stores_nothing(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        members: dict[str, Any],
        code: str,
        place: str,
    ) -> None:
        body = {"name": "CRM", "url": PUBLIC_URL, "types": ["*"], **members}
        response = await admin.post(WEBHOOKS, json=body)
        assert response.status_code == 422
        errors = response.json()["errors"]
        assert (code, place) in [(error["code"], error["pointer"]) for error in errors]
        assert await count(resources, "webhooks") == 0

    @pytest.mark.parametrize("control", CONTROLS)
    async def test_name_with_control_character_is_rejected(
        self, admin: httpx.AsyncClient, control: str
    ) -> None:
        body = {"name": f"a{control}b", "url": PUBLIC_URL, "types": ["*"]}
        response = await admin.post(WEBHOOKS, json=body)
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/name")

    @pytest.mark.req("B-248")
    async def test_only_twenty_webhooks_can_exist_whoever_creates_them_at_once(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(18):
            await make_webhook(admin)
        body = {"name": "CRM", "url": PUBLIC_URL, "types": ["*"]}
        responses = await asyncio.gather(*(admin.post(WEBHOOKS, json=body) for _ in range(5)))
        refused = [response for response in responses if response.status_code != 201]
        assert [refusal(response)[:2] for response in refused] == [(409, "webhook-limit")] * 3
        assert await count(resources, "webhooks") == 20

    async def test_audit_trail_names_the_address_and_no_secret(
        self, admin: httpx.AsyncClient
    ) -> None:
        created = await make_webhook(admin)
        (event,) = await audited(admin, "webhook.create")
        assert event["changes"]["url"] == {"old": None, "new": PUBLIC_URL}
        assert event["changes"]["id"]["new"] == created["id"]
        assert "secret" not in str(event)


@pytest.mark.req("B-248")
class TestUrl:
    """The URL of a webhook, where the operators allow no other networks."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """The defaults."""
        return settings.model_copy(update={"webhook_allowed_networks": ()})

    @pytest.mark.parametrize(
        "url",
        [
            "http://example.org/hook",
            "https://example.org:8443/",
            "https://user:password@example.org/",
            "https://93.184.215.14/",
            "https://localhost/",
            "ftp://example.org/",
            "example.org",
        ],
    )
    async def test_url_that_is_not_allowed_is_refused(
        self, admin: httpx.AsyncClient, resources: Resources, url: str
    ) -> None:
        response = await admin.post(WEBHOOKS, json={"name": "CRM", "url": url, "types": ["*"]})
        assert refusal(response) == (422, "webhook-url-not-allowed", "/url")
        assert await count(resources, "webhooks") == 0

    async def test_refused_change_changes_nothing(self, admin: httpx.AsyncClient) -> None:
        created = await make_webhook(admin)
        response = await admin.patch(
            f"{WEBHOOKS}/{created['id']}", json={"name": "B", "url": "http://example.org"}
        )
        assert refusal(response) == (422, "webhook-url-not-allowed", "/url")
        assert (await read_webhook(admin, created["id"]))["name"] == "CRM"


class TestUpdate:
    """PATCH /v1/admin/webhooks/{id}."""

    async def test_members_change_alone(self, admin: httpx.AsyncClient) -> None:
        created = await make_webhook(admin)
        path = f"{WEBHOOKS}/{created['id']}"
        del created["secret"]
        types = ["gate.changed", "customer.erased", "gate.changed"]
        response = await admin.patch(path, json={"types": types})
        assert response.json() == created | {"types": ["customer.erased", "gate.changed"]}
        response = await admin.patch(path, json={"name": "ERP", "url": f"{PUBLIC_URL}/2"})
        assert (response.json()["name"], response.json()["url"]) == ("ERP", f"{PUBLIC_URL}/2")
        assert await read_webhook(admin, created["id"]) == response.json()
        event, _ = await audited(admin, "webhook.update")
        assert event["changes"] == {
            "id": {"old": created["id"], "new": created["id"]},
            "name": {"old": "CRM", "new": "ERP"},
            "url": {"old": PUBLIC_URL, "new": f"{PUBLIC_URL}/2"},
        }

    async def test_stale_tag_changes_nothing(self, admin: httpx.AsyncClient) -> None:
        created = await make_webhook(admin)
        path = f"{WEBHOOKS}/{created['id']}"
        tag = (await admin.get(path)).headers["etag"]
        assert (await admin.get(path, headers={"If-None-Match": tag})).status_code == 304
        match = {"If-Match": tag}
        assert (await admin.patch(path, json={"name": "A"}, headers=match)).status_code == 200
        assert (await admin.patch(path, json={"name": "B"}, headers=match)).status_code == 412
        assert (await admin.delete(path, headers=match)).status_code == 412
        assert (await read_webhook(admin, created["id"]))["name"] == "A"

    async def test_change_of_nothing_is_not_recorded(self, admin: httpx.AsyncClient) -> None:
        created = await make_webhook(admin)
        for members in ({}, {"name": "CRM"}):
            response = await admin.patch(f"{WEBHOOKS}/{created['id']}", json=members)
            assert response.status_code == 200
        assert await audited(admin, "webhook.update") == []

    @pytest.mark.req("B-242")
    async def test_disabled_webhook_gets_nothing_also_not_when_it_is_enabled_again(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver
    ) -> None:
        created = await make_webhook(admin, url=receiver.url)
        await make_customer(admin, "c-1")
        await admin.get("/v1/admin/events")
        assert await states(admin, created["id"]) == ["pending"]
        path = f"{WEBHOOKS}/{created['id']}"
        assert (await admin.patch(path, json={"enabled": False})).json()["enabled"] is False
        assert await states(admin, created["id"]) == ["dropped"]
        await make_customer(admin, "c-2")
        await deliver(resources)
        await admin.patch(path, json={"enabled": True})
        await make_customer(admin, "c-3")
        await deliver(resources)
        assert await states(admin, created["id"]) == ["dropped", "delivered"]
        assert [message.content["data"]["customer"]["id"] for message in receiver.messages] == [
            "c-3"
        ]

    async def test_enabling_forgets_the_failures(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        created = await make_webhook(admin)
        await execute(
            resources,
            "UPDATE webhooks SET enabled = false, disabled_reason = 'failing',"
            " consecutive_failures = 30, failing_since = now() - interval '6 days'",
        )
        enabled = await admin.patch(f"{WEBHOOKS}/{created['id']}", json={"enabled": True})
        assert (enabled.json()["disabled_reason"], enabled.json()["consecutive_failures"]) == (
            None,
            0,
        )


class TestDelete:
    """DELETE /v1/admin/webhooks/{id}."""

    async def test_deleted_webhook_is_gone_and_gets_nothing(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver
    ) -> None:
        created = await make_webhook(admin, url=receiver.url)
        await make_customer(admin, "c-1")
        await admin.get("/v1/admin/events")
        path = f"{WEBHOOKS}/{created['id']}"
        assert (await admin.delete(path)).status_code == 204
        for response in (
            await admin.get(path),
            await admin.get(f"{path}/deliveries"),
            await admin.patch(path, json={"name": "B"}),
            await admin.delete(path),
            await admin.post(f"{path}/secret"),
            await admin.post(f"{path}/test"),
        ):
            assert refusal(response)[:2] == (404, "not-found")
        await deliver(resources)
        assert receiver.messages == []
        assert len(await audited(admin, "webhook.delete")) == 1


@pytest.mark.req("B-243")
class TestRotate:
    """POST /v1/admin/webhooks/{id}/secret."""

    @pytest.mark.parametrize("signing", ["hmac", "ed25519"])
    async def test_secret_before_signs_too_for_a_day(
        self, admin: httpx.AsyncClient, resources: Resources, receiver: Receiver, signing: str
    ) -> None:
        created = await make_webhook(admin, url=receiver.url, signing=signing)
        path = f"{WEBHOOKS}/{created['id']}"
        rotated = (await admin.post(f"{path}/secret")).json()
        assert rotated["secret"] != created["secret"]
        assert (await admin.post(f"{path}/test")).json()["delivered"]
        ended = "UPDATE webhooks SET previous_secret_until = now() - interval '1 second'"
        await execute(resources, ended)
        assert (await admin.post(f"{path}/test")).json()["delivered"]
        await make_customer(admin, "c-1")
        await deliver(resources)
        signatures = [m.headers["webhook-signature"].split() for m in receiver.messages]
        assert [len(one) for one in signatures] == [2, 1, 1]
        first, *others = receiver.messages
        verify(created["secret"], first)
        for message in (first, *others):
            verify(rotated["secret"], message)

    async def test_rotation_is_recorded_without_secrets(self, admin: httpx.AsyncClient) -> None:
        created = await make_webhook(admin)
        response = await admin.post(f"{WEBHOOKS}/{created['id']}/secret")
        assert response.headers["cache-control"] == "no-store"
        (event,) = await audited(admin, "webhook.rotate")
        assert event["changes"] == {"id": {"old": created["id"], "new": created["id"]}}


class TestTest:
    """POST /v1/admin/webhooks/{id}/test."""

    async def test_message_is_signed_and_no_event(
        self, admin: httpx.AsyncClient, receiver: Receiver
    ) -> None:
        created = await make_webhook(admin, url=receiver.url, enabled=False)
        response = await admin.post(f"{WEBHOOKS}/{created['id']}/test")
        outcome = response.json()
        assert outcome | {"duration_ms": 0} == {
            "delivered": True,
            "status": 204,
            "error": None,
            "duration_ms": 0,
        }
        (message,) = receiver.messages
        verify(created["secret"], message)
        assert message.content["type"] == "webhook.test"
        assert message.content["data"] == {
            "webhook": created["id"],
            "customer": None,
            "position": None,
        }
        assert (await admin.get("/v1/admin/events")).json()["items"] == []

    async def test_failure_is_the_outcome_and_counts_for_nothing(
        self, admin: httpx.AsyncClient, receiver: Receiver
    ) -> None:
        created = await make_webhook(admin, url=receiver.url)
        receiver.set(410)
        response = await admin.post(f"{WEBHOOKS}/{created['id']}/test")
        assert (response.json()["delivered"], response.json()["status"]) == (False, 410)
        receiver.set(resets=True)
        response = await admin.post(f"{WEBHOOKS}/{created['id']}/test")
        assert response.json()["status"] is None
        assert response.json()["error"]
        del created["secret"]
        assert await read_webhook(admin, created["id"]) == created

    async def test_repeated_request_sends_nothing(
        self, admin: httpx.AsyncClient, receiver: Receiver
    ) -> None:
        created = await make_webhook(admin, url=receiver.url)
        path, key = f"{WEBHOOKS}/{created['id']}/test", {"Idempotency-Key": "k-1"}
        first = await admin.post(path, headers=key)
        again = await admin.post(path, headers=key)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first.json()
        assert len(receiver.messages) == 1


@pytest.mark.req("B-243")
async def test_secret_of_a_lost_key_is_a_failed_attempt_until_it_is_rotated(
    admin: httpx.AsyncClient, resources: Resources, receiver: Receiver
) -> None:
    created = await make_webhook(admin, url=receiver.url)
    await execute(resources, "UPDATE webhooks SET sealed_secret = sealed_secret || 'x'")
    await make_customer(admin, "c-1")
    await deliver(resources)
    (attempt,) = await attempts(admin, created["id"])
    assert (attempt["status"], attempt["error"]) == (None, "secret_unreadable")
    rotated = (await admin.post(f"{WEBHOOKS}/{created['id']}/secret")).json()
    await admin.post(f"{WEBHOOKS}/{created['id']}/test")
    verify(rotated["secret"], receiver.messages[0])
