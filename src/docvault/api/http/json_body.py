"""Strict parsing of JSON bodies, within limits (F9)."""

import json
from typing import Any

from fastapi import Request

from docvault.api.http.body import read_body
from docvault.errors import (
    ErrorDetail,
    MalformedRequest,
    UnsupportedMediaType,
    ValidationFailed,
    escape_pointer,
)

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 32
# Integers up to here are exact in every JSON implementation (RFC 8259, section 6).
MAX_EXACT_NUMBER = 2**53 - 1

_MEDIA_TYPES = ("application/json", "application/merge-patch+json")


async def read_json_body(request: Request, limit: int) -> tuple[bytes, Any]:
    """Return the raw body and the parsed JSON.

    Raises `UnsupportedMediaType` (415), `ContentTooLarge` (413), `RequestTimeout` (408),
    `MalformedRequest` (400) and `ValidationFailed` (422).
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise UnsupportedMediaType(
            "The body must be JSON.",
            parameter="Content-Type",
            members={"allowed": list(_MEDIA_TYPES), "detected": media_type or None},
        )
    raw = await read_body(request, limit)
    return raw, parse_json(raw)


def parse_json(raw: bytes, pointer: str = "") -> Any:  # noqa: ANN401 - JSON of any shape
    """Parse strictly (RFC 8259): no NaN, duplicate key or lone surrogate, limited depth.

    `pointer` locates the JSON in a larger body. Raises `MalformedRequest` and
    `ValidationFailed`.
    """
    try:
        parsed = json.loads(
            raw.decode("utf-8"),
            parse_float=_number,
            parse_constant=_reject_constant,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("The JSON is malformed.", pointer=pointer) from error
    _check(parsed, pointer, 0)
    return parsed


def _number(text: str) -> float | int:
    """Return 9.0 as an integer, which it is in JSON Schema (section 6.1.1)."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= MAX_EXACT_NUMBER else value


def _reject_constant(name: str) -> None:
    raise ValueError(name)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _check(value: object, pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MalformedRequest(f"The JSON must not be nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, pointer)
            _check(item, f"{pointer}/{escape_pointer(key)}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{pointer}/{index}", depth + 1)


def _check_text(text: str, pointer: str) -> None:
    """Reject text that PostgreSQL cannot store or UTF-8 cannot encode (F8)."""
    if text.isascii() and "\x00" not in text:
        return
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        detail = "Text must not contain NUL or lone surrogates."
        raise ValidationFailed(
            detail, errors=[ErrorDetail("unsafe-text", detail, pointer=pointer or None)]
        )
