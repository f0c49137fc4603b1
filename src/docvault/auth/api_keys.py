"""API keys: creating, parsing and checking them (D13). No HTTP, no SQL.

    dv_live_<8 characters of id>_<43 characters of secret><6 characters of CRC-32>

All parts are in base 62. 43 characters of base 62 are 256 bits. The checksum detects a mistyped key
without a query to the database.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "dv_live_"
ID_LENGTH = 8
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6

_PATTERN = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})"
    rf"([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key with a correct form and checksum; only the database knows whether it is valid."""

    public_id: str
    secret: str


def generate_key() -> tuple[str, PresentedKey]:
    """Create a key; return its text, which is shown once, and its parts."""
    public_id = _generate_text(ID_LENGTH)
    secret = _generate_text(SECRET_LENGTH)
    body = f"{PREFIX}{public_id}_{secret}"
    return body + _compute_checksum(body), PresentedKey(public_id, secret)


def parse_key(text: str) -> PresentedKey | None:
    """Return the parts of a key, or None if its form or checksum is wrong."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    public_id, secret, checksum = match.groups()
    if not hmac.compare_digest(_compute_checksum(text[:-CHECKSUM_LENGTH]), checksum):
        return None
    return PresentedKey(public_id, secret)


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """Return the keyed hash to store. A secret of 256 bits needs no slow hash."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def secret_matches(pepper: bytes, secret: str, stored: bytes) -> bool:
    """Compare a secret with a stored hash in constant time."""
    return hmac.compare_digest(hash_secret(pepper, secret), stored)


def _generate_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _compute_checksum(text: str) -> str:
    value = zlib.crc32(text.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
