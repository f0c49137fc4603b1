"""API keys of integrations."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: UUID
    public_id: str
    name: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime

    def allows(self, scope: str) -> bool:
        """Return whether the key is valid and has the scope."""
        is_over = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return self.revoked_at is None and not is_over and scope in self.scopes


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key to store, with the keyed hash of its secret."""

    public_id: str
    secret_hash: bytes
    name: str
    scopes: list[str]
    expires_at: datetime | None
