"""OpenTelemetry traces, enabled by the standard `OTEL_*` variables.

FastAPI creates the spans. By default it would export paths, queries and messages of exceptions,
which identify customers. So it gets a provider of our own, which exports only the attributes
listed here (D27). Without the variables the SDK is not imported.
"""

import logging
import os
from typing import TYPE_CHECKING
from uuid import UUID

from opentelemetry import trace

from docvault.settings import SettingsError

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger(__name__)

OFF: "TelemetryConfig" = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

REQUEST_ID = "docvault.request_id"
ALLOWED_ATTRIBUTES = frozenset(
    {
        REQUEST_ID,
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.version",
        "url.scheme",
    }
)


def configure_tracing() -> "TelemetryConfig":
    """Return FastAPI's settings: everything off, or traces to the endpoint of the environment.

    Raises `SettingsError` for a value that OpenTelemetry refuses.
    """
    if not _is_enabled():
        return OFF
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
    except ImportError:
        log.warning("traces are disabled: docvault[tracing] is not installed")
        return OFF
    try:
        return export_to(OTLPSpanExporter())
    except ValueError as error:
        raise SettingsError(f"a setting of OpenTelemetry (OTEL_…) is invalid: {error}") from None


def check_tracing() -> None:
    """Raise `SettingsError` for a value that OpenTelemetry refuses."""
    provider = configure_tracing().get("tracer_provider")
    if provider is not None:
        provider.shutdown()  # type: ignore[attr-defined] # it is the SDK's, see `export_to`


def export_to(exporter: "SpanExporter") -> "TelemetryConfig":
    """Return settings that send scrubbed spans to an exporter."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    send = exporter.export
    exporter.export = lambda spans: send([_scrub(span) for span in spans])  # type: ignore[method-assign]
    service = os.environ.get("OTEL_SERVICE_NAME", "docvault")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return {**OFF, "tracing": True, "tracer_provider": provider}


def name_span(operation: str | None, request_id: UUID) -> None:
    """Name the span of the current request, if it is traced."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute(REQUEST_ID, str(request_id))
        if operation is not None:
            span.update_name(operation)


def _is_enabled() -> bool:
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return (
        any(os.environ.get(name) for name in endpoints)
        and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    )


def _scrub(span: "ReadableSpan") -> "ReadableSpan":
    """Return the span without events, links, messages and the trace state sent by the client."""
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415

    attributes = span.attributes or {}
    return ReadableSpan(
        name=span.name,
        context=_drop_state(span.context),
        parent=_drop_state(span.parent),
        resource=span.resource,
        attributes={k: v for k, v in attributes.items() if k in ALLOWED_ATTRIBUTES},
        kind=span.kind,
        status=trace.Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _drop_state(context: trace.SpanContext | None) -> trace.SpanContext | None:
    if context is None:
        return None
    return trace.SpanContext(
        context.trace_id, context.span_id, context.is_remote, context.trace_flags
    )
