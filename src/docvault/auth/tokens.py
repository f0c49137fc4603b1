"""Bearer tokens: JWTs of the host's identity provider, checked as RFC 8725 asks (D10 to D12)."""

import base64
import binascii
import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from docvault.auth.scopes import ADMIN_SCOPE, CUSTOMER_SCOPE
from docvault.errors import InvalidToken, TokenExpired
from docvault.settings import Settings

MAX_TOKEN_LENGTH = 8 * 1024
MAX_LIFETIME_SECONDS = 24 * 3600
LEEWAY_SECONDS = 60
MAX_SUBJECT_LENGTH = 255
# So that the next requests of a caller need not verify the signature; 32 bytes and the claims each.
REMEMBERED_TOKENS = 10_000
SEGMENTS = 3


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What docvault takes from a valid token."""

    subject: str
    customer: str | None
    issued_at: int
    is_admin: bool
    is_customer: bool


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature was right, and with which key."""

    key_id: str | None
    algorithm: str
    signer: Key
    claims: Mapping[str, Any]


class KeySource(Protocol):
    """Where the keys that verify tokens come from."""

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the public keys that may have signed with this algorithm; none is an answer."""
        ...


class TokenVerifier:
    """Checks a token against the keys and the settings of this deployment."""

    def __init__(self, settings: Settings, issuer: str, keys: KeySource) -> None:
        self._issuer = issuer
        self._audience = settings.jwt_audience
        self._algorithms = settings.jwt_algorithms
        self._types = {_token_type(name) for name in settings.jwt_types}
        self._customer_claim = settings.jwt_customer_claim
        self._keys = keys
        # A signature stays right for as long as its key is one of ours; everything else about
        # a token is checked each time.
        self._verified: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> TokenClaims:
        """Return the claims of a valid token.

        Raises `TokenExpired` for one that was valid, `InvalidToken` for any other.
        """
        if len(token) > MAX_TOKEN_LENGTH or token.count(".") != SEGMENTS - 1 or not token.isascii():
            raise InvalidToken
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        if verified is None or not await self._is_trusted(verified):
            verified = await self._verify_signature(token)
            self._remember(digest, verified)
        return self._check_claims(verified.claims)

    def _check_header(self, header: dict[str, Any]) -> None:
        if header.get("alg") not in self._algorithms or "crit" in header:
            raise InvalidToken
        if _token_type(header.get("typ")) not in self._types:
            raise InvalidToken("The token is not of an accepted type.")
        if not isinstance(header.get("kid", ""), str):
            raise InvalidToken

    async def _verify_signature(self, token: str) -> "_Verified":
        header = _decode_header(token)
        self._check_header(header)
        key_id, algorithm = header.get("kid"), header["alg"]
        for key in await self._keys.find(key_id, algorithm):
            payload = _verified_payload(token, key, algorithm)
            if payload is not None:
                return _Verified(key_id, algorithm, key, _parse_object(payload))
        raise InvalidToken

    async def _is_trusted(self, verified: "_Verified") -> bool:
        return verified.signer in await self._keys.find(verified.key_id, verified.algorithm)

    def _remember(self, digest: bytes, verified: "_Verified") -> None:
        if len(self._verified) >= REMEMBERED_TOKENS:
            # The oldest: a dictionary keeps the order of insertion.
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified

    def _check_claims(self, claims: Mapping[str, Any]) -> TokenClaims:
        if claims.get("iss") != self._issuer or not self._is_audience(claims.get("aud")):
            raise InvalidToken("The token is not meant for this service.")
        issued_at, expires_at = _seconds(claims, "iat"), _seconds(claims, "exp")
        now = time.time()
        if issued_at > now + LEEWAY_SECONDS or expires_at - issued_at > MAX_LIFETIME_SECONDS:
            raise InvalidToken("The token's life time is not accepted.")
        if "nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY_SECONDS:
            raise InvalidToken("The token is not valid yet.")
        if expires_at <= now - LEEWAY_SECONDS:
            raise TokenExpired
        return self._identity(claims, issued_at)

    def _identity(self, claims: Mapping[str, Any], issued_at: int) -> TokenClaims:
        scopes = _scopes(claims)
        is_admin, is_customer = ADMIN_SCOPE in scopes, CUSTOMER_SCOPE in scopes
        if is_admin and is_customer:
            raise InvalidToken("A token is for staff or for a customer, not for both.")
        subject = _text(claims.get("sub"))
        customer = _text(claims.get(self._customer_claim)) if is_customer else None
        return TokenClaims(subject, customer, issued_at, is_admin, is_customer)

    def _is_audience(self, audience: object) -> bool:
        if isinstance(audience, list):
            return self._audience in audience
        return audience == self._audience


def _verified_payload(token: str, key: Key, algorithm: str) -> bytes | None:
    with warnings.catch_warnings():
        # RFC 9864 renames EdDSA; identity providers still sign under the old name.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return jws.deserialize_compact(token, key, registry=_registry(algorithm)).payload
        except (JoseError, ValueError, TypeError):
            return None


def _registry(algorithm: str) -> JWSRegistry:
    """Return what reads a token: parameters it does not know are ignored (RFC 7515, section 4)."""
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = MAX_TOKEN_LENGTH
    return registry


def _decode_header(token: str) -> dict[str, Any]:
    segment = token.split(".", 1)[0]
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidToken from None
    return _parse_object(raw)


def _parse_object(raw: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidToken from None
    if not isinstance(parsed, dict):
        raise InvalidToken
    return parsed


def _token_type(value: object) -> str | None:
    """Return the `typ` in lower case without the `application/` that may be left out."""
    if not isinstance(value, str):
        return None
    return value.lower().removeprefix("application/")


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**40:
        raise InvalidToken(f"The token has no usable {name}.")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUBJECT_LENGTH:
        raise InvalidToken("The token names nobody.")
    if not value.isprintable():
        raise InvalidToken("The token names nobody.")
    return value


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """Return the scopes of `scope` (RFC 8693, space-separated) and of the list `scp` together."""
    scopes: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            scopes |= set(value.split(" "))
        elif isinstance(value, list):
            scopes |= {item for item in value if isinstance(item, str)}
    return scopes
