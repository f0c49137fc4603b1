"""Bearer tokens: JWTs of trusted issuers, verified according to RFC 8725 (D10 to D12)."""

import base64
import binascii
import hashlib
import json
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from docvault.auth.claims import has_any, read_seconds, read_subject, read_values
from docvault.domain.scopes import StaffRole
from docvault.errors import InvalidToken, TokenExpired
from docvault.issuers import CustomerRule, Issuer, StaffRule

MAX_TOKEN_LENGTH = 8 * 1024
MAX_LIFETIME_SECONDS = 24 * 3600
LEEWAY_SECONDS = 60
# Cached, so that further requests of a caller need no signature check; each takes 32 bytes and the
# claims.
CACHED_TOKENS = 10_000
SEGMENTS = 3
_FOREIGN = "The token has a different issuer or audience."


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The claims of a valid token that docvault uses.

    The subject of an issuer of `DOCVAULT_ISSUERS` begins with its name: two issuers may use one
    `sub` for two people.
    """

    subject: str
    customer: str | None
    issued_at: float
    roles: frozenset[StaffRole]
    is_customer: bool

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything."""
        return StaffRole.ADMIN in self.roles


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer and its keys, which verify no other issuer's tokens."""

    issuer: Issuer
    keys: "KeySource"


@dataclass(frozen=True, slots=True)
class _Verified:
    """The claims of a token with a valid signature, and the issuer's key that verified it."""

    trusted: TrustedIssuer
    key_id: str | None
    algorithm: str
    signer: Key
    claims: Mapping[str, Any]


