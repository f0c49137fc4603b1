"""The header `Idempotency-Key`: a repeated request is executed once (R-117)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import (
    NOTHING_STORED,
    Chunks,
    audited,
    multipart,
    part,
    refusal,
    stored_state,
)
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients, with_headers

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.services.resources import Resources

CARD = "/v1/admin/customers/c-1/documents/identity-card"
DIPLOMA = "/v1/admin/customers/c-1/documents/diploma"
OWN_CARD = "/v1/customer/documents/identity-card"
KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture
async def staff(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """Staff, and a customer c-1 with an identity card and a diploma to upload."""
    await make_type(admin, "Identity card", collects_fields=True, field_labels="Number")
    await make_type(admin, "Diploma")
    await make_customer(admin, "c-1")
    return admin


async def put(
    client: httpx.AsyncClient, path: str = CARD, key: str = "k-1", **sent: Any
) -> httpx.Response:
    """Upload with a key."""
    return await client.put(path, **upload_of(**sent), headers={"Idempotency-Key": key})


async def change_keys(resources: Resources, assignment: str) -> int:
    """Change the rows of all keys and return their number."""
    async with resources.database.transaction() as session:
        await session.execute(text(f"UPDATE idempotency_keys SET {assignment}"))
        return await session.scalar(text("SELECT count(*) FROM idempotency_keys")) or 0


class Paused:
    """An upload body that pauses in the middle until `may_end` is set."""

    def __init__(self, body: bytes) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        sent = multipart(part('name="file"; filename="a.pdf"', body))
        self.headers = {**sent["headers"], **KEY}
        self._body: bytes = sent["content"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[:200]
        self.started.set()
        await self.may_end.wait()
        yield self._body[200:]


class TestRepeatedUpload:
    """PUT …/documents/{key} repeated with the same key."""

    @pytest.mark.req("R-117")
    async def test_retry_is_replayed_and_stored_once(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        first = await put(staff, field_values='{"number": "1"}')
        again = await put(staff, field_values='{"number": "1"}')
        assert (first.status_code, again.status_code) == (201, 201)
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store), held.in_spool) == (1, 1, frozenset())
        assert len(await audited(staff, "document.upload")) == 1

    async def test_repeated_replacement_is_replayed(self, staff: httpx.AsyncClient) -> None:
        await put(staff, key="k-1")
        responses = [await put(staff, key="k-2") for _ in range(2)]
        facts = [(response.status_code, response.json()["version"]) for response in responses]
        assert facts == [(200, 2), (200, 2)]

    async def test_replay_returns_original_response_after_change(
        self, staff: httpx.AsyncClient
    ) -> None:
        first = await put(staff)
        await put(staff, key="k-2", body=files.png(), filename="new.png")
        assert (await put(staff)).json() == first.json()
        assert (await staff.get(CARD)).json()["version"] == 2

    async def test_quoted_key_equals_unquoted_key(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        first, second = await put(staff, key="k-1"), await put(staff, key='"k-1"')
        assert second.json() == first.json()
        assert (await stored_state(resources)).versions == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"body": files.pdf("other")},
            {"filename": "other.pdf"},
            {"field_values": '{"number": "1"}'},
            {"field_values": "{}"},
        ],
        ids=lambda value: next(iter(value)),
    )
    async def test_different_payload_is_rejected(
        self, staff: httpx.AsyncClient, resources: Resources, other: dict[str, Any]
    ) -> None:
        await put(staff)
        assert refusal(await put(staff, **other)) == (
            422,
            "idempotency-key-reused",
            "Idempotency-Key",
        )
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store), held.in_spool) == (1, 1, frozenset())

    @pytest.mark.parametrize("condition", ["If-Match", "If-None-Match"])
    async def test_invalid_precondition_is_rejected_before_replay(
        self, staff: httpx.AsyncClient, condition: str
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        assert (await staff.put(CARD, **upload_of(), headers=headers)).status_code == 201
        response = await staff.put(CARD, **upload_of(), headers={**headers, condition: ""})
        assert refusal(response) == (422, "validation-error", condition)

    async def test_request_without_key_is_processed_again(self, staff: httpx.AsyncClient) -> None:
        await put(staff)
        assert (await staff.put(CARD, **upload_of())).json()["version"] == 2

    @pytest.mark.parametrize("key", ["", '""', '"a', 'a"', "a b", "é", "x" * 256, "a\tb"])
    async def test_invalid_key_is_rejected_before_reading_body(
        self, staff: httpx.AsyncClient, resources: Resources, key: str
    ) -> None:
        body = Chunks(b"x" * 1000)
        headers = [(b"Idempotency-Key", key.encode()), (b"Content-Type", b"multipart/form-data")]
        response = await staff.put(CARD, content=body, headers=headers)
        assert refusal(response) == (422, "validation-error", "Idempotency-Key")
        assert body.bytes_read == 0
        assert await stored_state(resources) == NOTHING_STORED

    async def test_multiple_keys_are_rejected(self, staff: httpx.AsyncClient) -> None:
        headers = [("Idempotency-Key", "k-1"), ("Idempotency-Key", "k-2")]
        response = await staff.put(CARD, **upload_of(), headers=headers)
        assert refusal(response) == (422, "validation-error", "Idempotency-Key")

    async def test_longest_key_is_accepted(self, staff: httpx.AsyncClient) -> None:
        assert (await put(staff, key="x" * 255)).status_code == 201


class TestConcurrency:
    """The same key while the first request is in progress."""

    @pytest.mark.req("R-117")
    async def test_one_concurrent_request_is_processed(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        responses = await asyncio.gather(*(put(staff) for _ in range(8)))
        good = [response.json() for response in responses if response.status_code == 201]
        rest = [refusal(response)[:2] for response in responses if response.status_code != 201]
        assert good
        assert all(document == good[0] for document in good)
        assert set(rest) <= {(409, "request-in-progress")}
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store)) == (1, 1)
        assert (await put(staff)).json() == good[0]

    async def test_one_concurrent_payload_is_processed(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        bodies = [files.pdf(f"number {number}") for number in range(4)]
        responses = await asyncio.gather(*(put(staff, body=body) for body in bodies))
        codes = [response.status_code for response in responses]
        assert codes.count(201) == 1
        assert set(codes) <= {201, 409, 422}
        assert (await stored_state(resources)).versions == 1

    async def test_concurrent_request_is_rejected_before_reading_body(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        paused = Paused(files.pdf())
        running = asyncio.create_task(staff.put(CARD, content=paused, headers=paused.headers))
        await asyncio.wait_for(paused.started.wait(), 5)
        second = Chunks(b"x" * 1000)
        response = await staff.put(CARD, content=second, headers=paused.headers)
        assert refusal(response)[:2] == (409, "request-in-progress")
        assert (second.bytes_read, response.headers["connection"]) == (0, "close")
        paused.may_end.set()
        assert (await running).status_code == 201
        assert (await stored_state(resources)).versions == 1

    async def test_lost_claim_stores_nothing(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        paused = Paused(files.pdf())
        running = asyncio.create_task(staff.put(CARD, content=paused, headers=paused.headers))
        await asyncio.wait_for(paused.started.wait(), 5)
        assert await change_keys(resources, "locked_until = now() - interval '1 second'") == 1
        winner = await put(staff, filename="a.pdf")
        paused.may_end.set()
        assert winner.status_code == 201
        assert refusal(await running)[:2] == (409, "request-in-progress")
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store), held.unsettled) == (1, 1, frozenset())
        assert (await put(staff, filename="a.pdf")).json() == winner.json()

    @pytest.mark.req("R-106")
    async def test_upload_of_concurrently_erased_customer_leaves_nothing(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        paused = Paused(files.pdf())
        running = asyncio.create_task(staff.put(CARD, content=paused, headers=paused.headers))
        await asyncio.wait_for(paused.started.wait(), 5)
        erased = await staff.delete("/v1/admin/customers/c-1")
        paused.may_end.set()
        assert refusal(await running)[0] in {404, 409}
        await finish_erasures(resources)
        erasure = (await staff.get(erased.headers["location"])).json()
        assert erasure["state"] == "completed"
        assert await stored_state(resources) == NOTHING_STORED
        assert await change_keys(resources, "status = status") == 0


class TestKeyRelease:
    """The key can be reused after a rejected request."""

    @pytest.mark.parametrize(
        ("rejected", "status"),
        [
            ({"body": b""}, 422),
            ({"body": files.executable()}, 415),
            ({"field_values": "{"}, 400),
            ({"field_values": '{"nope": "1"}'}, 422),
            ({"evil": "1"}, 422),
            ({"body": b"x" * 6000, "filename": "a.txt"}, 413),
        ],
        ids=["empty", "type", "malformed", "field", "part", "size"],
    )
    async def test_rejected_upload_can_be_retried_with_same_key(
        self, staff: httpx.AsyncClient, rejected: dict[str, Any], status: int
    ) -> None:
        await patch_type(staff, "identity-card", max_size_bytes=5000)
        assert (await put(staff, **rejected)).status_code == status
        assert (await put(staff)).status_code == 201

    async def test_malformed_body_can_be_retried_with_same_key(
        self, staff: httpx.AsyncClient
    ) -> None:
        sent = multipart(part('name="file"; filename="a.pdf"', files.pdf()), closed=False)
        headers = sent["headers"] | KEY
        broken = await staff.put(CARD, content=sent["content"], headers=headers)
        assert (broken.status_code, (await put(staff)).status_code) == (400, 201)

    async def test_failed_precondition_stores_no_response(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await staff.put(CARD, **upload_of())
        headers = KEY | {"If-None-Match": "*"}
        assert (await staff.put(CARD, **upload_of(), headers=headers)).status_code == 412
        assert await change_keys(resources, "status = status") == 0
        assert (await put(staff)).json()["version"] == 2

    async def test_disconnected_client_releases_key(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        paused = Paused(files.pdf())
        running = asyncio.create_task(staff.put(CARD, content=paused, headers=paused.headers))
        await asyncio.wait_for(paused.started.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await put(staff)).status_code == 201
        assert (await stored_state(resources)).in_spool == frozenset()


class TestKeyScope:
    """A key belongs to one credential, method and path."""

    async def test_keys_of_other_staff_are_separate(
        self, staff: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        token = issuer.admin_token("staff-2")
        colleague = with_headers(staff, {"Authorization": f"Bearer {token}"})
        responses = [await put(staff), await put(colleague)]
        assert [response.json()["version"] for response in responses] == [1, 2]
        assert responses[1].json()["uploaded_by"]["id"] == "staff-2"

    async def test_keys_of_other_customers_are_separate(
        self, staff: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(staff, "c-2")
        one = await put(customer_of("c-1"), OWN_CARD, body=files.pdf("one"))
        two = await put(customer_of("c-2"), OWN_CARD, body=files.pdf("two"))
        assert (one.status_code, two.status_code) == (201, 201)
        content = await customer_of("c-2").get(f"{OWN_CARD}/content")
        assert content.content == files.pdf("two")

    async def test_keys_of_other_apis_are_separate(
        self, staff: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await put(staff)
        response = await put(integration, "/v1/integration/customers/c-1/documents/identity-card")
        assert response.json()["version"] == 2

    async def test_keys_of_other_paths_are_separate(self, staff: httpx.AsyncClient) -> None:
        responses = [await put(staff, CARD), await put(staff, DIPLOMA)]
        assert [response.status_code for response in responses] == [201, 201]
        assert (await staff.get(DIPLOMA)).json()["version"] == 1

    @pytest.mark.req("A-07")
    async def test_caller_who_lost_access_gets_no_replay(
        self, staff: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        assert (await put(customer, OWN_CARD)).status_code == 201
        await patch_portal(staff, section_enabled=False)
        assert refusal(await put(customer, OWN_CARD))[:2] == (403, "portal-section-disabled")

    async def test_raw_key_is_not_stored(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff, key="secret-canary")
        async with resources.database.transaction() as session:
            rows = await session.scalar(
                text("SELECT string_agg(k::text, '') FROM idempotency_keys k")
            )
        assert rows
        assert "secret-canary" not in rows


class TestLifetime:
    """The lifetime of a stored response."""

    async def test_response_is_kept_for_a_day(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await change_keys(resources, "expires_at = expires_at - interval '23 hours 59 minutes'")
        await reap(resources)
        assert (await put(staff)).json()["version"] == 1

    async def test_key_is_free_after_a_day(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await change_keys(resources, "expires_at = expires_at - interval '24 hours 1 minute'")
        response = await put(staff, body=files.png(), filename="a.png")
        assert (response.status_code, response.json()["version"]) == (200, 2)

    async def test_expired_response_is_deleted(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await change_keys(resources, "expires_at = expires_at - interval '24 hours 1 minute'")
        await reap(resources)
        assert await change_keys(resources, "status = status") == 0

    @pytest.mark.req("R-102")
    async def test_responses_are_deleted_with_customer(
        self, staff: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await put(staff)
        await put(customer_of("c-1"), OWN_CARD)
        copied = {"from": {"key": "identity-card"}}
        await staff.post(f"{DIPLOMA}/copy", json=copied, headers=KEY)
        assert await change_keys(resources, "status = status") == 3
        assert (await staff.delete("/v1/admin/customers/c-1")).status_code == 202
        assert await change_keys(resources, "status = status") == 0

    @pytest.mark.req("R-102")
    async def test_batch_response_is_deleted_with_any_of_its_customers(
        self, staff: httpx.AsyncClient, integration: httpx.AsyncClient, resources: Resources
    ) -> None:
        for key, ids in (("k-1", ["c-7", "c-8"]), ("k-2", ["c-70"])):
            response = await integration.post(
                "/v1/integration/customer-batches",
                json={"items": [{"id": id_} for id_ in ids]},
                headers={"Idempotency-Key": key},
            )
            assert response.status_code == 207
        assert await change_keys(resources, "status = status") == 2
        assert (await staff.delete("/v1/admin/customers/c-7")).status_code == 202
        assert await change_keys(resources, "status = status") == 1

    @pytest.mark.req("R-102", "R-104")
    async def test_recreated_customer_gets_no_replay(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await staff.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        await make_customer(staff, "c-1")
        response = await put(staff, body=files.png(), filename="a.png")
        assert (response.status_code, response.json()["version"]) == (201, 1)


class TestOtherOperations:
    """POST with a JSON body and a key."""

    @pytest.mark.req("R-117", "R-064")
    async def test_repeated_copy_is_processed_once(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await staff.put(CARD, **upload_of())
        source = {"from": {"key": "identity-card"}}
        first = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        again = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        assert (again.status_code, again.content) == (201, first.content)
        assert (await stored_state(resources)).versions == 2

    async def test_different_copy_with_same_key_is_rejected(self, staff: httpx.AsyncClient) -> None:
        await staff.put(CARD, **upload_of())
        source: dict[str, Any] = {"key": "identity-card"}
        await staff.post(f"{DIPLOMA}/copy", json={"from": source}, headers=KEY)
        other = {"from": source | {"version": 1}}
        response = await staff.post(f"{DIPLOMA}/copy", json=other, headers=KEY)
        assert refusal(response) == (422, "idempotency-key-reused", "Idempotency-Key")

    async def test_rejected_copy_releases_key(self, staff: httpx.AsyncClient) -> None:
        source = {"from": {"key": "identity-card"}}
        rejected = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        await staff.put(CARD, **upload_of())
        response = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        assert (rejected.status_code, response.status_code) == (404, 201)

    async def test_one_concurrent_copy_is_processed(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await staff.put(CARD, **upload_of())
        source = {"from": {"key": "identity-card"}}
        responses = await asyncio.gather(
            *(staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY) for _ in range(5))
        )
        assert {response.status_code for response in responses} <= {201, 409}
        assert (await stored_state(resources)).versions == 2

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/admin/document-types", {"name": "Passport"}),
            ("/v1/admin/customers", {"id": "c-3"}),
        ],
    )
    async def test_repeated_creation_is_replayed(
        self, admin: httpx.AsyncClient, path: str, body: dict[str, Any]
    ) -> None:
        first = await admin.post(path, json=body, headers=KEY)
        again = await admin.post(path, json=body, headers=KEY)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
