"""Typed settings from environment variables; see docs/reference/configuration.md."""

import os
import re
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from docvault.addresses import (
    check_accel_prefix,
    check_base_url,
    check_bind,
    check_clamd_url,
    check_header_text,
    check_hosts,
    check_networks,
    check_origins,
    check_proxy_url,
    check_public_path,
    check_storage_url,
    split_commas,
)
from docvault.issuers import (
    DEFAULT_ALGORITHMS,
    DEFAULT_TYPES,
    ClaimPath,
    Issuer,
    Text,
    check_algorithms,
    check_audience,
    check_issuer,
    check_jwks_url,
    parse_issuers,
)

MEBIBYTE = 1024 * 1024
SECRET_BYTES = 32
# What PostgreSQL and JSON can hold exactly.
MAX_NUMBER = 2**53
MAX_RETENTION_HOURS = 10 * 366 * 24
DAY_SECONDS = 86_400
# The chance that 64 random hexadecimal digits have fewer distinct ones is about 10^-16.
SECRET_CHARACTERS = 8

PREFIX = "DOCVAULT_"
# Read by docker-compose.yml itself; the shell that runs it may export them.
_COMPOSE_ONLY = frozenset(
    PREFIX + name for name in ("BACKUP", "DOMAIN", "IMAGE", "PUBLISH", "SECRETS", "VOLUMES")
)

# Where container engines mount secrets: a file docvault_secret_key is DOCVAULT_SECRET_KEY.
SECRETS_DIR = Path("/run/secrets")
# Values copied from examples protect nothing.
_EXAMPLE = re.compile(
    r"change.?me|example|placeholder|insecure|your.?(secret|password)", re.IGNORECASE
)
# Common passwords, which attackers try first.
_COMMON_PASSWORD = re.compile(
    r"(docvault|postgres(ql)?|pass(word)?|secret|admin|root|test|user|database|db|dev)?\d*",
    re.IGNORECASE,
)

# These have no effect on a file store.
_FOR_S3 = ("redirect_downloads", "s3_encryption")

CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
Networks = Annotated[CommaSeparated, AfterValidator(check_networks)]
Hosts = Annotated[CommaSeparated, AfterValidator(check_hosts)]
Origins = Annotated[CommaSeparated, AfterValidator(check_origins)]
ProxyUrl = Annotated[str, AfterValidator(check_proxy_url)]
AccelPrefix = Annotated[str, AfterValidator(check_accel_prefix)]
# What is sent to the store in a header.
HeaderText = Annotated[str, AfterValidator(check_header_text)]
Limit = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Count = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Seconds = Annotated[float, Field(gt=0, le=DAY_SECONDS, allow_inf_nan=False)]


class SettingsError(Exception):
    """The settings are invalid or contradict each other; the message names the setting."""


