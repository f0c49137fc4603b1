"""Settings: validation, and files with secrets."""

from pathlib import Path
from secrets import token_hex

import pytest
from pydantic import SecretStr, ValidationError

from docvault.cli.failures import explain
from docvault.settings import Settings, variable_of

SECRET = token_hex(32)
DATABASE = SecretStr("postgresql://docvault:k3Tq9@db.example.org/docvault")


def refusal(**settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**settings)  # type: ignore[arg-type]
    return "; ".join(error["msg"] for error in caught.value.errors())


class TestSecrets:
    """Weak secrets are rejected."""

    @pytest.mark.parametrize("secret", ["short", "s" * 31])
    def test_short_secret_is_rejected(self, secret: str) -> None:
        assert "32 bytes" in refusal(secret_key=SecretStr(secret))

    @pytest.mark.parametrize(
        "secret", ["change-me", "CHANGEME", "change_me", "example", "your-secret", "placeholder"]
    )
    def test_example_secret_is_rejected(self, secret: str) -> None:
        assert "example" in refusal(secret_key=SecretStr(f"{secret}-{token_hex(32)}"))

    @pytest.mark.parametrize("secret", ["a" * 64, "abc" * 20, "1234567" * 9])
    def test_repetitive_secret_is_rejected(self, secret: str) -> None:
        assert "is repetitive" in refusal(secret_key=SecretStr(secret))

    @pytest.mark.parametrize(
        "password",
        [
            "change-me",
            "change%2Dme",
            "docvault",
            "postgres",
            "Secret",
            "password1",
            "123456",
            "crm",
        ],
    )
    def test_common_database_password_is_rejected(self, password: str) -> None:
        url = SecretStr(f"postgresql://crm:{password}@db/docvault")
        assert "password" in refusal(database_url=url, secret_key=SecretStr(token_hex(32)))

    @pytest.mark.parametrize(
        "url",
        ["mysql://crm:canary@db/docvault", "sqlite:///canary", "host=db password=canary", "canary"],
    )
    def test_other_database_is_rejected_without_showing_url(self, url: str) -> None:
        message = refusal(database_url=SecretStr(url), secret_key=SecretStr(token_hex(32)))
        assert "postgresql://" in message
        assert "canary" not in message

    @pytest.mark.parametrize("url", ["postgres://db/d", "postgresql:///d", "postgresql://u@/d"])
    def test_database_password_is_optional(self, url: str) -> None:
        assert Settings(database_url=SecretStr(url), secret_key=SecretStr(token_hex(32)))

    def test_previous_secret_must_be_strong_and_another(self) -> None:
        secret = SecretStr(SECRET)
        assert "must differ" in refusal(secret_key=secret, secret_key_previous=secret)
        assert "32 bytes" in refusal(secret_key=secret, secret_key_previous=SecretStr("short"))

    def test_own_database_needs_secret_key(self) -> None:
        assert "DOCVAULT_SECRET_KEY" in refusal(database_url=DATABASE)

    def test_database_and_secret_are_sufficient(self) -> None:
        assert not Settings(database_url=DATABASE, secret_key=SecretStr(token_hex(32))).embedded

    def test_embedded_mode_needs_no_secret(self) -> None:
        assert Settings().embedded


class TestStore:
    """DOCVAULT_STORAGE_URL and its options."""

    @pytest.mark.parametrize("url", ["file:///srv/blobs", "s3://bucket", "s3://bucket/prefix"])
    def test_folder_and_bucket_urls_are_accepted(self, url: str) -> None:
        assert Settings(storage_url=url).effective_storage_url == url

    @pytest.mark.parametrize(
        "url", ["ftp://host/path", "gs://x/y", "blobs", "file://host/path", "s3:///x", "s3://"]
    )
    def test_other_storage_url_is_rejected(self, url: str) -> None:
        assert "s3://bucket" in refusal(storage_url=url)

    @pytest.mark.parametrize("name", ["s3_endpoint_url", "s3_public_endpoint_url"])
    def test_endpoint_url_needs_scheme(self, name: str) -> None:
        assert "https://" in refusal(**{name: "store:8333"})


