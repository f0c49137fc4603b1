"""What all schemas share: strict input, complete output, safe text."""

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

CUSTOMER_ID_PATTERN = r"^[A-Za-z0-9._~:@|+=-]{1,128}$"

# What pydantic takes for a time is more: seconds since 1970, hours without minutes.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Item = TypeVar("Item")


def _no_nul(text: str) -> str:
    # PostgreSQL cannot store it (F8). Lone surrogates pydantic refuses by itself.
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    return text


def not_blank(text: str) -> str:
    """Refuse text that shows nothing."""
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
    """Convert once, here: in the first and the last year there may be no such time in UTC."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 in UTC") from None


# What `not_blank` asks for, in the contract: dialects differ in what they call a blank.
SHOWS_SOMETHING = r"[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
SafeText = Annotated[str, AfterValidator(_no_nul)]
# On one line: it goes into the subject of a mail or a line of a log.
LineText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[
    SafeText,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(not_blank),
    Field(json_schema_extra={"pattern": SHOWS_SOMETHING}),
]
CustomerId = Annotated[
    str,
    StringConstraints(pattern=CUSTOMER_ID_PATTERN),
    AfterValidator(_not_dots),
    Field(
        description="The host platform's own id of the customer.",
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
    """What callers send: unknown fields are refused (D17), types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PatchModel(InputModel):
    """A merge patch (RFC 7396): absent means unchanged, so the schema announces no defaults."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Leave out the defaults, which only stand for "absent"."""
        json_schema: JsonSchemaValue = handler.resolve_ref_schema(handler(schema))
        for item in json_schema.get("properties", {}).values():
            item.pop("default", None)
        return json_schema


class OutputModel(BaseModel):
    """What callers get: every field is always there; later versions may add more."""

    model_config = ConfigDict(frozen=True)


class Page(OutputModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: Annotated[
        str | None, Field(description="Give it as `cursor` to get the next page; null at the end.")
    ]
    total: Annotated[
        int | SkipJsonSchema[None],
        Field(description="How many there are in all; only with `include_total=true`."),
    ] = None
