"""Schemas of API keys."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from docvault.domain.scopes import Scope
from docvault.schemas.base import (
    InputModel,
    InputTime,
    Name,
    OutputModel,
    Page,
    PatchModel,
    UtcTime,
)

Scopes = Annotated[list[Scope], Field(max_length=len(Scope), examples=[["documents:read"]])]
# A key without scopes is a mistake; revoke a key to disable it.
SomeScopes = Annotated[Scopes, Field(min_length=1)]


class ApiKeyCreate(InputModel):
    """A new API key for a third-party system."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "CRM", "scopes": ["customers:read", "documents:read"]}]
        }
    )

    name: Name
    scopes: SomeScopes
    expires_at: InputTime | None = None


class ApiKeyUpdate(PatchModel):
    """Changes to an API key (JSON Merge Patch, RFC 7396); null removes the expiry."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "CRM (new)"}]})

    name: Name = ""
    scopes: SomeScopes = []
    expires_at: InputTime | None = None


class ApiKeyRead(OutputModel):
    """An API key, without its secret."""

    id: UUID
    name: Annotated[str, Field(examples=["CRM"])]
    prefix: Annotated[
        str,
        Field(
            description="The first characters of the key, to recognise it by.",
            examples=["dv_live_4fGh7K2p"],
        ),
    ]
    scopes: Scopes
    created_at: UtcTime
    expires_at: Annotated[UtcTime | None, Field(examples=["2027-11-24T00:00:00Z"])]
    last_used_at: Annotated[UtcTime | None, Field(examples=[None])]
    revoked_at: Annotated[UtcTime | None, Field(examples=[None])]


class ApiKeyLimits(OutputModel):
    """The limits of one key; null means unlimited."""

    requests_per_minute: Annotated[int, Field(examples=[6000])] | None
    concurrent_downloads: Annotated[int, Field(examples=[64])] | None


class OwnApiKeyRead(OutputModel):
    """The API key of the caller."""

    id: UUID
    name: Annotated[str, Field(examples=["CRM"])]
    scopes: Scopes
    created_at: UtcTime
    expires_at: Annotated[UtcTime | None, Field(examples=["2027-11-24T00:00:00Z"])]
    limits: ApiKeyLimits


class ApiKeyCreated(ApiKeyRead):
    """A new API key. `key` is shown only once."""

    key: Annotated[
        str,
        Field(
            description="The secret key, to be sent in the header `X-API-Key`.",
            examples=["dv_live_4fGh7K2p_" + "0" * 49],
        ),
    ]


class ApiKeyPage(Page[ApiKeyRead]):
    """A page of API keys, oldest first."""
