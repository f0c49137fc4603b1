"""JSON bodies, read with every bound and no leniency (F9)."""

import json
from typing import Any

from fastapi import Request

from docvault.api.bodies import read_body
from docvault.errors import ErrorDetail, MalformedRequest, MediaTypeNotAllowed, ValidationFailed

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 32
# Up to here every whole number can be told from its neighbours (RFC 8259, section 6).
MAX_EXACT_NUMBER = 2**53 - 1

_MEDIA_TYPES = ("application/json", "application/merge-patch+json")


async def read_json_body(request: Request, limit: int) -> tuple[bytes, Any]:
    """Return the body and what it says.

    Raises `MediaTypeNotAllowed` (415), `BodyTooLarge` (413), `RequestTimeout` (408),
    `MalformedRequest` (400) and `ValidationFailed` (422).
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise MediaTypeNotAllowed(
            "The body must be JSON.",
            parameter="Content-Type",
            members={"allowed": list(_MEDIA_TYPES), "detected": media_type or None},
        )
    raw = await read_body(request, limit)
    return raw, parse_json(raw)


def parse_json(raw: bytes, pointer: str = "") -> Any:  # noqa: ANN401 - JSON is whatever was sent
    """Parse strictly (RFC 8259): no NaN, no key twice, no lone surrogate, bounded depth.

    `pointer` is where the JSON stands in a larger body. Raises `MalformedRequest` and
    `ValidationFailed`.
    """
    try:
        parsed = json.loads(
            raw.decode("utf-8"),
            parse_float=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("This is not valid JSON.", pointer=pointer) from error
    _check(parsed, pointer, 0)
    return parsed


def _number(text: str) -> float | int:
    """Return a whole number as one: 9.0 is an integer (JSON Schema, section 6.1.1)."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= MAX_EXACT_NUMBER else value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is there twice")
    return result


def _check(value: object, pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MalformedRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
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
    """Refuse what PostgreSQL cannot store or UTF-8 cannot say (F8), wherever it stands."""
    if text.isascii() and "\x00" not in text:
        return
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        detail = "Text must not contain NUL or lone surrogates."
        raise ValidationFailed(
            detail, errors=[ErrorDetail("unsafe-text", detail, pointer=pointer or None)]
        )


def escape_pointer(segment: str) -> str:
    """Return a key as a segment of a JSON pointer (RFC 6901)."""
    return segment.replace("~", "~0").replace("/", "~1")
