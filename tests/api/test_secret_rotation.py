"""Replacing the secret key with an overlap, by the steps of docs/how-to/rotate-keys.md."""

import dataclasses
from secrets import token_hex
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.webhooks import make_webhook
from tests.fixtures.callers import CustomerClients, with_headers

from docvault.auth.keyring import Keyring
from docvault.domain.scopes import Scope
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.services.webhooks import seal_secrets

OLD, NEW = (token_hex(32).encode() for _ in range(2))
KEY_PATH = "/v1/integration/customers/c-1/documents"
INTEGRATION_CUSTOMER = "/v1/integration/customers/c-1"
EVENTS = "/v1/admin/audit-events"

pytestmark = pytest.mark.req("B-113")


class Rotation:
    """A deployment whose processes are restarted with other secret keys."""

    def __init__(self, app: FastAPI, resources: Resources) -> None:
        self._app = app
        self.resources = resources

    def restart(self, secret: bytes, previous: bytes | None = None) -> None:
        keyring = Keyring(secret, previous)
        self.resources = dataclasses.replace(self.resources, keyring=keyring)
        self._app.state.resources = self.resources


@pytest.fixture
def rotation(app: FastAPI, resources: Resources, admin: httpx.AsyncClient) -> Rotation:
    del admin
    rotation = Rotation(app, resources)
    rotation.restart(OLD)
    return rotation


@pytest.fixture
async def key(rotation: Rotation, http: httpx.AsyncClient, admin: httpx.AsyncClient) -> Any:
    """A client with an API key that was created under the old secret."""
    del rotation
    data = {"name": "host", "scopes": [scope.value for scope in Scope]}
    created = await admin.post("/v1/admin/api-keys", json=data)
    assert created.status_code == 201, created.text
    return with_headers(http, {"X-API-Key": created.json()["key"]})


