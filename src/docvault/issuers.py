"""Trusted issuers of tokens: their keys, what their tokens look like, and who their callers are.

`DOCVAULT_ISSUERS` is a list of these; the `DOCVAULT_JWT_*` settings describe one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from docvault.addresses import is_host

# The asymmetric algorithms; `none` and the symmetric ones are never accepted (RFC 8725, D10).
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
DEFAULT_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
DEFAULT_TYPES: Final = ("at+jwt",)
# The issuer of the simple settings in logs, metrics and `/readyz`.
SIMPLE_NAME: Final = "default"
MAX_ISSUERS = 50
MAX_PATH_LENGTH = 8

# Dots that are not escaped.
_DOT = re.compile(r"(?<!\\)\.")


def parse_path(text: str) -> tuple[str, ...]:
    r"""Return the names that lead to a claim: `a.b` is member b of claim a, `a\.b` one name.

    A URL, as in namespaced claims, is one name.
    """
    if "://" in text:
        return (text,)
    return tuple(part.replace("\\.", ".") for part in _DOT.split(text))


def _check_path(text: str) -> str:
    path = parse_path(text)
    if not all(map(str.strip, path)) or len(path) > MAX_PATH_LENGTH:
        raise ValueError("must be the name of a claim, or a path like realm_access.roles")
    return text


def _to_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


ClaimPath = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_check_path)]
Text = Annotated[str, Field(min_length=1, max_length=255)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=100), BeforeValidator(_to_tuple)]
Paths = Annotated[tuple[ClaimPath, ...], Field(min_length=1, max_length=10)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def accept_arrays(cls, value: object) -> object:
        """Accept JSON arrays for tuples, which strict mode refuses outside of JSON."""
        return tuple(value) if isinstance(value, list) else value


class AccessTokenClaim(_Part):
    """The claim that marks access tokens, for issuers whose tokens have no distinctive `typ`."""

    claim: ClaimPath
    # Without values the claim only has to be present.
    values: Texts | None = None


class StaffRule(_Part):
    """Which of an issuer's callers are staff, and in which role."""

    claim: Annotated[Paths, BeforeValidator(_to_tuple)]
    admin: Texts | None = None
    auditor: Texts | None = None

    @model_validator(mode="after")
    def require_role(self) -> Self:
        """Reject a rule that makes nobody staff."""
        if self.admin is None and self.auditor is None:
            raise ValueError("needs admin, auditor or both")
        return self


class CustomerRule(_Part):
    """Which of an issuer's callers are customers; all of them, without `claim`."""

    id: ClaimPath = "sub"
    claim: Annotated[Paths, BeforeValidator(_to_tuple)] | None = None
    values: Texts | None = None

    @model_validator(mode="after")
    def require_both_or_none(self) -> Self:
        """Reject half a condition, which would be no condition."""
        if (self.claim is None) != (self.values is None):
            raise ValueError("claim and values require each other")
        return self


