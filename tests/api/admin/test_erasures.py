"""Erasing customers and following the progress."""

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

from docvault.previews.renderer import RenderedPreview
from docvault.services.blobs import abandon_blobs
from docvault.services.erasures import finish_erasure, finish_erasures
from docvault.services.previews import render_version
from docvault.services.reaper import reap
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
    """Start an erasure and return its status URL."""
    response = await admin.delete(f"{CUSTOMERS}/{customer}")
    assert response.status_code == 202, response.text
    return response.headers["location"]


async def erase_fully(
    admin: httpx.AsyncClient, resources: Resources, customer: str = "c-1"
) -> dict[str, Any]:
    """Erase a customer, run the job, and return the erasure."""
    location = await erase(admin, customer)
    await finish_erasures(resources)
    erasure: dict[str, Any] = (await admin.get(location)).json()
    assert erasure["state"] == "completed"
    return erasure


async def stored_keys(resources: Resources) -> list[str]:
    """Return the keys of all stored blobs."""
    return [blob.key async for blob in resources.store.list_blobs()]


async def internal_id(resources: Resources, customer: str) -> uuid.UUID:
    """Return the internal id of a customer."""
    async with resources.transaction(resources.system_context()) as uow:
        facts = await uow.customers.find(customer)
    assert facts is not None
    return facts.id


def rows_with(database_url: str, marker: str) -> dict[str, int]:
    """Count the rows of each table that contain a text, binary columns included."""
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
            # Only at the start of a word: a random id can contain "c-1".
            pattern = rf"\m{marker}|{marker.encode().hex()}"
            row = connection.execute(query, [pattern]).fetchone()
            if row and row[0]:
                found[table] = row[0]
    return found