class TestMetrics:
    """DOCVAULT_METRICS_BIND."""

    @pytest.mark.parametrize("bind", ["127.0.0.1:9100", "[::1]:0", "0.0.0.0:65535"])
    def test_address_and_port_are_accepted(self, bind: str) -> None:
        assert Settings(metrics_bind=bind).metrics_bind == bind

    @pytest.mark.parametrize("bind", ["127.0.0.1:65536", "127.0.0.1:99999"])
    def test_invalid_port_is_rejected(self, bind: str) -> None:
        assert "65535" in refusal(metrics_bind=bind)


class TestIdentityProvider:
    """DOCVAULT_JWT_JWKS_URL."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://id.example.org/jwks",
            "http://127.0.0.1:8080/jwks",
            "http://localhost/jwks",
            "http://[::1]:8080/jwks",
        ],
    )
    def test_secure_jwks_url_is_accepted(self, url: str) -> None:
        settings = Settings(jwt_jwks_url=url, jwt_issuer="https://id.example.org")
        assert settings.jwt_jwks_url == url

    @pytest.mark.parametrize(
        "url",
        [
            "http://id.example.org/jwks",
            "http://localhost.example.org/jwks",
            "http://127.0.0.1@id.example.org/jwks",
            "file:///etc/jwks",
            "id.example.org/jwks",
            "https://",
        ],
    )
    def test_insecure_jwks_url_is_rejected(self, url: str) -> None:
        assert "https://" in refusal(jwt_jwks_url=url, jwt_issuer="https://id.example.org")


class TestUnusedSettings:
    """Settings that have no effect without another."""

    @pytest.mark.parametrize(
        ("settings", "needs"),
        [
            ({"jwt_jwks_url": "https://id.example.org/jwks"}, "DOCVAULT_JWT_ISSUER"),
            ({"secret_key_previous": SECRET}, "DOCVAULT_SECRET_KEY"),
            ({"s3_kms_key_id": "key"}, "DOCVAULT_S3_ENCRYPTION"),
            ({"s3_kms_key_id": "key", "s3_encryption": "AES256"}, "DOCVAULT_S3_ENCRYPTION"),
            ({"accel_prefix": "/blobs", "storage_url": "s3://bucket"}, "DOCVAULT_STORAGE_URL"),
            (
                {"webhook_proxy": "http://egress:3128", "webhook_allowed_networks": "10.0.0.0/8"},
                "DOCVAULT_WEBHOOK_PROXY",
            ),
            ({"redirect_downloads": "true"}, "DOCVAULT_STORAGE_URL"),
            ({"s3_encryption": "AES256"}, "DOCVAULT_STORAGE_URL"),
        ],
    )
    def test_missing_prerequisite_is_named(self, settings: dict[str, str], needs: str) -> None:
        assert needs in refusal(**settings)


class TestClamd:
    """DOCVAULT_CLAMD_URL."""

    @pytest.mark.parametrize(
        "address",
        [
            "unix:///run/clamav/clamd.ctl",
            "tcp://scanner:3310",
            "tcp://127.0.0.1:3310",
            "tcp://[::1]:3310",
        ],
    )
    def test_socket_url_is_accepted(self, address: str) -> None:
        assert Settings(clamd_url=address).clamd_url == address

    @pytest.mark.parametrize(
        "address",
        [
            "scanner:3310",
            "tcp://scanner",
            "tcp://scanner:port",
            "tcp://scanner:0",
            "tcp://scanner:65536",
            "tcp://scanner:3310/x",
            "tcp://u@scanner:3310",
            "http://scanner:3310",
            "unix:relative",
            "unix:///run/clamd?x",
            "unix:///",
            "unix://host/path",
            "/run/clamd",
        ],
    )
    def test_other_clamd_url_is_rejected(self, address: str) -> None:
        with pytest.raises(ValidationError):
            Settings(clamd_url=address)


class TestVariableNames:
    """Unknown names are rejected, because they would be ignored."""

    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("DOCVAULT_LOG_LEVLE", "DOCVAULT_LOG_LEVEL"),
            ("DOCVAULT_DATABASE_UR", "DOCVAULT_DATABASE_URL"),
            ("DOCVAULT_STORE_URL", "DOCVAULT_STORAGE_URL"),
            ("docvault_jwt_isuer", "DOCVAULT_JWT_ISSUER"),
        ],
    )
    def test_misspelt_variable_is_rejected_with_suggestion(
        self, monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
    ) -> None:
        monkeypatch.setenv(wrong, "canary")
        message = refusal()
        assert message.endswith(f"{wrong.upper()} is not a setting; did you mean {right}?")
        assert "canary" not in message

    def test_misspelt_secret_file_is_rejected(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "docvault_database_ulr").write_text("postgresql://docvault@db/docvault")
        (tmp_path / "aws_credentials").write_text("of someone else")
        monkeypatch.setattr("docvault.settings.SECRETS_DIR", tmp_path)
        assert "DOCVAULT_DATABASE_ULR is not a setting" in refusal()

    @pytest.mark.parametrize(
        "name", ["DOCVAULT_IMAGE", "DOCVAULT_PUBLISH", "DOCVAULT_SECRETS", "DOCVAULTX"]
    )
    def test_unrelated_variables_are_ignored(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "x")
        assert Settings().embedded

    def test_compose_variables_are_not_settings(self) -> None:
        example = (Path(__file__).parents[1] / ".env.example").read_text()
        named = {line.partition("=")[0] for line in example.splitlines() if "=" in line}
        settings = {variable_of(field) for field in Settings.model_fields}
        assert {name for name in named if name.startswith("DOCVAULT_")} - settings == {
            "DOCVAULT_PUBLISH",
            "DOCVAULT_SECRETS",
        }


class TestTrustedProxies:
    """DOCVAULT_TRUSTED_PROXIES."""

    def test_addresses_and_networks_are_separated_by_commas(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_TRUSTED_PROXIES", "10.0.0.0/8, ::1,192.0.2.7")
        assert Settings().trusted_proxies == ("10.0.0.0/8", "::1", "192.0.2.7")

    @pytest.mark.parametrize("value", ["*", "proxy", "10.0.0.1/8", "10.0.0.0/8;::1", "1.2.3"])
    def test_invalid_proxy_list_is_rejected(
        self, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("DOCVAULT_TRUSTED_PROXIES", value)
        assert "addresses or networks" in refusal()


class TestSecretsFolder:
    """Secrets as files, as container engines mount them."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "docvault_secret_key").write_text(f"{SECRET}\n")
        return tmp_path

    def test_secret_file_is_read_without_trailing_newline(self, folder: Path) -> None:
        secret = Settings(_secrets_dir=folder).secret_key
        assert secret is not None
        assert secret.get_secret_value() == SECRET

    def test_environment_takes_precedence_over_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", SECRET[::-1])
        secret = Settings(_secrets_dir=folder).secret_key
        assert secret is not None
        assert secret.get_secret_value() == SECRET[::-1]

    def test_empty_variable_falls_back_to_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", "")
        assert Settings(_secrets_dir=folder).secret_key is not None

    def test_secret_file_is_validated(self, folder: Path) -> None:
        (folder / "docvault_secret_key").write_text("change-me")
        with pytest.raises(ValidationError):
            Settings(_secrets_dir=folder)


