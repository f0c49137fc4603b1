"""Problem answers (RFC 9457)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema


class ProblemError(BaseModel):
    """One thing that is wrong, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pointer": "/name",
                    "parameter": None,
                    "code": "string_too_long",
                    "detail": "String should have at most 200 characters",
                }
            ]
        }
    )

    pointer: Annotated[
        str | None, Field(description="RFC 6901 JSON pointer into the body.", examples=["/name"])
    ]
    parameter: Annotated[
        str | None, Field(description="Name of a query or path parameter or of a header.")
    ]
    code: Annotated[str, Field(examples=["string_too_long"])]
    detail: Annotated[str, Field(examples=["String should have at most 200 characters"])]


class Problem(BaseModel):
    """Why a request was refused, for programs (`code`) and people (`detail`)."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:docvault:problem:validation-error"])]
    title: Annotated[str, Field(examples=["The request is not valid"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["The request is not valid."])]
    instance: Annotated[
        str,
        Field(
            description="Names this occurrence; the same id stands in the logs.",
            examples=["urn:uuid:0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"],
        ),
    ]
    code: Annotated[
        str,
        Field(description="The last segment of `type`.", examples=["validation-error"]),
    ]
    errors: list[ProblemError]
    allowed: Annotated[
        list[str] | SkipJsonSchema[None],
        Field(description="With 415: the media types that are accepted here."),
    ] = None
    detected: Annotated[
        str | None, Field(description="With 415: what the bytes are, null when unknown.")
    ] = None
    limit_bytes: Annotated[
        int | SkipJsonSchema[None], Field(description="With 413: the largest size.")
    ] = None
    quota: Annotated[
        str | SkipJsonSchema[None],
        Field(
            description="With `quota-exceeded`: what there would be too much of.",
            examples=["files", "bytes"],
        ),
    ] = None
    limit: Annotated[
        int | SkipJsonSchema[None],
        Field(description="With `quota-exceeded`: how much of it a customer may have."),
    ] = None
    used: Annotated[
        int | SkipJsonSchema[None],
        Field(description="With `quota-exceeded`: how much of it the customer has."),
    ] = None
