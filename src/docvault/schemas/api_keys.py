"""API keys on the wire."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from docvault.auth.scopes import Scope
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
# A key that may do nothing is a mistake; to stop one, revoke it.
SomeScopes = Annotated[Scopes, Field(min_length=1)]


class ApiKeyCreate(InputModel):
    """A key for a third-party system."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "CRM", "scopes": ["customers:read", "documents:read"]}]
        }
    )

    name: Name
    scopes: SomeScopes
    expires_at: InputTime | None = None


class ApiKeyUpdate(PatchModel):
    """Changes to a key (RFC 7396); null lifts the expiry."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "CRM (new)"}]})

    name: Name = ""
    scopes: SomeScopes = []
    expires_at: InputTime | None = None


class ApiKeyRead(OutputModel):
    """A key, without its secret."""

    id: UUID
    name: Annotated[str, Field(examples=["CRM"])]
    prefix: Annotated[
        str,
        Field(description="How the key begins, to recognise it.", examples=["dv_live_4fGh7K2p"]),
    ]
    scopes: Scopes
    created_at: UtcTime
    expires_at: UtcTime | None
    last_used_at: UtcTime | None
    revoked_at: UtcTime | None


class ApiKeyCreated(ApiKeyRead):
    """A new key; `key` is shown here and never again."""

    key: Annotated[
        str,
        Field(
            description="Keep it secret: give it in the header `X-API-Key`.",
            examples=["dv_live_4fGh7K2p_" + "0" * 49],
        ),
    ]


class ApiKeyPage(Page[ApiKeyRead]):
    """One page of keys, oldest first."""
