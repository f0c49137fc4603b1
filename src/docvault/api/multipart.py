"""Multipart bodies, parsed while they arrive (RFC 7578; SECURITY F1, F6)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from docvault.api.bodies import stream_body
from docvault.errors import ContentTooLarge, MalformedRequest, MediaTypeNotAllowed

MULTIPART = "multipart/form-data"
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class PartStart:
    """A part begins. `filename` is as sent, never to be trusted (F7); None for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part that began last is complete."""


PartEvent = PartStart | bytes | PartEnd


async def read_parts(
    request: Request, limit: int, too_large: ContentTooLarge
) -> AsyncIterator[PartEvent]:
    """Yield what happens in a multipart body: a start, bytes, an end, for each part.

    Raises `MediaTypeNotAllowed` when the body is of another type, `MalformedRequest` when it
    is broken or cut off, and what `stream_body` raises.
    """
    collector = _Collector(_boundary(request))
    async for chunk in stream_body(request, limit, too_large):
        for event in collector.feed(chunk):
            yield event
    collector.finish()


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != MULTIPART.encode():
        raise MediaTypeNotAllowed(
            "The body must be multipart/form-data.",
            parameter="Content-Type",
            members={"allowed": [MULTIPART], "detected": media_type.decode("latin-1") or None},
        )
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequest("The Content-Type names no boundary.")
    return boundary


class _Collector:
    """Turns the parser's callbacks into events."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[PartEvent] = []
        self._field = b""
        self._value = b""
        self._disposition: bytes | None = None
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
                max_header_count=MAX_PART_HEADERS,
                max_header_size=MAX_PART_HEADER_BYTES,
            )
        except FormParserError as error:
            raise MalformedRequest("The boundary cannot be used.") from error

    def feed(self, chunk: bytes) -> list[PartEvent]:
        """Return what a chunk brought."""
        self._events = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequest("The multipart body is broken.") from error
        return self._events

    def finish(self) -> None:
        """Raise unless the closing boundary has been seen."""
        if not self._ended:
            raise MalformedRequest("The multipart body ends before its closing boundary.")

    def _on_part_begin(self) -> None:
        self._disposition = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise MalformedRequest("A part has no Content-Disposition with a name.")
        filename = options.get(b"filename")
        self._events.append(PartStart(_text(name), None if filename is None else _text(filename)))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(PartEnd())

    def _on_end(self) -> None:
        self._ended = True


def _text(raw: bytes) -> str:
    """Return a header value as text: UTF-8 as browsers send it, else byte for byte."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
