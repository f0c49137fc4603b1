"""Environment variables to typed settings; the table in the README lists them all."""

import os
import re
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

MEBIBYTE = 1024 * 1024
SECRET_BYTES = 32
LAST_PORT = 65535
# Of 64 random hexadecimal digits, less than half as many different ones come once in 10^16 times.
SECRET_CHARACTERS = 8

PREFIX = "DOCVAULT_"
# What docker-compose.yml itself reads; a shell that runs it may export them.
_OF_COMPOSE = frozenset({"DOCVAULT_PUBLISH", "DOCVAULT_SECRETS"})

# Where container engines mount secrets: a file docvault_secret_key is DOCVAULT_SECRET_KEY.
SECRETS_DIR = Path("/run/secrets")
# What stands in examples, and therefore protects nothing.
_EXAMPLE = re.compile(
    r"change.?me|example|placeholder|insecure|your.?(secret|password)", re.IGNORECASE
)
# What people set "for now", and everybody tries first.
_COMMON_PASSWORD = re.compile(
    r"(docvault|postgres(ql)?|pass(word)?|secret|admin|root|test|user|database|db|dev)?\d*",
    re.IGNORECASE,
)

# Files are neither redirected to nor encrypted by their store.
_FOR_S3 = ("redirect_downloads", "s3_encryption")

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """The settings contradict each other or cannot be used; the message says which and why."""


