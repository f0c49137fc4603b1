"""Upload sessions: opened, sent to a signed URL, completed; on both stores."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import Chunks, audited, refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.upload_sessions import send_bytes
from tests.fixtures.callers import CustomerClients, KeyClients
from tests.fixtures.storage import use_s3

from docvault.domain.rate_limits import Limit
from docvault.domain.scopes import Scope
from docvault.services.blobs import delete_queued_blobs
from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.settings import Settings

PATH = "/v1/customer/documents/contract"
ADMIN_PATH = "/v1/admin/customers/c-1/documents/contract"
KEY_PATH = "/v1/integration/customers/c-1/documents/contract"

Requests = Callable[[], Awaitable[httpx.Response]]

pytestmark = pytest.mark.own_store("they run on each store themselves")


@pytest.fixture(params=["filesystem", "s3"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The defaults, with each store."""
    if request.param == "s3":
        use_s3(request.getfixturevalue("s3_server"), monkeypatch)
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def on_s3(settings: Settings) -> bool:
    return settings.storage_url is not None


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    """A type with a field, and the customer c-1."""
    await make_type(admin, "Contract", collects_fields=True, field_labels="Signed on")
    await make_customer(admin, "c-1")


@pytest.fixture
def customer(customer_of: CustomerClients) -> httpx.AsyncClient:
    return customer_of("c-1")


def upload_request(body: bytes, **members: Any) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"filename": "scan.pdf", "size_bytes": len(body), "sha256": digest, **members}


async def open_session(
    client: httpx.AsyncClient, body: bytes, document: str = PATH, **members: Any
) -> dict[str, Any]:
    """Open a session and return its response with the path of the session."""
    response = await client.post(f"{document}/uploads", json=upload_request(body, **members))
    assert response.status_code == 201, response.text
    session: dict[str, Any] = response.json()
    assert response.headers["location"] == f"{document}/uploads/{session['id']}"
    return session | {"path": response.headers["location"]}


