"""DOCVAULT_CA_FILE: servers with certificates of a private authority."""

from pathlib import Path

import httpx
import pytest
from tests.factories.certificates import PrivateCa, make_private_ca
from tests.fixtures.key_server import KeyServer

from docvault.auth.jwks import RemoteKeys
from docvault.certificates import ca_bundle, make_tls_context
from docvault.errors import ServiceUnavailable, StorageUnavailable
from docvault.settings import Settings
from docvault.storage import open_store

pytestmark = pytest.mark.req("B-115")


@pytest.fixture
def private_ca(tmp_path: Path) -> PrivateCa:
    return make_private_ca(tmp_path)


class TestIdentityProvider:
    """RemoteKeys with a provider that a private authority has certified."""

    async def test_keys_are_fetched_with_the_setting(self, private_ca: PrivateCa) -> None:
        verify = make_tls_context(private_ca.ca_file)
        async with (
            KeyServer().serving(private_ca.server) as url,
            httpx.AsyncClient(trust_env=False, verify=verify) as client,
        ):
            assert await RemoteKeys(url, client).find(None, "ES256") == []

    async def test_failure_without_the_setting_tells_the_cause(self, private_ca: PrivateCa) -> None:
        async with (
            KeyServer().serving(private_ca.server) as url,
            httpx.AsyncClient(trust_env=False, verify=make_tls_context(None)) as client,
        ):
            keys = RemoteKeys(url, client)
            with pytest.raises(ServiceUnavailable):
                await keys.find(None, "ES256")
            assert keys.failure == "certificate not trusted"


class TestStore:
    """open_store() with an S3 store that a private authority has certified."""

    @pytest.fixture(autouse=True)
    def credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)

    @pytest.mark.own_store("a server of its own that answers everything with 200")
    async def test_store_is_reached_with_the_setting_alone(
        self, private_ca: PrivateCa, tmp_path: Path
    ) -> None:
        server = KeyServer()
        server.serve(b"")
        async with server.serving(private_ca.server) as url:
            settings = Settings(
                data_dir=tmp_path / "data",
                storage_url="s3://bucket",
                s3_endpoint_url=url.removesuffix("/jwks.json"),
                ca_file=private_ca.ca_file,
            )
            async with open_store(settings) as store:
                await store.check()
            assert server.requests
            server.requests.clear()
            without = settings.model_copy(update={"ca_file": None})
            async with open_store(without) as store:
                with pytest.raises(StorageUnavailable):
                    await store.check()
            assert server.requests == []


class TestBundle:
    """ca_bundle()."""

    def test_public_authorities_stay_trusted_and_nothing_is_left(
        self, private_ca: PrivateCa
    ) -> None:
        with ca_bundle(private_ca.ca_file) as path:
            assert path is not None
            text = Path(path).read_text()
        assert private_ca.ca_file.read_text() in text
        assert text.count("BEGIN CERTIFICATE") > 50
        assert not Path(path).exists()


class TestSetting:
    """Settings.ca_file."""

    @pytest.mark.parametrize(
        ("content", "expected"),
        [(None, "cannot be read: No such file"), (b"", "PEM"), (b"not a certificate", "PEM")],
    )
    def test_file_without_certificates_is_refused(
        self, tmp_path: Path, content: bytes | None, expected: str
    ) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=expected):
            Settings(ca_file=path)