class Settings(BaseSettings):
    """What a deployment decides. Sizes are bytes, durations seconds unless the name says more."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        # Naming a folder that is not there would be a warning at every start.
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
    )

    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    database_pool_size: int = Field(default=10, ge=1, le=200)
    storage_url: str | None = None
    spool_dir: Path | None = None
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
    s3_encryption: Literal["AES256", "aws:kms"] | None = None
    s3_kms_key_id: str | None = None
    secret_key: SecretStr | None = None
    public_url: str | None = None
    redirect_downloads: bool = False
    accel_prefix: str | None = Field(default=None, pattern=r"^/[A-Za-z0-9._~/-]*[^/]$")

    jwt_issuer: str | None = None
    jwt_audience: str = "docvault"
    jwt_jwks_url: str | None = None
    jwt_algorithms: CommaSeparated = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    jwt_types: CommaSeparated = ("at+jwt",)
    jwt_customer_claim: str = "sub"

    # For each caller; 0 switches a limit off (D18).
    customer_uploads_per_minute: int = Field(default=60, ge=0)
    customer_requests_per_minute: int = Field(default=600, ge=0)
    api_key_requests_per_minute: int = Field(default=6000, ge=0)
    failed_credentials_per_minute: int = Field(default=20, ge=0)
    customer_max_files: int = Field(default=10_000, ge=0)
    customer_max_bytes: int = Field(default=2048 * MEBIBYTE, ge=0)
    customer_max_parallel_uploads: int = Field(default=4, ge=0)
    trusted_proxies: CommaSeparated = ()

    max_upload_bytes: int = Field(default=100 * MEBIBYTE, ge=1)
    default_max_file_bytes: int = Field(default=25 * MEBIBYTE, ge=1)
    max_parallel_uploads: int = Field(default=16, ge=1)
    body_idle_seconds: float = Field(default=15, gt=0)
    body_total_seconds: float = Field(default=600, gt=0)
    keep_versions: int = Field(default=10, ge=1)
    backup_window_hours: int = Field(default=0, ge=0)
    clamd: str | None = None

    worker: Literal["auto", "inside", "separate"] = "auto"
    metrics_bind: str | None = Field(default=None, pattern=r"^\S+:\d{1,5}$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def no_unknown_names(cls, values: object) -> object:
        """Refuse a variable or secret that would be ignored, for it is most likely misspelt."""
        known = {variable_of(field) for field in cls.model_fields}
        unknown = sorted(_given_names() - known - _OF_COMPOSE)
        if unknown:
            nearest = get_close_matches(unknown[0], known, n=1, cutoff=0)[0]
            raise ValueError(f"{unknown[0]} is no setting; the nearest is {nearest}")
        return values

    @field_validator("jwt_algorithms", "jwt_types", "trusted_proxies", mode="before")
    @classmethod
    def split_commas(cls, value: object) -> object:
        """Accept `A,B` where the setting is a list."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def only_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what is neither an address nor a network: it would trust nobody, silently."""
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("must be addresses or networks, as 10.0.0.0/8,::1") from None
        return value

    @field_validator("public_url", "s3_endpoint_url", "s3_public_endpoint_url")
    @classmethod
    def only_an_address(cls, value: str | None) -> str | None:
        """Refuse what cannot stand before a path."""
        if value is None:
            return None
        if not re.fullmatch(r"https?://[^\s?#]+", value):
            raise ValueError("must be like https://docvault.example.org")
        return value.rstrip("/")

    @field_validator("metrics_bind")
    @classmethod
    def a_port(cls, value: str | None) -> str | None:
        """Refuse a port that no machine has."""
        if value is not None and int(value.rpartition(":")[2]) > LAST_PORT:
            raise ValueError(f"the port must be at most {LAST_PORT}")
        return value

    @field_validator("jwt_jwks_url")
    @classmethod
    def keys_over_tls(cls, value: str | None) -> str | None:
        """Refuse keys that somebody on the way could exchange, and then sign any token (D11).

        On this machine there is nobody on the way.
        """
        if value is None:
            return None
        url = urlsplit(value)
        is_local = url.hostname in {"localhost", "127.0.0.1", "::1"}
        if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and is_local)):
            raise ValueError("must be like https://id.example.org/jwks; http only on this machine")
        return value

    @field_validator("storage_url")
    @classmethod
    def a_known_store(cls, value: str | None) -> str | None:
        """Refuse what is neither a folder nor a bucket."""
        if value is not None and not re.match(r"file:///|s3://[^/]", value):
            raise ValueError("must be like file:///path or s3://bucket/prefix")
        return value

    @field_validator("clamd")
    @classmethod
    def a_socket(cls, value: str | None) -> str | None:
        """Refuse what is neither `unix:///path` nor `tcp://host:port`."""
        if value is None:
            return None
        url = urlsplit(value)
        is_unix = value == f"unix://{url.path}" and len(url.path) > 1
        is_tcp = value == f"tcp://{url.netloc}" and "@" not in value and url.hostname and url.port
        if not (is_unix or is_tcp):
            raise ValueError("must be like unix:///run/clamd.sock or tcp://scanner:3310")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def only_asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse `none` and the symmetric algorithms (RFC 8725 3.1, D10)."""
        allowed = {"RS256", "PS256", "ES256", "EdDSA", "Ed25519"}
        if not value or set(value) - allowed:
            raise ValueError(f"only {', '.join(sorted(allowed))} are allowed")
        return value

    @field_validator("secret_key")
    @classmethod
    def a_real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse a secret that is short or stands in an example."""
        if value is None:
            return value
        secret = value.get_secret_value()
        if len(secret.encode()) < SECRET_BYTES:
            raise ValueError(f"needs at least {SECRET_BYTES} bytes")
        if _EXAMPLE.search(secret):
            raise ValueError("is an example; make one of your own, as with `openssl rand -hex 32`")
        if len(set(secret)) < SECRET_CHARACTERS:
            raise ValueError("repeats itself; make one as with `openssl rand -hex 32`")
        return value

    @field_validator("database_url")
    @classmethod
    def a_real_password(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse another database than PostgreSQL, and a password that is none.

        A URL without one is let in: a socket, a certificate or `.pgpass` may do without.
        """
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError):
            # Its message would quote the password.
            raise ValueError("must be like postgresql://user:password@host/database") from None
        if url.get_backend_name() not in {"postgresql", "postgres"}:
            raise ValueError("is not a PostgreSQL, like postgresql://user:password@host/database")
        password = url.password
        if password and (
            password == url.username
            or _COMMON_PASSWORD.fullmatch(password)
            or _EXAMPLE.search(password)
        ):
            raise ValueError("has an example as its password, or one that everybody tries first")
        return value

    @model_validator(mode="after")
    def a_shared_secret(self) -> Self:
        """Refuse a database that others can share without the secret that they must share.

        Made up at first start, as in the embedded mode, each process would have another.
        """
        if self.database_url is not None and self.secret_key is None:
            raise ValueError("DOCVAULT_DATABASE_URL needs DOCVAULT_SECRET_KEY beside it")
        return self

    @model_validator(mode="after")
    def nothing_in_vain(self) -> Self:
        """Refuse a setting without what it needs: one would believe that it works."""
        if self.jwt_jwks_url is not None and self.jwt_issuer is None:
            raise ValueError("DOCVAULT_JWT_JWKS_URL needs DOCVAULT_JWT_ISSUER beside it")
        if self.s3_kms_key_id is not None and self.s3_encryption != "aws:kms":
            raise ValueError("DOCVAULT_S3_KMS_KEY_ID needs DOCVAULT_S3_ENCRYPTION=aws:kms")
        in_s3 = self.effective_storage_url.startswith("s3:")
        if self.accel_prefix is not None and in_s3:
            raise ValueError("DOCVAULT_ACCEL_PREFIX is for a DOCVAULT_STORAGE_URL of files")
        for field in _FOR_S3:
            if getattr(self, field) and not in_s3:
                raise ValueError(f"{variable_of(field)} is for a DOCVAULT_STORAGE_URL of s3://")
        return self

    @property
    def embedded(self) -> bool:
        """Whether docvault runs its own PostgreSQL inside the data directory."""
        return self.database_url is None

    @property
    def works_inside(self) -> bool:
        """Whether `serve` also does the jobs."""
        return self.worker == "inside" or (self.worker == "auto" and self.embedded)

    @property
    def backup_window(self) -> timedelta:
        """How long a backup of the database may still be restored and find every byte (D8)."""
        return timedelta(hours=self.backup_window_hours)

    @property
    def effective_storage_url(self) -> str:
        """Where bytes go: `file:///path` or `s3://bucket/prefix`."""
        return self.storage_url or (self.data_dir.absolute() / "blobs").as_uri()


def variable_of(field: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + field.upper()


def _given_names() -> set[str]:
    """Return what the environment and the mounted secrets say is for docvault."""
    names = (*os.environ, *(path.name for path in SECRETS_DIR.glob("*")))
    return {name.upper() for name in names if name.upper().startswith(PREFIX)}