class KeySource(Protocol):
    """The source of the keys that verify tokens of one issuer."""

    @property
    def failure(self) -> str | None:
        """Why the keys could not be fetched at the last try, None if they could."""
        ...

    @property
    def is_usable(self) -> bool:
        """Whether tokens can be verified at all."""
        ...

    async def refresh(self) -> None:
        """Fetch the keys, unless that was tried a moment ago."""
        ...

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the public keys for this algorithm that may verify the token; possibly none."""
        ...


class TokenVerifier:
    """Verifies tokens, each with the keys and by the rules of the issuer that it names."""

    def __init__(self, trusted: Iterable[TrustedIssuer]) -> None:
        self.trusted = tuple(trusted)
        self._by_issuer = {one.issuer.issuer: one for one in self.trusted}
        # No subject of the simple settings may pass for one of another issuer.
        self._prefixes = tuple(f"{one.issuer.name}:" for one in self.trusted)
        # A signature stays valid as long as its key is in use; everything else is checked again for
        # each request.
        self._verified: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> TokenClaims:
        """Return the claims of a valid token; raises `TokenExpired` or `InvalidToken`."""
        if len(token) > MAX_TOKEN_LENGTH or token.count(".") != SEGMENTS - 1 or not token.isascii():
            raise InvalidToken
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        if verified is None or not await _is_still_trusted(verified):
            verified = await self._verify_signature(token)
            self._remember(digest, verified)
        issuer, claims = verified.trusted.issuer, verified.claims
        issued_at = _check_claims(issuer, claims)
        return self._read_caller(issuer, claims, issued_at)

    async def _verify_signature(self, token: str) -> "_Verified":
        header_segment, payload_segment, _ = token.split(".")
        header = _decode_object(header_segment)
        # Not verified yet: this only selects whose keys and rules apply, so that a token of an
        # unknown issuer causes no request to anybody.
        trusted = self._find_issuer(_decode_object(payload_segment).get("iss"))
        _check_header(trusted.issuer, header)
        key_id, algorithm = header.get("kid"), header["alg"]
        for key in await trusted.keys.find(key_id, algorithm):
            payload = _verify_payload(token, key, algorithm)
            if payload is not None:
                return _Verified(trusted, key_id, algorithm, key, _parse_object(payload))
        raise InvalidToken

    def _find_issuer(self, name: object) -> TrustedIssuer:
        trusted = self._by_issuer.get(name) if isinstance(name, str) else None
        if trusted is None:
            raise InvalidToken(_FOREIGN)
        return trusted

    def _remember(self, digest: bytes, verified: "_Verified") -> None:
        if len(self._verified) >= CACHED_TOKENS:
            # The oldest, since a dictionary keeps the order of insertion.
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified

    def _read_caller(
        self, issuer: Issuer, claims: Mapping[str, Any], issued_at: float
    ) -> TokenClaims:
        staff, customers = issuer.staff, issuer.customers
        roles = frozenset() if staff is None else _read_roles(staff, claims)
        is_customer = customers is not None and _is_customer(customers, claims)
        if roles and is_customer:
            raise InvalidToken("The token must not be both staff's and a customer's.")
        subject = self._qualify(issuer, read_subject(claims, "sub"))
        customer = read_subject(claims, customers.id) if customers and is_customer else None
        return TokenClaims(subject, customer, issued_at, roles, is_customer)

    def _qualify(self, issuer: Issuer, subject: str) -> str:
        if not issuer.is_simple:
            return f"{issuer.name}:{subject}"
        if subject.startswith(self._prefixes):
            raise InvalidToken("The token has no valid subject.")
        return subject


async def _is_still_trusted(verified: _Verified) -> bool:
    found = await verified.trusted.keys.find(verified.key_id, verified.algorithm)
    return verified.signer in found


def _read_roles(rule: StaffRule, claims: Mapping[str, Any]) -> frozenset[StaffRole]:
    values = {StaffRole.ADMIN: rule.admin, StaffRole.AUDITOR: rule.auditor}
    return frozenset(
        role for role, wanted in values.items() if wanted and has_any(claims, rule.claim, wanted)
    )


def _is_customer(rule: CustomerRule, claims: Mapping[str, Any]) -> bool:
    return rule.claim is None or has_any(claims, rule.claim, rule.values or ())


def _check_header(issuer: Issuer, header: Mapping[str, Any]) -> None:
    if header.get("alg") not in issuer.algorithms or "crit" in header:
        raise InvalidToken
    if not _is_accepted_type(issuer, header):
        raise InvalidToken("The token type is not accepted.")
    if not isinstance(header.get("kid", ""), str):
        raise InvalidToken


def _is_accepted_type(issuer: Issuer, header: Mapping[str, Any]) -> bool:
    if "typ" not in header:
        # Then the claim, which is checked after the signature, has to tell.
        return issuer.access_token_claim is not None
    return _normalize_type(header["typ"]) in map(_normalize_type, issuer.types)


def _check_claims(issuer: Issuer, claims: Mapping[str, Any]) -> float:
    """Return when the token was issued; raises `TokenExpired` or `InvalidToken`."""
    if claims.get("iss") != issuer.issuer or not _is_audience(issuer, claims):
        raise InvalidToken(_FOREIGN)
    if not _is_access_token(issuer, claims):
        raise InvalidToken("The token type is not accepted.")
    issued_at, expires_at = read_seconds(claims, "iat"), read_seconds(claims, "exp")
    now = time.time()
    if issued_at > now + LEEWAY_SECONDS or expires_at - issued_at > MAX_LIFETIME_SECONDS:
        raise InvalidToken("The token was issued in the future, or its lifetime is too long.")
    if "nbf" in claims and read_seconds(claims, "nbf") > now + LEEWAY_SECONDS:
        raise InvalidToken("The token is not yet valid.")
    if expires_at <= now - LEEWAY_SECONDS:
        raise TokenExpired
    return issued_at


def _is_audience(issuer: Issuer, claims: Mapping[str, Any]) -> bool:
    found = claims.get(issuer.audience_claim)
    names = found if isinstance(found, list) else [found]
    return any(name in issuer.audience for name in names)


def _is_access_token(issuer: Issuer, claims: Mapping[str, Any]) -> bool:
    rule = issuer.access_token_claim
    if rule is None:
        return True
    if rule.values is not None:
        return has_any(claims, [rule.claim], rule.values)
    return any(read_values(claims, rule.claim))


def _verify_payload(token: str, key: Key, algorithm: str) -> bytes | None:
    """Return the payload, or None if the signature is not valid."""
    with warnings.catch_warnings():
        # RFC 9864 renames EdDSA; identity providers still sign under the old name.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return jws.deserialize_compact(token, key, registry=_make_registry(algorithm)).payload
        except (JoseError, ValueError, TypeError):
            return None


def _make_registry(algorithm: str) -> JWSRegistry:
    """Return a registry that ignores unknown header parameters (RFC 7515, section 4)."""
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = MAX_TOKEN_LENGTH
    return registry


def _decode_object(segment: str) -> dict[str, Any]:
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


def _normalize_type(value: object) -> str | None:
    """Return the `typ` in lower case, without the optional `application/`."""
    if not isinstance(value, str):
        return None
    return value.lower().removeprefix("application/")
