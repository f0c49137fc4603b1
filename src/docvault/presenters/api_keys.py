"""API keys."""

from typing import Any

from docvault.auth.api_keys import PREFIX
from docvault.domain.api_keys import ApiKey
from docvault.schemas.api_keys import ApiKeyCreated, ApiKeyRead


def present_api_key(key: ApiKey) -> ApiKeyRead:
    """Present a key without its secret."""
    return ApiKeyRead(**_members(key))


def present_created_api_key(key: ApiKey, text: str) -> ApiKeyCreated:
    """Present a new key with `text`, the credential, which is shown only once."""
    return ApiKeyCreated(**_members(key), key=text)


def _members(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": PREFIX + key.public_id,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
