"""No data of a caller is ever logged, whatever goes wrong."""

import hashlib
import io
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.webhooks import deliver, execute, make_due, make_webhook
from tests.fixtures.callers import CustomerClients, with_headers

from docvault.auth.local_tokens import LocalIssuer
from docvault.errors import StorageUnavailable
from docvault.jobs.tasks import queue_app
from docvault.observability.logs import configure_logging
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/canary-id/documents/canary-type"
FORGED = 'canary\n{"level":"error","message":"forged"}\r\n\x85\u2028forged'


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """All log lines of the process, at the most verbose level."""
    root, ours = logging.getLogger(), logging.getLogger("docvault")
    before = root.handlers, root.level, ours.level
    configure_logging("debug")
    stream = io.StringIO()
    root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    yield stream
    root.handlers, level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture
async def known(admin: httpx.AsyncClient) -> None:
    """A type and a customer whose values all contain a marker."""
    await make_type(
        admin,
        "Canary type",
        upload_mode="required",
        collects_fields=True,
        field_labels="Canary-label",
    )
    await make_customer(
        admin, "canary-id", name="Canary-name", email="canary@example.com", tags=["canary-tag"]
    )


def upload(name: str = "canary.pdf", body: bytes | None = None, **fields: str) -> dict[str, Any]:
    values = json.dumps({"canary-label": "canary-value"})
    return upload_of(
        body or files.pdf("canary bytes", pages=2), name, field_values=values, **fields
    )


async def broken(*_: object, **__: object) -> None:
    raise RuntimeError("canary", FORGED)


async def without_store(*_: object, **__: object) -> None:
    raise StorageUnavailable("canary")


async def good_requests(admin: httpx.AsyncClient, customer: httpx.AsyncClient) -> None:
    path = "/v1/customer/documents/canary-type"
    key = {"Idempotency-Key": "canary-key", "X-Canary": "canary", "User-Agent": "canary"}
    sent: dict[str, Any] = {"name": "canary.pdf"}
    assert (await customer.put(path, **upload(**sent), headers=key)).status_code == 201
    assert (await customer.put(path, **upload(**sent), headers=key)).status_code == 201
    for query in ("canary", "canary@example.com"):
        await admin.get("/v1/admin/customers", params={"q": query})
    await admin.get("/v1/admin/customers", params={"tag": "canary-tag"})
    await admin.get("/v1/admin/documents", params={"customer": "canary-id"})
    for end in ("", "/content", "/versions", "/preview?size=small", "/preview?page=2"):
        await admin.get(PATH + end, headers={"Range": "bytes=0-3", "If-None-Match": '"canary"'})
    await admin.get("/v1/admin/audit-events?customer=canary-id")


