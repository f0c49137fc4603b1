"""How much database space a customer's requests use, relative to the bytes sent."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.fixtures.callers import CustomerClients
from tests.torture.figures import Figure, Size
from tests.torture.inside import unlimited

from docvault.settings import Settings

pytestmark = pytest.mark.torture

CONTRACT = Path(__file__).resolve().parents[2] / "openapi" / "customer.json"
# Reads that record an audit event.
RECORDED_READS = {"customer_read_content", "customer_read_preview"}

FIELDS = 20
QUOTA = 1024 * 1024
# Values of one document as text, and how often one request can store them: in the document,
# the version, the audit trail, the response, and the response of a batch.
VALUES = FIELDS * (2000 * 4 + 10)
OVERSHOOT = 5 * VALUES
# What a request may store besides values: rows of events, files, blobs, sessions, keys and jobs.
ROWS = 4096
PDF = files.pdf()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Only the quota of field values is active."""
    return unlimited(tmp_path / "data").model_copy(update={"customer_max_value_bytes": QUOTA})


@dataclass(slots=True)
class Attacker:
    """A customer whose document is full of values, and the bytes its requests have sent."""

    client: httpx.AsyncClient
    http: httpx.AsyncClient
    # The type that requests refer to: one that accepts them, or one that rejects them.
    key: str
    with_keys: bool
    sent: int = 0
    requests: int = 0
    sessions: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/v1/customer/documents/{self.key}"

    async def send(
        self, method: str, path: str, client: httpx.AsyncClient | None = None, **arguments: Any
    ) -> httpx.Response:
        """Send a request, with a fresh idempotency key if the attacker uses them."""
        client = client or self.client
        request = client.build_request(method, path, **arguments)
        if self.with_keys:
            request.headers["Idempotency-Key"] = f"{self.requests:08}"
        body = await request.aread()
        head = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
        self.sent += len(f"{method} {path} HTTP/1.1\r\n\r\n") + head + len(body)
        self.requests += 1
        return await client.send(request)

    async def open(self, key: str = "contract") -> dict[str, Any] | None:
        """Create an upload session; return it, or None if it is rejected."""
        digest = hashlib.sha256(PDF).hexdigest()
        body = {"filename": "a.pdf", "size_bytes": len(PDF), "sha256": digest}
        response = await self.send("POST", f"/v1/customer/documents/{key}/uploads", json=body)
        return dict(response.json()) if response.is_success else None


Operation = Callable[[Attacker, int], Awaitable[object]]


async def upload(attacker: Attacker, number: int) -> None:
    values = json.dumps({"f0": str(number)}) if attacker.key == "contract" else "{}"
    await attacker.send("PUT", attacker.path, **upload_of(PDF, field_values=values))


async def update(attacker: Attacker, number: int) -> None:
    await attacker.send("PATCH", attacker.path, json={"field_values": {"f0": str(number)}})


async def delete(attacker: Attacker, number: int) -> None:
    await attacker.send("DELETE", attacker.path)
    if attacker.key == "contract":
        await upload(attacker, number)


async def create_session(attacker: Attacker, number: int) -> None:
    del number
    await attacker.open(attacker.key)


async def give_up(attacker: Attacker, number: int) -> None:
    del number
    session = await attacker.open()
    if session is not None:
        await attacker.send("DELETE", f"{attacker.path}/uploads/{session['id']}")


async def complete(attacker: Attacker, number: int) -> None:
    """Complete a session, repeatedly."""
    del number
    session = await attacker.open()
    if session is not None:
        await attacker.http.put(session["url"], content=PDF, headers=session["headers"])
        attacker.sent += len(PDF)
        attacker.sessions.append(session["id"])
    for session_id in attacker.sessions[-1:] * 2:
        await attacker.send("POST", f"{attacker.path}/uploads/{session_id}/complete")


