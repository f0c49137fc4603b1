"""The responses when an inspector fails, for every way to upload a file."""

import asyncio
import dataclasses
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.api.stored_state import stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.upload_sessions import send_bytes
from tests.fixtures.callers import CustomerClients, KeyClients
from tests.inspection.test_pool import ODD_CHILD, children

from docvault.domain.scopes import Scope
from docvault.inspection import child
from docvault.inspection.pool import Inspectors
from docvault.services.resources import Resources

PATH = "/v1/customer/documents/contract"
TEXT = files.text()
Send = Callable[[str], Coroutine[None, None, httpx.Response]]

pytestmark = pytest.mark.usefixtures("service")


@pytest.fixture
def program() -> Path:
    """An inspector that misbehaves as the file name says."""
    return ODD_CHILD


@pytest.fixture
async def service(
    app: FastAPI, resources: Resources, admin: httpx.AsyncClient, program: Path
) -> AsyncIterator[None]:
    """The service with these inspectors, a type and a customer."""
    inspectors = Inspectors(program)
    app.state.resources = dataclasses.replace(resources, inspectors=inspectors)
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    yield
    await inspectors.close()


@pytest.fixture
def ways(
    http: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    customer_of: CustomerClients,
    key_client: KeyClients,
) -> dict[str, Send]:
    """The ways to upload a file, each as a function of the file name."""
    customer = customer_of("c-1")

    async def by_customer(name: str) -> httpx.Response:
        return await customer.put(PATH, **upload_of(TEXT, name))

    async def by_staff(name: str) -> httpx.Response:
        return await admin.put(
            "/v1/admin/customers/c-1/documents/contract", **upload_of(TEXT, name)
        )

    async def by_third_party(name: str) -> httpx.Response:
        key = await key_client(Scope.DOCUMENTS_WRITE)
        return await key.put(
            "/v1/integration/customers/c-1/documents/contract", **upload_of(TEXT, name)
        )

    async def in_a_batch(name: str) -> httpx.Response:
        items = [{"key": "contract", "files": [0], "field_values": {}}]
        parts: Any = [("batch", (None, json.dumps({"items": items}))), ("files", (name, TEXT))]
        return await customer.post("/v1/customer/document-batches", files=parts)

    async def by_session(name: str) -> httpx.Response:
        declared = {
            "filename": name,
            "size_bytes": len(TEXT),
            "sha256": hashlib.sha256(TEXT).hexdigest(),
        }
        session = (await customer.post(f"{PATH}/uploads", json=declared)).json()
        await send_bytes(http, session, TEXT)
        return await customer.post(f"{PATH}/uploads/{session['id']}/complete")

    return {
        "customer": by_customer,
        "staff": by_staff,
        "third party": by_third_party,
        "batch": in_a_batch,
        "session": by_session,
    }


WAYS = ["customer", "staff", "third party", "batch", "session"]


def problem(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    if response.status_code == 207:
        body = body["items"][0]["problem"]
    return body["status"], body["code"], body["detail"]


@pytest.mark.req("B-001")
@pytest.mark.parametrize("way", WAYS)
async def test_file_crashing_its_inspector_is_rejected_and_next_is_stored(
    ways: dict[str, Send], resources: Resources, way: str
) -> None:
    before = await stored_state(resources)
    rejected = await ways[way]("exit.txt")
    assert problem(rejected) == (422, "corrupt-file", "The file cannot be inspected.")
    if way != "session":
        assert await stored_state(resources) == before
    stored = await ways[way]("good.txt")
    assert stored.status_code in {200, 201, 207}, stored.text
    assert '"problem":{' not in stored.text


@pytest.mark.req("B-001")
async def test_file_using_too_much_memory_is_rejected(ways: dict[str, Send]) -> None:
    rejected = await ways["customer"]("memory.txt")
    assert problem(rejected) == (422, "corrupt-file", "The file is too complex to inspect.")


@pytest.mark.req("B-002")
async def test_killed_inspector_returns_503_and_is_replaced(ways: dict[str, Send]) -> None:
    assert (await ways["customer"]("good.txt")).status_code == 201
    upload = asyncio.create_task(ways["customer"]("sleep.txt"))
    await asyncio.sleep(0.5)
    (child,) = children()
    child.kill()
    response = await upload
    assert problem(response) == (503, "service-unavailable", "File inspection is unavailable.")
    assert response.headers["retry-after"] == "5"
    assert (await ways["customer"]("good.txt")).status_code == 200


class TestWithTheInspector:
    """The real inspector with its real limits."""

    @pytest.fixture
    def program(self) -> Path:
        return Path(child.__file__)

    @pytest.mark.req("B-001", "B-003")
    async def test_worst_known_file_is_rejected_and_delays_no_other_request(
        self, http: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        # 15 MB of nested arrays: 8 s and 1.1 GiB in qpdf, before any of it can be counted.
        trailer = b"trailer<</Size 6/A[" + (b"[" * 95 + b"]" * 95) * 79_000 + b"]"
        worst = files.pdf().replace(b"trailer<</Size 6", trailer)
        customer = customer_of("c-1")
        upload = asyncio.create_task(customer.put(PATH, **upload_of(worst, "a.pdf")))
        longest = 0.0
        while not upload.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            assert (await http.get("/livez")).status_code == 200
            longest = max(longest, time.monotonic() - began)
        assert problem(await upload) == (
            422,
            "corrupt-file",
            "The file is too complex to inspect.",
        )
        assert longest < 1
        assert (await customer.put(PATH, **upload_of(files.pdf()))).status_code == 201


class TestWithoutInspectors:
    """The inspector program is missing."""

    @pytest.fixture
    def program(self, tmp_path: Path) -> Path:
        return tmp_path / "missing.py"

    @pytest.mark.req("B-002")
    @pytest.mark.parametrize("way", WAYS)
    async def test_uploads_return_503(
        self, ways: dict[str, Send], way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        response = await ways[way]("good.txt")
        assert problem(response) == (503, "service-unavailable", "File inspection is unavailable.")
        assert "no inspector can be started" in caplog.text
