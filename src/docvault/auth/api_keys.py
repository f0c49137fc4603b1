"""API keys: how one is made, recognised and checked (D13). No HTTP, no SQL.

    dv_live_<8 characters of id>_<43 characters of secret><6 characters of CRC-32>

All in base 62. 43 characters of base 62 are 256 bits; the checksum finds a mistyped key
before the database is asked.
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
    """A key whose form and checksum are right; whether it is valid the database knows."""

    public_id: str
    secret: str


def generate_key() -> tuple[str, PresentedKey]:
    """Return a new key as shown once to its owner, and its parts."""
    public_id = _random(ID_LENGTH)
    secret = _random(SECRET_LENGTH)
    body = f"{PREFIX}{public_id}_{secret}"
    return body + _checksum(body), PresentedKey(public_id, secret)


def parse_key(text: str) -> PresentedKey | None:
    """Return the parts of a key, or None when its form or checksum is wrong."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    public_id, secret, checksum = match.groups()
    if not hmac.compare_digest(_checksum(text[:-CHECKSUM_LENGTH]), checksum):
        return None
    return PresentedKey(public_id, secret)


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """Return the keyed hash that is stored. The secret has 256 bits, so no slow hash is needed."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def secret_matches(pepper: bytes, secret: str, stored: bytes | None) -> bool:
    """Compare in constant time, and just as long when there is nothing to compare with."""
    presented = hash_secret(pepper, secret)
    return hmac.compare_digest(presented, stored or bytes(len(presented))) and stored is not None


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    value = zlib.crc32(text.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
