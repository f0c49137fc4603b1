"""Logs: one JSON object a line, and only fields that are known to be harmless."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.auth.keyring import Keyring
from docvault.auth.local_tokens import LocalIssuer
from docvault.logs import ALLOWED_FIELDS, JsonFormatter, configure_logging
from docvault.settings import SettingsError


def record(
    message: str = "event", *args: object, name: str = "docvault.test", **extra: Any
) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "file.py", 1, message, args, None)
    for key, value in extra.items():
        setattr(made, key, value)
    return made


def formatted(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def raised(error: Exception) -> Any:
    """What `sys.exc_info` says where this error is handled."""
    with pytest.raises(type(error)) as caught:
        throw(error)
    return caught._excinfo


def throw(error: Exception) -> None:
    raise error


def test_a_library_that_cannot_reach_the_database_is_heard_without_its_words() -> None:
    error = psycopg.OperationalError("connection to canary failed: Connection refused")
    line = formatted(record("error connecting in %r: %s", "canary", error, name="psycopg.pool"))
    assert line["message"] == "error connecting in …: …"
    assert line["cause"] == "nothing listens at its address"
    assert "canary" not in str(line)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the process writes to its log, as it is configured for serving."""
    root, ours = logging.getLogger(), logging.getLogger("docvault")
    before = root.handlers, root.level, ours.level
    configure_logging("info")
    stream = io.StringIO()
    root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    yield stream
    root.handlers, level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestJsonFormatter:
    """JsonFormatter."""

    def test_a_line_says_when_how_bad_where_and_what(self) -> None:
        line = formatted(record("disk %s", "full"))
        assert line["message"] == "disk full"
        assert (line["level"], line["logger"]) == ("warning", "docvault.test")
        assert line["time"].endswith("+00:00")

    def test_allowed_fields_are_shown(self) -> None:
        line = formatted(record(status=200, route="/v1/x", caller="admin"))
        assert (line["status"], line["route"], line["caller"]) == (200, "/v1/x", "admin")

    @pytest.mark.parametrize(
        "name",
        ["token", "authorization", "body", "query", "filename", "customer", "email", "path", "url"],
    )
    def test_other_fields_are_not(self, name: str) -> None:
        assert name not in ALLOWED_FIELDS
        assert "canary" not in json.dumps(formatted(record(**{f"{name}_": "canary"})))
        line = formatted(
            record(**({name: "canary"} if name != "filename" else {"files": "canary"}))
        )
        assert "canary" not in json.dumps(line)

    def test_the_message_of_an_exception_is_left_out(self) -> None:
        made = record()
        made.exc_info = raised(ValueError("canary@example.com"))
        line = formatted(made)
        assert line["error"] == "ValueError"
        assert line["frames"][-1].endswith(" throw")
        assert "canary" not in json.dumps(line)

    def test_the_causes_of_an_exception_are_left_out(self) -> None:
        error = ValueError("canary")
        error.__cause__ = KeyError("canary")
        error.add_note("canary")
        made = record()
        made.exc_info = raised(error)
        assert "canary" not in json.dumps(formatted(made))

    def test_frames_name_no_folder_of_the_machine(self) -> None:
        with pytest.raises(SettingsError, match="32 bytes") as caught:
            Keyring(b"short")
        made = record()
        made.exc_info = caught._excinfo
        frames = formatted(made)["frames"]
        assert any(frame.startswith("docvault/") for frame in frames)
        assert not any("site-packages" in frame for frame in frames)

    @pytest.mark.parametrize(
        ("message", "shown"),
        [
            ("error connecting in %r: %s", "error connecting in …: …"),
            ("%(what)-10s took %5.2f s, 100%%", "… took … s, 100%"),
        ],
    )
    def test_arguments_of_libraries_are_left_out(self, message: str, shown: str) -> None:
        made = record(message, "canary", 1.0, name="psycopg.pool")
        assert formatted(made)["message"] == shown

    def test_a_percent_sign_of_a_library_without_arguments_stays(self) -> None:
        made = record("90% done", name="psycopg.pool")
        assert formatted(made)["message"] == "90% done"

    def test_further_lines_of_libraries_are_left_out(self) -> None:
        # asyncio adds the task and the exception, with its message, to the text itself.
        text = "Task exception was never retrieved\nfuture: <Task exception=ValueError('canary')>"
        line = formatted(record(text, name="asyncio"))
        assert line["message"] == "Task exception was never retrieved"

    @given(st.text())
    def test_no_text_makes_a_second_line(self, text: str) -> None:
        line = JsonFormatter().format(record("%s", text, route=text))
        assert len(line.splitlines()) == 1
        assert json.loads(line)["message"] == text

    def test_what_is_no_json_is_shown_as_text(self) -> None:
        assert formatted(record(job={1, 2}.__class__))["job"] == "<class 'set'>"


