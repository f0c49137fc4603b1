"""Keys and signatures of Standard Webhooks 1.0: HMAC-SHA256 (`v1`) and Ed25519 (`v1a`)."""

import hmac
import secrets
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SECRET, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_SECRET_BYTES = 32


def new_hmac_secret() -> str:
    """Return a random secret for both sides."""
    return _SECRET + _encode(secrets.token_bytes(_SECRET_BYTES))


def new_ed25519_key() -> str:
    """Return a random private key."""
    return _PRIVATE + _encode(Ed25519PrivateKey.generate().private_bytes_raw())


def public_key_of(private: str) -> str:
    """Return the key with which receivers verify."""
    return _PUBLIC + _encode(_load_private(private).public_key().public_bytes_raw())


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature for the header `webhook-signature`; `timestamp` is in seconds."""
    content = f"{message_id}.{timestamp}.".encode() + body
    if secret.startswith(_PRIVATE):
        return "v1a," + _encode(_load_private(secret).sign(content))
    return "v1," + _encode(hmac.digest(_decode(secret, _SECRET), content, "sha256"))


def _load_private(private: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_decode(private, _PRIVATE))


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


def _decode(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        raise ValueError(f"the key does not begin with {prefix}")
    return b64decode(text.removeprefix(prefix), validate=True)
