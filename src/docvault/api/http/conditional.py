"""Conditional requests (RFC 9110, section 13) on single stored resources."""

import re
from collections.abc import Iterable

from fastapi import Request, Response
from pydantic import BaseModel

from docvault.domain.preconditions import EntityTags, Preconditions
from docvault.errors import PreconditionRequired, ValidationFailed
from docvault.presenters.representation import represent

MAX_ENTITY_TAGS_LENGTH = 1024
_ENTITY_TAG = re.compile(r'\s*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*"))\s*(?:,|$)')


def parse_entity_tags(value: str, header: str) -> EntityTags:
    """Return the strong tags of a header; weak tags never match strongly."""
    if value.strip() == "*":
        return "*"
    if not value.strip() or len(value) > MAX_ENTITY_TAGS_LENGTH:
        raise _invalid_entity_tags(header)
    tags: set[str] = set()
    position = 0
    while position < len(value):
        match = _ENTITY_TAG.match(value, position)
        if match is None:
            raise _invalid_entity_tags(header)
        if match.group(1) is None:
            tags.add(match.group(2))
        position = match.end()
    return frozenset(tags)


def _invalid_entity_tags(header: str) -> ValidationFailed:
    detail = f"Must be a list of entity tags of at most {MAX_ENTITY_TAGS_LENGTH} characters."
    return ValidationFailed(detail, parameter=header)


def field_value(request: Request, name: str) -> str | None:
    """Return a list header with its lines combined (RFC 9110, section 5.3)."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


def read_preconditions(request: Request) -> Preconditions:
    """Return the request's If-Match and If-None-Match; raises `ValidationFailed`."""
    return Preconditions(_entity_tags(request, "If-Match"), _entity_tags(request, "If-None-Match"))


def _entity_tags(request: Request, header: str) -> EntityTags | None:
    value = field_value(request, header)
    return None if value is None else parse_entity_tags(value, header)


def check_preconditions(request: Request, current: BaseModel | None) -> None:
    """Raise `PreconditionFailed` unless If-Match and If-None-Match are met.

    `current` is the current representation, None when there is none.
    """
    preconditions = read_preconditions(request)
    preconditions.check(None if current is None else represent(current).etag)


def check_condition_headers(request: Request, names: Iterable[str]) -> None:
    """Raise `ValidationFailed` for a header that is not a list of entity tags.

    This is checked early because the comparison may come only after a long body, or never: if
    an erasure is running or the response to an idempotency key is replayed.
    """
    for name in names:
        value = field_value(request, name)
        if value is not None:
            parse_entity_tags(value, name)


def require_if_match(request: Request) -> None:
    """Raise `PreconditionRequired` if there is no If-Match (RFC 6585)."""
    if "if-match" not in request.headers:
        raise PreconditionRequired("The request needs an If-Match header with the resource's ETag.")


def require_match(request: Request, tag: str) -> None:
    """Raise `PreconditionFailed` unless If-Match allows the representation with this tag."""
    value = field_value(request, "if-match")
    if value is None:
        return
    Preconditions(if_match=parse_entity_tags(value, "If-Match")).check(tag)


def is_not_modified(request: Request, tag: str) -> bool:
    """Return whether a GET gets a 304, by the weak comparison of RFC 9110."""
    value = field_value(request, "if-none-match")
    if value is None:
        return False
    if value.strip() == "*":
        return True
    tags = parse_entity_tags(value.replace("W/", ""), "If-None-Match")
    return tag.removeprefix("W/") in tags


def not_modified(headers: dict[str, str]) -> Response:
    return Response(status_code=304, headers=headers)
