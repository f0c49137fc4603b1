"""What every way to upload has in common: the facts of a file, and files that need a password."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import NOTHING_STORED, refusal, stored_state
from tests.factories import files
from tests.factories.locked_files import encrypted_odt, encrypted_pdf, pdf_invoice
from tests.factories.setups import make_customer, make_type, patch_type, upload_of
from tests.factories.upload_sessions import send_bytes
from tests.fixtures.callers import CustomerClients

from docvault.schemas.documents import DocumentRead
from docvault.services.resources import Resources

CUSTOMER = "/v1/customer/documents"
STAFF = "/v1/admin/customers/c-1/documents"
PARTNER = "/v1/integration/customers/c-1/documents"
LOCKED = encrypted_pdf(files.pdf(), user="secret")

Clients = dict[str, httpx.AsyncClient]
Upload = Callable[[Clients, bytes], Awaitable[httpx.Response]]


@pytest.fixture
async def clients(
    admin: httpx.AsyncClient, customer_of: CustomerClients, integration: httpx.AsyncClient
) -> Clients:
    """Callers of each kind, and a type that refuses what needs a password."""
    await make_type(admin, "Statement", password_protected="refuse")
    await make_type(admin, "Anything")
    await make_customer(admin, "c-1")
    return {CUSTOMER: customer_of("c-1"), STAFF: admin, PARTNER: integration}


def put_to(documents: str) -> Upload:
    async def put(clients: Clients, body: bytes) -> httpx.Response:
        return await clients[documents].put(f"{documents}/statement", **upload_of(body))

    return put


def session_of(documents: str) -> Upload:
    async def send(clients: Clients, body: bytes) -> httpx.Response:
        client, document = clients[documents], f"{documents}/statement"
        declared = {
            "filename": "a.pdf",
            "size_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        session = (await client.post(f"{document}/uploads", json=declared)).json()
        sent = await send_bytes(client, session, body)
        assert sent.is_success, sent.text
        path = f"{document}/uploads/{session['id']}/complete"
        first = await client.post(path)
        # A refusal is repeated without reading the bytes again.
        assert (await client.post(path)).status_code in {first.status_code, 200}
        return first

    return send


async def copy(clients: Clients, body: bytes) -> httpx.Response:
    admin = clients[STAFF]
    stored = await admin.put(f"{STAFF}/anything", **upload_of(body))
    assert stored.is_success, stored.text
    return await admin.post(f"{STAFF}/statement/copy", json={"from": {"key": "anything"}})


WAYS = {
    "customer": put_to(CUSTOMER),
    "staff": put_to(STAFF),
    "integration": put_to(PARTNER),
    "customer's session": session_of(CUSTOMER),
    "staff's session": session_of(STAFF),
    "integration's session": session_of(PARTNER),
    "copy": copy,
}


def facts(document: dict[str, Any]) -> tuple[bool, bool | None, bool | None]:
    [file] = document["files"]
    return file["has_active_content"], file["has_attachments"], file["needs_password"]


class TestPasswordProtected:
    """A document type that refuses what needs a password."""

    @pytest.mark.req("B-092")
    @pytest.mark.parametrize("way", WAYS)
    async def test_locked_file_is_refused(self, clients: Clients, way: str) -> None:
        response = await WAYS[way](clients, LOCKED)
        status, code, _ = refusal(response)
        assert (status, code) == (422, "password-protected")
        assert "Remove the password" in response.json()["detail"]
        missing = await clients[STAFF].get(f"{STAFF}/statement")
        assert missing.json()["files"] == []

    @pytest.mark.req("B-092")
    @pytest.mark.parametrize("way", WAYS)
    async def test_file_with_an_owner_password_is_stored(self, clients: Clients, way: str) -> None:
        response = await WAYS[way](clients, encrypted_pdf(files.pdf()))
        assert response.is_success, response.text
        assert facts(response.json()) == (False, False, False)

    @pytest.mark.req("B-092")
    async def test_locked_file_of_a_batch_is_refused(
        self, clients: Clients, resources: Resources
    ) -> None:
        items = [{"key": "statement", "files": [0], "field_values": {}}]
        parts: dict[str, tuple[str | None, bytes]] = {
            "batch": (None, json.dumps({"items": items}).encode()),
            "files": ("a.odt", encrypted_odt()),
        }
        response = await clients[CUSTOMER].post("/v1/customer/document-batches", files=parts)
        assert response.status_code == 207, response.text
        [result] = response.json()["items"]
        assert (result["status"], result["problem"]["code"]) == (422, "password-protected")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_type_that_changes_meanwhile_is_checked_again(self, clients: Clients) -> None:
        client = clients[CUSTOMER]
        await patch_type(clients[STAFF], "statement", password_protected="accept")
        stored = await client.put(f"{CUSTOMER}/statement", **upload_of(LOCKED))
        assert stored.json()["type"]["password_protected"] == "accept"
        await patch_type(clients[STAFF], "statement", password_protected=None)
        assert (await client.put(f"{CUSTOMER}/statement", **upload_of(LOCKED))).is_success
        await patch_type(clients[STAFF], "statement", password_protected="refuse")
        refused = await client.put(f"{CUSTOMER}/statement", **upload_of(LOCKED))
        assert refusal(refused) == (422, "password-protected", "/file")


class TestFacts:
    """The facts of a file."""

    @pytest.mark.req("B-091")
    @pytest.mark.parametrize(
        ("body", "name", "expected"),
        [
            (files.pdf(), "a.pdf", (False, False, False)),
            (LOCKED, "a.pdf", (True, None, True)),
            (encrypted_odt(), "a.odt", (True, None, True)),
            (pdf_invoice(), "a.pdf", (False, True, False)),
            (files.pdf_with_attachment(), "a.pdf", (True, True, False)),
            (files.jpeg(), "a.jpg", (False, False, False)),
        ],
    )
    async def test_every_representation_has_the_facts(
        self, clients: Clients, body: bytes, name: str, expected: tuple[bool, bool | None, bool]
    ) -> None:
        stored = await clients[CUSTOMER].put(f"{CUSTOMER}/anything", **upload_of(body, name))
        assert facts(stored.json()) == expected
        for documents, client in clients.items():
            assert facts((await client.get(f"{documents}/anything")).json()) == expected
        versions = await clients[STAFF].get(f"{STAFF}/anything/versions")
        assert facts(versions.json()["items"][0]) == expected

    @pytest.mark.req("B-091", "B-094")
    @pytest.mark.parametrize(
        ("body", "disposition"),
        [
            (LOCKED, "attachment"),
            (files.pdf_with_attachment(), "attachment"),
            (pdf_invoice(), "inline"),
        ],
    )
    async def test_only_what_was_looked_into_is_inline(
        self, clients: Clients, body: bytes, disposition: str
    ) -> None:
        await clients[CUSTOMER].put(f"{CUSTOMER}/anything", **upload_of(body))
        parameters = {"disposition": "inline"}
        response = await clients[STAFF].get(f"{STAFF}/anything/content", params=parameters)
        assert response.headers["content-disposition"].startswith(f"{disposition};")

    @pytest.mark.req("B-091")
    async def test_locked_file_has_no_preview(self, clients: Clients) -> None:
        stored = await clients[CUSTOMER].put(f"{CUSTOMER}/anything", **upload_of(LOCKED))
        assert stored.json()["files"][0]["has_preview"] is False
        preview = await clients[STAFF].get(f"{STAFF}/anything/preview")
        assert refusal(preview) == (404, "no-preview", None)

    async def test_file_of_an_older_version_has_unknown_facts(
        self, clients: Clients, resources: Resources
    ) -> None:
        await clients[CUSTOMER].put(f"{CUSTOMER}/anything", **upload_of())
        async with resources.database.transaction() as session:
            await session.execute(
                text("UPDATE document_files SET has_attachments = NULL, needs_password = NULL")
            )
        read = await clients[CUSTOMER].get(f"{CUSTOMER}/anything")
        assert facts(read.json()) == (False, None, None)
        copied = await clients[STAFF].post(
            f"{STAFF}/statement/copy", json={"from": {"key": "anything"}}
        )
        assert facts(copied.json()) == (False, None, None)

    async def test_stored_response_of_an_older_version_can_be_read(self, clients: Clients) -> None:
        stored = await clients[CUSTOMER].put(f"{CUSTOMER}/anything", **upload_of())
        document = stored.json()
        del document["type"]["password_protected"]
        for member in ("has_attachments", "needs_password"):
            del document["files"][0][member]
        read = DocumentRead.model_validate(document)
        assert read.type.password_protected == "accept"
        assert (read.files[0].has_attachments, read.files[0].needs_password) == (None, None)
