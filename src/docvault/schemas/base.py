"""Base models and types of all schemas: strict input, complete output, safe text."""

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from docvault.domain.customer_ids import CUSTOMER_ID_PATTERN
from docvault.domain.text import CONTROLS, LINE_PATTERN, PROSE_PATTERN

# pydantic accepts more than RFC 3339: seconds since 1970, hours without minutes.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Item = TypeVar("Item")


def _no_nul(text: str) -> str:
    # PostgreSQL cannot store NUL (F8). pydantic itself rejects lone surrogates.
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    return text


def not_blank(text: str) -> str:
    """Reject text of only whitespace."""
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _not_dots(text: str) -> str:
    if text in {".", ".."}:
        raise ValueError("must not be . or ..")
    return text


def _only_rfc_3339(value: object) -> object:
    if not isinstance(value, str) or _RFC_3339.fullmatch(value) is None:
        raise ValueError("must be an RFC 3339 time")
    return value


def _in_utc(value: datetime) -> datetime:
    """Convert to UTC, which fails for some times of the first and the last year."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 in UTC") from None


_BLANK = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# `LineText` and `not_blank` in one pattern for OpenAPI; regex dialects differ in what `\s` matches.
SHOWS_SOMETHING = rf"^[^{CONTROLS}]*[^{CONTROLS}{_BLANK}][^{CONTROLS}]*$"
SafeText = Annotated[str, AfterValidator(_no_nul)]
# A single line, because it is used in mail subjects, log lines, tables and terminals.
LineText = Annotated[str, StringConstraints(pattern=LINE_PATTERN)]
# Text that may have several lines.
ProseText = Annotated[str, StringConstraints(pattern=PROSE_PATTERN)]
Name = Annotated[
    LineText,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(not_blank),
    Field(json_schema_extra={"pattern": SHOWS_SOMETHING}),
]
CustomerId = Annotated[
    str,
    StringConstraints(pattern=CUSTOMER_ID_PATTERN),
    AfterValidator(_not_dots),
    Field(
        description="The host platform's id of the customer.",
        examples=["c-1042"],
        json_schema_extra={"not": {"enum": [".", ".."]}},
    ),
]
UtcTime = Annotated[datetime, Field(examples=["2026-11-24T09:12:44Z"])]
InputTime = Annotated[
    AwareDatetime,
    BeforeValidator(_only_rfc_3339),
    AfterValidator(_in_utc),
    Field(examples=["2026-11-24T00:00:00Z"]),
]


class InputModel(BaseModel):
    """A request body: unknown members are rejected (D17), types are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PatchModel(InputModel):
    """A JSON Merge Patch (RFC 7396): absent means unchanged, so the schema has no defaults."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Remove the defaults, which only stand for "absent"."""
        json_schema: JsonSchemaValue = handler.resolve_ref_schema(handler(schema))
        for item in json_schema.get("properties", {}).values():
            item.pop("default", None)
        return json_schema


class OutputModel(BaseModel):
    """A response body: every member is always present; later versions may add more."""

    model_config = ConfigDict(frozen=True)


class StoredOutputModel(OutputModel):
    """A part of responses that are stored for replay, maybe by a version with fewer members.

    Members with a default are absent in these; otherwise they are always present too.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Page(OutputModel, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next_cursor: Annotated[
        str | None,
        Field(
            description="Send it as `cursor` to get the next page; null on the last page.",
            examples=[None],
        ),
    ]
    total: Annotated[
        int | SkipJsonSchema[None],
        Field(description="The total number of items; only with `include_total=true`."),
    ] = None
