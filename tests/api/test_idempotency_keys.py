"""The header `Idempotency-Key`: a repeated request is done once (R-117)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.holdings import NOTHING, Chunks, audited, holdings, multipart, part, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients, with_headers

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.blobs import reap
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

CARD = "/v1/admin/customers/c-1/documents/identity-card"
DIPLOMA = "/v1/admin/customers/c-1/documents/diploma"
OWN_CARD = "/v1/customer/documents/identity-card"
KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture
async def staff(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """Staff, and a customer c-1 who is asked for an identity card and a diploma."""
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
    """Change the rows of all keys; return how many there are."""
    async with resources.database.transaction() as session:
        await session.execute(text(f"UPDATE idempotency_keys SET {assignment}"))
        return await session.scalar(text("SELECT count(*) FROM idempotency_keys")) or 0


class Paused:
    """An upload's body that stops in the middle until it may go on."""

    def __init__(self, body: bytes) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        sent = multipart(part('name="file"; filename="a.pdf"', body))
        self.headers = {**sent["headers"], **KEY}
        self._body: bytes = sent["content"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body in two pieces."""
        yield self._body[:200]
        self.started.set()
        await self.may_end.wait()
        yield self._body[200:]


class TestRepeatedUpload:
    """PUT …/documents/{key} again, with the same key."""

    @pytest.mark.req("R-117")
    async def test_it_is_answered_alike_and_stored_once(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        first = await put(staff, field_values='{"number": "1"}')
        again = await put(staff, field_values='{"number": "1"}')
        assert (first.status_code, again.status_code) == (201, 201)
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        held = await holdings(resources)
        assert (held.versions, len(held.in_store), held.in_spool) == (1, 1, frozenset())
        assert len(await audited(staff, "document.upload")) == 1

    async def test_a_replacement_is_repeated_as_one(self, staff: httpx.AsyncClient) -> None:
        await put(staff, key="k-1")
        answers = [await put(staff, key="k-2") for _ in range(2)]
        facts = [(answer.status_code, answer.json()["version"]) for answer in answers]
        assert facts == [(200, 2), (200, 2)]

    async def test_the_old_answer_is_given_though_the_document_has_changed(
        self, staff: httpx.AsyncClient
    ) -> None:
        first = await put(staff)
        await put(staff, key="k-2", body=files.png(), filename="new.png")
        assert (await put(staff)).json() == first.json()
        assert (await staff.get(CARD)).json()["version"] == 2

    async def test_a_quoted_key_is_the_same(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        first, second = await put(staff, key="k-1"), await put(staff, key='"k-1"')
        assert second.json() == first.json()
        assert (await holdings(resources)).versions == 1

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
    async def test_another_payload_is_refused(
        self, staff: httpx.AsyncClient, resources: Resources, other: dict[str, Any]
    ) -> None:
        await put(staff)
        assert refusal(await put(staff, **other)) == (
            422,
            "idempotency-key-reused",
            "Idempotency-Key",
        )
        held = await holdings(resources)
        assert (held.versions, len(held.in_store), held.in_spool) == (1, 1, frozenset())

    @pytest.mark.parametrize("condition", ["If-Match", "If-None-Match"])
    async def test_a_condition_that_is_none_is_refused_also_when_the_answer_is_known(
        self, staff: httpx.AsyncClient, condition: str
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        assert (await staff.put(CARD, **upload_of(), headers=headers)).status_code == 201
        answer = await staff.put(CARD, **upload_of(), headers={**headers, condition: ""})
        assert refusal(answer) == (422, "validation-error", condition)

    async def test_without_a_key_it_is_done_again(self, staff: httpx.AsyncClient) -> None:
        await put(staff)
        assert (await staff.put(CARD, **upload_of())).json()["version"] == 2

    @pytest.mark.parametrize("key", ["", '""', '"a', 'a"', "a b", "é", "x" * 256, "a\tb"])
    async def test_what_is_no_key_is_refused_unread(
        self, staff: httpx.AsyncClient, resources: Resources, key: str
    ) -> None:
        body = Chunks(b"x" * 1000)
        headers = [(b"Idempotency-Key", key.encode()), (b"Content-Type", b"multipart/form-data")]
        answer = await staff.put(CARD, content=body, headers=headers)
        assert refusal(answer) == (422, "validation-error", "Idempotency-Key")
        assert body.taken == 0
        assert await holdings(resources) == NOTHING

    async def test_two_keys_are_refused(self, staff: httpx.AsyncClient) -> None:
        headers = [("Idempotency-Key", "k-1"), ("Idempotency-Key", "k-2")]
        answer = await staff.put(CARD, **upload_of(), headers=headers)
        assert refusal(answer) == (422, "validation-error", "Idempotency-Key")

    async def test_the_longest_key_is_good(self, staff: httpx.AsyncClient) -> None:
        assert (await put(staff, key="x" * 255)).status_code == 201


class TestAtOnce:
    """The same key while the request still runs."""

    @pytest.mark.req("R-117")
    async def test_of_many_one_is_done_and_the_others_wait_or_repeat(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        answers = await asyncio.gather(*(put(staff) for _ in range(8)))
        good = [answer.json() for answer in answers if answer.status_code == 201]
        rest = [refusal(answer)[:2] for answer in answers if answer.status_code != 201]
        assert good
        assert all(document == good[0] for document in good)
        assert set(rest) <= {(409, "request-in-progress")}
        held = await holdings(resources)
        assert (held.versions, len(held.in_store)) == (1, 1)
        assert (await put(staff)).json() == good[0]

    async def test_of_different_payloads_one_is_done(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        bodies = [files.pdf(f"number {number}") for number in range(4)]
        answers = await asyncio.gather(*(put(staff, body=body) for body in bodies))
        codes = [answer.status_code for answer in answers]
        assert codes.count(201) == 1
        assert set(codes) <= {201, 409, 422}
        assert (await holdings(resources)).versions == 1

    async def test_the_second_is_refused_before_its_body_is_read(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        paused = Paused(files.pdf())
        running = asyncio.create_task(staff.put(CARD, content=paused, headers=paused.headers))
        await asyncio.wait_for(paused.started.wait(), 5)
        second = Chunks(b"x" * 1000)
        answer = await staff.put(CARD, content=second, headers=paused.headers)
        assert refusal(answer)[:2] == (409, "request-in-progress")
        assert (second.taken, answer.headers["connection"]) == (0, "close")
        paused.may_end.set()
        assert (await running).status_code == 201
        assert (await holdings(resources)).versions == 1

    async def test_a_claim_that_was_lost_stores_nothing(
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
        held = await holdings(resources)
        assert (held.versions, len(held.in_store), held.unsettled) == (1, 1, frozenset())
        assert (await put(staff, filename="a.pdf")).json() == winner.json()

    @pytest.mark.req("R-106")
    async def test_an_upload_of_a_customer_erased_meanwhile_leaves_nothing(
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
        assert await holdings(resources) == NOTHING
        assert await change_keys(resources, "status = status") == 0


class TestRelease:
    """After a refusal the key can be used again."""

    @pytest.mark.parametrize(
        ("refused", "status"),
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
    async def test_a_refused_upload_can_be_mended(
        self, staff: httpx.AsyncClient, refused: dict[str, Any], status: int
    ) -> None:
        await patch_type(staff, "identity-card", max_size_bytes=5000)
        assert (await put(staff, **refused)).status_code == status
        assert (await put(staff)).status_code == 201

    async def test_a_broken_body_can_be_sent_again(self, staff: httpx.AsyncClient) -> None:
        sent = multipart(part('name="file"; filename="a.pdf"', files.pdf()), closed=False)
        headers = sent["headers"] | KEY
        broken = await staff.put(CARD, content=sent["content"], headers=headers)
        assert (broken.status_code, (await put(staff)).status_code) == (400, 201)

    async def test_a_failed_precondition_keeps_no_answer(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await staff.put(CARD, **upload_of())
        headers = KEY | {"If-None-Match": "*"}
        assert (await staff.put(CARD, **upload_of(), headers=headers)).status_code == 412
        assert await change_keys(resources, "status = status") == 0
        assert (await put(staff)).json()["version"] == 2

    async def test_a_client_that_gives_up_leaves_the_key_free(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        paused = Paused(files.pdf())
        running = asyncio.create_task(staff.put(CARD, content=paused, headers=paused.headers))
        await asyncio.wait_for(paused.started.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await put(staff)).status_code == 201
        assert (await holdings(resources)).in_spool == frozenset()


class TestWhose:
    """A key belongs to one credential, method and path."""

    async def test_another_member_of_staff_has_keys_of_their_own(
        self, staff: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        token = issuer.admin_token("staff-2")
        colleague = with_headers(staff, {"Authorization": f"Bearer {token}"})
        answers = [await put(staff), await put(colleague)]
        assert [answer.json()["version"] for answer in answers] == [1, 2]
        assert answers[1].json()["uploaded_by"]["id"] == "staff-2"

    async def test_another_customer_has_keys_of_their_own(
        self, staff: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(staff, "c-2")
        one = await put(customer_of("c-1"), OWN_CARD, body=files.pdf("one"))
        two = await put(customer_of("c-2"), OWN_CARD, body=files.pdf("two"))
        assert (one.status_code, two.status_code) == (201, 201)
        content = await customer_of("c-2").get(f"{OWN_CARD}/content")
        assert content.content == files.pdf("two")

    async def test_another_audience_has_keys_of_its_own(
        self, staff: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await put(staff)
        answer = await put(integration, "/v1/integration/customers/c-1/documents/identity-card")
        assert answer.json()["version"] == 2

    async def test_another_path_is_another_request(self, staff: httpx.AsyncClient) -> None:
        answers = [await put(staff, CARD), await put(staff, DIPLOMA)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert (await staff.get(DIPLOMA)).json()["version"] == 1

    @pytest.mark.req("A-07")
    async def test_who_may_no_longer_ask_gets_no_old_answer(
        self, staff: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        assert (await put(customer, OWN_CARD)).status_code == 201
        await patch_portal(staff, section_enabled=False)
        assert refusal(await put(customer, OWN_CARD))[:2] == (403, "portal-section-disabled")

    async def test_the_key_itself_is_not_kept(
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
    """How long an answer is kept."""

    async def test_it_is_kept_for_a_day(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await change_keys(resources, "expires_at = expires_at - interval '23 hours 59 minutes'")
        await reap(resources)
        assert (await put(staff)).json()["version"] == 1

    async def test_after_a_day_the_request_is_a_new_one(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await change_keys(resources, "expires_at = expires_at - interval '24 hours 1 minute'")
        answer = await put(staff, body=files.png(), filename="a.png")
        assert (answer.status_code, answer.json()["version"]) == (200, 2)

    async def test_an_expired_answer_is_removed(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await change_keys(resources, "expires_at = expires_at - interval '24 hours 1 minute'")
        await reap(resources)
        assert await change_keys(resources, "status = status") == 0

    @pytest.mark.req("R-102")
    async def test_it_goes_with_the_customer(
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
    async def test_an_answer_about_several_customers_goes_with_each_of_them(
        self, staff: httpx.AsyncClient, integration: httpx.AsyncClient, resources: Resources
    ) -> None:
        for key, ids in (("k-1", ["c-7", "c-8"]), ("k-2", ["c-70"])):
            answer = await integration.post(
                "/v1/integration/customer-batches",
                json={"items": [{"id": id_} for id_ in ids]},
                headers={"Idempotency-Key": key},
            )
            assert answer.status_code == 207
        assert await change_keys(resources, "status = status") == 2
        assert (await staff.delete("/v1/admin/customers/c-7")).status_code == 202
        assert await change_keys(resources, "status = status") == 1

    @pytest.mark.req("R-102", "R-104")
    async def test_the_customer_created_anew_gets_no_old_answer(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await put(staff)
        await staff.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        await make_customer(staff, "c-1")
        answer = await put(staff, body=files.png(), filename="a.png")
        assert (answer.status_code, answer.json()["version"]) == (201, 1)


class TestOtherOperations:
    """POST with a JSON body and a key."""

    @pytest.mark.req("R-117", "R-064")
    async def test_a_repeated_copy_is_done_once(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await staff.put(CARD, **upload_of())
        source = {"from": {"key": "identity-card"}}
        first = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        again = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        assert (again.status_code, again.content) == (201, first.content)
        assert (await holdings(resources)).versions == 2

    async def test_another_copy_with_the_same_key_is_refused(
        self, staff: httpx.AsyncClient
    ) -> None:
        await staff.put(CARD, **upload_of())
        source: dict[str, Any] = {"key": "identity-card"}
        await staff.post(f"{DIPLOMA}/copy", json={"from": source}, headers=KEY)
        other = {"from": source | {"version": 1}}
        answer = await staff.post(f"{DIPLOMA}/copy", json=other, headers=KEY)
        assert refusal(answer) == (422, "idempotency-key-reused", "Idempotency-Key")

    async def test_a_refused_copy_gives_the_key_back(self, staff: httpx.AsyncClient) -> None:
        source = {"from": {"key": "identity-card"}}
        refused = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        await staff.put(CARD, **upload_of())
        answer = await staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY)
        assert (refused.status_code, answer.status_code) == (404, 201)

    async def test_of_many_copies_at_once_one_is_done(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await staff.put(CARD, **upload_of())
        source = {"from": {"key": "identity-card"}}
        answers = await asyncio.gather(
            *(staff.post(f"{DIPLOMA}/copy", json=source, headers=KEY) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert (await holdings(resources)).versions == 2

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/admin/document-types", {"name": "Passport"}),
            ("/v1/admin/customers", {"id": "c-3"}),
        ],
    )
    async def test_a_repeated_creation_is_answered_alike(
        self, admin: httpx.AsyncClient, path: str, body: dict[str, Any]
    ) -> None:
        first = await admin.post(path, json=body, headers=KEY)
        again = await admin.post(path, json=body, headers=KEY)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
