"""Keys derived from the deployment's single secret."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from docvault.settings import SECRET_BYTES, Settings, SettingsError

_UPLOAD_TOKEN = re.compile(r"[0-9a-f]{96}")


class Keyring:
    """A separate key for each purpose, so that none can be used for another purpose.

    While the secret is being replaced there are two: what is made uses the first one, and what
    either has made is accepted.
    """

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self._keys = _Keys(secret)
        self._all = (self._keys,) if previous is None else (self._keys, _Keys(previous))
        self.api_key_peppers = tuple(keys.api_key_pepper for keys in self._all)
        self.cursor_keys = tuple(keys.cursor for keys in self._all)
        self.content_url_keys = tuple(keys.content_url for keys in self._all)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Keyring":
        """Use the configured secrets, or the one created in the data directory at first start."""
        secret, previous = secret_key(settings), settings.secret_key_previous
        if previous is None:
            return cls(secret.encode())
        return cls(secret.encode(), previous.get_secret_value().encode())

    @property
    def api_key_pepper(self) -> bytes:
        """Return the pepper of what is stored from now on."""
        return self._keys.api_key_pepper

    @property
    def cursor_key(self) -> bytes:
        """Return the key of new cursors."""
        return self._keys.cursor

    def pseudonym(self, external_id: str) -> str:
        """Return the replacement of a customer id that must not be kept after an erasure."""
        return self._keys.pseudonymize(external_id)

    def pseudonyms(self, external_id: str) -> tuple[str, ...]:
        """Return all pseudonyms that an id may be stored under."""
        return tuple(keys.pseudonymize(external_id) for keys in self._all)

    def idempotency_id(self, *parts: str) -> bytes:
        """Return the row id of an idempotency key: 32 bytes derived from the key and its scope."""
        return _digest(self._keys.idempotency, parts)

    def idempotency_ids(self, *parts: str) -> tuple[bytes, ...]:
        """Return all ids that a key may be stored under, that of a new one first."""
        return tuple(_digest(keys.idempotency, parts) for keys in self._all)

    def rate_limit_id(self, *parts: str) -> bytes:
        """Return the row id of a counter: 32 bytes that do not reveal whom it counts."""
        return _digest(self._keys.rate_limit, parts)

    def seal_webhook_secret(self, webhook_id: UUID, secret: str) -> bytes:
        """Encrypt a secret for the database; no other webhook can use the result."""
        return AESSIV(self._keys.webhook_secret).encrypt(secret.encode(), [webhook_id.bytes])

    def open_webhook_secret(self, webhook_id: UUID, sealed: bytes) -> str | None:
        """Return a secret, or None if it was sealed with a key that is no longer known."""
        for keys in self._all:
            with suppress(InvalidTag):
                return AESSIV(keys.webhook_secret).decrypt(sealed, [webhook_id.bytes]).decode()
        return None

    def upload_token(self, session_id: UUID) -> str:
        """Return the token (96 characters) that allows to upload the bytes of a session."""
        return self._keys.make_upload_token(session_id)

    def session_of(self, token: str) -> UUID | None:
        """Return the session of an upload token, or None if the token is invalid."""
        if _UPLOAD_TOKEN.fullmatch(token) is None:
            return None
        session_id = UUID(token[:32])
        valid = [
            hmac.compare_digest(token, keys.make_upload_token(session_id)) for keys in self._all
        ]
        return session_id if any(valid) else None


class _Keys:
    """The keys derived from one secret."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise SettingsError(f"DOCVAULT_SECRET_KEY must have at least {SECRET_BYTES} bytes")
        self.api_key_pepper = _derive(secret, "api-key-pepper")
        self.cursor = _derive(secret, "cursor")
        self.content_url = _derive(secret, "content-url")
        self.idempotency = _derive(secret, "idempotency")
        self.rate_limit = _derive(secret, "rate-limit")
        self.webhook_secret = _derive(secret, "webhook-secret")
        self._pseudonym = _derive(secret, "pseudonym")
        self._upload = _derive(secret, "upload")

    def pseudonymize(self, external_id: str) -> str:
        digest = hmac.digest(self._pseudonym, external_id.encode(), hashlib.sha256)
        return f"anon-{digest[:16].hex()}"

    def make_upload_token(self, session_id: UUID) -> str:
        return session_id.hex + hmac.digest(self._upload, session_id.bytes, "sha256").hex()


def _derive(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"docvault/{purpose}".encode(), hashlib.sha256)


def _digest(key: bytes, parts: tuple[str, ...]) -> bytes:
    return hmac.digest(key, "\x00".join(parts).encode(), hashlib.sha256)


def secret_key(settings: Settings) -> str:
    """Return the configured secret, or the one created at the first start in the data directory."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = secrets_dir(settings.data_dir) / "secret-key"
    return read_or_create(path, lambda: secrets.token_hex(SECRET_BYTES))


def secrets_dir(data_dir: Path) -> Path:
    """Create the private folder for secrets; return its path."""
    path = data_dir / "secrets"
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Return the content of a secret file; create it (0600) if it does not exist."""
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
        # A link does not replace a file: two processes that start together use the same secret.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()