async def bad_requests(http: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    path = "/v1/customer/documents/canary-type"
    await client.put(path, **upload("canary.exe", files.executable()))
    await client.put(path, **upload("canary/../\n.pdf", b"%PDF-canary"))
    await client.put(path, **upload(canary_part="canary"))
    await client.put(path, content=b"canary", headers={"Content-Type": "multipart/form-data"})
    await client.get("/v1/customer/documents/canary-unknown")
    await client.get("/v1/customer/gate", params={"canary": FORGED})
    await client.get("/v1/admin/customers/canary-id")
    await http.get("/v1/canary/%0a%7b%22level%22%3a%22error%22%7d%0d%0a%E2%80%A8")
    await http.request("CANARY", "/canary?canary=canary")


async def bad_json(admin: httpx.AsyncClient) -> None:
    path = "/v1/admin/document-types"
    for body in (b'{"canary"', b'{"canary": "canary"}', b'{"name": ["canary"]}', FORGED.encode()):
        await admin.post(path, content=body, headers={"Content-Type": "application/json"})
    await admin.post(path, json={"name": FORGED})
    await admin.post(path, content=b"canary", headers={"Content-Type": "text/canary"})
    await admin.get(path, params={"cursor": "canary", "limit": "canary"})


async def bad_credentials(http: httpx.AsyncClient, token: str, key: str) -> None:
    for headers in (
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": "Bearer canary.canary.canary"},
        {"Authorization": "Basic canary"},
        {"X-API-Key": key[:-1] + "x"},
        {"X-API-Key": "dv_live_canary"},
    ):
        for path in ("/v1/customer/gate", "/v1/integration/document-types"):
            await http.get(path, headers=headers)


async def test_log_is_json_without_caller_data(
    lines: io.StringIO,
    known: None,
    http: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    customer_of: CustomerClients,
    issuer: LocalIssuer,
    resources: Resources,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del known
    made = await admin.post(
        "/v1/admin/api-keys", json={"name": "canary-key", "scopes": ["types:read"]}
    )
    key, token = made.json()["key"], issuer.customer_token("canary-id")
    customer = customer_of("canary-id")
    await good_requests(admin, customer)
    await bad_requests(http, customer)
    await bad_json(admin)
    await bad_credentials(http, token, key)
    await with_headers(http, {"X-API-Key": key}).get("/v1/integration/document-types")

    with monkeypatch.context() as patch:
        patch.setattr(resources.store, "put", without_store)
        patch.setattr(resources.store, "open", broken)
        patch.setattr("docvault.services.document_types.list_document_types", broken)
        await customer.put("/v1/customer/documents/canary-type", **upload("canary.pdf"))
        await admin.get(f"{PATH}/content")
        await admin.get("/v1/admin/document-types")
    webhook = await failing_webhook(admin, resources)
    signed = await signed_uploads(http, customer, resources, monkeypatch)
    await with_failing_jobs(admin, resources, database_url, monkeypatch)

    text = lines.getvalue()
    # The count by newlines alone equals the count by all line breaks of Unicode.
    parsed = [json.loads(line) for line in text.splitlines()]
    assert len(parsed) == text.count("\n") >= 45
    assert {line["logger"] for line in parsed} >= {"docvault.access", "docvault.jobs.tasks"}
    assert {line.get("problem") for line in parsed} >= {
        "internal-error",
        "storage-unavailable",
        "invalid-token",
        "invalid-api-key",
        "unsupported-media-type",
        "malformed-request",
        "validation-error",
    }
    assert not any("forged" in str(line) for line in parsed)
    assert "canary" not in text.lower()
    assert key.split("_", 2)[2] not in text
    assert all(part not in text for part in token.split("."))
    assert all(secret not in text for secret in signed)
    assert webhook not in text


async def failing_webhook(admin: httpx.AsyncClient, resources: Resources) -> str:
    """Let attempts fail in each way that is logged; return the secret."""
    created = await make_webhook(admin, name="canary", url="https://canary.test/canary?canary")
    await admin.post("/v1/admin/webhooks", json={"name": "canary", "url": "canary"})
    # Refused at each attempt, so that nothing is sent.
    await execute(resources, "UPDATE webhooks SET url = 'http://canary.test/canary'")
    await deliver(resources)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources.webhook_sender, "post", broken)
        await make_due(resources)
        await deliver(resources)
    await execute(resources, "UPDATE webhooks SET sealed_secret = 'canary'")
    await make_due(resources)
    await deliver(resources)
    await admin.delete(f"/v1/admin/webhooks/{created['id']}")
    secret: str = created["secret"]
    return secret


async def signed_uploads(
    http: httpx.AsyncClient,
    customer: httpx.AsyncClient,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Use signed URLs in valid and invalid ways; return their signatures."""
    body, document = files.pdf("canary bytes"), "/v1/customer/documents/canary-type/uploads"
    declared = {
        "filename": "canary.pdf",
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "field_values": {"canary-label": "canary-value"},
    }
    secrets = []
    for sent in (body, b"canary", body + b"canary"):
        session = (await customer.post(document, json=declared)).json()
        secrets.append(secret_of(session["url"]))
        async with httpx.AsyncClient() as outside:
            client = http if session["url"].startswith(str(http.base_url)) else outside
            headers = session["headers"] | {"Content-Length": str(len(sent))}
            await client.put(session["url"], content=sent, headers=headers)
            await client.get(session["url"])
        await customer.post(f"{document}/{session['id']}/complete")
        await customer.get(f"{document}/{session['url'][-20:]}")
        with monkeypatch.context() as patch:
            patch.setattr("docvault.api.direct_uploads.expected_bytes", broken)
            patch.setattr(resources.store, "open", broken)
            await http.put(session["url"], content=sent)
            await customer.post(f"{document}/{session['id']}/complete")
    return secrets


def secret_of(url: str) -> str:
    """Return the signature of a URL of docvault or S3."""
    query = parse_qs(urlsplit(url).query)
    return query["X-Amz-Signature"][0] if query else url[-64:]


async def with_failing_jobs(
    admin: httpx.AsyncClient,
    resources: Resources,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources.store, "delete", broken)
    assert (await admin.delete("/v1/admin/customers/canary-id")).status_code == 202
    async with queue_app(database_url, resources).open_async() as app:
        await app.run_worker_async(
            wait=False, delete_jobs="always", install_signal_handlers=False, listen_notify=False
        )


async def test_library_message_quoting_caller_is_truncated(lines: io.StringIO) -> None:
    """The message of asyncio for a task that was never awaited."""
    import asyncio
    import gc

    async def forgotten() -> None:
        raise ValueError("canary", FORGED)

    make: Callable[[], Awaitable[None]] = forgotten
    task = asyncio.ensure_future(make())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    parsed = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["error"] for line in parsed] == ["ValueError"]
    assert "canary" not in lines.getvalue()
