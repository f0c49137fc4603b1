"""Traces: configured by the environment, named after operations, without personal data."""

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import with_headers

from docvault.api.app import create_app
from docvault.auth.local_tokens import LocalIssuer
from docvault.observability.tracing import ALLOWED_ATTRIBUTES, OFF, configure_tracing
from docvault.services.resources import Resources
from docvault.settings import SettingsError

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(ThreadingHTTPServer):
    """Receives spans over HTTP, like an OpenTelemetry collector."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def spans(self) -> dict[str, list[dict[str, str]]]:
        """Return the attributes of the spans by name."""
        found: dict[str, list[dict[str, str]]] = {}
        for body in self.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        attributes = {
                            a.key: a.value.string_value or str(a.value.int_value)
                            for a in span.attributes
                        }
                        trace_id = {"trace_id": span.trace_id.hex()}
                        found.setdefault(span.name, []).append(attributes | trace_id)
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Do not log."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, with the environment variables that refer to it."""
    server = Collector()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
async def traced(collector: Collector, resources: Resources) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with tracing; closing it flushes the spans."""
    del collector
    config = configure_tracing()
    app = create_app(telemetry=config)
    app.state.resources = resources
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://docvault.test") as client:
        yield client
    config["tracer_provider"].shutdown()  # type: ignore[union-attr]


def flush(client: httpx.AsyncClient) -> None:
    client._transport.app._telemetry["tracer_provider"].force_flush()  # type: ignore[attr-defined]


@pytest.fixture
def staff(traced: httpx.AsyncClient, issuer: LocalIssuer) -> httpx.AsyncClient:
    return with_headers(traced, {"Authorization": f"Bearer {issuer.admin_token('canary')}"})


async def test_span_has_operation_name_and_request_id(
    staff: httpx.AsyncClient, collector: Collector
) -> None:
    response = await staff.get("/v1/admin/document-types")
    flush(staff)
    (span,) = collector.spans["admin_list_document_types"]
    assert span["http.route"] == "/v1/admin/document-types"
    assert span["http.response.status_code"] == "200"
    assert span["docvault.request_id"] == response.headers["x-request-id"]


async def test_span_joins_trace_of_caller(staff: httpx.AsyncClient, collector: Collector) -> None:
    parent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    await staff.get("/v1/admin/document-types", headers=parent)
    flush(staff)
    assert collector.spans["admin_list_document_types"][0]["trace_id"] == TRACE


async def test_no_caller_data_is_exported(
    traced: httpx.AsyncClient,
    staff: httpx.AsyncClient,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    await make_type(staff, "Canary")
    await make_customer(staff, "canary", name="Canary", email="canary@example.com")
    path = "/v1/admin/customers/canary/documents/canary"
    await staff.put(path, **upload_of(filename="canary.pdf"))
    await staff.put(path, **upload_of(b"canary", "canary.exe"))
    headers = {
        "Host": "canary.example",
        "User-Agent": "canary",
        "baggage": "canary=canary",
        "tracestate": "canary=canary",
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    }
    await staff.get("/v1/admin/customers", params={"q": "canary"}, headers=headers)
    await traced.get("/canary?canary=canary", headers=headers)
    await traced.request("CANARY", "/canary")
    monkeypatch.setattr("docvault.services.document_types.list_document_types", broken)
    await staff.get("/v1/admin/document-types")
    flush(staff)
    spans = collector.spans
    assert len(spans) >= 6
    assert b"canary" not in b"".join(collector.bodies).lower()
    names = {name for found in spans.values() for one in found for name in one}
    assert names <= ALLOWED_ATTRIBUTES | {"trace_id"}
    assert spans["admin_list_document_types"][0]["http.response.status_code"] == "500"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_tracing_is_off_by_default(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert configure_tracing() == OFF


def test_missing_packages_are_reported_and_service_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, name, None)
    assert configure_tracing() == OFF
    assert "docvault[tracing]" in caplog.text


def test_sdk_is_not_imported_by_default() -> None:
    program = (
        "import sys; from docvault.server.serve import create_served_app;"
        "from docvault.settings import *;"
        "create_served_app(Settings(), 'postgresql:///x', with_worker=False);"
        "sys.exit('opentelemetry.sdk' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], env={}, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_ATTRIBUTE_COUNT_LIMIT", "many"), ("OTEL_BSP_MAX_QUEUE_SIZE", "0")],
)
def test_invalid_setting_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=r"OpenTelemetry .* must be a"):
        configure_tracing()
