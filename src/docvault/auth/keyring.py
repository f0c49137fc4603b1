"""Keys derived from the one secret of a deployment."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from docvault.settings import SECRET_BYTES, Settings, SettingsError

_UPLOAD_TOKEN = re.compile(r"[0-9a-f]{96}")


class Keyring:
    """Separate keys for separate purposes, so that one cannot stand in for another."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise SettingsError(f"DOCVAULT_SECRET_KEY needs at least {SECRET_BYTES} bytes")
        self._secret = secret
        self.api_key_pepper = self._derive("api-key-pepper")
        self.cursor_key = self._derive("cursor")
        self._pseudonym_key = self._derive("pseudonym")
        self._idempotency_key = self._derive("idempotency")
        self._upload_key = self._derive("upload")
        self._rate_limit_key = self._derive("rate-limit")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Keyring":
        """Take the configured secret, or the one made at first start inside the data directory."""
        return cls(secret_key(settings).encode())

    def pseudonym(self, external_id: str) -> str:
        """Return what stands for a customer id where the id itself must not stay (A-28)."""
        digest = hmac.digest(self._pseudonym_key, external_id.encode(), hashlib.sha256)
        return f"anon-{digest[:16].hex()}"

    def idempotency_id(self, *parts: str) -> bytes:
        """Return the row id of an idempotency key: 32 bytes over all that it is scoped to."""
        message = "\x00".join(parts).encode()
        return hmac.digest(self._idempotency_key, message, hashlib.sha256)

    def rate_limit_id(self, *parts: str) -> bytes:
        """Return what a count is kept under: 32 bytes that tell nothing about whom it counts."""
        message = "\x00".join(parts).encode()
        return hmac.digest(self._rate_limit_key, message, hashlib.sha256)

    def upload_token(self, session_id: UUID) -> str:
        """Return what lets its holder send the bytes of an upload session, 96 characters."""
        return session_id.hex + hmac.digest(self._upload_key, session_id.bytes, "sha256").hex()

    def session_of(self, token: str) -> UUID | None:
        """Return the session of an upload token; None when the token is not one of ours."""
        if _UPLOAD_TOKEN.fullmatch(token) is None:
            return None
        session_id = UUID(token[:32])
        return session_id if hmac.compare_digest(token, self.upload_token(session_id)) else None

    def _derive(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, f"docvault/{purpose}".encode(), hashlib.sha256)


def secret_key(settings: Settings) -> str:
    """Return the configured secret, or the one made at first start inside the data directory."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = secrets_dir(settings.data_dir) / "secret-key"
    return read_or_create(path, lambda: secrets.token_hex(SECRET_BYTES))


def secrets_dir(data_dir: Path) -> Path:
    """Return the folder for secrets, made for its owner alone."""
    path = data_dir / "secrets"
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Return the content of a secret file, creating it (0600) when it is not there."""
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link does not replace: of two processes that start at once, one wins for both.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()
