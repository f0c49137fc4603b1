"""Logs: one JSON object per line, and only allow-listed fields."""

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
from docvault.observability.logs import (
    ACCESS_LOGGER,
    ALLOWED_FIELDS,
    JsonFormatter,
    TerminalFormatter,
    configure_logging,
)
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
    """Return `sys.exc_info()` of this error."""
    with pytest.raises(type(error)) as caught:
        throw(error)
    return caught._excinfo


def throw(error: Exception) -> None:
    raise error


def test_library_database_failure_is_logged_without_message() -> None:
    error = psycopg.OperationalError("connection to canary failed: Connection refused")
    line = formatted(record("error connecting in %r: %s", "canary", error, name="psycopg.pool"))
    assert line["message"] == "error connecting in …: …"
    assert line["cause"] == "nothing listens at its address"
    assert "canary" not in str(line)


def test_request_at_terminal_is_one_readable_line() -> None:
    made = record(
        "request", name=ACCESS_LOGGER, method="GET", route="/v1/x/{id}", status=200,
        duration_ms=4.2, caller="admin", problem=None, token="secret",
    )  # fmt: skip
    made.levelname = "INFO"
    line = TerminalFormatter().format(made)
    assert line[2] == line[5] == ":"
    assert line[8:] == " info     GET /v1/x/{id} 200 duration_ms=4.2 caller=admin"


def test_failure_at_terminal_shows_where_it_was_raised_without_message() -> None:
    made = record("canary %s", "canary-2", name="library")
    made.exc_info = raised(ValueError("canary-3"))
    first, *others = TerminalFormatter().format(made).split("\n")
    assert first.endswith(" warning  library: canary … error=ValueError")
    assert others
    assert all(one.startswith("    ") for one in others)


def test_terminal_gets_no_control_characters() -> None:
    line = TerminalFormatter().format(record("a\x1b[2J\nb", malware="\x9b\u202e"))
    assert line.endswith(r" warning  docvault.test: a\x1b[2J\x0ab malware=\x9b\x202e")


def test_logs_are_json_except_at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before = root.handlers, root.level, logging.getLogger("docvault").level
    for is_terminal, formatter in ((True, TerminalFormatter), (False, JsonFormatter)):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=is_terminal: answer)
        configure_logging("info")
        assert type(root.handlers[0].formatter) is formatter
    root.handlers, level, our_level = before
    root.setLevel(level)
    logging.getLogger("docvault").setLevel(our_level)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log output of the process, configured as for serving."""
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

    def test_line_has_time_level_logger_and_message(self) -> None:
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
    def test_other_fields_are_hidden(self, name: str) -> None:
        assert name not in ALLOWED_FIELDS
        assert "canary" not in json.dumps(formatted(record(**{f"{name}_": "canary"})))
        line = formatted(
            record(**({name: "canary"} if name != "filename" else {"files": "canary"}))
        )
        assert "canary" not in json.dumps(line)

    def test_exception_message_is_hidden(self) -> None:
        made = record()
        made.exc_info = raised(ValueError("canary@example.com"))
        line = formatted(made)
        assert line["error"] == "ValueError"
        assert line["frames"][-1].endswith(" throw")
        assert "canary" not in json.dumps(line)

    def test_exception_causes_are_hidden(self) -> None:
        error = ValueError("canary")
        error.__cause__ = KeyError("canary")
        error.add_note("canary")
        made = record()
        made.exc_info = raised(error)
        assert "canary" not in json.dumps(formatted(made))

    def test_frames_contain_no_local_path(self) -> None:
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
    def test_library_arguments_are_hidden(self, message: str, shown: str) -> None:
        made = record(message, "canary", 1.0, name="psycopg.pool")
        assert formatted(made)["message"] == shown

    def test_percent_sign_of_library_message_is_kept(self) -> None:
        made = record("90% done", name="psycopg.pool")
        assert formatted(made)["message"] == "90% done"

    def test_additional_library_lines_are_hidden(self) -> None:
        # asyncio itself appends the task and the exception, with its message, to the text.
        text = "Task exception was never retrieved\nfuture: <Task exception=ValueError('canary')>"
        line = formatted(record(text, name="asyncio"))
        assert line["message"] == "Task exception was never retrieved"

    @given(st.text())
    def test_message_stays_on_one_line(self, text: str) -> None:
        line = JsonFormatter().format(record("%s", text, route=text))
        assert len(line.splitlines()) == 1
        assert json.loads(line)["message"] == text

    def test_non_json_value_is_logged_as_text(self) -> None:
        assert formatted(record(job={1, 2}.__class__))["job"] == "<class 'set'>"


class TestConfigureLogging:
    """configure_logging()."""

    def test_libraries_log_from_warning(self, lines: io.StringIO) -> None:
        logging.getLogger("httpx").info("chatty")
        logging.getLogger("httpx").warning("trouble")
        logging.getLogger("docvault.x").info("ours")
        assert [line["message"] for line in parsed(lines)] == ["trouble", "ours"]

    def test_level_applies_only_to_docvault(self, lines: io.StringIO) -> None:
        logging.getLogger("docvault").setLevel("ERROR")
        logging.getLogger("docvault.x").warning("quiet")
        assert parsed(lines) == []


class TestRequests:
    """The log lines of requests."""

    async def test_each_request_logs_one_line(
        self, lines: io.StringIO, admin: httpx.AsyncClient
    ) -> None:
        response = await admin.get("/v1/admin/document-types?limit=1")
        (line,) = [line for line in parsed(lines) if line["logger"] == "docvault.access"]
        assert line["request_id"] == response.headers["x-request-id"]
        assert (line["method"], line["status"]) == ("GET", 200)
        assert line["route"] == "/v1/admin/document-types"
        assert line["operation"] == "admin_list_document_types"
        assert line["duration_ms"] >= 0

    @pytest.mark.req("R-102")
    async def test_no_personal_data_or_secret_is_logged(
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

    async def test_unhandled_exception_is_logged_with_frames_and_without_message(
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
        response = await admin.get("/v1/admin/document-types")
        assert (response.status_code, response.json()["code"]) == (500, "internal-error")
        assert response.headers["content-type"] == "application/problem+json"
        (line,) = [line for line in parsed(lines) if line["message"] == "unexpected error"]
        assert line["request_id"] == response.headers["x-request-id"]
        assert line["error"] == "RuntimeError"
        assert "canary" not in lines.getvalue() + response.text

    async def test_forged_line_break_in_header_is_escaped(
        self, lines: io.StringIO, http: httpx.AsyncClient
    ) -> None:
        await http.get("/v1/%0a%7b%22level%22%3a%22error%22%7d")
        assert [line["level"] for line in parsed(lines)] == ["info"]