async def save_batch(attacker: Attacker, number: int) -> None:
    """Change one value; every second request changes nothing."""
    values = {"f0": str(number // 2)}
    items = [{"key": attacker.key, "files": [], "field_values": values}]
    parts = [("batch", (None, json.dumps({"items": items})))]
    await attacker.send("POST", "/v1/customer/document-batches", files=parts)


async def add_file(attacker: Attacker, number: int) -> None:
    del number
    await attacker.send("POST", f"{attacker.path}/files", **upload_of(PDF))


async def remove_file(attacker: Attacker, number: int) -> None:
    await add_file(attacker, number)
    await attacker.send("DELETE", f"{attacker.path}/files/1")


async def download(attacker: Attacker, number: int) -> None:
    del number
    await attacker.send("GET", f"{attacker.path}/content")


async def preview(attacker: Attacker, number: int) -> None:
    del number
    await attacker.send("GET", f"{attacker.path}/preview")


async def create_content_url(attacker: Attacker, number: int) -> None:
    del number
    await attacker.send("POST", f"{attacker.path}/content-urls", json={"purpose": "inline"})


OPERATIONS: dict[str, Operation] = {
    "customer_upload_document": upload,
    "customer_update_document": update,
    "customer_delete_document": delete,
    "customer_add_file": add_file,
    "customer_remove_file": remove_file,
    "customer_create_upload": create_session,
    "customer_delete_upload": give_up,
    "customer_complete_upload": complete,
    "customer_save_document_batch": save_batch,
    "customer_create_content_url": create_content_url,
    "customer_read_content": download,
    "customer_read_preview": preview,
}
# The type of the requests, and whether each has a fresh idempotency key.
WAYS = {
    "plain": ("contract", False),
    "with a key": ("contract", True),
    "refused": ("report", False),
}


def test_every_persisting_operation_is_tested() -> None:
    contract = json.loads(CONTRACT.read_text())
    writing = {
        operation["operationId"]
        for methods in contract["paths"].values()
        for method, operation in methods.items()
        if method != "get"
    }
    assert OPERATIONS.keys() == writing | RECORDED_READS


def kept(database_url: str) -> int:
    """Return the size in bytes of all rows of all tables, with large values as stored."""
    query = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with psycopg.connect(database_url) as connection:
        total = 0
        for (table,) in connection.execute(query).fetchall():
            size = sql.SQL("SELECT coalesce(sum(pg_column_size(t.*)), 0) FROM {} AS t")
            row = connection.execute(size.format(sql.Identifier(table))).fetchone()
            total += row[0] if row else 0
        return total


def fill(database_url: str, chance: Random) -> None:
    """Fill the only document with incompressible values."""
    values = {
        f"f{number}": "".join(chr(chance.randrange(0x20000, 0x2A000)) for _ in range(2000))
        for number in range(FIELDS)
    }
    with psycopg.connect(database_url) as connection:
        for table in ("documents", "document_versions"):
            statement = sql.SQL("UPDATE {} SET field_values = %s").format(sql.Identifier(table))
            connection.execute(statement, [Jsonb(values)])


@pytest.fixture
async def customer(
    admin: httpx.AsyncClient, customer_of: CustomerClients, database_url: str
) -> httpx.AsyncClient:
    """A customer with one full document, and a type whose changes are rejected."""
    labels = ",".join(f"F{number}" for number in range(FIELDS))
    await make_type(admin, "Contract", collects_fields=True, field_labels=labels)
    await make_type(admin, "Report", upload_mode="admin_only")
    await patch_portal(admin, customer_may_delete=True)
    await make_customer(admin, "c-1")
    client = customer_of("c-1")
    assert (await client.put("/v1/customer/documents/contract", **upload_of(PDF))).is_success
    fill(database_url, Random(1))
    return client


@pytest.mark.req("B-038")
@pytest.mark.guarantee(
    "T64",
    promise="The database space used by one customer's requests is bounded.",
    tried="A customer with a document full of incompressible values repeats each operation of the "
    "contract that stores anything, with as small a request as possible: without an idempotency "
    "key, with a fresh one each time, and on a document that rejects the change. No rate is "
    "limited. The rows of all tables are summed up before and after and compared with the bytes "
    "sent, including headers.",
    not_shown="Dead rows that PostgreSQL has not removed yet, and indexes.",
)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_data_left_by_requests_is_bounded(
    name: str,
    customer: httpx.AsyncClient,
    http: httpx.AsyncClient,
    database_url: str,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    rounds = size.of(ci=8, full=200)
    for way, (key, with_keys) in WAYS.items():
        attacker = Attacker(customer, http, key, with_keys)
        before = kept(database_url)
        for number in range(rounds):
            await OPERATIONS[name](attacker, number)
        grown = kept(database_url) - before
        figures[f"requests, {way}"] = attacker.requests
        figures[f"bytes sent, {way}"] = attacker.sent
        figures[f"bytes stored, {way}"] = grown
        figures[f"bytes stored per byte sent, {way}"] = round(grown / attacker.sent, 1)
        assert grown <= QUOTA + OVERSHOOT + ROWS * attacker.requests
        if way == "refused":
            assert grown <= ROWS * attacker.requests