class TestConfigureLogging:
    """configure_logging()."""

    def test_libraries_speak_from_warning_on(self, lines: io.StringIO) -> None:
        logging.getLogger("httpx").info("chatty")
        logging.getLogger("httpx").warning("trouble")
        logging.getLogger("docvault.x").info("ours")
        assert [line["message"] for line in parsed(lines)] == ["trouble", "ours"]

    def test_the_level_is_ours_alone(self, lines: io.StringIO) -> None:
        logging.getLogger("docvault").setLevel("ERROR")
        logging.getLogger("docvault.x").warning("quiet")
        assert parsed(lines) == []


class TestRequests:
    """What requests leave in the log."""

    async def test_each_request_is_one_line(
        self, lines: io.StringIO, admin: httpx.AsyncClient
    ) -> None:
        answer = await admin.get("/v1/admin/document-types?limit=1")
        (line,) = [line for line in parsed(lines) if line["logger"] == "docvault.access"]
        assert line["request_id"] == answer.headers["x-request-id"]
        assert (line["method"], line["status"]) == ("GET", 200)
        assert line["route"] == "/v1/admin/document-types"
        assert line["operation"] == "admin_list_document_types"
        assert line["duration_ms"] >= 0

    @pytest.mark.req("R-102")
    async def test_nothing_personal_and_no_secret_is_logged(
        self,
        lines: io.StringIO,
        http: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        customer_of: CustomerClients,
        issuer: LocalIssuer,
    ) -> None:
        await make_type(admin, "Contract", collects_fields=True, field_labels="Canary-label")
        await make_customer(admin, "canary-id", name="Canary-name", email="canary@example.com")
        customer = customer_of("canary-id")
        path = "/v1/customer/documents/contract"
        values = json.dumps({"canary-label": "canary-value"})
        await customer.put(path, **upload_of(filename="canary.pdf", field_values=values))
        await customer.put(path, **upload_of(files.executable(), "canary.exe"))
        await admin.get("/v1/admin/customers", params={"q": "canary"})
        await admin.get("/v1/admin/customers/canary-id/documents/contract/content")
        made = await admin.post(
            "/v1/admin/api-keys", json={"name": "canary", "scopes": ["gate:read"]}
        )
        key, token = made.json()["key"], issuer.customer_token("canary-id")
        await http.get("/v1/integration/document-types", headers={"X-API-Key": key})
        await http.get("/v1/customer/gate", headers={"Authorization": f"Bearer {token}x"})
        await http.post("/v1/canary", content=b"canary", headers={"Idempotency-Key": "canary"})
        await admin.delete("/v1/admin/customers/canary-id")
        text = lines.getvalue()
        assert len(parsed(lines)) >= 10
        assert "canary" not in text.lower()
        assert key[17:] not in text
        assert token.rsplit(".", 1)[1] not in text

    async def test_a_bug_is_logged_with_its_frames_and_without_its_message(
        self,
        app: FastAPI,
        lines: io.StringIO,
        admin: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("canary")

        del app
        monkeypatch.setattr("docvault.services.document_types.list_document_types", broken)
        answer = await admin.get("/v1/admin/document-types")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
        assert answer.headers["content-type"] == "application/problem+json"
        (line,) = [line for line in parsed(lines) if line["message"] == "unexpected error"]
        assert line["request_id"] == answer.headers["x-request-id"]
        assert line["error"] == "RuntimeError"
        assert "canary" not in lines.getvalue() + answer.text

    async def test_a_forged_line_in_a_header_stays_inside_its_own(
        self, lines: io.StringIO, http: httpx.AsyncClient
    ) -> None:
        await http.get("/v1/%0a%7b%22level%22%3a%22error%22%7d")
        assert [line["level"] for line in parsed(lines)] == ["info"]