NUMBERS = ["x", "-1", "1e30", "9" * 30, "inf", "nan"]
URLS = [
    "x",
    "http://",
    "http://[::1",
    "http://h:99999",
    "http://h:0",
    "https://u:p@h/",
    "http://h/?",
    "http://.",
    "http://-",
    "http://h-.example",
    "http://1.2.3",
    f"http://{'h' * 64}",
    f"http://{'h.' * 127}h",
]
INVALID = {
    "database_url": ["x", "postgresql://[", "postgresql://h:x/d", "mysql://h/d"],
    "storage_url": ["x", "s3://", "s3://no bucket", "file://host/x", "file:///%ff", "file:///%00"],
    "s3_endpoint_url": URLS,
    "s3_public_endpoint_url": URLS,
    "public_url": [*URLS, "http://h/%zz", "http://h/a+b", "http://h/v1/x"],
    "s3_encryption": ["x"],
    "secret_key": ["x", "change-me" * 9],
    "secret_key_previous": ["x"],
    "cors_origins": ["x", "*", "https://h/", "null", "http://h:65536"],
    "cors_admin": ["x"],
    "redirect_downloads": ["x"],
    "accel_prefix": ["x", "/", "/x/", "//x", "/é", "/x y"],
    "s3_kms_key_id": ["a b", "a\nb", "é"],
    "jwt_issuer": ["a,b", "x" * 256, "\udcff"],
    "jwt_audience": ["a,b", " ", "x" * 256, "\udcff"],
    "jwt_types": [","],
    "jwt_customer_claim": [" ", "a.", "x" * 256],
    "jwt_jwks_url": ["x", "http://h/jwks", "https://./x", f"https://h/{'x' * 255}"],
    "jwt_algorithms": ["none", "HS256", "x"],
    "issuers": ["x", "[]", "{", '[{"issuer": 1}]', "/nonexistent"],
    "ca_file": ["/nonexistent", "/"],
    "trusted_proxies": ["x", "1.2.3.4/33"],
    "clamd_url": ["x", "tcp://[", "tcp://h:0", "tcp://-:1", "unix://"],
    "webhook_allowed_networks": ["x", "1.2.3.4/33", "*"],
    "webhook_allowed_hosts": ["H", "http://h", "h/x", "h:0", "h:99999", "u@h", "[::1", "*.h"],
    "webhook_proxy": [
        "x",
        "ftp://h",
        "http://u:p@h",
        "http://h/x",
        "http://h:99999",
        "http://[::1",
        "http://-",
    ],
    "worker": ["x"],
    "metrics_bind": [
        "x",
        ":1",
        "h:99999",
        "http://h:1",
        "http://[::1",
        "*:1",
        "é:1",
        "1.2.3:1",
        "h:٣",
    ],
    "log_level": ["x"],
}
# Any text may be right.
FREE_TEXT = {"data_dir", "spool_dir"}


