"""Conditional requests (RFC 9110, section 13) on single stored resources."""

import hashlib
import re
from collections.abc import Iterable

from fastapi import Request, Response
from pydantic import BaseModel

from docvault.errors import PreconditionFailed, PreconditionRequired, ValidationFailed

MAX_ENTITY_TAGS_LENGTH = 1024
_ENTITY_TAG = re.compile(r'\s*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*"))\s*(?:,|$)')


def entity_tag(body: bytes) -> str:
    """Return the strong entity tag of a representation."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def parse_entity_tags(value: str, header: str) -> set[str] | None:
    """Return the strong tags of a header; None stands for `*`. Weak tags never match strongly."""
    if value.strip() == "*":
        return None
    if not value.strip() or len(value) > MAX_ENTITY_TAGS_LENGTH:
        raise _no_entity_tags(header)
    tags: set[str] = set()
    position = 0
    while position < len(value):
        match = _ENTITY_TAG.match(value, position)
        if match is None:
            raise _no_entity_tags(header)
        if match.group(1) is None:
            tags.add(match.group(2))
        position = match.end()
    return tags


def _no_entity_tags(header: str) -> ValidationFailed:
    detail = f"This is not a list of entity tags of up to {MAX_ENTITY_TAGS_LENGTH} characters."
    return ValidationFailed(detail, parameter=header)


def field_value(request: Request, name: str) -> str | None:
    """Return a header whose value is a list, its lines combined (RFC 9110, section 5.3)."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


def check_preconditions(request: Request, current: BaseModel | None) -> None:
    """Raise `PreconditionFailed` unless If-Match and If-None-Match hold.

    `current` is the present representation, None when there is none.
    """
    tag = None if current is None else entity_tag(current.model_dump_json().encode())
    if_match = field_value(request, "if-match")
    if if_match is not None:
        expected = parse_entity_tags(if_match, "If-Match")
        if tag is None or (expected is not None and tag not in expected):
            raise PreconditionFailed
    if_none_match = field_value(request, "if-none-match")
    if if_none_match is not None:
        unwanted = parse_entity_tags(if_none_match, "If-None-Match")
        if tag is not None and (unwanted is None or tag in unwanted):
            raise PreconditionFailed


def check_condition_headers(request: Request, names: Iterable[str]) -> None:
    """Raise `ValidationFailed` for a header that is no list of entity tags.

    Before it is compared, for that can be after a long body, or never: when an erasure runs
    already, or the answer is that to an earlier request with the same idempotency key.
    """
    for name in names:
        value = field_value(request, name)
        if value is not None:
            parse_entity_tags(value, name)


def require_if_match(request: Request) -> None:
    """Raise `PreconditionRequired` when a change would be blind (RFC 6585)."""
    if "if-match" not in request.headers:
        raise PreconditionRequired("Send the resource's ETag in If-Match.")


def require_match(request: Request, tag: str) -> None:
    """Raise `PreconditionFailed` unless If-Match holds for what a GET would send."""
    value = field_value(request, "if-match")
    if value is None:
        return
    expected = parse_entity_tags(value, "If-Match")
    if expected is not None and tag not in expected:
        raise PreconditionFailed


def is_not_modified(request: Request, tag: str) -> bool:
    """Return whether a GET can be answered with 304; weak comparison, as RFC 9110 asks."""
    value = field_value(request, "if-none-match")
    if value is None:
        return False
    if value.strip() == "*":
        return True
    tags = parse_entity_tags(value.replace("W/", ""), "If-None-Match")
    return tags is not None and tag in tags


def not_modified(headers: dict[str, str]) -> Response:
    """Return a 304."""
    return Response(status_code=304, headers=headers)
