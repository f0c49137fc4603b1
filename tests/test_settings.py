"""Settings: which secrets are accepted, and where they can come from."""

from pathlib import Path
from secrets import token_hex

import pytest
from pydantic import SecretStr, ValidationError

from docvault.settings import Settings, variable_of

SECRET = token_hex(32)
DATABASE = SecretStr("postgresql://docvault:k3Tq9@db.example.org/docvault")


def refusal(**settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**settings)  # type: ignore[arg-type]
    return "; ".join(error["msg"] for error in caught.value.errors())


class TestSecrets:
    """What would protect nothing is refused."""

    @pytest.mark.parametrize("secret", ["short", "s" * 31])
    def test_a_short_secret_is_refused(self, secret: str) -> None:
        assert "32 bytes" in refusal(secret_key=SecretStr(secret))

    @pytest.mark.parametrize(
        "secret", ["change-me", "CHANGEME", "change_me", "example", "your-secret", "placeholder"]
    )
    def test_an_example_is_refused_however_long(self, secret: str) -> None:
        assert "example" in refusal(secret_key=SecretStr(f"{secret}-{token_hex(32)}"))

    @pytest.mark.parametrize("secret", ["a" * 64, "abc" * 20, "1234567" * 9])
    def test_a_secret_that_repeats_itself_is_refused(self, secret: str) -> None:
        assert "repeats itself" in refusal(secret_key=SecretStr(secret))

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
    def test_the_database_password_may_not_be_one_that_everybody_tries(self, password: str) -> None:
        url = SecretStr(f"postgresql://crm:{password}@db/docvault")
        assert "password" in refusal(database_url=url, secret_key=SecretStr(token_hex(32)))

    @pytest.mark.parametrize(
        "url",
        ["mysql://crm:canary@db/docvault", "sqlite:///canary", "host=db password=canary", "canary"],
    )
    def test_another_database_than_postgresql_is_refused_without_showing_it(self, url: str) -> None:
        message = refusal(database_url=SecretStr(url), secret_key=SecretStr(token_hex(32)))
        assert "postgresql://" in message
        assert "canary" not in message

    @pytest.mark.parametrize("url", ["postgres://db/d", "postgresql:///d", "postgresql://u@/d"])
    def test_a_database_may_do_without_a_password(self, url: str) -> None:
        assert Settings(database_url=SecretStr(url), secret_key=SecretStr(token_hex(32)))

    def test_a_database_of_ones_own_needs_a_secret_beside_it(self) -> None:
        assert "DOCVAULT_SECRET_KEY" in refusal(database_url=DATABASE)

    def test_a_database_and_a_secret_are_enough(self) -> None:
        assert not Settings(database_url=DATABASE, secret_key=SecretStr(token_hex(32))).embedded

    def test_the_embedded_mode_needs_none(self) -> None:
        assert Settings().embedded


class TestStore:
    """Where bytes are kept."""

    @pytest.mark.parametrize("url", ["file:///srv/blobs", "s3://bucket", "s3://bucket/prefix"])
    def test_a_folder_or_a_bucket_is_taken(self, url: str) -> None:
        assert Settings(storage_url=url).effective_storage_url == url

    @pytest.mark.parametrize(
        "url", ["ftp://host/path", "gs://x/y", "blobs", "file://host/path", "s3:///x", "s3://"]
    )
    def test_anything_else_is_refused_at_the_start(self, url: str) -> None:
        assert "s3://bucket" in refusal(storage_url=url)

    @pytest.mark.parametrize("name", ["s3_endpoint_url", "s3_public_endpoint_url"])
    def test_its_address_has_a_scheme(self, name: str) -> None:
        assert "https://" in refusal(**{name: "store:8333"})


class TestMetrics:
    """Where they are served."""

    @pytest.mark.parametrize("bind", ["127.0.0.1:9100", "[::1]:0", "0.0.0.0:65535"])
    def test_an_address_and_a_port_are_taken(self, bind: str) -> None:
        assert Settings(metrics_bind=bind).metrics_bind == bind

    @pytest.mark.parametrize("bind", ["127.0.0.1:65536", "127.0.0.1:99999"])
    def test_a_port_that_no_machine_has_is_refused_at_the_start(self, bind: str) -> None:
        assert "65535" in refusal(metrics_bind=bind)


