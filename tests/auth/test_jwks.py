"""The identity provider's keys: selection, fetching and caching."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.factories.clock import Clock
from tests.factories.verifiers import make_verifier
from tests.fixtures.key_server import KeyServer

from docvault.auth import jwks, trust
from docvault.auth.jwks import RemoteKeys, StaticKeys, load_keys, select_keys
from docvault.auth.tokens import TokenVerifier
from docvault.errors import ServiceUnavailable
from docvault.observability import metrics
from docvault.settings import Settings


def ec_key(kid: str = "one", curve: str = "P-256", **members: Any) -> dict[str, Any]:
    return {**ECKey.generate_key(curve).as_dict(private=False), "kid": kid, **members}


def rsa_key(kid: str = "rsa", **members: Any) -> dict[str, Any]:
    return {**RSAKey.generate_key(2048).as_dict(private=False), "kid": kid, **members}


class TestUsableKeys:
    """load_keys()."""

    @pytest.mark.parametrize(
        "members",
        [{}, {"use": "sig"}, {"key_ops": ["verify"]}, {"use": "sig", "key_ops": ["verify"]}],
    )
    def test_verification_key_is_used(self, members: dict[str, Any]) -> None:
        assert len(load_keys({"keys": [ec_key(**members)]})) == 1

    @pytest.mark.parametrize(
        "members",
        [
            {"use": "enc"},
            {"use": ""},
            {"use": ["sig"]},
            {"key_ops": []},
            {"key_ops": ["deriveKey"]},
            {"key_ops": "verify"},
            {"use": "enc", "key_ops": ["verify"]},
        ],
    )
    def test_non_verification_key_is_ignored(self, members: dict[str, Any]) -> None:
        assert load_keys({"keys": [ec_key(**members)]}) == []

    @pytest.mark.parametrize(
        "item",
        [
            None,
            "key",
            7,
            [],
            {},
            {"kty": "EC"},
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
            {"kty": "RSA", "n": "!", "e": "AQAB"},
            {"kty": "RSA", "n": 1, "e": 1},
            {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
            {"kty": ["EC"]},
        ],
    )
    def test_invalid_or_unknown_key_does_not_hide_valid_one(self, item: object) -> None:
        good = ec_key()
        assert [key.kid for key in load_keys({"keys": [item, good]})] == ["one"]

    def test_set_without_keys_is_empty(self) -> None:
        assert load_keys({}) == []


class TestMatchingKeys:
    """select_keys()."""

    @pytest.mark.parametrize(
        ("algorithm", "expected"),
        [
            ("RS256", ["rsa"]),
            ("PS256", ["rsa"]),
            ("ES256", ["p256"]),
            ("EdDSA", ["ed25519"]),
            ("Ed25519", ["ed25519"]),
        ],
    )
    def test_only_keys_of_algorithm_type_and_curve_match(
        self, algorithm: str, expected: list[str]
    ) -> None:
        keys = load_keys(
            {
                "keys": [
                    rsa_key(),
                    ec_key("p256"),
                    ec_key("p384", "P-384"),
                    {**OKPKey.generate_key("Ed25519").as_dict(private=False), "kid": "ed25519"},
                    {**OKPKey.generate_key("Ed448").as_dict(private=False), "kid": "ed448"},
                    {**OctKey.generate_key(256).as_dict(private=True), "kid": "symmetric"},
                ]
            }
        )
        assert [key.kid for key in select_keys(keys, None, algorithm)] == expected

    def test_key_for_other_algorithm_does_not_match(self) -> None:
        keys = load_keys({"keys": [rsa_key(alg="RS256")]})
        assert select_keys(keys, "rsa", "PS256") == []
        assert len(select_keys(keys, "rsa", "RS256")) == 1

    async def test_key_id_is_compared_exactly(self) -> None:
        keys = StaticKeys({"keys": [ec_key("One")]})
        assert await keys.find("one", "ES256") == []
        assert await keys.find("One ", "ES256") == []
        assert len(await keys.find("One", "ES256")) == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(jwks, "time", clock)
    return clock


@pytest.fixture
async def provider() -> KeyServer:
    return KeyServer()


@pytest.fixture
async def remote(clock: Clock, provider: KeyServer) -> AsyncIterator[RemoteKeys]:
    """Keys fetched from the provider over HTTP."""
    del clock
    async with provider.serving() as url, httpx.AsyncClient(trust_env=False) as client:
        yield RemoteKeys(url, client)


async def found(remote: RemoteKeys, kid: str | None = "one") -> list[str | None]:
    return [key.kid for key in await remote.find(kid, "ES256")]


class TestRemoteKeys:
    """RemoteKeys.find()."""

    async def test_keys_are_cached_for_ten_minutes(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        for _ in range(5):
            assert await found(remote) == ["one"]
            clock.now += 119
        assert len(provider.requests) == 1
        clock.now += 10
        await found(remote)
        assert len(provider.requests) == 2

    async def test_rotated_key_is_fetched_immediately(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key("one")]})
        await found(remote)
        provider.serve({"keys": [ec_key("two")]})
        clock.now += 31
        assert await found(remote, "two") == ["two"]
        assert await found(remote, "one") == []

    async def test_unknown_key_ids_refetch_at_most_every_thirty_seconds(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        for second in range(61):
            assert await found(remote, f"unknown-{second}") == []
            clock.now += 1
        assert len(provider.requests) <= 3

    async def test_concurrent_lookups_share_one_request(
        self, remote: RemoteKeys, provider: KeyServer
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        provider.delay = 0.05
        responses = await asyncio.gather(*(found(remote, f"k{i % 5}") for i in range(50)))
        assert responses == [[]] * 50
        assert len(provider.requests) == 1

    async def test_known_keys_are_used_while_provider_is_down(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        await found(remote)
        provider.serve(b"", "503 Service Unavailable")
        clock.now += 23 * 3600
        assert await found(remote) == ["one"]

    async def test_keys_expire_after_a_day_without_provider(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        await found(remote)
        provider.serve(b"", "503 Service Unavailable")
        clock.now += 24 * 3600 + 60
        with suppress(ServiceUnavailable):
            assert await found(remote) == []
        assert len(provider.requests) == 2

    async def test_provider_is_used_again_after_outage(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve(b"", "500 Internal Server Error")
        with pytest.raises(ServiceUnavailable):
            await found(remote)
        provider.serve({"keys": [ec_key()]})
        clock.now += 31
        assert await found(remote) == ["one"]

    @pytest.mark.parametrize(
        ("body", "status", "extra"),
        [
            (b"not found", "404 Not Found", ""),
            (b"{}", "302 Found", "Location: /other.json\r\n"),
            (b'{"keys":[]}', "301 Moved Permanently", "Location: http://127.0.0.1:1/\r\n"),
            (b"<html>", "200 OK", ""),
            (b"", "200 OK", ""),
            (b"[]", "200 OK", ""),
            (b'{"keys":{}}', "200 OK", ""),
            (b'{"keys":"x"}', "200 OK", ""),
            (b"\xff\xfe", "200 OK", ""),
            (b"[" * 100_000, "200 OK", ""),
            (b"not gzip", "200 OK", "Content-Encoding: gzip\r\n"),
        ],
    )
    async def test_bad_response_keeps_old_keys(
        self,
        remote: RemoteKeys,
        provider: KeyServer,
        clock: Clock,
        body: bytes,
        status: str,
        extra: str,
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        await found(remote)
        provider.serve(body, status, extra)
        clock.now += jwks.FRESH_SECONDS + 1
        assert await found(remote) == ["one"]
        assert len(provider.requests) == 2

    async def test_redirect_is_not_followed(self, remote: RemoteKeys, provider: KeyServer) -> None:
        provider.serve(b"", "302 Found", "Location: /other.json\r\n")
        with pytest.raises(ServiceUnavailable):
            await found(remote)
        assert len(provider.requests) == 1

    async def test_huge_response_is_rejected(self, remote: RemoteKeys, provider: KeyServer) -> None:
        provider.serve({"keys": [ec_key()], "padding": "x" * (10 << 20)})
        with pytest.raises(ServiceUnavailable):
            await found(remote)

    async def test_slow_response_times_out(
        self, remote: RemoteKeys, provider: KeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert jwks.FETCH_SECONDS <= 3
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.1)
        provider.delay = 1
        with pytest.raises(ServiceUnavailable):
            await found(remote)

    async def test_unreachable_provider_is_unavailable(self, clock: Clock) -> None:
        del clock
        async with httpx.AsyncClient(trust_env=False) as client:
            # Port 1 needs a privileged listener, and nothing listens there.
            with pytest.raises(ServiceUnavailable):
                await RemoteKeys("http://127.0.0.1:1/jwks", client).find("one", "ES256")

    async def test_requests_fail_fast_after_failure(
        self, remote: RemoteKeys, provider: KeyServer
    ) -> None:
        provider.serve(b"", "500 Internal Server Error")
        for _ in range(3):
            with pytest.raises(ServiceUnavailable):
                await found(remote)
        assert len(provider.requests) == 1

    async def test_known_keys_do_not_wait_for_failing_provider(
        self,
        remote: RemoteKeys,
        provider: KeyServer,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        await found(remote)
        provider.serve(b"", "500 Internal Server Error")
        clock.now += jwks.FRESH_SECONDS + 1
        assert await found(remote) == ["one"]
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 60)
        provider.delay = 60
        clock.now += jwks.REFRESH_PAUSE_SECONDS + 1
        provider.requested.clear()
        trying = asyncio.create_task(found(remote))
        await provider.requested.wait()
        assert await found(remote) == ["one"]
        assert await found(remote, "unknown") == []
        assert not trying.done()
        trying.cancel()
        with suppress(asyncio.CancelledError):
            await trying


@pytest.mark.req("B-112")
class TestFailures:
    """RemoteKeys.failure, the log and the metric."""

    @pytest.mark.parametrize(
        ("body", "status", "cause"),
        [
            (b"canary", "404 Not Found", "HTTP status 404"),
            (b"", "302 Found", "HTTP status 302"),
            (b"<html>canary", "200 OK", "not a key set"),
            (b'{"canary":[]}', "200 OK", "not a key set"),
            (b'{"keys":[]}', "200 OK", "no key that may verify signatures"),
            (b'{"keys":[{"kty":"oct","k":"canary"}]}', "200 OK", "no key that may"),
            (b"x" * (257 * 1024), "200 OK", "more than 262144 bytes"),
        ],
    )
    async def test_bad_response_is_logged_with_its_cause_and_counted(
        self,
        remote: RemoteKeys,
        provider: KeyServer,
        caplog: pytest.LogCaptureFixture,
        body: bytes,
        status: str,
        cause: str,
    ) -> None:
        provider.serve(body, status)
        with suppress(ServiceUnavailable):
            await found(remote)
        assert remote.failure is not None
        assert cause in remote.failure
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert remote.failure in record.getMessage()
        assert "default" in record.getMessage()
        assert "canary" not in caplog.text

    @pytest.mark.parametrize(
        ("url", "cause"),
        [
            ("http://127.0.0.1:1/secret", "connection refused"),
            ("http://secret.invalid/jwks", "host name unknown"),
            ("http://127.0.0.1:1%zz/secret", "address not valid"),
        ],
    )
    async def test_unreachable_provider_is_logged_with_its_cause(
        self, clock: Clock, caplog: pytest.LogCaptureFixture, url: str, cause: str
    ) -> None:
        del clock
        async with httpx.AsyncClient(trust_env=False) as client:
            keys = RemoteKeys(url, client, "okta")
            await keys.refresh()
        assert (keys.failure, keys.is_usable) == (cause, False)
        assert f"issuer okta cannot be fetched: {cause}" in caplog.text
        assert "secret" not in caplog.text

    async def test_slow_provider_is_logged_with_its_cause(
        self, remote: RemoteKeys, provider: KeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.1)
        provider.delay = 1
        await remote.refresh()
        assert remote.failure == "no response within 0.1 s"

    async def test_failures_are_counted_by_issuer(self, clock: Clock) -> None:
        del clock
        counter = metrics.KEY_FETCHES.labels("counted", "failed")
        before = counter._value.get()
        async with httpx.AsyncClient(trust_env=False) as client:
            await RemoteKeys("http://127.0.0.1:1/", client, "counted").refresh()
        assert counter._value.get() == before + 1

    async def test_success_ends_the_failure(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve(b"", "404 Not Found")
        await remote.refresh()
        provider.serve({"keys": [ec_key()]})
        clock.now += 31
        await remote.refresh()
        assert (remote.failure, remote.is_usable) == (None, True)


@pytest.mark.req("B-112")
class TestKeysFetched:
    """keys_fetched()."""

    @pytest.fixture
    async def verifier(
        self, remote: RemoteKeys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> TokenVerifier:
        monkeypatch.setattr(trust, "REFRESH_PAUSE_SECONDS", -0.99)
        return make_verifier(Settings(data_dir=tmp_path), "https://id.example", remote)

    async def test_keys_are_fetched_once_at_the_start(
        self, verifier: TokenVerifier, remote: RemoteKeys, provider: KeyServer
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        async with trust.keys_fetched(verifier):
            assert len(provider.requests) == 1
            assert await found(remote) == ["one"]
            await asyncio.sleep(0.1)
        assert len(provider.requests) == 1

    async def test_failed_fetch_is_tried_again_without_a_request(
        self, verifier: TokenVerifier, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve(b"", "404 Not Found")
        async with trust.keys_fetched(verifier):
            assert not remote.is_usable
            provider.serve({"keys": [ec_key()]})
            clock.now += 31
            async with asyncio.timeout(5):
                while not remote.is_usable:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
