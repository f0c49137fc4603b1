"""Schemas of problems (RFC 9457)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema


class ProblemParams(BaseModel):
    """What a translation of `code` needs; only the members that it needs are sent."""

    max: Annotated[int | SkipJsonSchema[None], Field(description="The largest allowed.")] = None
    min: Annotated[int | SkipJsonSchema[None], Field(description="The smallest allowed.")] = None
    allowed: Annotated[
        list[str] | SkipJsonSchema[None], Field(description="The allowed values.")
    ] = None


class ProblemError(BaseModel):
    """One invalid value and its location."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pointer": "/name",
                    "parameter": None,
                    "code": "too-long",
                    "detail": "Must be at most 200 characters.",
                    "params": {"max": 200},
                }
            ]
        }
    )

    pointer: Annotated[
        str | None, Field(description="JSON pointer (RFC 6901) into the body.", examples=["/name"])
    ]
    parameter: Annotated[
        str | None, Field(description="Name of a query parameter, path parameter or header.")
    ]
    code: Annotated[str, Field(examples=["too-long"])]
    detail: Annotated[str, Field(examples=["Must be at most 200 characters."])]
    params: ProblemParams


class Problem(BaseModel):
    """Why a request failed, for programs (`code`) and people (`detail`)."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:docvault:problem:validation-error"])]
    title: Annotated[str, Field(examples=["Validation failed"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["The request is not valid."])]
    instance: Annotated[
        str,
        Field(
            description="Identifies the request; the logs have the same id.",
            examples=["urn:uuid:0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"],
        ),
    ]
    code: Annotated[
        str,
        Field(description="The last segment of `type`.", examples=["validation-error"]),
    ]
    errors: list[ProblemError]


class _MediaTypeMembers(BaseModel):
    allowed: Annotated[list[str], Field(description="The accepted media types.")]
    detected: Annotated[str | None, Field(description="The media type, null if unknown.")]


class _ExtensionMembers(BaseModel):
    detected: Annotated[str, Field(description="The media type of the content.")]
    extensions: Annotated[
        list[str],
        Field(
            description="What the name may end in, the usual one first.",
            examples=[["jpg", "jpeg"]],
        ),
    ]


class _SizeMembers(BaseModel):
    limit_bytes: Annotated[int, Field(description="The maximum size.")]


class _QuotaMembers(BaseModel):
    quota: Annotated[
        Literal["files", "bytes", "value_bytes"],
        Field(description="The quota that would be exceeded."),
    ]
    limit: Annotated[int, Field(description="The limit for each customer.")]
    used: Annotated[int, Field(description="The customer's current usage.")]


class _EventsMembers(BaseModel):
    oldest: Annotated[int, Field(description="The position of the oldest event.")]


# Members of single codes, in addition to those of every problem.
PROBLEM_MEMBERS: dict[str, type[BaseModel]] = {
    "unsupported-media-type": _MediaTypeMembers,
    "extension-mismatch": _ExtensionMembers,
    "content-too-large": _SizeMembers,
    "file-too-large": _SizeMembers,
    "quota-exceeded": _QuotaMembers,
    "events-expired": _EventsMembers,
}