class TestIdentityProvider:
    """Where its keys are."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://id.example.org/jwks",
            "http://127.0.0.1:8080/jwks",
            "http://localhost/jwks",
            "http://[::1]:8080/jwks",
        ],
    )
    def test_keys_are_read_where_nobody_can_exchange_them(self, url: str) -> None:
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
    def test_keys_on_any_other_way_are_refused_at_the_start(self, url: str) -> None:
        assert "https://" in refusal(jwt_jwks_url=url, jwt_issuer="https://id.example.org")


class TestInVain:
    """Settings that would do nothing without another."""

    @pytest.mark.parametrize(
        ("settings", "needs"),
        [
            ({"jwt_jwks_url": "https://id.example.org/jwks"}, "DOCVAULT_JWT_ISSUER"),
            ({"s3_kms_key_id": "key"}, "DOCVAULT_S3_ENCRYPTION"),
            ({"s3_kms_key_id": "key", "s3_encryption": "AES256"}, "DOCVAULT_S3_ENCRYPTION"),
            ({"accel_prefix": "/blobs", "storage_url": "s3://bucket"}, "DOCVAULT_STORAGE_URL"),
            ({"redirect_downloads": "true"}, "DOCVAULT_STORAGE_URL"),
            ({"s3_encryption": "AES256"}, "DOCVAULT_STORAGE_URL"),
        ],
    )
    def test_the_other_is_named(self, settings: dict[str, str], needs: str) -> None:
        assert needs in refusal(**settings)


class TestClamd:
    """Where the malware scanner is."""

    @pytest.mark.parametrize(
        "address",
        [
            "unix:///run/clamav/clamd.ctl",
            "tcp://scanner:3310",
            "tcp://127.0.0.1:3310",
            "tcp://[::1]:3310",
        ],
    )
    def test_a_socket_is_taken(self, address: str) -> None:
        assert Settings(clamd=address).clamd == address

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
    def test_anything_else_is_refused_at_the_start(self, address: str) -> None:
        with pytest.raises(ValidationError):
            Settings(clamd=address)


class TestNames:
    """A name that means nothing is refused, for it would be ignored."""

    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("DOCVAULT_LOG_LEVLE", "DOCVAULT_LOG_LEVEL"),
            ("DOCVAULT_DATABASE_UR", "DOCVAULT_DATABASE_URL"),
            ("DOCVAULT_STORE_URL", "DOCVAULT_STORAGE_URL"),
            ("docvault_jwt_isuer", "DOCVAULT_JWT_ISSUER"),
        ],
    )
    def test_a_misspelt_variable_is_refused_with_the_nearest_name(
        self, monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
    ) -> None:
        monkeypatch.setenv(wrong, "canary")
        message = refusal()
        assert message.endswith(f"{wrong.upper()} is no setting; the nearest is {right}")
        assert "canary" not in message

    def test_a_misspelt_secret_is_refused_too(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "docvault_database_ulr").write_text("postgresql://docvault@db/docvault")
        (tmp_path / "aws_credentials").write_text("of someone else")
        monkeypatch.setattr("docvault.settings.SECRETS_DIR", tmp_path)
        assert "DOCVAULT_DATABASE_ULR is no setting" in refusal()

    @pytest.mark.parametrize("name", ["DOCVAULT_PUBLISH", "DOCVAULT_SECRETS", "DOCVAULTX"])
    def test_what_is_not_for_docvault_is_let_alone(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "x")
        assert Settings().embedded

    def test_the_names_that_compose_reads_are_known_not_to_be_settings(self) -> None:
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
    def test_anything_else_would_trust_nobody_or_everybody(
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

    def test_a_file_named_like_the_variable_is_read_without_its_line_end(
        self, folder: Path
    ) -> None:
        secret = Settings(_secrets_dir=folder).secret_key
        assert secret is not None
        assert secret.get_secret_value() == SECRET

    def test_the_environment_goes_before_the_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", SECRET[::-1])
        secret = Settings(_secrets_dir=folder).secret_key
        assert secret is not None
        assert secret.get_secret_value() == SECRET[::-1]

    def test_an_empty_variable_leaves_it_to_the_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", "")
        assert Settings(_secrets_dir=folder).secret_key is not None

    def test_a_file_is_checked_like_a_variable(self, folder: Path) -> None:
        (folder / "docvault_secret_key").write_text("change-me")
        with pytest.raises(ValidationError):
            Settings(_secrets_dir=folder)
