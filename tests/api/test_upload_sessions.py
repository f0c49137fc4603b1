"""Upload sessions: announced, sent by a signed URL, completed; over both stores."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from tests.api.holdings import Chunks, audited, holdings, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients
from tests.fixtures.storage import use_s3

from docvault.auth.principals import Access
from docvault.auth.scopes import Scope
from docvault.services.blobs import reap
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.settings import Settings

SLOT = "/v1/customer/documents/contract"
ADMIN_SLOT = "/v1/admin/customers/c-1/documents/contract"
KEY_SLOT = "/v1/integration/customers/c-1/documents/contract"

pytestmark = pytest.mark.own_store("they run on both stores as it is")


@pytest.fixture(params=["filesystem", "s3"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The defaults, with each of the stores."""
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


def announcement(body: bytes, **members: Any) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"filename": "scan.pdf", "size_bytes": len(body), "sha256": digest, **members}


async def opened(
    client: httpx.AsyncClient, body: bytes, slot: str = SLOT, **members: Any
) -> dict[str, Any]:
    """Announce a file and return the answer with the place of the session."""
    answer = await client.post(f"{slot}/uploads", json=announcement(body, **members))
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{slot}/uploads/{session['id']}"
    return session | {"path": answer.headers["location"]}


class Sender:
    """A client without credentials that goes where a signed URL leads."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def put(
        self, session: dict[str, Any], content: Any, headers: dict[str, str] | None = None
    ) -> int:
        headers = session["headers"] if headers is None else headers
        if session["url"].startswith(str(self._http.base_url)):
            answer = await self._http.put(session["url"], content=content, headers=headers)
        else:
            async with httpx.AsyncClient() as outside:
                answer = await outside.put(session["url"], content=content, headers=headers)
        return answer.status_code


@pytest.fixture
def sender(http: httpx.AsyncClient) -> Sender:
    return Sender(http)


async def sent(
    client: httpx.AsyncClient, sender: Sender, body: bytes, slot: str = SLOT, **members: Any
) -> dict[str, Any]:
    """Announce a file and send its bytes."""
    session = await opened(client, body, slot, **members)
    assert 200 <= await sender.put(session, body) < 300
    return session


async def complete(
    client: httpx.AsyncClient, session: dict[str, Any], **headers: str
) -> httpx.Response:
    return await client.post(f"{session['path']}/complete", headers=headers)


async def shift(resources: Resources, interval: str) -> None:
    """Let time pass for every session and for the blobs that wait."""
    async with resources.database.transaction() as session:
        for table in ("upload_sessions", "blobs"):
            statement = f"UPDATE {table} SET expires_at = expires_at - interval '{interval}'"
            await session.execute(text(statement))


async def sessions(resources: Resources) -> int:
    async with resources.database.transaction() as session:
        return await session.scalar(text("SELECT count(*) FROM upload_sessions")) or 0


async def stored_keys(resources: Resources) -> list[str]:
    return [blob.key async for blob in resources.store.list_blobs()]


class TestWholeWay:
    """Announce, send, complete."""

    @pytest.mark.parametrize("size", [0, 3 << 20])
    async def test_the_document_has_the_bytes_that_were_sent(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources, size: int
    ) -> None:
        body = files.pdf() + b"%" + os.urandom(size).replace(b"%%EOF", b"") + b"\n%%EOF\n"
        session = await sent(customer, sender, body, field_values={"signed-on": "2026-01-02"})
        answer = await complete(customer, session)
        assert answer.status_code == 201, answer.text
        document = answer.json()
        assert document == (await customer.get(SLOT)).json()
        assert (document["version"], document["uploaded_by"]) == (1, {"kind": "customer"})
        assert document["field_values"] == {"signed-on": "2026-01-02"}
        (file,) = document["files"]
        assert (file["filename"], file["media_type"]) == ("scan.pdf", "application/pdf")
        assert (await customer.get(f"{SLOT}/content")).content == body
        held = await holdings(resources)
        assert (held.versions, held.in_store) == (1, held.attached)
        assert (held.unsettled, held.in_spool) == (frozenset(), frozenset())

    async def test_every_audience_can(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, sender: Sender
    ) -> None:
        for client, slot, kind in (
            (admin, ADMIN_SLOT, "admin"),
            (integration, KEY_SLOT, "integration"),
        ):
            body = files.pdf(kind)
            answer = await complete(client, await sent(client, sender, body, slot))
            assert answer.json()["uploaded_by"]["kind"] == kind
            assert (await client.get(f"{slot}/content")).content == body
        assert answer.status_code == 200
        assert answer.json()["version"] == 2

    async def test_opening_and_uploading_are_in_the_audit_trail(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        await complete(customer, await sent(customer, sender, files.pdf()))
        (created,) = await audited(admin, "upload.create")
        (uploaded,) = await audited(admin, "document.upload")
        assert (created["customer"], created["document_type"]) == ("c-1", "contract")
        assert (uploaded["version"], uploaded["actor"]) == (1, {"kind": "customer", "id": "c-1"})

    async def test_several_types_are_told_by_their_bytes(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        for name, body in (
            ("a.jpg", files.jpeg()),
            ("a.docx", files.docx()),
            ("a.csv", files.csv()),
            ("a.heic", files.heic()),
        ):
            answer = await complete(customer, await sent(customer, sender, body, filename=name))
            assert answer.is_success, answer.text
            expected = await customer.put(SLOT, **upload_of(body, name))
            assert answer.json()["files"] == expected.json()["files"]


class TestAnnouncing:
    """POST …/uploads."""

    async def test_the_answer_tells_where_and_how(
        self, customer: httpx.AsyncClient, on_s3: bool
    ) -> None:
        body = files.pdf()
        answer = await customer.post(f"{SLOT}/uploads", json=announcement(body))
        session = answer.json()
        assert set(session) == {"id", "method", "url", "headers", "expires_at"}
        assert (session["method"], UUID(session["id"]).version) == ("PUT", 7)
        assert answer.headers["cache-control"] == "no-store"
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
    async def test_what_could_not_be_completed_is_refused_at_once(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        members: dict[str, Any],
        expected: tuple[int, str, str],
    ) -> None:
        answer = await customer.post(f"{SLOT}/uploads", json=announcement(b"x", **members))
        status, _, place = refusal(answer)
        codes = {answer.json()["code"], *(e["code"] for e in answer.json()["errors"])}
        assert (status, place) == (expected[0], expected[2])
        assert expected[1] in codes
        assert await sessions(resources) == 0

    async def test_a_repeated_request_opens_one_session(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body, headers = announcement(b"x"), {"Idempotency-Key": "u-1"}
        first = await customer.post(f"{SLOT}/uploads", json=body, headers=headers)
        again = await customer.post(f"{SLOT}/uploads", json=body, headers=headers)
        assert (again.status_code, again.json()) == (201, first.json())
        assert await sessions(resources) == 1

    @pytest.mark.req("R-034")
    async def test_customers_cannot_send_admin_only_documents(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        await patch_type(admin, "contract", upload_mode="admin_only")
        answer = await customer.post(f"{SLOT}/uploads", json=announcement(b"x"))
        assert refusal(answer)[:2] == (403, "admin-only-document")
        assert refusal(await complete(customer, session))[:2] == (403, "admin-only-document")

    async def test_everything_is_closed_with_the_section(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        await patch_portal(admin, section_enabled=False)
        for answer in (
            await customer.post(f"{SLOT}/uploads", json=announcement(b"x")),
            await customer.get(session["path"]),
            await customer.delete(session["path"]),
            await complete(customer, session),
        ):
            assert refusal(answer)[:2] == (403, "portal-section-disabled")

    @pytest.mark.req("R-113", "R-115")
    async def test_keys_need_the_scopes_to_write(
        self, admin: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        reader = await key_client(Scope.DOCUMENTS_READ, Scope.CONTENT_READ)
        writer = await key_client(Scope.DOCUMENTS_WRITE)
        answer = await reader.post(f"{KEY_SLOT}/uploads", json=announcement(b"x"))
        assert refusal(answer)[:2] == (403, "insufficient-scope")
        await opened(writer, b"x", KEY_SLOT)
        await patch_type(admin, "contract", upload_mode="admin_only")
        answer = await writer.post(f"{KEY_SLOT}/uploads", json=announcement(b"x"))
        assert refusal(answer)[:2] == (403, "insufficient-scope")

    async def test_an_unknown_type_is_404(self, customer: httpx.AsyncClient) -> None:
        path = "/v1/customer/documents/nope/uploads"
        answer = await customer.post(path, json=announcement(b"x"))
        assert refusal(answer)[:2] == (404, "document-type-unknown")


class TestSending:
    """PUT to the signed URL: exactly the announced bytes, once."""

    async def test_other_bytes_are_refused(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources, on_s3: bool
    ) -> None:
        body = files.pdf()
        session = await opened(customer, body)
        assert await sender.put(session, b"x" * len(body)) == (400 if on_s3 else 422)
        longer = session["headers"] | {"Content-Length": str(len(body) + 1)}
        assert await sender.put(session, body + b"x", longer) == (403 if on_s3 else 413)
        shorter = session["headers"] | {"Content-Length": str(len(body) - 1)}
        assert await sender.put(session, body[:-1], shorter) == (403 if on_s3 else 422)
        assert await stored_keys(resources) == []
        assert refusal(await complete(customer, session))[:2] == (409, "upload-not-complete")
        assert await sender.put(session, body) < 300

    async def test_a_second_put_is_refused_before_and_after_completing(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        body = files.pdf()
        session = await sent(customer, sender, body)
        assert await sender.put(session, body) == 412
        await complete(customer, session)
        assert await sender.put(session, body) == 412

    async def test_a_header_that_was_signed_cannot_be_left_out(
        self, customer: httpx.AsyncClient, sender: Sender, on_s3: bool
    ) -> None:
        body = files.pdf()
        session = await opened(customer, body)
        for name in session["headers"]:
            if name != "Content-Length":
                left = {n: v for n, v in session["headers"].items() if n != name}
                assert await sender.put(session, body, left) == 403
        if not on_s3:
            assert await sender.put(session, Chunks(body), {}) == 411

    async def test_a_changed_url_is_refused(
        self, customer: httpx.AsyncClient, sender: Sender, on_s3: bool
    ) -> None:
        body = files.pdf()
        session = await opened(customer, body)
        last = "0" if session["url"][-1] != "0" else "1"
        forged = session | {"url": session["url"][:-1] + last}
        assert await sender.put(forged, body) == (403 if on_s3 else 404)

    async def test_of_two_at_once_one_is_stored(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        body = files.pdf()
        session = await opened(customer, body)
        statuses = await asyncio.gather(*(sender.put(session, body) for _ in range(4)))
        assert len([status for status in statuses if status < 300]) == 1


class TestOurOwnUrl:
    """PUT /uploads/{token}, for the filesystem store."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", public_url="https://vault.example.org/")

    async def test_it_begins_with_the_public_address(self, customer: httpx.AsyncClient) -> None:
        session = await opened(customer, b"x")
        assert session["url"].startswith("https://vault.example.org/uploads/")

    async def test_it_ends_with_the_session(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        session = await opened(customer, b"x")
        path = session["url"].removeprefix("https://vault.example.org")
        await shift(resources, "16 minutes")
        assert refusal(await http.put(path, content=b"x"))[:2] == (410, "upload-expired")
        assert (await customer.delete(session["path"])).status_code == 204
        assert refusal(await http.put(path, content=b"x"))[:2] == (404, "not-found")

    async def test_what_is_no_token_is_not_found(self, http: httpx.AsyncClient) -> None:
        for token in ("x", "0" * 96, "0" * 10_000, "%00", "é"):
            answer = await http.put(f"/uploads/{token}", content=b"x")
            assert answer.status_code in {404, 422}, token

    async def test_a_session_that_ends_while_its_bytes_come_takes_none(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = os.urandom(100_000)
        session = await opened(customer, body)
        path = session["url"].removeprefix("https://vault.example.org")

        async def slow() -> Any:
            yield body[:50_000]
            await customer.delete(session["path"])
            yield body[50_000:]

        answer = await http.put(path, content=slow(), headers=session["headers"])
        assert answer.status_code == 404
        assert await stored_keys(resources) == []


class TestReading:
    """GET and DELETE …/uploads/{upload_id}."""

    async def test_it_tells_where_the_upload_stands_and_no_secret(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        body = files.pdf()
        session = await sent(customer, sender, body)
        answer = await customer.get(session["path"])
        assert answer.json() == {
            "id": session["id"],
            "state": "pending",
            "filename": "scan.pdf",
            "size_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "expires_at": session["expires_at"],
        }
        assert "etag" in answer.headers
        await complete(customer, session)
        assert (await customer.get(session["path"])).json()["state"] == "completed"
        await opened(customer, body)
        expired = await opened(customer, body)
        await shift(resources, "16 minutes")
        assert (await customer.get(expired["path"])).json()["state"] == "expired"

    @pytest.mark.req("R-112")
    async def test_only_who_opened_it_sees_it(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        customer_of: CustomerClients,
        integration: httpx.AsyncClient,
        sender: Sender,
    ) -> None:
        await make_customer(admin, "c-2")
        await make_type(admin, "Other")
        session = await sent(customer, sender, files.pdf())
        for client, slot in (
            (customer_of("c-2"), SLOT),
            (customer, "/v1/customer/documents/other"),
            (admin, ADMIN_SLOT),
            (admin, ADMIN_SLOT.replace("c-1", "c-2")),
            (integration, KEY_SLOT),
        ):
            path = f"{slot}/uploads/{session['id']}"
            for answer in (
                await client.get(path),
                await client.delete(path),
                await client.post(f"{path}/complete"),
            ):
                assert refusal(answer)[:2] == (404, "not-found")
        assert (await complete(customer, session)).status_code == 201

    async def test_a_deleted_session_is_gone_and_its_bytes_follow(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        assert (await customer.delete(session["path"])).status_code == 204
        for answer in (
            await customer.get(session["path"]),
            await customer.delete(session["path"]),
            await complete(customer, session),
        ):
            assert refusal(answer)[:2] == (404, "not-found")
        await shift(resources, "1 hour")
        await reap(resources)
        assert await stored_keys(resources) == []

    async def test_deleting_a_completed_session_leaves_the_document(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        await complete(customer, session)
        assert (await customer.delete(session["path"])).status_code == 204
        await reap(resources)
        assert (await customer.get(f"{SLOT}/content")).content == files.pdf()


class TestCompleting:
    """POST …/uploads/{upload_id}/complete."""

    async def test_nothing_has_come_yet(self, customer: httpx.AsyncClient) -> None:
        session = await opened(customer, files.pdf())
        assert refusal(await complete(customer, session))[:2] == (409, "upload-not-complete")

    async def test_again_it_answers_with_the_document_and_adds_nothing(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        first = await complete(customer, session)
        again = await complete(customer, session)
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()
        assert (await holdings(resources)).versions == 1

    @pytest.mark.req("R-117")
    async def test_under_an_idempotency_key_it_gets_the_first_answer(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        first = await complete(customer, session, **{"Idempotency-Key": "k"})
        again = await complete(customer, session, **{"Idempotency-Key": "k"})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"

    async def test_many_at_once_make_one_version(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        answers = await asyncio.gather(*(complete(customer, session) for _ in range(6)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 200, 200, 200, 200, 201]
        held = await holdings(resources)
        assert (held.versions, held.in_store) == (1, held.attached)

    async def test_completing_and_deleting_at_once_leave_a_document_or_none(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        for _ in range(5):
            session = await sent(customer, sender, files.pdf())
            completed, deleted = await asyncio.gather(
                complete(customer, session), customer.delete(session["path"])
            )
            assert completed.status_code in {200, 201, 404}
            assert deleted.status_code == 204
        await shift(resources, "1 hour")
        await reap(resources)
        held = await holdings(resources)
        assert held.in_store == held.attached
        assert len(held.attached) == held.versions

    @pytest.mark.req("R-117")
    async def test_preconditions_hold_and_the_session_stays_open(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        await customer.put(SLOT, **upload_of())
        session = await sent(customer, sender, files.pdf("2"))
        for headers in ({"If-None-Match": "*"}, {"If-Match": '"other"'}):
            answer = await complete(customer, session, **headers)
            assert refusal(answer)[:2] == (412, "precondition-failed")
        etag = (await customer.get(SLOT)).headers["etag"]
        answer = await complete(customer, session, **{"If-Match": etag})
        assert (answer.status_code, answer.json()["version"]) == (200, 2)

    @pytest.mark.parametrize(
        ("filename", "body", "expected"),
        [
            ("a.svg", files.svg(), (415, "media-type-not-allowed", None)),
            ("a.exe", files.executable(), (415, "media-type-not-allowed", None)),
            ("a.jpg", files.pdf(), (415, "media-type-not-allowed", None)),
            ("a.jpg", files.jpeg()[:40], (422, "corrupt-file", None)),
            ("a.jpg", files.image_with_archive_appended(), (422, "corrupt-file", None)),
            ("a.docx", files.docx_bomb(), (422, "corrupt-file", None)),
        ],
    )
    async def test_the_bytes_decide_what_is_taken(
        self,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
        filename: str,
        body: bytes,
        expected: tuple[int, str, None],
    ) -> None:
        session = await sent(customer, sender, body, filename=filename)
        assert refusal(await complete(customer, session)) == expected
        assert (await customer.get(SLOT)).json()["version"] == 0
        await shift(resources, "1 hour")
        await reap(resources)
        assert await stored_keys(resources) == []
        assert await sessions(resources) == 0

    async def test_a_lowered_limit_holds(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        await patch_type(admin, "contract", max_size_bytes=10)
        assert refusal(await complete(customer, session))[:2] == (413, "file-too-large")

    async def test_an_archived_type_takes_nothing(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        await patch_type(admin, "contract", archived=True)
        assert refusal(await complete(customer, session))[:2] == (404, "document-type-unknown")

    async def test_a_deleted_type_takes_its_sessions_along(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await opened(customer, files.pdf())
        assert (await admin.delete("/v1/admin/document-types/contract")).status_code == 204
        assert await sessions(resources) == 0

    async def test_bytes_that_another_put_there_are_not_taken(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = files.pdf()
        session = await opened(customer, body)
        async with resources.unit(Access.everyone()) as unit:
            facts = await unit.upload_sessions.get(UUID(session["id"]))
        assert facts is not None
        path = resources.store.spool_dir / "other"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(body))
        await resources.store.put(facts.blob_key, path)
        assert refusal(await complete(customer, session))[:2] == (422, "digest-mismatch")


class TestTooMany:
    """A bound on what is announced and does not come."""

    @pytest.fixture(autouse=True)
    def only_three(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("docvault.services.upload_sessions.MAX_PENDING_UPLOADS", 3)

    async def test_one_more_is_refused_and_changes_nothing(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = files.pdf()
        answers = await asyncio.gather(
            *(customer.post(f"{SLOT}/uploads", json=announcement(body)) for _ in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
        refused = [answer for answer in answers if answer.status_code == 409]
        assert {refusal(answer)[1] for answer in refused} == {"too-many-uploads"}
        assert await sessions(resources) == 3

    async def test_what_is_completed_makes_room(
        self, customer: httpx.AsyncClient, sender: Sender
    ) -> None:
        for _ in range(4):
            session = await sent(customer, sender, files.pdf())
            assert (await complete(customer, session)).status_code in {200, 201}

    async def test_what_is_given_up_makes_none_until_its_bytes_can_come_no_more(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(3):
            session = await opened(customer, files.pdf())
            assert (await customer.delete(session["path"])).status_code == 204
        answer = await customer.post(f"{SLOT}/uploads", json=announcement(files.pdf()))
        assert refusal(answer)[:2] == (409, "too-many-uploads")
        await shift(resources, "46 minutes")
        await opened(customer, files.pdf())

    async def test_others_are_not_counted(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        for _ in range(3):
            await opened(customer, files.pdf())
        await make_customer(admin, "c-2")
        await opened(customer_of("c-2"), files.pdf())


class TestExpiry:
    """Sessions whose time is over."""

    async def test_an_expired_one_cannot_be_completed(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        await shift(resources, "16 minutes")
        assert refusal(await complete(customer, session))[:2] == (410, "upload-expired")

    async def test_bytes_and_rows_go_after_the_margin_and_not_before(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        await sent(customer, sender, files.pdf())
        await shift(resources, "16 minutes")
        await reap(resources)
        # A PUT that began in time may still be under way.
        assert (len(await stored_keys(resources)), await sessions(resources)) == (1, 1)
        await shift(resources, "30 minutes")
        await reap(resources)
        assert (await stored_keys(resources), await sessions(resources)) == ([], 0)

    async def test_a_completed_one_is_forgotten_after_a_day_and_its_document_stays(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        await complete(customer, await sent(customer, sender, files.pdf()))
        await reap(resources)
        assert await sessions(resources) == 1
        await shift(resources, "25 hours")
        await reap(resources)
        assert await sessions(resources) == 0
        assert (await customer.get(f"{SLOT}/content")).content == files.pdf()

    async def test_a_restart_leaves_open_sessions_alone(
        self, customer: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(customer, sender, files.pdf())
        async with resources.unit(Access.everyone()) as unit:
            await unit.blobs.expire_all_pending()
        await reap(resources)
        assert (await complete(customer, session)).status_code == 201

    async def test_a_deleted_document_takes_the_completed_session_along(
        self, admin: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        await complete(admin, await sent(admin, sender, files.pdf(), ADMIN_SLOT))
        await admin.delete(ADMIN_SLOT)
        await reap(resources)
        assert (await stored_keys(resources), await sessions(resources)) == ([], 0)


@pytest.mark.req("R-101", "R-106")
class TestErasure:
    """Erasing a customer who has sessions."""

    async def test_sessions_go_at_once_and_what_has_come_with_them(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
    ) -> None:
        mine = await sent(admin, sender, files.pdf(), ADMIN_SLOT)
        await sent(customer, sender, files.pdf())
        assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
        assert await sessions(resources) == 0
        assert refusal(await complete(admin, mine))[:2] == (409, "customer-being-erased")
        assert refusal(await admin.get(mine["path"]))[:2] == (404, "customer-unknown")
        await finish_erasures(resources)
        assert await stored_keys(resources) == []

    async def test_bytes_put_after_the_erasure_do_not_survive(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        sender: Sender,
        resources: Resources,
        on_s3: bool,
    ) -> None:
        body = files.pdf()
        session = await opened(customer, body)
        erasure = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await finish_erasures(resources)
        # The store knows nothing of erasures; our own URL does.
        status = await sender.put(session, body)
        assert (status < 300) if on_s3 else (status == 404)
        assert (await admin.get(erasure)).json()["state"] == "pending"
        await finish_erasures(resources)
        assert await stored_keys(resources) == []
        await shift(resources, "46 minutes")
        await reap(resources)
        await finish_erasures(resources)
        assert (await admin.get(erasure)).json()["state"] == "completed"
        assert await stored_keys(resources) == []

    async def test_it_waits_for_as_long_as_the_url_can_be_used(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        resources: Resources,
        on_s3: bool,
    ) -> None:
        await opened(customer, files.pdf())
        erasure = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await reap(resources)
        await shift(resources, "16 minutes")
        await reap(resources)
        await finish_erasures(resources)
        # The store would still take the bytes, and nobody could remove them without their row.
        state = "pending" if on_s3 else "completed"
        assert (await admin.get(erasure)).json()["state"] == state

    async def test_completing_and_erasing_at_once_leave_nothing(
        self, admin: httpx.AsyncClient, sender: Sender, resources: Resources
    ) -> None:
        session = await sent(admin, sender, files.pdf(), ADMIN_SLOT)
        completed, erased = await asyncio.gather(
            complete(admin, session), admin.delete("/v1/admin/customers/c-1")
        )
        assert completed.status_code in {201, 404, 409}
        assert erased.status_code == 202
        await shift(resources, "46 minutes")
        await reap(resources)
        await finish_erasures(resources)
        held = await holdings(resources)
        assert (held.versions, held.in_store, held.unsettled) == (0, frozenset(), frozenset())