class Settings(BaseSettings):
    """The settings of a deployment. Sizes are in bytes, durations in seconds, unless named."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        # pydantic-settings warns about a missing directory.
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
    s3_kms_key_id: HeaderText | None = None
    secret_key: SecretStr | None = None
    secret_key_previous: SecretStr | None = None
    public_url: str | None = None
    cors_origins: Origins = ()
    cors_admin: bool = False
    redirect_downloads: bool = False
    accel_prefix: AccelPrefix | None = None

    jwt_issuer: Text | None = None
    jwt_audience: Annotated[Text, AfterValidator(check_audience)] = "docvault"
    jwt_jwks_url: Text | None = None
    jwt_algorithms: CommaSeparated = DEFAULT_ALGORITHMS
    jwt_types: Annotated[CommaSeparated, Field(min_length=1)] = DEFAULT_TYPES
    jwt_customer_claim: ClaimPath = "sub"
    issuers: Annotated[tuple[Issuer, ...], NoDecode] = ()
    ca_file: Path | None = None

    # For each caller; 0 disables a limit (D18).
    customer_uploads_per_minute: Limit = 60
    customer_requests_per_minute: Limit = 600
    customer_value_changes_per_minute: Limit = 60
    api_key_requests_per_minute: Limit = 6000
    failed_credentials_per_minute: Limit = 20
    customer_max_files: Limit = 10_000
    customer_max_bytes: Limit = 2048 * MEBIBYTE
    customer_max_value_bytes: Limit = 64 * MEBIBYTE
    customer_max_concurrent_uploads: Limit = 4
    customer_max_concurrent_downloads: Limit = 8
    api_key_max_concurrent_downloads: Limit = 64
    trusted_proxies: Networks = ()

    max_upload_bytes: Count = 100 * MEBIBYTE
    default_max_file_bytes: Count = 25 * MEBIBYTE
    max_concurrent_uploads: Count = 16
    body_idle_seconds: Seconds = 15
    body_total_seconds: Seconds = 600
    keep_versions: Count = 10
    event_days: int = Field(default=90, ge=1, le=36_500)
    deleted_blob_retention_hours: int = Field(default=0, ge=0, le=MAX_RETENTION_HOURS)
    clamd_url: str | None = None

    webhook_allowed_networks: Networks = ()
    webhook_allowed_hosts: Hosts = ()
    webhook_proxy: ProxyUrl | None = None

    worker: Literal["auto", "embedded", "external"] = "auto"
    metrics_bind: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def reject_unknown_variables(cls, values: object) -> object:
        """Reject unknown variables and secrets, which are most likely misspelt."""
        known = {variable_of(field) for field in cls.model_fields}
        unknown = sorted(_configured_names() - known - _COMPOSE_ONLY)
        if unknown:
            nearest = get_close_matches(unknown[0], known, n=1, cutoff=0)[0]
            raise ValueError(f"{unknown[0]} is not a setting; did you mean {nearest}?")
        return values

    @field_validator("public_url", "s3_endpoint_url", "s3_public_endpoint_url")
    @classmethod
    def validate_base_url(cls, value: str | None) -> str | None:
        return None if value is None else check_base_url(value)

    @field_validator("public_url")
    @classmethod
    def validate_public_path(cls, value: str | None) -> str | None:
        return None if value is None else check_public_path(value)

    @field_validator("metrics_bind")
    @classmethod
    def validate_bind(cls, value: str | None) -> str | None:
        return None if value is None else check_bind(value)

    @field_validator("jwt_jwks_url")
    @classmethod
    def require_https_jwks(cls, value: str | None) -> str | None:
        return None if value is None else check_jwks_url(value)

    @field_validator("jwt_issuer")
    @classmethod
    def validate_issuer(cls, value: str | None) -> str | None:
        return None if value is None else check_issuer(value)

    @field_validator("issuers", mode="before")
    @classmethod
    def read_issuers(cls, value: object) -> object:
        """Accept JSON, or the path of a file with JSON."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith(("[", "{")):
            return parse_issuers(value)
        try:
            return parse_issuers(Path(value).read_text())
        except OSError as error:
            raise ValueError(f"must be JSON or the path of a file: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError("is not JSON: the file is not UTF-8") from None

    @field_validator("ca_file")
    @classmethod
    def validate_ca_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            # Slow to import, and most commands at a terminal have no such file.
            from docvault.certificates import check_ca_file

            check_ca_file(value)
        return value

    @field_validator("storage_url")
    @classmethod
    def validate_storage_url(cls, value: str | None) -> str | None:
        return None if value is None else check_storage_url(value)

    @field_validator("clamd_url")
    @classmethod
    def validate_clamd_url(cls, value: str | None) -> str | None:
        return None if value is None else check_clamd_url(value)

    @field_validator("jwt_algorithms")
    @classmethod
    def require_asymmetric_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_algorithms(value)

    @field_validator("secret_key", "secret_key_previous")
    @classmethod
    def validate_secret_strength(cls, value: SecretStr | None) -> SecretStr | None:
        """Reject short, repetitive and example secrets."""
        if value is None:
            return value
        secret = value.get_secret_value()
        if len(secret.encode()) < SECRET_BYTES:
            raise ValueError(f"must have at least {SECRET_BYTES} bytes")
        if _EXAMPLE.search(secret):
            raise ValueError("is an example; create your own with `openssl rand -hex 32`")
        if len(set(secret)) < SECRET_CHARACTERS:
            raise ValueError("is repetitive; create one with `openssl rand -hex 32`")
        return value

    @field_validator("database_url")
    @classmethod
    def validate_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        """Reject other databases than PostgreSQL, and common or example passwords.

        A URL without a password is valid: a socket, a certificate or `.pgpass` may replace it.
        """
        if value is None:
            return None
        # Slow to import, and most commands at a terminal have no such URL.
        from docvault.database_url import parse_database_url

        parameters = parse_database_url(value.get_secret_value())
        password = parameters.get("password")
        if password and (
            password == parameters.get("user")
            or _COMMON_PASSWORD.fullmatch(password)
            or _EXAMPLE.search(password)
        ):
            raise ValueError("has a common or example password")
        return value

    @model_validator(mode="after")
    def require_secret_with_database(self) -> Self:
        """Require the secret key with an external database, whose processes must share it.

        Only the embedded mode can generate it at the first start.
        """
        if self.database_url is not None and self.secret_key is None:
            raise ValueError("DOCVAULT_DATABASE_URL requires DOCVAULT_SECRET_KEY")
        return self

    @model_validator(mode="after")
    def reject_unused_settings(self) -> Self:
        """Reject settings that would silently have no effect."""
        if self.secret_key_previous is not None:
            self._check_previous_key()
        if self.issuers and self.jwt_jwks_url is None:
            unused = sorted(name for name in self.model_fields_set if name.startswith("jwt_"))
            if unused:
                raise ValueError(
                    f"{variable_of(unused[0])} has no effect beside DOCVAULT_ISSUERS without "
                    "DOCVAULT_JWT_JWKS_URL"
                )
        if any(issuer.issuer == self.jwt_issuer for issuer in self.issuers):
            raise ValueError("DOCVAULT_JWT_ISSUER must not be one of DOCVAULT_ISSUERS")
        if self.jwt_jwks_url is not None and self.jwt_issuer is None:
            raise ValueError("DOCVAULT_JWT_JWKS_URL requires DOCVAULT_JWT_ISSUER")
        if self.s3_kms_key_id is not None and self.s3_encryption != "aws:kms":
            raise ValueError("DOCVAULT_S3_KMS_KEY_ID requires DOCVAULT_S3_ENCRYPTION=aws:kms")
        in_s3 = self.effective_storage_url.startswith("s3:")
        if self.accel_prefix is not None and in_s3:
            raise ValueError("DOCVAULT_ACCEL_PREFIX requires a DOCVAULT_STORAGE_URL of file://")
        for field in _FOR_S3:
            if getattr(self, field) and not in_s3:
                raise ValueError(f"{variable_of(field)} requires a DOCVAULT_STORAGE_URL of s3://")
        return self

    @model_validator(mode="after")
    def reject_networks_with_proxy(self) -> Self:
        """Reject networks beside a proxy, which decides about addresses alone."""
        if self.webhook_proxy is not None and self.webhook_allowed_networks:
            raise ValueError(
                "DOCVAULT_WEBHOOK_ALLOWED_NETWORKS has no effect beside DOCVAULT_WEBHOOK_PROXY"
            )
        return self

    @model_validator(mode="after")
    def require_origins_with_admin(self) -> Self:
        """Require origins for `cors_admin`; the embedded mode has some by default."""
        if self.cors_admin and not (self.cors_origins or self.embedded):
            raise ValueError("DOCVAULT_CORS_ADMIN requires DOCVAULT_CORS_ORIGINS")
        return self

    def _check_previous_key(self) -> None:
        if self.secret_key is None:
            raise ValueError("DOCVAULT_SECRET_KEY_PREVIOUS requires DOCVAULT_SECRET_KEY")
        if self.secret_key == self.secret_key_previous:
            raise ValueError("DOCVAULT_SECRET_KEY_PREVIOUS must differ from DOCVAULT_SECRET_KEY")

    @property
    def public_path(self) -> str:
        """The path below which clients reach the service; empty, or without a slash at its end."""
        return urlsplit(self.public_url or "").path

    @property
    def has_identity_provider(self) -> bool:
        """Whether tokens come from elsewhere, not from a local key."""
        return self.jwt_jwks_url is not None or bool(self.issuers)

    @property
    def embedded(self) -> bool:
        """Whether docvault runs its own PostgreSQL inside the data directory."""
        return self.database_url is None

    @property
    def external_database_url(self) -> str | None:
        """The URL of the database; it trusts `DOCVAULT_CA_FILE`. None in embedded mode."""
        if self.database_url is None:
            return None
        # Slow to import.
        from docvault.database_url import trust_authority

        return trust_authority(self.database_url.get_secret_value(), self.ca_file)

    @property
    def has_embedded_worker(self) -> bool:
        """Whether `serve` also runs the jobs."""
        return self.worker == "embedded" or (self.worker == "auto" and self.embedded)

    @property
    def event_age(self) -> timedelta:
        """How long events are kept."""
        return timedelta(days=self.event_days)

    @property
    def deleted_blob_retention(self) -> timedelta:
        """How long deleted blobs are kept, so that older database backups can be restored (D8)."""
        return timedelta(hours=self.deleted_blob_retention_hours)

    @property
    def effective_storage_url(self) -> str:
        """The blob store: `file:///path` or `s3://bucket/prefix`."""
        return self.storage_url or (self.data_dir.absolute() / "blobs").as_uri()


def variable_of(field: str) -> str:
    """Return the name of a setting's environment variable."""
    return PREFIX + field.upper()


def _configured_names() -> set[str]:
    """Return the DOCVAULT_* names in the environment and the mounted secrets."""
    names = (*os.environ, *(path.name for path in SECRETS_DIR.glob("*")))
    return {name.upper() for name in names if name.upper().startswith(PREFIX)}
