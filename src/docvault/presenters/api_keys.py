"""API keys."""

from typing import Any

from docvault.auth.api_keys import PREFIX
from docvault.domain.api_keys import ApiKey
from docvault.domain.scopes import Scope
from docvault.schemas.api_keys import ApiKeyCreated, ApiKeyLimits, ApiKeyRead, OwnApiKeyRead
from docvault.settings import Settings


def present_api_key(key: ApiKey) -> ApiKeyRead:
    """Present a key without its secret."""
    return ApiKeyRead(**_members(key))


def present_created_api_key(key: ApiKey, text: str) -> ApiKeyCreated:
    """Present a new key with `text`, the credential, which is shown only once."""
    return ApiKeyCreated(**_members(key), key=text)


def present_own_api_key(key: ApiKey, settings: Settings) -> OwnApiKeyRead:
    """Present the key of the caller, with its limits."""
    return OwnApiKeyRead(
        id=key.id,
        name=key.name,
        scopes=[Scope(scope) for scope in key.scopes],
        created_at=key.created_at,
        expires_at=key.expires_at,
        limits=ApiKeyLimits(
            # In settings, 0 means unlimited.
            requests_per_minute=settings.api_key_requests_per_minute or None,
            concurrent_downloads=settings.api_key_max_concurrent_downloads or None,
        ),
    )


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