class TestDelete:
    """DELETE /v1/admin/customers/{id}."""

    @pytest.mark.req("R-100")
    async def test_response_has_status_location(self, admin: httpx.AsyncClient) -> None:
        response = await admin.delete(f"{CUSTOMERS}/c-1")
        assert (response.status_code, response.content) == (202, b"")
        progress = await admin.get(response.headers["location"])
        assert progress.json()["state"] == "pending"
        assert progress.json()["counts"] == {
            "documents": 2,
            "versions": 3,
            "blobs_deleted": 0,
            "blobs_pending": 3,
        }

    async def test_response_does_not_contain_customer_id(self, admin: httpx.AsyncClient) -> None:
        response = await admin.delete(f"{CUSTOMERS}/c-1")
        progress = await admin.get(response.headers["location"])
        shown = str(response.headers) + progress.text + (await admin.get(ERASURES)).text
        # Only as a whole word: a random id can contain these characters.
        assert re.search(r"(?<![\w-])c-1(?![\w-])", shown) is None

    @pytest.mark.req("R-100")
    async def test_reads_return_not_found_immediately(self, admin: httpx.AsyncClient) -> None:
        await erase(admin)
        for rest in ("", "/summary", "/gate", "/documents", "/documents/a",
                     "/documents/a/content", "/documents/a/versions"):  # fmt: skip
            response = await admin.get(f"{CUSTOMERS}/c-1{rest}")
            assert (response.status_code, response.json()["code"]) == (404, "customer-not-found"), (
                rest
            )
        assert (await admin.get(CUSTOMERS)).json()["items"] == []

    async def test_writes_are_rejected_during_erasure(self, admin: httpx.AsyncClient) -> None:
        await erase(admin)
        path = f"{CUSTOMERS}/c-1"
        responses = [
            await admin.put(path, json={}),
            await admin.patch(path, json={}),
            await admin.post(CUSTOMERS, json={"id": "c-1"}),
            await admin.put(f"{path}/documents/a", **upload_of()),
            await admin.patch(f"{path}/documents/a", json={"field_values": {"f": "x"}}),
            await admin.delete(f"{path}/documents/a"),
            await admin.post(f"{path}/documents/a/copy", json={"from": {"key": "b"}}),
        ]
        results = [(response.status_code, response.json()["code"]) for response in responses]
        assert results == [(409, "customer-being-erased")] * len(responses)

    @pytest.mark.req("R-104")
    async def test_customer_token_stops_working_immediately(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        client = customer_of("c-1")
        assert (await client.get("/v1/customer/documents")).status_code == 200
        await erase(admin)
        response = await client.get("/v1/customer/documents/a/content")
        assert (response.status_code, response.json()["code"]) == (403, "customer-not-registered")

    @pytest.mark.req("R-105")
    async def test_repeated_deletion_returns_same_erasure(self, admin: httpx.AsyncClient) -> None:
        first, second = await erase(admin), await erase(admin)
        assert first == second
        assert len((await admin.get(ERASURES)).json()["items"]) == 1

    @pytest.mark.req("R-105")
    async def test_repeated_deletion_after_completion_is_not_found(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase_fully(admin, resources)
        response = await admin.delete(f"{CUSTOMERS}/c-1")
        assert (response.status_code, response.json()["code"]) == (404, "customer-not-found")

    async def test_unknown_customer_is_not_found(self, admin: httpx.AsyncClient) -> None:
        response = await admin.delete(f"{CUSTOMERS}/unknown")
        assert (response.status_code, response.json()["code"]) == (404, "customer-not-found")

    async def test_mismatched_etag_does_not_erase(self, admin: httpx.AsyncClient) -> None:
        response = await admin.delete(f"{CUSTOMERS}/c-1", headers={"If-Match": '"nope"'})
        assert response.status_code == 412
        assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["has_documents"] is True

    async def test_customer_without_documents_is_erased(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        erasure = await erase_fully(admin, resources, "c-2")
        assert set(erasure["counts"].values()) == {0}

    @pytest.mark.req("R-105")
    async def test_concurrent_deletions_create_one_erasure(self, admin: httpx.AsyncClient) -> None:
        responses = await asyncio.gather(*(admin.delete(f"{CUSTOMERS}/c-1") for _ in range(20)))
        assert {response.status_code for response in responses} == {202}
        assert len({response.headers["location"] for response in responses}) == 1


class TestCompletedErasure:
    """What remains of an erased customer."""

    @pytest.mark.req("R-101")
    async def test_bytes_are_deleted(self, admin: httpx.AsyncClient, resources: Resources) -> None:
        assert len(await stored_keys(resources)) == 3
        erasure = await erase_fully(admin, resources)
        assert await stored_keys(resources) == []
        assert erasure["counts"] == {
            "documents": 2,
            "versions": 3,
            "blobs_deleted": 3,
            "blobs_pending": 0,
        }

    @pytest.mark.own_store("it inspects files")
    @pytest.mark.req("R-101")
    async def test_folders_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources, settings: Settings
    ) -> None:
        pattern = f"**/{await internal_id(resources, 'c-1')}*"
        assert list(settings.data_dir.glob(pattern)) != []
        await erase_fully(admin, resources)
        assert list(settings.data_dir.glob(pattern)) == []

    @pytest.mark.req("R-101")
    async def test_previews_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        await admin.put(f"{CUSTOMERS}/c-2/documents/b", **upload_of(files.pdf(pages=2)))
        async with resources.transaction(resources.system_context()) as uow:
            facts = await uow.customers.find("c-2")
            assert facts is not None
            (version,) = await uow.documents.versions(facts.id, "b")
        await render_version(resources, version.id)
        response = await admin.get(f"{CUSTOMERS}/c-2/documents/b/preview", params={"page": 2})
        assert response.status_code == 200
        before = [key for key in await stored_keys(resources) if key.startswith(str(facts.id))]
        erasure = await erase_fully(admin, resources, "c-2")
        assert len(before) == 3
        assert erasure["counts"]["blobs_deleted"] == len(before)
        assert not [key for key in await stored_keys(resources) if key.startswith(str(facts.id))]

    @pytest.mark.req("R-102", "A-28")
    async def test_no_table_contains_planted_marker(
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
        # The upload, the download and the deletion.
        assert rows_with(database_url, rf"{marker}\.pdf")["audit_details"] >= 2
        assert planted.keys() >= {
            "customers",
            "customer_words",
            "documents",
            "document_versions",
            "document_files",
            "audit_details",
            "idempotency_keys",
        }
        location = await erase(admin, id_)
        before_job = rows_with(database_url, marker)
        with psycopg.connect(database_url) as connection:
            customer = connection.execute(
                "SELECT name, email, tags FROM customers WHERE external_id = %s", [id_]
            ).fetchone()
        await finish_erasures(resources)
        assert (await admin.get(location)).json()["state"] == "completed"
        # Only the id remains until the erasure is completed.
        assert before_job.keys() == {"customers"}
        assert customer == (None, None, [])
        assert rows_with(database_url, marker) == {}

    @pytest.mark.own_store("it inspects files")
    @pytest.mark.req("R-102")
    async def test_no_file_contains_planted_marker(
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
    async def test_other_customer_with_same_bytes_is_untouched(
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
    async def test_id_with_same_prefix_is_untouched(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-11")
        await admin.put(f"{CUSTOMERS}/c-11/documents/a", **upload_of())
        await erase_fully(admin, resources)
        assert (await admin.get(f"{CUSTOMERS}/c-11")).json()["has_documents"] is True


class TestRecreatedCustomer:
    """An erased customer's id that is registered again."""

    async def test_recreated_customer_is_empty(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase_fully(admin, resources)
        created = await admin.post(CUSTOMERS, json={"id": "c-1"})
        assert created.status_code == 201
        assert (created.json()["name"], created.json()["has_documents"]) == (None, False)
        document = (await admin.get(f"{CUSTOMERS}/c-1/documents/a")).json()
        assert (document["version"], document["field_values"]) == (0, {})

    @pytest.mark.req("R-104")
    async def test_token_from_before_erasure_stays_rejected(
        self, admin: httpx.AsyncClient, resources: Resources, customer_of: CustomerClients
    ) -> None:
        old = customer_of("c-1")
        await erase_fully(admin, resources)
        for create in (admin.post(CUSTOMERS, json={"id": "c-1"}),
                       admin.put(f"{CUSTOMERS}/c-1", json={})):  # fmt: skip
            await create
            response = await old.get("/v1/customer/documents")
            assert (response.status_code, response.json()["code"]) == (401, "invalid-token")
            assert "www-authenticate" in response.headers

    async def test_token_from_after_erasure_works(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        customer_of: CustomerClients,
        database_url: str,
    ) -> None:
        await erase_fully(admin, resources)
        with psycopg.connect(database_url) as connection:
            # A minute ago, because tokens have a resolution of seconds.
            connection.execute(
                "UPDATE erasures SET requested_at = requested_at - '1 min'::interval"
            )
        await make_customer(admin, "c-1")
        assert (await customer_of("c-1").get("/v1/customer/documents")).status_code == 200

    @pytest.mark.req("R-102", "R-104")
    async def test_idempotency_key_from_before_erasure_replays_nothing(
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

    async def test_token_is_rejected_until_customer_is_recreated(
        self, admin: httpx.AsyncClient, resources: Resources, customer_of: CustomerClients
    ) -> None:
        await erase_fully(admin, resources)
        response = await customer_of("c-1").get("/v1/customer/gate")
        assert (response.status_code, response.json()["code"]) == (403, "customer-not-registered")

    async def test_recreated_customer_can_be_erased(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        first = await erase_fully(admin, resources)
        await make_customer(admin, "c-1")
        second = await erase_fully(admin, resources)
        assert first["id"] != second["id"]


class TestRaces:
    """Uploads in progress while the customer is erased."""

    @pytest.mark.req("R-106", "R-103")
    async def test_erasure_stays_pending_until_in_flight_bytes_are_settled(
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
    async def test_bytes_of_dead_upload_are_deleted_after_expiry(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await self._begin_upload(resources)
        location = await erase(admin)
        await finish_erasures(resources)
        assert (await admin.get(location)).json()["state"] == "pending"
        async with resources.transaction(resources.system_context()) as uow:
            await uow.blobs.expire_all_pending()
        await reap(resources)
        await finish_erasures(resources)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert await stored_keys(resources) == []

    async def _begin_upload(self, resources: Resources) -> list[uuid.UUID]:
        """Store bytes like an upload, without attaching them."""
        return await leave_bytes(resources, await internal_id(resources, "c-1"))

    @pytest.mark.req("R-106")
    async def test_upload_finishing_after_erasure_is_never_stored(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        path = f"{CUSTOMERS}/c-1/documents/a"
        request = admin.build_request("PUT", path, **upload_of())
        body = request.read()

        async def interrupted() -> AsyncIterator[bytes]:
            yield body[:100]
            locations.append(await erase(admin))
            # The upload has reserved a blob.
            await finish_erasures(resources)
            yield body[100:]

        locations: list[str] = []
        response = await admin.put(path, content=interrupted(), headers=request.headers)
        assert (response.status_code, response.json()["code"]) == (409, "customer-being-erased")
        await finish_erasures(resources)
        assert (await admin.get(locations[0])).json()["state"] == "completed"
        assert await stored_keys(resources) == []

    @pytest.mark.req("R-106")
    async def test_preview_finishing_after_erasure_is_never_stored(
        self, admin: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        render = resources.renderer.render

        async def interrupted(*args: Any) -> RenderedPreview:
            rendered = await render(*args)
            await erase_fully(admin, resources)
            return rendered

        monkeypatch.setattr(resources.renderer, "render", interrupted)
        response = await admin.get(f"{CUSTOMERS}/c-1/documents/a/preview")
        assert (response.status_code, response.json()["code"]) == (404, "customer-not-found")
        assert await stored_keys(resources) == []

    @pytest.mark.req("R-106")
    async def test_requests_in_flight_during_erasure_get_409(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        client = customer_of("c-1")
        request = client.build_request("PUT", "/v1/customer/documents/a", **upload_of())
        body = request.read()

        async def interrupted() -> AsyncIterator[bytes]:
            yield body[:100]
            await erase(admin)
            yield body[100:]

        response = await client.put(
            request.url.path, content=interrupted(), headers=request.headers
        )
        assert (response.status_code, response.json()["code"]) == (409, "customer-being-erased")
        repeated = await client.put("/v1/customer/documents/a", **upload_of())
        assert (repeated.status_code, repeated.json()["code"]) == (403, "customer-not-registered")

    async def test_preview_of_concurrently_erased_customer_is_not_found(
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
        response = await admin.get(f"{CUSTOMERS}/c-1/documents/a/preview")
        assert (response.status_code, response.json()["code"]) == (404, "file-not-found")
        assert "blob missing" not in caplog.text

    @pytest.mark.req("R-106")
    async def test_concurrent_uploads_leave_no_orphans(
        self, admin: httpx.AsyncClient, resources: Resources, database_url: str
    ) -> None:
        path = f"{CUSTOMERS}/c-1/documents/a"
        uploads = [admin.put(path, **upload_of(files.pdf(str(n)))) for n in range(6)]
        erased = admin.delete(f"{CUSTOMERS}/c-1")
        responses = await asyncio.gather(*uploads[:3], erased, *uploads[3:])
        statuses = [response.status_code for response in responses]
        assert statuses.pop(3) == 202
        assert set(statuses) <= {200, 409}
        await finish_erasures(resources)
        assert await stored_keys(resources) == []
        assert rows_with(database_url, "c-1") == {}
        erasures = (await admin.get(ERASURES)).json()["items"]
        assert [erasure["state"] for erasure in erasures] == ["completed"]

    async def test_finishing_twice_is_idempotent(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        erasure_id = uuid.UUID((await erase(admin)).rpartition("/")[2])
        results = await asyncio.gather(*(finish_erasure(resources, erasure_id) for _ in range(3)))
        assert results == [True] * 3
        assert await finish_erasure(resources, uuid.uuid4()) is True


class TestRead:
    """GET /v1/admin/erasures and /v1/admin/erasures/{id}."""

    async def test_completed_erasure_has_completion_time(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        erasure = await erase_fully(admin, resources)
        assert erasure["completed_at"] >= erasure["requested_at"]
        assert (await admin.get(f"{ERASURES}/{erasure['id']}")).json() == erasure

    @pytest.mark.req("R-103")
    async def test_list_can_be_filtered_by_state(
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

    async def test_invalid_erasure_id_is_rejected(self, admin: httpx.AsyncClient) -> None:
        unknown = await admin.get(f"{ERASURES}/{uuid.uuid4()}")
        malformed = await admin.get(f"{ERASURES}/c-1")
        state = await admin.get(ERASURES, params={"state": "running"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
        assert (malformed.status_code, malformed.json()["code"]) == (422, "validation-error")
        assert (state.status_code, state.json()["errors"][0]["parameter"]) == (422, "state")