class TestApiKeys:
    """API keys across a rotation."""

    async def test_key_that_was_used_in_the_overlap_outlives_the_old_secret(
        self, rotation: Rotation, admin: httpx.AsyncClient, key: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        rotation.restart(OLD, NEW)
        assert (await key.get(KEY_PATH)).status_code == 200
        rotation.restart(NEW, OLD)
        assert (await key.get(KEY_PATH)).status_code == 200
        rotation.restart(NEW)
        assert (await key.get(KEY_PATH)).status_code == 200

    async def test_key_that_was_not_used_is_refused_afterwards(
        self, rotation: Rotation, admin: httpx.AsyncClient, key: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        rotation.restart(NEW, OLD)
        rotation.restart(NEW)
        assert (await key.get(KEY_PATH)).status_code == 401

    async def test_wrong_and_revoked_keys_stay_refused_in_the_overlap(
        self, rotation: Rotation, admin: httpx.AsyncClient, key: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        listed = (await admin.get("/v1/admin/api-keys")).json()["items"]
        rotation.restart(NEW, OLD)
        assert (await admin.delete(f"/v1/admin/api-keys/{listed[0]['id']}")).status_code == 204
        assert (await key.get(KEY_PATH)).status_code == 401


class TestWebhookSecrets:
    """Secrets of webhooks across a rotation."""

    async def test_secrets_that_the_worker_has_sealed_again_outlive_the_old_key(
        self, rotation: Rotation, admin: httpx.AsyncClient
    ) -> None:
        webhook = await make_webhook(admin)
        path = f"/v1/admin/webhooks/{webhook['id']}"
        current = (await admin.post(f"{path}/secret")).json()["secret"]
        rotation.restart(NEW, OLD)
        assert await self.opened(rotation) == [current, webhook["secret"]]
        await seal_secrets(rotation.resources)
        rotation.restart(NEW)
        assert await self.opened(rotation) == [current, webhook["secret"]]

    async def test_secrets_that_were_not_are_lost(
        self, rotation: Rotation, admin: httpx.AsyncClient
    ) -> None:
        await make_webhook(admin)
        rotation.restart(NEW)
        await seal_secrets(rotation.resources)
        assert await self.opened(rotation) == [None]

    async def opened(self, rotation: Rotation) -> list[str | None]:
        """Return the secrets that the present keys open."""
        resources = rotation.resources
        async with resources.transaction(resources.system_context()) as uow:
            (webhook,) = await uow.webhooks.list_page(after=None, limit=1)
        sealed = (webhook.sealed_secret, webhook.sealed_previous_secret)
        keyring = resources.keyring
        return [keyring.open_webhook_secret(webhook.id, one) for one in sealed if one is not None]


class TestErasures:
    """Erasures across a rotation."""

    @pytest.mark.parametrize("in_batch", [False, True])
    async def test_token_from_before_an_erasure_stays_refused(
        self,
        rotation: Rotation,
        admin: httpx.AsyncClient,
        key: httpx.AsyncClient,
        customer_of: CustomerClients,
        *,
        in_batch: bool,
    ) -> None:
        await make_customer(admin, "c-1")
        before = customer_of("c-1")
        assert (await before.get("/v1/customer/documents")).status_code == 200
        await self.erase(rotation, admin)
        rotation.restart(NEW, OLD)
        if in_batch:
            path = "/v1/integration/customer-batches"
            assert (await key.post(path, json={"items": [{"id": "c-1"}]})).status_code == 207
        else:
            await make_customer(admin, "c-1")
        for _ in range(2):
            assert (await before.get("/v1/customer/documents")).status_code == 401
            # What was found in the overlap is stored with the customer.
            rotation.restart(NEW)

    async def test_trail_of_an_erased_customer_is_found_by_the_id_in_the_overlap(
        self, rotation: Rotation, admin: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        await self.erase(rotation, admin)
        rotation.restart(NEW, OLD)
        await make_customer(admin, "c-1")
        events = (await admin.get(EVENTS, params={"customer": "c-1"})).json()["items"]
        assert [event["action"] for event in events] == [
            "customer.create",
            "customer.erase",
            "customer.create",
        ]

    async def erase(self, rotation: Rotation, admin: httpx.AsyncClient) -> None:
        assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
        await finish_erasures(rotation.resources)


@pytest.mark.req("B-270")
class TestPseudonyms:
    """The pseudonyms of events across a rotation."""

    async def test_erasure_is_announced_under_the_pseudonym_known_before(
        self, rotation: Rotation, admin: httpx.AsyncClient, key: httpx.AsyncClient
    ) -> None:
        known = await self.create(admin)
        rotation.restart(NEW, OLD)
        assert (await key.get(INTEGRATION_CUSTOMER)).json()["pseudonym"] == known
        listed = (await key.get("/v1/integration/customers")).json()["items"]
        assert [customer["pseudonym"] for customer in listed] == [known]
        rotation.restart(NEW)
        assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
        await finish_erasures(rotation.resources)
        events = await self.events(admin)
        assert [(event["type"], event["customer"]) for event in events] == [
            ("customer.created", {"id": None, "pseudonym": known}),
            ("customer.erased", {"id": None, "pseudonym": known}),
        ]

    async def test_customer_who_comes_back_has_another(
        self, rotation: Rotation, admin: httpx.AsyncClient
    ) -> None:
        before = await self.create(admin)
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(rotation.resources)
        after = await self.create(admin)
        assert before != after
        named = [event["customer"]["pseudonym"] for event in await self.events(admin)]
        assert named == [before, before, after]

    async def create(self, admin: httpx.AsyncClient) -> str:
        """Create the customer and return the pseudonym."""
        created = await admin.put("/v1/admin/customers/c-1", json={"name": "Anna"})
        assert created.status_code == 201, created.text
        pseudonym: str = created.json()["pseudonym"]
        return pseudonym

    async def events(self, admin: httpx.AsyncClient) -> list[dict[str, Any]]:
        """Return all events."""
        items: list[dict[str, Any]] = (await admin.get("/v1/admin/events")).json()["items"]
        return items


class TestLinksAndCursors:
    """What clients hold while the key is replaced."""

    @pytest.mark.own_store("an S3 store signs URLs with its own key")
    async def test_signed_url_and_cursor_work_in_the_overlap_alone(
        self, rotation: Rotation, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        for number in range(3):
            await make_customer(admin, f"c-{number}")
        page = (await admin.get("/v1/admin/customers", params={"limit": 1})).json()
        following = {"limit": 1, "cursor": page["next_cursor"]}
        url = await self.open_upload(admin)
        rotation.restart(NEW, OLD)
        assert (await admin.get("/v1/admin/customers", params=following)).status_code == 200
        assert (await http.put(url, content=b"x")).status_code == 422
        rotation.restart(NEW)
        response = await admin.get("/v1/admin/customers", params=following)
        assert response.json()["code"] == "invalid-cursor"
        assert (await http.put(url, content=b"x")).status_code == 404

    async def open_upload(self, admin: httpx.AsyncClient) -> str:
        await make_type(admin, "Passport")
        response = await admin.post(
            "/v1/admin/customers/c-1/documents/passport/uploads",
            json={"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64},
        )
        assert response.status_code == 201, response.text
        url: str = response.json()["url"]
        return url


class TestRepeatedRequests:
    """Requests with an idempotency key, repeated across a rotation."""

    async def test_request_is_done_once(self, rotation: Rotation, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        await make_type(admin, "Passport")
        path = "/v1/admin/customers/c-1/documents/passport"
        once = {"Idempotency-Key": "k-1"}
        assert (await admin.put(path, **upload_of(), headers=once)).status_code == 201
        rotation.restart(NEW, OLD)
        again = await admin.put(path, **upload_of(), headers=once)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
        second = {"Idempotency-Key": "k-2"}
        assert (await admin.put(path, **upload_of(), headers=second)).status_code == 200
        rotation.restart(NEW)
        again = await admin.put(path, **upload_of(), headers=second)
        assert again.headers["idempotency-replayed"] == "true"