def invalid_values() -> list[tuple[str, str]]:
    """Return values that must be refused, for every setting that refuses any."""
    found = []
    for field, info in Settings.model_fields.items():
        values = NUMBERS if info.annotation in {int, float} else INVALID.get(field, [])
        assert values or field in FREE_TEXT, field
        found += [(variable_of(field), value) for value in values]
    return found


@pytest.mark.req("B-209")
@pytest.mark.parametrize(("variable", "value"), invalid_values())
def test_invalid_value_is_explained_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    explanation = explain(caught.value)
    assert explanation is not None
    assert explanation.startswith("invalid settings: ")
    assert variable in explanation
    assert "\n" not in explanation
    assert len(explanation) < 400


@pytest.mark.req("B-290")
@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("database_pool_size", "0", "must be a whole number from 1 up to 200"),
        ("database_pool_size", "x", "must be a whole number from 1 up to 200"),
        ("body_idle_seconds", "0", "must be a number above 0 and up to 86400"),
        ("cors_admin", "x", "must be true or false"),
        ("worker", "x", "must be 'auto', 'embedded' or 'external'"),
        ("jwt_types", ",", "must not be empty"),
        ("jwt_audience", "x" * 256, "must have at most 255 characters"),
        ("jwt_audience", "\udcff", "must be UTF-8"),
    ],
)
def test_explanation_says_what_a_setting_may_be(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(variable_of(field), value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value) == f"invalid settings: {variable_of(field)}: {allowed}"