class Issuer(_Part):
    """One trusted issuer. A token is judged by the rules of the issuer that it names, alone."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    issuer: Text
    jwks_url: Text | None = None
    jwks: dict[str, Any] | None = None
    audience: Texts
    audience_claim: Literal["aud", "client_id"] = "aud"
    algorithms: Texts = DEFAULT_ALGORITHMS
    types: Annotated[tuple[Text, ...], BeforeValidator(_to_tuple)] = DEFAULT_TYPES
    access_token_claim: AccessTokenClaim | None = None
    staff: StaffRule | None = None
    customers: CustomerRule | None = None

    @field_validator("issuer")
    @classmethod
    def validate_issuer(cls, value: str) -> str:
        return check_issuer(value)

    @field_validator("jwks_url")
    @classmethod
    def validate_jwks_url(cls, value: str | None) -> str | None:
        return None if value is None else check_jwks_url(value)

    @field_validator("jwks")
    @classmethod
    def validate_jwks(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else _check_public_keys(value)

    @field_validator("algorithms")
    @classmethod
    def validate_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_algorithms(value)

    @model_validator(mode="after")
    def require_keys_and_callers(self) -> Self:
        """Reject issuers whose tokens could not be verified, or are of no use."""
        if (self.jwks_url is None) == (self.jwks is None):
            raise ValueError("needs either jwks_url or jwks")
        if self.staff is None and self.customers is None:
            raise ValueError("needs staff, customers or both")
        if self.staff is not None and self.customers is not None and self.customers.claim is None:
            raise ValueError("customers needs claim and values if the issuer also has staff")
        if not self.types and self.access_token_claim is None:
            raise ValueError("needs access_token_claim where types is empty")
        return self

    @property
    def is_simple(self) -> bool:
        """Whether this is the issuer of the `DOCVAULT_JWT_*` settings."""
        return self.name == SIMPLE_NAME


def check_issuer(value: str) -> str:
    """Return the value of `iss` if it is one; raises `ValueError`."""
    if "," in value or any(character.isspace() for character in value):
        raise ValueError("must be one issuer, without commas; list several in DOCVAULT_ISSUERS")
    return value


def check_audience(value: str) -> str:
    """Return the value of `aud` if it is one; raises `ValueError`."""
    if "," in value or value != value.strip():
        raise ValueError("must be one audience, without commas; list several in DOCVAULT_ISSUERS")
    return value


def check_jwks_url(value: str) -> str:
    """Require HTTPS, or anyone on the network path could replace the keys (D11)."""
    try:
        url = urlsplit(value)
        # Reading the port checks it.
        _ = url.port
    except ValueError:
        url = urlsplit("")
    is_local = url.hostname in {"localhost", "127.0.0.1", "::1"}
    is_secure = url.scheme == "https" or (url.scheme == "http" and is_local)
    # A comma is legal in a path, but here it separates two addresses.
    if not (is_host(url.hostname) and is_secure) or re.search(r"[,\s]", value):
        raise ValueError("must be one URL like https://id.example.org/jwks; http only on localhost")
    if "@" in url.netloc:
        raise ValueError("must not contain a user name or a password")
    return value


def check_algorithms(value: tuple[str, ...]) -> tuple[str, ...]:
    """Reject `none` and the symmetric algorithms (RFC 8725, section 3.1; D10)."""
    if not value or set(value) - set(ALGORITHMS):
        raise ValueError(f"only {', '.join(ALGORITHMS)} are allowed")
    return value


def parse_issuers(text: str) -> tuple[Issuer, ...]:
    """Return the issuers of a JSON text; raises `ValueError` with the place of the mistake."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("is not JSON: it is nested too deeply") from None
    if not isinstance(found, list) or not 0 < len(found) <= MAX_ISSUERS:
        raise ValueError(f"must be a list of 1 to {MAX_ISSUERS} issuers")
    try:
        issuers = TypeAdapter(tuple[Issuer, ...]).validate_python(tuple(found))
    except ValidationError as error:
        raise ValueError("; ".join(_describe(found, item) for item in error.errors())) from None
    _require_distinct("name", [issuer.name for issuer in issuers])
    _require_distinct("issuer", [issuer.issuer for issuer in issuers])
    if any(issuer.is_simple for issuer in issuers):
        raise ValueError(f"name: {SIMPLE_NAME} is reserved for DOCVAULT_JWT_ISSUER")
    return issuers


def _require_distinct(member: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{member}: {value} appears twice")


def _describe(found: Sequence[object], error: Mapping[str, Any]) -> str:
    """Return where an entry is wrong and why; without the value, which may be a private key."""
    index, *path = error["loc"]
    entry = found[index]
    name = entry.get("name") if isinstance(entry, dict) else None
    place = ".".join(map(str, [f"[{index}]", *path]))
    label = f" of {name}" if isinstance(name, str) and name.isprintable() else ""
    return f"{place}{label}: {error['msg'].removeprefix('Value error, ')}"


def _check_public_keys(value: dict[str, Any]) -> dict[str, Any]:
    keys = value.get("keys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError('must be a key set like {"keys": [{"kty": "RSA", ...}]}')
    if any("d" in key or key.get("kty") == "oct" for key in keys):
        raise ValueError("must hold public keys only")
    return value
