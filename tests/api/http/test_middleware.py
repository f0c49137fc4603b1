"""The access log, and requests during shutdown."""

import asyncio
import dataclasses
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.db.engine import Database
from docvault.observability.logs import JsonFormatter
from docvault.services.resources import Resources


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The access log in the format of the process."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    access = logging.getLogger("docvault.access")
    before = access.level
    access.addHandler(handler)
    access.setLevel("INFO")
    yield stream
    access.removeHandler(handler)
    access.setLevel(before)


def last(lines: io.StringIO) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(lines.getvalue().splitlines()[-1])
    return line


class TestAccessLog:
    """RequestMiddleware."""

    async def test_caller_kind_is_logged(
        self,
        lines: io.StringIO,
        http: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        customer_of: CustomerClients,
    ) -> None:
        await make_customer(admin, "c-1")
        kinds = []
        for client, path in (
            (admin, "/v1/admin/document-types"),
            (customer_of("c-1"), "/v1/customer/gate"),
            (integration, "/v1/integration/document-types"),
            (http, "/openapi.json"),
        ):
            assert (await client.get(path)).status_code == 200
            kinds.append(last(lines)["caller"])
        assert kinds == ["admin", "customer", "integration", "none"]

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/v1/admin/document-types", "authentication-required"),
            ("/v1/nothing", "not-found"),
        ],
    )
    async def test_problem_code_is_logged(
        self, lines: io.StringIO, http: httpx.AsyncClient, path: str, code: str
    ) -> None:
        await http.get(path)
        assert (last(lines)["problem"], last(lines)["caller"]) == (code, "none")

    async def test_validation_error_is_logged_as_problem(
        self, lines: io.StringIO, admin: httpx.AsyncClient
    ) -> None:
        await admin.get("/v1/admin/document-types?limit=0")
        assert (last(lines)["problem"], last(lines)["caller"]) == ("validation-error", "admin")

    async def test_unhandled_exception_is_logged_as_problem(
        self, lines: io.StringIO, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("docvault.services.document_types.list_document_types", broken)
        await admin.get("/v1/admin/document-types")
        assert (last(lines)["status"], last(lines)["problem"]) == (500, "internal-error")

    async def test_success_is_logged_without_problem(
        self, lines: io.StringIO, admin: httpx.AsyncClient
    ) -> None:
        await admin.get("/v1/admin/document-types")
        assert last(lines)["problem"] is None

    async def test_request_and_response_bytes_are_counted(
        self, lines: io.StringIO, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Contract")
        await make_customer(admin, "c-1")
        path = "/v1/admin/customers/c-1/documents/contract"
        response = await admin.put(path, **upload_of(files.png(), "a.png"))
        line = last(lines)
        assert line["bytes_in"] == int(response.request.headers["content-length"])
        assert line["bytes_out"] == len(response.content)
        content = await admin.get(f"{path}/content")
        assert last(lines)["bytes_out"] == len(content.content)

    async def test_unread_body_is_not_counted(
        self, app: FastAPI, lines: io.StringIO, http: httpx.AsyncClient
    ) -> None:
        del app
        await http.post("/v1/admin/document-types", json={"name": "x" * 100})
        assert last(lines)["bytes_in"] == 0

    async def test_head_response_counts_no_bytes(
        self, lines: io.StringIO, http: httpx.AsyncClient
    ) -> None:
        await http.head("/openapi.json")
        line = last(lines)
        assert (line["method"], line["bytes_out"]) == ("HEAD", 0)

    @pytest.mark.req("B-227")
    async def test_successful_health_checks_are_not_logged(
        self, lines: io.StringIO, http: httpx.AsyncClient
    ) -> None:
        for path in ("/livez", "/readyz"):
            assert (await http.get(path)).status_code == 200
        assert lines.getvalue() == ""

    @pytest.mark.req("B-227")
    async def test_failed_health_check_is_logged_with_its_cause(
        self, app: FastAPI, resources: Resources, lines: io.StringIO, http: httpx.AsyncClient
    ) -> None:
        database = Database("postgresql://nobody@127.0.0.1:9/none")
        app.state.resources = dataclasses.replace(resources, database=database)
        assert (await http.get("/readyz")).status_code == 503
        await database.close()
        line = last(lines)
        assert (line["operation"], line["status"]) == ("read_readiness", 503)
        assert line["cause"] == "nothing listens at its address"


class TestShutdown:
    """A process that is stopping."""

    async def test_responses_close_connection(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        assert "connection" not in (await http.get("/livez")).headers
        app.state.stopping = True
        try:
            assert (await http.get("/livez")).headers["connection"] == "close"
            assert (await http.get("/readyz")).status_code == 503
        finally:
            app.state.stopping = False

    async def test_cancelled_request_is_503_not_500(
        self, app: FastAPI, admin: httpx.AsyncClient, bare_scope: Scope
    ) -> None:
        """Uvicorn cancels requests after the grace period; the event loop cancels the rest."""
        waits, messages = asyncio.Event(), list[Message]()

        async def receive() -> Message:
            waits.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            messages.append(message)

        await make_customer(admin, "c-1")
        await make_type(admin, "Contract")
        task = asyncio.create_task(app(bare_scope, receive, send))
        await asyncio.wait_for(waits.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [message["type"] for message in messages] == [START, BODY]
        assert messages[0]["status"] == 503
        assert b"retry-after" in dict(messages[0]["headers"])


START, BODY = "http.response.start", "http.response.body"


@pytest.fixture
def bare_scope(admin: httpx.AsyncClient) -> Scope:
    """The scope of an upload by staff whose body never arrives."""
    path = "/v1/admin/customers/c-1/documents/contract"
    headers = {
        "authorization": admin.headers["authorization"],
        "content-type": "multipart/form-data; boundary=b",
        "content-length": "1000",
    }
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("docvault.test", 80),
    }


@pytest.mark.parametrize("path", ["/v1%2Fadmin/customers", "/v1/admin%2fcustomers", "/docs%2f"])
async def test_encoded_slash_does_not_match_route(admin: httpx.AsyncClient, path: str) -> None:
    response = await admin.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")
