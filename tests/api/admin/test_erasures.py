"""Erasing customers, and watching it."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from tests.factories import files
from tests.factories.blobs import leave_bytes
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.auth.principals import Access
from docvault.previews.renderer import RenderedPreview
from docvault.services.blobs import abandon_blobs, reap
from docvault.services.erasures import finish_erasure, finish_erasures
from docvault.services.previews import render_version
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage.base import BlobReader

CUSTOMERS = "/v1/admin/customers"
ERASURES = "/v1/admin/erasures"


@pytest.fixture(autouse=True)
async def customer(admin: httpx.AsyncClient) -> str:
    """Types A and B, and a customer c-1 with two versions of A and one of B."""
    await make_type(admin, "A", upload_mode="required", collects_fields=True, field_labels="F")
    await make_type(admin, "B")
    await make_customer(admin, "c-1", name="Name of c-1")
    for key, body in (("a", files.pdf("1")), ("a", files.pdf("2")), ("b", files.pdf("3"))):
        await admin.put(f"{CUSTOMERS}/c-1/documents/{key}", **upload_of(body))
    return "c-1"


async def erase(admin: httpx.AsyncClient, customer: str = "c-1") -> str:
    """Begin an erasure and return where to watch it."""
    answer = await admin.delete(f"{CUSTOMERS}/{customer}")
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


async def erase_fully(
    admin: httpx.AsyncClient, resources: Resources, customer: str = "c-1"
) -> dict[str, Any]:
    """Erase a customer, do what the worker does, and return the erasure."""
    location = await erase(admin, customer)
    await finish_erasures(resources)
    erasure: dict[str, Any] = (await admin.get(location)).json()
    assert erasure["state"] == "completed"
    return erasure


async def stored_keys(resources: Resources) -> list[str]:
    """Return the keys of everything in the store."""
    return [blob.key async for blob in resources.store.list_blobs()]


async def internal_id(resources: Resources, customer: str) -> uuid.UUID:
    """Return the internal id of a customer."""
    async with resources.unit(Access.everyone()) as unit:
        facts = await unit.customers.find(customer)
    assert facts is not None
    return facts.id


def rows_with(database_url: str, marker: str) -> dict[str, int]:
    """Return how many rows of each table hold a text, binary columns included."""
    found = {}
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT count(*) FROM {0} AS t WHERE t::text ~* %s").format(
                sql.Identifier(table)
            )
            # Where a word begins: ids, which are random, can have "c-1" inside.
            pattern = rf"\m{marker}|{marker.encode().hex()}"
            row = connection.execute(query, [pattern]).fetchone()
            if row and row[0]:
                found[table] = row[0]
    return found


class TestDelete:
    """DELETE /v1/admin/customers/{id}."""

    @pytest.mark.req("R-100")
    async def test_the_answer_tells_where_to_watch(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.delete(f"{CUSTOMERS}/c-1")
        assert (answer.status_code, answer.content) == (202, b"")
        watched = await admin.get(answer.headers["location"])
        assert watched.json()["state"] == "pending"
        assert watched.json()["counts"] == {
            "documents": 2,
            "versions": 3,
            "blobs_deleted": 0,
            "blobs_pending": 3,
        }

    async def test_the_answer_never_names_the_customer(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.delete(f"{CUSTOMERS}/c-1")
        watched = await admin.get(answer.headers["location"])
        shown = str(answer.headers) + watched.text + (await admin.get(ERASURES)).text
        # As a whole: a random id can have these characters in it.
        assert re.search(r"(?<![\w-])c-1(?![\w-])", shown) is None

    @pytest.mark.req("R-100")
    async def test_reads_find_nothing_at_once(self, admin: httpx.AsyncClient) -> None:
        await erase(admin)
        for rest in ("", "/summary", "/gate", "/documents", "/documents/a",
                     "/documents/a/content", "/documents/a/versions"):  # fmt: skip
            answer = await admin.get(f"{CUSTOMERS}/c-1{rest}")
            assert (answer.status_code, answer.json()["code"]) == (404, "customer-unknown"), rest
        assert (await admin.get(CUSTOMERS)).json()["items"] == []

    async def test_writes_are_refused_while_it_runs(self, admin: httpx.AsyncClient) -> None:
        await erase(admin)
        path = f"{CUSTOMERS}/c-1"
        answers = [
            await admin.put(path, json={}),
            await admin.patch(path, json={}),
            await admin.post(CUSTOMERS, json={"id": "c-1"}),
            await admin.put(f"{path}/documents/a", **upload_of()),
            await admin.patch(f"{path}/documents/a", json={"field_values": {"f": "x"}}),
            await admin.delete(f"{path}/documents/a"),
            await admin.post(f"{path}/documents/a/copy", json={"from": {"key": "b"}}),
        ]
        results = [(answer.status_code, answer.json()["code"]) for answer in answers]
        assert results == [(409, "customer-being-erased")] * len(answers)

    @pytest.mark.req("R-104")
    async def test_the_customers_token_stops_working_at_once(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        client = customer_of("c-1")
        assert (await client.get("/v1/customer/documents")).status_code == 200
        await erase(admin)
        answer = await client.get("/v1/customer/documents/a/content")
        assert (answer.status_code, answer.json()["code"]) == (403, "customer-unknown")

    @pytest.mark.req("R-105")
    async def test_again_gives_the_same_place_while_it_runs(self, admin: httpx.AsyncClient) -> None:
        first, second = await erase(admin), await erase(admin)
        assert first == second
        assert len((await admin.get(ERASURES)).json()["items"]) == 1

    @pytest.mark.req("R-105")
    async def test_again_finds_nothing_afterwards(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase_fully(admin, resources)
        answer = await admin.delete(f"{CUSTOMERS}/c-1")
        assert (answer.status_code, answer.json()["code"]) == (404, "customer-unknown")

    async def test_an_unknown_customer_is_not_found(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.delete(f"{CUSTOMERS}/nobody")
        assert (answer.status_code, answer.json()["code"]) == (404, "customer-unknown")

    async def test_another_etag_keeps_the_customer(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.delete(f"{CUSTOMERS}/c-1", headers={"If-Match": '"nope"'})
        assert answer.status_code == 412
        assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["has_documents"] is True

    async def test_a_customer_without_documents_goes_too(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        erasure = await erase_fully(admin, resources, "c-2")
        assert set(erasure["counts"].values()) == {0}

    @pytest.mark.req("R-105")
    async def test_twenty_at_once_make_one_erasure(self, admin: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(admin.delete(f"{CUSTOMERS}/c-1") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.headers["location"] for answer in answers}) == 1


class TestTraces:
    """What is left of an erased customer."""

    @pytest.mark.req("R-101")
    async def test_bytes_are_gone(self, admin: httpx.AsyncClient, resources: Resources) -> None:
        assert len(await stored_keys(resources)) == 3
        erasure = await erase_fully(admin, resources)
        assert await stored_keys(resources) == []
        assert erasure["counts"] == {
            "documents": 2,
            "versions": 3,
            "blobs_deleted": 3,
            "blobs_pending": 0,
        }

    @pytest.mark.own_store("they look at files")
    @pytest.mark.req("R-101")
    async def test_folders_are_gone(
        self, admin: httpx.AsyncClient, resources: Resources, settings: Settings
    ) -> None:
        pattern = f"**/{await internal_id(resources, 'c-1')}*"
        assert list(settings.data_dir.glob(pattern)) != []
        await erase_fully(admin, resources)
        assert list(settings.data_dir.glob(pattern)) == []

    @pytest.mark.req("R-101")
    async def test_previews_go_too(self, admin: httpx.AsyncClient, resources: Resources) -> None:
        await make_customer(admin, "c-2")
        await admin.put(f"{CUSTOMERS}/c-2/documents/b", **upload_of(files.png(), "a.png"))
        async with resources.unit(Access.everyone()) as unit:
            facts = await unit.customers.find("c-2")
            assert facts is not None
            (version,) = await unit.documents.versions(facts.id, "b")
        await render_version(resources, version.id)
        before = [key for key in await stored_keys(resources) if key.startswith(str(facts.id))]
        erasure = await erase_fully(admin, resources, "c-2")
        assert len(before) > 1
        assert erasure["counts"]["blobs_deleted"] == len(before)
        assert not [key for key in await stored_keys(resources) if key.startswith(str(facts.id))]

    @pytest.mark.req("R-102", "A-28")
    async def test_no_table_holds_a_planted_marker(
        self,
        admin: httpx.AsyncClient,
        customer_of: CustomerClients,
        resources: Resources,
        database_url: str,
    ) -> None:
        marker = "plantedmarker"
        id_ = f"{marker}-id"
        members = {"name": marker, "email": f"{marker}@x.example", "tags": [marker]}
        await admin.put(f"{CUSTOMERS}/{id_}", json=members)
        await admin.patch(f"{CUSTOMERS}/{id_}", json={"name": f"{marker} 2"})
        upload = upload_of(files.pdf(marker), f"{marker}.pdf", field_values=f'{{"f":"{marker}"}}')
        headers = {"Idempotency-Key": f"{marker}-key"}
        await customer_of(id_).put("/v1/customer/documents/a", **upload, headers=headers)
        await admin.patch(
            f"{CUSTOMERS}/{id_}/documents/a", json={"field_values": {"f": f"{marker} 3"}}
        )
        await customer_of(id_).get("/v1/customer/documents/a/content")
        await admin.delete(f"{CUSTOMERS}/{id_}/documents/b")
        planted = rows_with(database_url, marker)
        assert planted.keys() >= {
            "customers",
            "documents",
            "document_versions",
            "document_files",
            "audit_details",
            "idempotency_keys",
        }
        location = await erase(admin, id_)
        at_once = rows_with(database_url, marker)
        await finish_erasures(resources)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert at_once.keys() <= {"customers"}
        assert rows_with(database_url, marker) == {}

    @pytest.mark.own_store("they look at files")
    @pytest.mark.req("R-102")
    async def test_no_file_of_the_deployment_holds_a_planted_marker(
        self, admin: httpx.AsyncClient, resources: Resources, settings: Settings
    ) -> None:
        marker = b"plantedmarker"
        await make_customer(admin, "c-2")
        text = b"bytes with a " + marker
        await admin.put(f"{CUSTOMERS}/c-2/documents/a", **upload_of(text, "a.txt"))
        assert self._files_with(settings.data_dir, marker) != []
        await erase_fully(admin, resources, "c-2")
        assert self._files_with(settings.data_dir, marker) == []

    def _files_with(self, folder: Path, marker: bytes) -> list[Path]:
        return [p for p in folder.rglob("*") if p.is_file() and marker in p.read_bytes()]

    @pytest.mark.req("R-107", "A-18")
    async def test_a_neighbour_with_the_same_bytes_is_untouched(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        path = f"{CUSTOMERS}/c-2/documents/a"
        await admin.put(path, **upload_of(files.pdf("1"), field_values='{"f": "kept"}'))
        before = (await admin.get(path)).json()
        await erase_fully(admin, resources)
        assert (await admin.get(path)).json() == before
        assert (await admin.get(f"{path}/content")).content == files.pdf("1")
        assert len(await stored_keys(resources)) == 1

    @pytest.mark.req("R-107")
    async def test_an_id_that_begins_alike_is_untouched(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-11")
        await admin.put(f"{CUSTOMERS}/c-11/documents/a", **upload_of())
        await erase_fully(admin, resources)
        assert (await admin.get(f"{CUSTOMERS}/c-11")).json()["has_documents"] is True


class TestSameIdAgain:
    """The id of an erased customer, created anew."""

    async def test_it_starts_from_nothing(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase_fully(admin, resources)
        created = await admin.post(CUSTOMERS, json={"id": "c-1"})
        assert created.status_code == 201
        assert (created.json()["name"], created.json()["has_documents"]) == (None, False)
        document = (await admin.get(f"{CUSTOMERS}/c-1/documents/a")).json()
        assert (document["version"], document["field_values"]) == (0, {})

    @pytest.mark.req("R-104")
    async def test_a_token_of_before_stays_refused(
        self, admin: httpx.AsyncClient, resources: Resources, customer_of: CustomerClients
    ) -> None:
        old = customer_of("c-1")
        await erase_fully(admin, resources)
        for create in (admin.post(CUSTOMERS, json={"id": "c-1"}),
                       admin.put(f"{CUSTOMERS}/c-1", json={})):  # fmt: skip
            await create
            answer = await old.get("/v1/customer/documents")
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")
            assert "www-authenticate" in answer.headers

    async def test_a_token_of_afterwards_works(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        customer_of: CustomerClients,
        database_url: str,
    ) -> None:
        await erase_fully(admin, resources)
        with psycopg.connect(database_url) as connection:
            # As if it had been a minute ago, for tokens tell seconds only.
            connection.execute(
                "UPDATE erasures SET requested_at = requested_at - '1 min'::interval"
            )
        await make_customer(admin, "c-1")
        assert (await customer_of("c-1").get("/v1/customer/documents")).status_code == 200

    @pytest.mark.req("R-102", "R-104")
    async def test_an_idempotency_key_of_before_replays_nothing(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        path = f"{CUSTOMERS}/c-1/documents/a"
        before = await admin.put(path, **upload_of(), headers=headers)
        await erase_fully(admin, resources)
        await make_customer(admin, "c-1")
        after = await admin.put(path, **upload_of(), headers=headers)
        assert (before.json()["version"], before.status_code) == (3, 200)
        assert (after.json()["version"], after.status_code) == (1, 201)

    async def test_until_then_a_token_is_of_an_unknown_customer(
        self, admin: httpx.AsyncClient, resources: Resources, customer_of: CustomerClients
    ) -> None:
        await erase_fully(admin, resources)
        answer = await customer_of("c-1").get("/v1/customer/gate")
        assert (answer.status_code, answer.json()["code"]) == (403, "customer-unknown")

    async def test_it_can_be_erased_again(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        first = await erase_fully(admin, resources)
        await make_customer(admin, "c-1")
        second = await erase_fully(admin, resources)
        assert first["id"] != second["id"]


class TestRaces:
    """Uploads that are under way while a customer is erased."""

    @pytest.mark.req("R-106", "R-103")
    async def test_bytes_on_their_way_keep_it_pending_until_they_are_settled(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        blob_ids = await self._begin_upload(resources)
        location = await erase(admin)
        erasure_id = uuid.UUID(location.rpartition("/")[2])
        assert await finish_erasure(resources, erasure_id) is False
        pending = (await admin.get(location)).json()
        assert (pending["state"], pending["counts"]["blobs_pending"]) == ("pending", 1)
        await abandon_blobs(resources, blob_ids)
        assert await finish_erasure(resources, erasure_id) is True
        assert (await admin.get(location)).json()["counts"]["blobs_deleted"] == 4
        assert await stored_keys(resources) == []

    @pytest.mark.req("R-106")
    async def test_bytes_of_an_upload_that_died_go_when_its_time_is_over(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await self._begin_upload(resources)
        location = await erase(admin)
        await finish_erasures(resources)
        assert (await admin.get(location)).json()["state"] == "pending"
        async with resources.unit(Access.everyone()) as unit:
            await unit.blobs.expire_all_pending()
        await reap(resources)
        await finish_erasures(resources)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert await stored_keys(resources) == []

    async def _begin_upload(self, resources: Resources) -> list[uuid.UUID]:
        """Store bytes as an upload does, without attaching them."""
        return await leave_bytes(resources, await internal_id(resources, "c-1"))

    @pytest.mark.req("R-106")
    async def test_what_arrives_after_it_is_not_stored_even_for_a_moment(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        path = f"{CUSTOMERS}/c-1/documents/a"
        request = admin.build_request("PUT", path, **upload_of())
        body = request.read()

        async def interrupted() -> AsyncIterator[bytes]:
            yield body[:100]
            await erase_fully(admin, resources)
            yield body[100:]

        answer = await admin.put(path, content=interrupted(), headers=request.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "customer-unknown")
        assert await stored_keys(resources) == []

    @pytest.mark.req("R-106")
    async def test_a_preview_that_is_ready_after_it_is_not_stored_even_for_a_moment(
        self, admin: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        render = resources.renderer.render

        async def interrupted(*args: Any) -> RenderedPreview:
            rendered = await render(*args)
            await erase_fully(admin, resources)
            return rendered

        monkeypatch.setattr(resources.renderer, "render", interrupted)
        answer = await admin.get(f"{CUSTOMERS}/c-1/documents/a/preview")
        assert (answer.status_code, answer.json()["code"]) == (404, "customer-unknown")
        assert await stored_keys(resources) == []

    @pytest.mark.req("R-106")
    async def test_customers_who_are_erased_meanwhile_are_told_as_if_nobody_knew_them(
        self, admin: httpx.AsyncClient, resources: Resources, customer_of: CustomerClients
    ) -> None:
        client = customer_of("c-1")
        request = client.build_request("PUT", "/v1/customer/documents/a", **upload_of())
        body = request.read()

        async def interrupted() -> AsyncIterator[bytes]:
            yield body[:100]
            await erase_fully(admin, resources)
            yield body[100:]

        answer = await client.put(request.url.path, content=interrupted(), headers=request.headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "customer-unknown")

    async def test_a_preview_of_a_file_that_goes_meanwhile_is_no_alarm(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        open_blob = resources.store.open

        async def interrupted(key: str) -> BlobReader:
            await erase_fully(admin, resources)
            return await open_blob(key)

        monkeypatch.setattr(resources.store, "open", interrupted)
        answer = await admin.get(f"{CUSTOMERS}/c-1/documents/a/preview")
        assert (answer.status_code, answer.json()["code"]) == (404, "no-file")
        assert "blob missing" not in caplog.text

    @pytest.mark.req("R-106")
    async def test_uploads_at_the_same_time_leave_no_orphan(
        self, admin: httpx.AsyncClient, resources: Resources, database_url: str
    ) -> None:
        path = f"{CUSTOMERS}/c-1/documents/a"
        uploads = [admin.put(path, **upload_of(files.pdf(str(n)))) for n in range(6)]
        erased = admin.delete(f"{CUSTOMERS}/c-1")
        answers = await asyncio.gather(*uploads[:3], erased, *uploads[3:])
        statuses = [answer.status_code for answer in answers]
        assert statuses.pop(3) == 202
        assert set(statuses) <= {200, 409}
        await finish_erasures(resources)
        assert await stored_keys(resources) == []
        assert rows_with(database_url, "c-1") == {}
        erasures = (await admin.get(ERASURES)).json()["items"]
        assert [erasure["state"] for erasure in erasures] == ["completed"]

    async def test_finishing_twice_is_harmless(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        erasure_id = uuid.UUID((await erase(admin)).rpartition("/")[2])
        results = await asyncio.gather(*(finish_erasure(resources, erasure_id) for _ in range(3)))
        assert results == [True] * 3
        assert await finish_erasure(resources, uuid.uuid4()) is True


class TestRead:
    """GET /v1/admin/erasures and /v1/admin/erasures/{id}."""

    async def test_a_completed_one_tells_when(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        erasure = await erase_fully(admin, resources)
        assert erasure["completed_at"] >= erasure["requested_at"]
        assert (await admin.get(f"{ERASURES}/{erasure['id']}")).json() == erasure

    @pytest.mark.req("R-103")
    async def test_lists_show_one_state_or_both(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        done = (await erase_fully(admin, resources))["id"]
        await make_customer(admin, "c-2")
        running = (await erase(admin, "c-2")).rpartition("/")[2]
        expected = {None: [done, running], "pending": [running], "completed": [done]}
        for state, ids in expected.items():
            params = {"include_total": "true"} | ({"state": state} if state else {})
            page = (await admin.get(ERASURES, params=params)).json()
            assert [item["id"] for item in page["items"]] == ids
            assert page["total"] == len(ids)

    async def test_what_is_none_is_refused(self, admin: httpx.AsyncClient) -> None:
        unknown = await admin.get(f"{ERASURES}/{uuid.uuid4()}")
        malformed = await admin.get(f"{ERASURES}/c-1")
        state = await admin.get(ERASURES, params={"state": "running"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
        assert malformed.status_code in {404, 422}
        assert (state.status_code, state.json()["errors"][0]["parameter"]) == (422, "state")
