"""Path and query parameters: only known ones, once, with text that can be stored."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request

from docvault.api.conditional import MAX_ENTITY_TAGS_LENGTH
from docvault.errors import ErrorDetail, ValidationFailed
from docvault.schemas.base import CUSTOMER_ID_PATTERN

# PostgreSQL knows no NUL (F8); U+FFFD is how Starlette shows what is not UTF-8.
_UNSAFE = re.compile("[\x00\ufffd]")
_CUSTOMER_ID = re.compile(CUSTOMER_ID_PATTERN)


def check_path(request: Request) -> None:
    """Raise `ValidationFailed` for path parameters that no database text can equal (F8)."""
    errors = _unsafe(request.path_params.items())
    if errors:
        raise ValidationFailed(errors=errors)


def check_parameters(request: Request, known: Mapping[str, bool]) -> None:
    """Raise `ValidationFailed` for unknown, repeated or unusable query parameters.

    `known` tells for each query parameter whether it may be repeated.
    """
    counts = Counter(name for name, _ in request.query_params.multi_items())
    errors = [
        ErrorDetail("unknown-parameter", "There is no such parameter.", parameter=_printable(name))
        for name in counts
        if name not in known
    ]
    errors += [
        ErrorDetail("repeated-parameter", "May be given once only.", parameter=name)
        for name, count in counts.items()
        if count > 1 and not known.get(name, True)
    ]
    errors += _unsafe(request.query_params.multi_items())
    if errors:
        raise ValidationFailed(errors=errors)


def _unsafe(texts: Iterable[tuple[str, object]]) -> list[ErrorDetail]:
    return [
        ErrorDetail("unsafe-text", "Must be UTF-8 without NUL.", parameter=_printable(name))
        for name, value in texts
        if _UNSAFE.search(str(value))
    ]


def check_customer_id(value: str) -> None:
    """Raise `ValidationFailed` for what cannot be a customer's id."""
    if not is_customer_id(value):
        raise ValidationFailed("This cannot be a customer's id.", parameter="id")


def is_customer_id(value: str) -> bool:
    """Return whether a customer could have this id."""
    return _CUSTOMER_ID.fullmatch(value) is not None and value not in {".", ".."}


def header_parameters(
    *, idempotent: bool, conditions: tuple[str, ...], required: bool
) -> list[dict[str, Any]]:
    """Return the OpenAPI parameters of the headers an operation honours."""
    names = (*([_IDEMPOTENCY] if idempotent else []), *conditions)
    return [
        {
            "name": name,
            "in": "header",
            "required": required and name == "If-Match",
            "description": _HEADERS[name],
            "schema": _HEADER_SCHEMAS.get(name, _ENTITY_TAGS),
        }
        for name in names
    ]


_IDEMPOTENCY = "Idempotency-Key"
_HEADERS = {
    _IDEMPOTENCY: "A key of your own for this request: repeated with the same key within "
    "24 hours it is done once and answered alike.",
    "Range": "One range of bytes (RFC 9110).",
    "If-Match": "Only when the resource still has this ETag.",
    "If-None-Match": "On GET: answer 304 when the resource still has this ETag. On PUT `*`: only "
    "when there is nothing yet.",
}
_ENTITY_TAGS = {
    "type": "string",
    "maxLength": MAX_ENTITY_TAGS_LENGTH,
    "pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$',
}
_HEADER_SCHEMAS = {
    _IDEMPOTENCY: {"type": "string", "maxLength": 255, "pattern": '^("[!#-~]+"|[!#-~]+)$'},
    # What is no range of bytes is ignored (RFC 9110, section 14.2).
    "Range": {"type": "string"},
}


def _printable(name: str) -> str:
    return "".join(char for char in name[:100] if char.isprintable())