class Sender:
    """A client without credentials that sends requests to signed URLs."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def put(
        self, session: dict[str, Any], content: Any, headers: dict[str, str] | None = None
    ) -> int:
        return (await send_bytes(self._http, session, content, headers)).status_code


@pytest.fixture
def sender(http: httpx.AsyncClient) -> Sender:
    return Sender(http)


async def send_file(
    client: httpx.AsyncClient, sender: Sender, body: bytes, document: str = PATH, **members: Any
) -> dict[str, Any]:
    """Open a session and send its bytes."""
    session = await open_session(client, body, document, **members)
    assert 200 <= await sender.put(session, body) < 300
    return session


async def complete(
    client: httpx.AsyncClient, session: dict[str, Any], **headers: str
) -> httpx.Response:
    return await client.post(f"{session['path']}/complete", headers=headers)


async def let_pass(resources: Resources, interval: str) -> None:
    """Move the expiry of all sessions and reserved blobs into the past."""
    async with resources.database.transaction() as session:
        for table in ("upload_sessions", "blobs"):
            statement = f"UPDATE {table} SET expires_at = expires_at - interval '{interval}'"
            await session.execute(text(statement))


async def sessions(resources: Resources) -> int:
    async with resources.database.transaction() as session:
        return await session.scalar(text("SELECT count(*) FROM upload_sessions")) or 0


async def stored_keys(resources: Resources) -> list[str]:
    return [blob.key async for blob in resources.store.list_blobs()]


class TestCompleteFlow:
    """The whole flow: open, send, complete."""

    @pytest.mark.parametrize("size", [0, 3 << 20])
    async def test_completed_document_has_sent_bytes(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources, size: int
    ) -> None:
        body = files.pdf() + b"%" + os.urandom(size).replace(b"%%EOF", b"") + b"\n%%EOF\n"
        session = await send_file(customer, sender, body, field_values={"signed-on": "2026-01-02"})
        response = await complete(customer, session)
        assert response.status_code == 201, response.text
        document = response.json()
        assert document == (await customer.get(PATH)).json()
        assert (document["version"], document["uploaded_by"]) == (1, {"kind": "customer"})
        assert document["field_values"] == {"signed-on": "2026-01-02"}
        (file,) = document["files"]
        assert (file["filename"], file["media_type"]) == ("scan.pdf", "application/pdf")
        assert (await customer.get(f"{PATH}/content")).content == body
        held = await stored_state(resources)
        assert (held.versions, held.in_store) == (1, held.attached)
        assert (held.unsettled, held.in_spool) == (frozenset(), frozenset())

    async def test_every_api_supports_upload_sessions(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, sender: Sender
    ) -> None:
        for client, document, kind in (
            (admin, ADMIN_PATH, "admin"),
            (integration, KEY_PATH, "integration"),
        ):
            body = files.pdf(kind)
            response = await complete(client, await send_file(client, sender, body, document))
            assert response.json()["uploaded_by"]["kind"] == kind
            assert (await client.get(f"{document}/content")).content == body
        assert response.status_code == 200
        assert response.json()["version"] == 2

    async def test_creation_and_upload_are_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        await complete(customer, await send_file(customer, sender, files.pdf()))
        (created,) = await audited(admin, "upload.create")
        (uploaded,) = await audited(admin, "document.upload")
        assert (created["customer"], created["document_type"]) == ("c-1", "contract")
        assert (uploaded["version"], uploaded["actor"]) == (1, {"kind": "customer", "id": "c-1"})

    @pytest.mark.req("B-062")
    async def test_missing_extension_is_added(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await send_file(customer, sender, files.text(), filename="desktop.ini")
        (file,) = (await complete(customer, session)).json()["files"]
        assert file["filename"] == "desktop.ini.txt"

    async def test_media_types_are_detected_from_content(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        for name, body in (
            ("a.jpg", files.jpeg()),
            ("a.docx", files.docx()),
            ("a.csv", files.csv()),
            ("a.heic", files.heic()),
        ):
            response = await complete(
                customer, await send_file(customer, sender, body, filename=name)
            )
            assert response.is_success, response.text
            expected = await customer.put(PATH, **upload_of(body, name))
            assert response.json()["files"] == expected.json()["files"]


class TestCreation:
    """POST …/uploads."""

    async def test_response_has_upload_instructions(
        self, customer: httpx.AsyncClient, on_s3: bool
    ) -> None:
        body = files.pdf()
        response = await customer.post(f"{PATH}/uploads", json=upload_request(body))
        session = response.json()
        assert set(session) == {"id", "method", "url", "headers", "expires_at"}
        assert (session["method"], UUID(session["id"]).version) == ("PUT", 7)
        assert response.headers["cache-control"] == "no-store"
        assert session["headers"]["Content-Length"] == str(len(body))
        assert ("x-amz-checksum-sha256" in session["headers"]) is on_s3

    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            ({"size_bytes": 0}, (422, "empty-file", "/size_bytes")),
            ({"size_bytes": 26214401}, (413, "file-too-large", "/size_bytes")),
            ({"size_bytes": -1}, (422, "validation-error", "/size_bytes")),
            ({"size_bytes": 1.5}, (422, "validation-error", "/size_bytes")),
            ({"size_bytes": 2**70}, (422, "validation-error", "/size_bytes")),
            ({"sha256": "00"}, (422, "validation-error", "/sha256")),
            ({"sha256": "g" * 64}, (422, "validation-error", "/sha256")),
            ({"filename": "../.."}, (422, "validation-error", "/filename")),
            ({"filename": "a" * 1025}, (422, "validation-error", "/filename")),
            ({"field_values": {"nope": "x"}}, (422, "unknown-field", "/field_values/nope")),
            ({"key": "c/x"}, (422, "validation-error", "/key")),
        ],
    )
    async def test_unacceptable_upload_is_rejected_at_creation(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        members: dict[str, Any],
        expected: tuple[int, str, str],
    ) -> None:
        response = await customer.post(f"{PATH}/uploads", json=upload_request(b"x", **members))
        status, _, place = refusal(response)
        codes = {response.json()["code"], *(e["code"] for e in response.json()["errors"])}
        assert (status, place) == (expected[0], expected[2])
        assert expected[1] in codes
        assert await sessions(resources) == 0

    async def test_repeated_request_creates_one_session(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body, headers = upload_request(b"x"), {"Idempotency-Key": "u-1"}
        first = await customer.post(f"{PATH}/uploads", json=body, headers=headers)
        again = await customer.post(f"{PATH}/uploads", json=body, headers=headers)
        assert (again.status_code, again.json()) == (201, first.json())
        assert await sessions(resources) == 1

    @pytest.mark.req("R-034")
    async def test_customer_cannot_create_session_for_admin_only_document(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        await patch_type(admin, "contract", upload_mode="admin_only")
        response = await customer.post(f"{PATH}/uploads", json=upload_request(b"x"))
        assert refusal(response)[:2] == (403, "admin-only-document")
        assert refusal(await complete(customer, session))[:2] == (403, "admin-only-document")

    async def test_creation_is_rejected_while_portal_is_disabled(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        await patch_portal(admin, section_enabled=False)
        for response in (
            await customer.post(f"{PATH}/uploads", json=upload_request(b"x")),
            await customer.get(session["path"]),
            await customer.delete(session["path"]),
            await complete(customer, session),
        ):
            assert refusal(response)[:2] == (403, "portal-section-disabled")

    @pytest.mark.req("R-113", "R-115")
    async def test_key_needs_write_scopes(
        self, admin: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        reader = await key_client(Scope.DOCUMENTS_READ, Scope.CONTENT_READ)
        writer = await key_client(Scope.DOCUMENTS_WRITE)
        response = await reader.post(f"{KEY_PATH}/uploads", json=upload_request(b"x"))
        assert refusal(response)[:2] == (403, "insufficient-scope")
        await open_session(writer, b"x", KEY_PATH)
        await patch_type(admin, "contract", upload_mode="admin_only")
        response = await writer.post(f"{KEY_PATH}/uploads", json=upload_request(b"x"))
        assert refusal(response)[:2] == (403, "insufficient-scope")

    async def test_unknown_type_is_404(self, customer: httpx.AsyncClient) -> None:
        path = "/v1/customer/documents/nope/uploads"
        response = await customer.post(path, json=upload_request(b"x"))
        assert refusal(response)[:2] == (404, "document-type-not-found")


class TestUpload:
    """PUT to the signed URL: exactly the reserved bytes, once."""

    async def test_unexpected_bytes_are_rejected(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources, on_s3: bool
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        assert await sender.put(session, b"x" * len(body)) == (400 if on_s3 else 422)
        longer = session["headers"] | {"Content-Length": str(len(body) + 1)}
        assert await sender.put(session, body + b"x", longer) == (403 if on_s3 else 413)
        shorter = session["headers"] | {"Content-Length": str(len(body) - 1)}
        assert await sender.put(session, body[:-1], shorter) == (403 if on_s3 else 422)
        assert await stored_keys(resources) == []
        assert refusal(await complete(customer, session))[:2] == (409, "upload-not-complete")
        assert await sender.put(session, body) < 300

    async def test_second_put_is_rejected_before_and_after_completion(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        body = files.pdf()
        session = await send_file(customer, sender, body)
        assert await sender.put(session, body) == 412
        await complete(customer, session)
        assert await sender.put(session, body) == 412

    async def test_missing_signed_header_is_rejected(
        self, customer: httpx.AsyncClient, sender: Sender, on_s3: bool
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        for name in session["headers"]:
            if name != "Content-Length":
                left = {n: v for n, v in session["headers"].items() if n != name}
                assert await sender.put(session, body, left) == 403
        if not on_s3:
            assert await sender.put(session, Chunks(body), {}) == 411

    async def test_modified_url_is_rejected(
        self, customer: httpx.AsyncClient, sender: Sender, on_s3: bool
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        last = "0" if session["url"][-1] != "0" else "1"
        forged = session | {"url": session["url"][:-1] + last}
        assert await sender.put(forged, body) == (403 if on_s3 else 404)

    @pytest.mark.req("B-063")
    @pytest.mark.parametrize("encoding", ["deflate", "br", "identity"])
    async def test_content_encoding_is_rejected(
        self, customer: httpx.AsyncClient, sender: Sender, on_s3: bool, encoding: str
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        headers = session["headers"] | {"Content-Encoding": encoding}
        status = await sender.put(session, body, headers)
        if encoding == "identity":
            assert status < 300
            assert (await complete(customer, session)).status_code == 201
        elif on_s3:
            # The signature does not cover the header, and the store keeps it.
            assert status < 300
            assert refusal(await complete(customer, session))[:2] == (422, "digest-mismatch")
        else:
            assert status == 415

    async def test_one_concurrent_put_is_stored(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        statuses = await asyncio.gather(*(sender.put(session, body) for _ in range(4)))
        assert len([status for status in statuses if status < 300]) == 1


def path_of(session: dict[str, Any]) -> str:
    """Return the path of a signed URL below the public base URL."""
    return str(session["url"]).removeprefix("https://vault.example.org")


def lengths(body: bytes) -> dict[str, str]:
    return {"Content-Length": str(len(body))}


@contextlib.asynccontextmanager
async def put_in_progress(
    http: httpx.AsyncClient, session: dict[str, Any], body: bytes
) -> AsyncIterator[None]:
    """Keep a PUT to a signed URL in progress until the block ends; then it succeeds."""
    is_read, resume = asyncio.Event(), asyncio.Event()

    async def paused() -> AsyncIterator[bytes]:
        yield body[:1]
        is_read.set()
        await resume.wait()
        yield body[1:]

    request = http.put(path_of(session), content=paused(), headers=lengths(body))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(request)
        await is_read.wait()
        yield
        resume.set()
    assert task.result().status_code == 204


class TestLocalUrl:
    """PUT /uploads/{token}, for the filesystem store."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", public_url="https://vault.example.org/")

    async def test_url_starts_with_public_base_url(self, customer: httpx.AsyncClient) -> None:
        session = await open_session(customer, b"x")
        assert session["url"].startswith("https://vault.example.org/uploads/")

    async def test_url_expires_with_session(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        session = await open_session(customer, b"x")
        path = session["url"].removeprefix("https://vault.example.org")
        await let_pass(resources, "16 minutes")
        assert refusal(await http.put(path, content=b"x"))[:2] == (410, "upload-expired")
        assert (await customer.delete(session["path"])).status_code == 204
        assert refusal(await http.put(path, content=b"x"))[:2] == (404, "not-found")

    async def test_invalid_token_is_not_found(self, http: httpx.AsyncClient) -> None:
        for token in ("x", "0" * 96, "0" * 10_000, "%00", "é"):
            response = await http.put(f"/uploads/{token}", content=b"x")
            assert refusal(response)[:2] == (404, "not-found"), token

    @pytest.mark.req("B-061")
    async def test_concurrent_request_to_one_url_is_rejected(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        body = files.pdf()
        session = await open_session(admin, body, ADMIN_PATH)
        async with put_in_progress(http, session, body):
            response = await http.put(path_of(session), content=Chunks(body), headers=lengths(body))
            assert refusal(response)[:2] == (429, "rate-limited")
            assert response.json()["detail"] == "At most 1 upload at once to this URL."
            assert response.headers["retry-after"] == "2"
        assert (await http.put(path_of(session), content=body)).status_code == 412

    @pytest.mark.req("B-061")
    async def test_urls_of_one_caller_use_at_most_half_of_permits(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        http: httpx.AsyncClient,
        resources: Resources,
    ) -> None:
        body = files.pdf()
        half = resources.settings.max_concurrent_uploads // 2
        staff_sessions = [await open_session(admin, body, ADMIN_PATH) for _ in range(half + 1)]
        own = await open_session(customer, body)
        async with contextlib.AsyncExitStack() as held:
            for session in staff_sessions[:-1]:
                await held.enter_async_context(put_in_progress(http, session, body))
            response = await http.put(path_of(staff_sessions[-1]), content=body)
            assert refusal(response)[:2] == (429, "rate-limited")
            assert (await http.put(path_of(own), content=body)).status_code == 204
        assert (await http.put(path_of(staff_sessions[-1]), content=body)).status_code == 204

    async def test_session_ending_during_put_stores_nothing(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = os.urandom(100_000)
        session = await open_session(customer, body)
        path = session["url"].removeprefix("https://vault.example.org")

        async def slow() -> Any:
            yield body[:50_000]
            await customer.delete(session["path"])
            yield body[50_000:]

        response = await http.put(path, content=slow(), headers=session["headers"])
        assert response.status_code == 404
        assert await stored_keys(resources) == []


class TestReadAndCancel:
    """GET and DELETE …/uploads/{upload_id}."""

    async def test_session_shows_state_and_no_secret(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        body = files.pdf()
        session = await send_file(customer, sender, body)
        response = await customer.get(session["path"])
        assert response.json() == {
            "id": session["id"],
            "state": "pending",
            "filename": "scan.pdf",
            "size_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "expires_at": session["expires_at"],
        }
        assert "etag" in response.headers
        await complete(customer, session)
        assert (await customer.get(session["path"])).json()["state"] == "completed"
        await open_session(customer, body)
        expired = await open_session(customer, body)
        await let_pass(resources, "16 minutes")
        assert (await customer.get(expired["path"])).json()["state"] == "expired"

    @pytest.mark.req("R-112")
    async def test_session_is_visible_only_to_its_creator(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        customer_of: CustomerClients,
        integration: httpx.AsyncClient,
        sender: Sender,
    ) -> None:
        await make_customer(admin, "c-2")
        await make_type(admin, "Other")
        session = await send_file(customer, sender, files.pdf())
        for client, document in (
            (customer_of("c-2"), PATH),
            (customer, "/v1/customer/documents/other"),
            (admin, ADMIN_PATH),
            (admin, ADMIN_PATH.replace("c-1", "c-2")),
            (integration, KEY_PATH),
        ):
            path = f"{document}/uploads/{session['id']}"
            for response in (
                await client.get(path),
                await client.delete(path),
                await client.post(f"{path}/complete"),
            ):
                assert refusal(response)[:2] == (404, "not-found")
        assert (await complete(customer, session)).status_code == 201

    async def test_deleted_session_is_gone_and_bytes_are_deleted(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        assert (await customer.delete(session["path"])).status_code == 204
        for response in (
            await customer.get(session["path"]),
            await customer.delete(session["path"]),
            await complete(customer, session),
        ):
            assert refusal(response)[:2] == (404, "not-found")
        await let_pass(resources, "1 hour")
        await reap(resources)
        assert await stored_keys(resources) == []

    async def test_cancellation_is_audited(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        session = await open_session(customer, files.pdf())
        response = await customer.delete(session["path"])
        (event,) = await audited(admin, "upload.delete")
        assert (event["actor"], event["customer"], event["document_type"], event["result"]) == (
            {"kind": "customer", "id": "c-1"},
            "c-1",
            "contract",
            "ok",
        )
        assert event["request_id"] == response.headers["x-request-id"]

    async def test_deleting_completed_session_keeps_document(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        await complete(customer, session)
        assert (await customer.delete(session["path"])).status_code == 204
        await reap(resources)
        assert (await customer.get(f"{PATH}/content")).content == files.pdf()


class TestCompletion:
    """POST …/uploads/{upload_id}/complete."""

    async def test_completion_without_bytes_is_rejected(self, customer: httpx.AsyncClient) -> None:
        session = await open_session(customer, files.pdf())
        assert refusal(await complete(customer, session))[:2] == (409, "upload-not-complete")

    async def test_repeated_completion_returns_document_and_adds_nothing(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        first = await complete(customer, session)
        again = await complete(customer, session)
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()
        assert (await stored_state(resources)).versions == 1

    @pytest.mark.req("R-117")
    async def test_values_are_cleared_after_completion(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(
            customer, sender, files.pdf(), field_values={"signed-on": "secret"}
        )
        query = text("SELECT field_values FROM upload_sessions")
        async with resources.database.transaction() as transaction:
            assert await transaction.scalar(query) == {"signed-on": "secret"}
        assert (await complete(customer, session)).status_code == 201
        async with resources.database.transaction() as transaction:
            assert await transaction.scalar(query) == {}

    async def test_repeated_idempotency_key_replays_first_response(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        first = await complete(customer, session, **{"Idempotency-Key": "k"})
        again = await complete(customer, session, **{"Idempotency-Key": "k"})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"

    async def test_concurrent_completions_create_one_version(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        responses = await asyncio.gather(*(complete(customer, session) for _ in range(4)))
        statuses = sorted(response.status_code for response in responses)
        assert statuses == [200, 200, 200, 201]
        held = await stored_state(resources)
        assert (held.versions, held.in_store) == (1, held.attached)

    async def test_concurrent_completion_and_deletion_are_serialised(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        for _ in range(5):
            session = await send_file(customer, sender, files.pdf())
            completed, deleted = await asyncio.gather(
                complete(customer, session), customer.delete(session["path"])
            )
            assert completed.status_code in {200, 201, 404}
            assert deleted.status_code == 204
        await let_pass(resources, "1 hour")
        await reap(resources)
        held = await stored_state(resources)
        assert held.in_store == held.attached
        assert len(held.attached) == held.versions

    @pytest.mark.req("R-117")
    async def test_failed_precondition_keeps_session_open(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        await customer.put(PATH, **upload_of())
        session = await send_file(customer, sender, files.pdf("2"))
        for headers in ({"If-None-Match": "*"}, {"If-Match": '"other"'}):
            response = await complete(customer, session, **headers)
            assert refusal(response)[:2] == (412, "precondition-failed")
        etag = (await customer.get(PATH)).headers["etag"]
        response = await complete(customer, session, **{"If-Match": etag})
        assert (response.status_code, response.json()["version"]) == (200, 2)

    @pytest.mark.parametrize(
        ("filename", "body", "expected"),
        [
            ("a.svg", files.svg(), (415, "unsupported-media-type", None)),
            ("a.exe", files.executable(), (415, "unsupported-media-type", None)),
            ("a.php", files.pdf(), (415, "extension-mismatch", None)),
            ("a.jpg", files.jpeg()[:40], (422, "corrupt-file", None)),
            ("a.jpg", files.image_with_archive_appended(), (422, "corrupt-file", None)),
            ("a.docx", files.docx_bomb(), (422, "corrupt-file", None)),
        ],
    )
    async def test_media_type_is_decided_by_bytes(
        self,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
        filename: str,
        body: bytes,
        expected: tuple[int, str, None],
    ) -> None:
        session = await send_file(customer, sender, body, filename=filename)
        assert refusal(await complete(customer, session)) == expected
        assert (await customer.get(PATH)).json()["version"] == 0
        await let_pass(resources, "1 hour")
        await reap(resources)
        assert await stored_keys(resources) == []
        assert await sessions(resources) == 0

    async def test_lowered_limit_applies_at_completion(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        await patch_type(admin, "contract", max_size_bytes=10)
        assert refusal(await complete(customer, session))[:2] == (413, "file-too-large")

    async def test_archived_type_rejects_completion(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        await patch_type(admin, "contract", archived=True)
        assert refusal(await complete(customer, session))[:2] == (404, "document-type-not-found")

    async def test_sessions_are_deleted_with_their_type(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await open_session(customer, files.pdf())
        assert (await admin.delete("/v1/admin/document-types/contract")).status_code == 204
        assert await sessions(resources) == 0

    async def test_bytes_of_foreign_put_are_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        async with resources.transaction(resources.system_context()) as uow:
            facts = await uow.upload_sessions.get(UUID(session["id"]))
        assert facts is not None
        path = resources.store.spool_dir / "other"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(body))
        await resources.store.put(facts.blob_key, path)
        assert refusal(await complete(customer, session))[:2] == (422, "digest-mismatch")


class TestCheckOrder:
    """Checks that complete makes before it reads from the store: no bytes were sent here."""

    @pytest.mark.req("B-060")
    async def test_precondition_is_checked_before_the_bytes(
        self, customer: httpx.AsyncClient
    ) -> None:
        session = await open_session(customer, files.pdf())
        response = await complete(customer, session, **{"If-Match": '"other"'})
        assert refusal(response)[:2] == (412, "precondition-failed")

    async def test_lowered_size_limit_is_checked_before_the_bytes(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        session = await open_session(customer, files.pdf())
        await patch_type(admin, "contract", max_size_bytes=10)
        assert refusal(await complete(customer, session))[:2] == (413, "file-too-large")

    async def test_field_values_are_checked_before_the_bytes(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        session = await open_session(customer, files.pdf(), field_values={"signed-on": "today"})
        await patch_type(admin, "contract", collects_fields=False)
        assert refusal(await complete(customer, session))[:2] == (422, "fields-not-enabled")


class TestRejectedBytes:
    """The rejection of the bytes is stored: they are not read again."""

    @pytest.mark.req("B-060")
    @pytest.mark.parametrize(
        ("filename", "body", "expected"),
        [
            ("a.jpg", files.jpeg()[:40], (422, "corrupt-file")),
            ("a.exe", files.executable(), (415, "unsupported-media-type")),
        ],
    )
    async def test_rejection_is_repeated_without_reading_bytes(
        self,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
        filename: str,
        body: bytes,
        expected: tuple[int, str],
    ) -> None:
        session = await send_file(customer, sender, body, filename=filename)
        first = await complete(customer, session)
        for key in await stored_keys(resources):
            await resources.store.delete(key)
        again = await complete(customer, session)
        assert refusal(first)[:2] == refusal(again)[:2] == expected
        left_out = {"request_id", "instance"}
        assert {k: v for k, v in again.json().items() if k not in left_out} == {
            k: v for k, v in first.json().items() if k not in left_out
        }

    async def test_missing_bytes_are_checked_again(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await open_session(customer, files.pdf())
        assert refusal(await complete(customer, session))[:2] == (409, "upload-not-complete")
        await sender.put(session, files.pdf())
        assert (await complete(customer, session)).status_code == 201


@pytest.mark.req("B-060")
class TestPermits:
    """Completing a session needs an upload permit."""

    async def test_completion_without_free_permit_is_rejected(
        self, admin: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(admin, sender, files.pdf(), ADMIN_PATH)
        async with contextlib.AsyncExitStack() as held:
            for _ in range(resources.settings.max_concurrent_uploads):
                await held.enter_async_context(resources.upload_permits)
            assert refusal(await complete(admin, session))[:2] == (503, "overloaded")
        assert (await complete(admin, session)).status_code == 201

    async def test_concurrent_completions_of_customer_are_limited(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        with contextlib.ExitStack() as held:
            for _ in range(resources.settings.customer_max_concurrent_uploads):
                one = resources.rate_limits.concurrent_transfer(
                    Limit.CUSTOMER_CONCURRENT_UPLOADS, "c-1"
                )
                held.enter_context(one)
            assert refusal(await complete(customer, session))[:2] == (429, "rate-limited")
        assert (await complete(customer, session)).status_code == 201


@pytest.mark.req("B-064")
class TestReplays:
    """A stored response is replayed only while the caller may write the document."""

    async def test_customer_gets_no_replay_of_admin_only_document(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        completed, opened_again = await self._replays(customer, sender, PATH)
        await patch_type(admin, "contract", upload_mode="admin_only")
        for response in (await completed(), await opened_again()):
            assert refusal(response)[:2] == (403, "admin-only-document")
        await patch_type(admin, "contract", upload_mode="optional", archived=True)
        for response in (await completed(), await opened_again()):
            assert refusal(response)[:2] == (404, "document-type-not-found")
        await patch_type(admin, "contract", archived=False)
        for response in (await completed(), await opened_again()):
            assert response.headers["idempotency-replayed"] == "true"

    async def test_key_without_scope_gets_no_replay(
        self, admin: httpx.AsyncClient, key_client: KeyClients, sender: Sender
    ) -> None:
        writer = await key_client(Scope.DOCUMENTS_WRITE)
        completed, opened_again = await self._replays(writer, sender, KEY_PATH)
        await patch_type(admin, "contract", upload_mode="admin_only")
        for response in (await completed(), await opened_again()):
            assert refusal(response)[:2] == (403, "insufficient-scope")

    async def test_staff_get_no_replay_of_archived_document_without_file(
        self, admin: httpx.AsyncClient, sender: Sender
    ) -> None:
        completed, opened_again = await self._replays(admin, sender, ADMIN_PATH)
        await admin.delete(ADMIN_PATH)
        await patch_type(admin, "contract", archived=True)
        for response in (await completed(), await opened_again()):
            assert refusal(response)[:2] == (404, "document-type-not-found")

    async def _replays(
        self, client: httpx.AsyncClient, sender: Sender, document: str
    ) -> tuple[Requests, Requests]:
        """Complete one session, open another, and return functions that repeat both requests."""
        session = await send_file(client, sender, files.pdf(), document)
        headers = {"Idempotency-Key": "k"}

        async def completed() -> httpx.Response:
            return await complete(client, session, **headers)

        async def opened_again() -> httpx.Response:
            declared = upload_request(files.pdf())
            return await client.post(f"{document}/uploads", json=declared, headers=headers)

        assert (await completed()).status_code == 201
        assert (await opened_again()).status_code == 201
        return completed, opened_again


class TestSessionLimit:
    """The limit of pending sessions."""

    @pytest.fixture(autouse=True)
    def low_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("docvault.services.upload_sessions.MAX_PENDING_UPLOADS", 3)

    async def test_session_over_limit_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = files.pdf()
        responses = await asyncio.gather(
            *(customer.post(f"{PATH}/uploads", json=upload_request(body)) for _ in range(8))
        )
        assert sorted(response.status_code for response in responses) == [201] * 3 + [409] * 5
        rejected = [response for response in responses if response.status_code == 409]
        assert {refusal(response)[1] for response in rejected} == {"too-many-uploads"}
        assert await sessions(resources) == 3

    async def test_completed_sessions_do_not_count(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        for _ in range(4):
            session = await send_file(customer, sender, files.pdf())
            assert (await complete(customer, session)).status_code in {200, 201}

    @pytest.mark.req("B-101")
    async def test_refused_sessions_stop_counting_when_their_bytes_are_gone(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources, on_s3: bool
    ) -> None:
        body = files.jpeg()[:40]
        for _ in range(3):
            session = await send_file(customer, sender, body, filename="a.jpg")
            assert refusal(await complete(customer, session))[:2] == (422, "corrupt-file")
        await delete_queued_blobs(resources)
        # The bytes cannot come back, and the refusal is repeated.
        assert await sender.put(session, body) == 412
        assert len(await stored_keys(resources)) == (3 if on_s3 else 0)
        assert refusal(await complete(customer, session))[:2] == (422, "corrupt-file")
        # A presigned URL would accept deleted bytes again, so that they stay until it expires.
        response = await customer.post(f"{PATH}/uploads", json=upload_request(body))
        assert response.status_code == (409 if on_s3 else 201)
        await let_pass(resources, "1 hour")
        await reap(resources)
        assert await sessions(resources) == 0
        assert await stored_keys(resources) == []

    async def test_cancelled_sessions_count_until_url_expires(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(3):
            session = await open_session(customer, files.pdf())
            assert (await customer.delete(session["path"])).status_code == 204
        response = await customer.post(f"{PATH}/uploads", json=upload_request(files.pdf()))
        assert refusal(response)[:2] == (409, "too-many-uploads")
        await let_pass(resources, "46 minutes")
        await open_session(customer, files.pdf())

    async def test_other_customers_and_types_are_counted_separately(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        for _ in range(3):
            await open_session(customer, files.pdf())
        await make_customer(admin, "c-2")
        await open_session(customer_of("c-2"), files.pdf())


class TestExpiry:
    """Expired sessions."""

    async def test_expired_session_cannot_be_completed(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        await let_pass(resources, "16 minutes")
        assert refusal(await complete(customer, session))[:2] == (410, "upload-expired")

    async def test_bytes_and_rows_are_deleted_only_after_margin(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        await send_file(customer, sender, files.pdf())
        await let_pass(resources, "16 minutes")
        await reap(resources)
        # A PUT that began in time may still be in progress.
        assert (len(await stored_keys(resources)), await sessions(resources)) == (1, 1)
        await let_pass(resources, "30 minutes")
        await reap(resources)
        assert (await stored_keys(resources), await sessions(resources)) == ([], 0)

    async def test_completed_session_is_deleted_after_a_day_and_document_is_kept(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        await complete(customer, await send_file(customer, sender, files.pdf()))
        await reap(resources)
        assert await sessions(resources) == 1
        await let_pass(resources, "25 hours")
        await reap(resources)
        assert await sessions(resources) == 0
        assert (await customer.get(f"{PATH}/content")).content == files.pdf()

    async def test_restart_keeps_open_sessions(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(customer, sender, files.pdf())
        async with resources.transaction(resources.system_context()) as uow:
            await uow.blobs.expire_all_pending()
        await reap(resources)
        assert (await complete(customer, session)).status_code == 201

    async def test_completed_session_is_deleted_with_its_document(
        self, admin: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        await complete(admin, await send_file(admin, sender, files.pdf(), ADMIN_PATH))
        await admin.delete(ADMIN_PATH)
        await reap(resources)
        assert (await stored_keys(resources), await sessions(resources)) == ([], 0)


@pytest.mark.req("R-101", "R-106")
class TestErasure:
    """Erasing a customer with sessions."""

    async def test_sessions_and_received_bytes_are_erased_immediately(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
    ) -> None:
        mine = await send_file(admin, sender, files.pdf(), ADMIN_PATH)
        await send_file(customer, sender, files.pdf())
        assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
        assert await sessions(resources) == 0
        assert refusal(await complete(admin, mine))[:2] == (409, "customer-being-erased")
        assert refusal(await admin.get(mine["path"]))[:2] == (404, "customer-not-found")
        await finish_erasures(resources)
        assert await stored_keys(resources) == []

    async def test_bytes_sent_after_erasure_are_deleted(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
        on_s3: bool,
    ) -> None:
        body = files.pdf()
        session = await open_session(customer, body)
        erasure = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await finish_erasures(resources)
        # S3 does not know about erasures; docvault's own URL does.
        status = await sender.put(session, body)
        assert (status < 300) if on_s3 else (status == 404)
        assert (await admin.get(erasure)).json()["state"] == "pending"
        await finish_erasures(resources)
        assert await stored_keys(resources) == []
        await let_pass(resources, "46 minutes")
        await reap(resources)
        await finish_erasures(resources)
        assert (await admin.get(erasure)).json()["state"] == "completed"
        assert await stored_keys(resources) == []

    async def test_erasure_waits_until_url_expires(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        resources: Resources,
        on_s3: bool,
    ) -> None:
        await open_session(customer, files.pdf())
        erasure = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await reap(resources)
        await let_pass(resources, "16 minutes")
        await reap(resources)
        await finish_erasures(resources)
        # S3 would still accept the bytes, and without their row they would never be deleted.
        state = "pending" if on_s3 else "completed"
        assert (await admin.get(erasure)).json()["state"] == state

    async def test_concurrent_completion_and_erasure_leave_nothing(
        self, admin: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await send_file(admin, sender, files.pdf(), ADMIN_PATH)
        completed, erased = await asyncio.gather(
            complete(admin, session), admin.delete("/v1/admin/customers/c-1")
        )
        assert completed.status_code in {201, 404, 409}
        assert erased.status_code == 202
        await let_pass(resources, "46 minutes")
        await reap(resources)
        await finish_erasures(resources)
        held = await stored_state(resources)
        assert (held.versions, held.in_store, held.unsettled) == (0, frozenset(), frozenset())
