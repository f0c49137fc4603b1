"""Streaming parser of multipart bodies (RFC 7578; F1, F6)."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from docvault.api.http.body import stream_body
from docvault.api.http.content_disposition import parse_disposition
from docvault.api.http.transfer_encoding import decoder_for
from docvault.errors import ContentTooLarge, MalformedRequest, UnsupportedMediaType

MULTIPART = "multipart/form-data"
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 8 * 1024
MAX_PREAMBLE_BYTES = 8 * 1024

_FOLD = re.compile(rb"\r\n[ \t]+")


@dataclass(frozen=True, slots=True)
class PartStart:
    """The start of a part. `filename` is untrusted (F7), and None for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The end of the current part."""


PartEvent = PartStart | bytes | PartEnd


async def read_parts(
    request: Request, limit: int, too_large: ContentTooLarge
) -> AsyncIterator[PartEvent]:
    """Yield a start, bytes and an end for each part of a multipart body.

    Raises `UnsupportedMediaType` if the body has another type, `MalformedRequest` if it is
    malformed or incomplete, and whatever `stream_body` raises.
    """
    collector = _Collector(_boundary(request))
    async for chunk in stream_body(request, limit, too_large):
        for event in collector.feed(chunk):
            yield event
    collector.finish()


def is_multipart(request: Request) -> bool:
    """Return whether the headers of a request declare a multipart body."""
    return request.headers.get("content-type", "").lower().startswith(MULTIPART)


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != MULTIPART.encode():
        raise UnsupportedMediaType(
            "The body must be multipart/form-data.",
            parameter="Content-Type",
            members={"allowed": [MULTIPART], "detected": media_type.decode("latin-1") or None},
        )
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequest("The Content-Type has no boundary.")
    return boundary


class _Collector:
    """Turns the parser's callbacks into events.

    The parser knows neither preambles (RFC 2046) nor folded header fields (RFC 5322). So the
    preamble is dropped, and the head of each part is kept until it is complete, and unfolded.
    Where a part ends is up to the parser alone.
    """

    def __init__(self, boundary: bytes) -> None:
        self._events: list[PartEvent] = []
        self._field = b""
        self._value = b""
        self._disposition: bytes | None = None
        self._encoding = b""
        self._decoder = decoder_for(b"")
        self._ended = False
        # What has arrived and cannot be parsed yet.
        self._held = b""
        self._step: Callable[[bytes, int], int | None] = self._skip_preamble
        self._delimiter = b"\r\n--" + boundary
        dash_boundary = re.escape(self._delimiter[2:])
        self._opening = re.compile(
            rb"(?:\A|\n)"
            + dash_boundary
            + rb"[ \t]*\r\n|\A[\r\n]*"
            + dash_boundary
            + rb"(?P<last>--)"
        )
        self._following = re.compile(re.escape(self._delimiter) + rb"(?:\r\n|--|(?P<blank>[ \t]))")
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
            raise MalformedRequest("The boundary is not valid.") from error

    def feed(self, chunk: bytes) -> list[PartEvent]:
        """Parse a chunk; return its events."""
        self._events = []
        data, start = self._held + chunk, 0
        try:
            while start < len(data) and not self._ended:
                end = self._step(data, start)
                if end is None:
                    break
                start = end
        except FormParserError as error:
            raise MalformedRequest("The multipart body is malformed.") from error
        self._held = data[start:]
        return self._events

    def finish(self) -> None:
        """Raise `MalformedRequest` unless the closing boundary was received."""
        if not self._ended:
            raise MalformedRequest("The multipart body has no closing boundary.")

    # Each step parses the data from `start`, and returns how far it came, or None if it needs more.

    def _skip_preamble(self, data: bytes, start: int) -> int | None:
        opening = self._opening.search(data, start)
        if (opening.start() if opening else len(data)) > MAX_PREAMBLE_BYTES:
            raise MalformedRequest("The multipart body does not begin with its boundary.")
        if opening is None:
            return None
        self._parser.write(self._delimiter[2:] + (opening["last"] or b"\r\n"))
        return opening.end()

    def _read_head(self, data: bytes, start: int) -> int | None:
        has_fields = not data.startswith(b"\r\n", start)
        end = data.find(b"\r\n\r\n", start) if has_fields else start
        if end < 0:
            if len(data) - start > MAX_PART_HEADERS * MAX_PART_HEADER_BYTES:
                raise MalformedRequest("The header of a part is too long.")
            return None
        end += len(b"\r\n\r\n" if has_fields else b"\r\n")
        self._parser.write(_FOLD.sub(b" ", data[start:end]))
        return end

    def _read_data(self, data: bytes, start: int) -> int | None:
        """Parse up to the end of the next delimiter, as what follows may be the head of a part."""
        delimiter = self._following.search(data, start)
        if delimiter is None:
            end = self._partial_delimiter(data, start)
        else:
            end = delimiter.end()
            if delimiter["blank"]:
                self._step = self._read_padding
        self._parser.write(data[start:end])
        return end if end > start else None

    def _read_padding(self, data: bytes, start: int) -> int:
        """Parse blanks behind a delimiter, up to the end of the line."""
        end = data.find(b"\n", start) + 1 or len(data)
        self._parser.write(data[start:end])
        return end

    def _partial_delimiter(self, data: bytes, start: int) -> int:
        """Return where a delimiter may begin whose end has not arrived, or the end of the data."""
        begin = data.find(b"\r", max(start, len(data) - len(self._delimiter) - 1))
        while begin >= 0:
            rest = data[begin:]
            if any((self._delimiter + end).startswith(rest) for end in (b"\r", b"-")):
                return begin
            begin = data.find(b"\r", begin + 1)
        return len(data)

    def _on_part_begin(self) -> None:
        self._disposition = None
        self._encoding = b""
        self._step = self._read_head

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        elif self._field.lower() == b"content-transfer-encoding":
            self._encoding = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        disposition = parse_disposition(self._disposition)
        if disposition is None:
            raise MalformedRequest("A part has no Content-Disposition with a name.")
        self._decoder = decoder_for(self._encoding)
        self._step = self._read_data
        self._events.append(PartStart(disposition.name, disposition.filename))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if decoded := self._decoder.decode(data[start:end]):
            self._events.append(decoded)

    def _on_part_end(self) -> None:
        if rest := self._decoder.finish():
            self._events.append(rest)
        self._events.append(PartEnd())

    def _on_end(self) -> None:
        self._ended = True
