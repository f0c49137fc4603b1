"""The identity provider's keys: which are used, and how they are fetched and kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.factories.clock import Clock
from tests.fixtures.key_server import KeyServer

from docvault.auth import jwks
from docvault.auth.jwks import RemoteKeys, StaticKeys, matching_keys, usable_keys
from docvault.errors import Unavailable


def ec_key(kid: str = "one", curve: str = "P-256", **members: Any) -> dict[str, Any]:
    return {**ECKey.generate_key(curve).as_dict(private=False), "kid": kid, **members}


def rsa_key(kid: str = "rsa", **members: Any) -> dict[str, Any]:
    return {**RSAKey.generate_key(2048).as_dict(private=False), "kid": kid, **members}


class TestUsableKeys:
    """usable_keys()."""

    @pytest.mark.parametrize(
        "members",
        [{}, {"use": "sig"}, {"key_ops": ["verify"]}, {"use": "sig", "key_ops": ["verify"]}],
    )
    def test_a_key_that_may_verify_is_used(self, members: dict[str, Any]) -> None:
        assert len(usable_keys({"keys": [ec_key(**members)]})) == 1

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
    def test_a_key_that_may_not_verify_is_left_out(self, members: dict[str, Any]) -> None:
        assert usable_keys({"keys": [ec_key(**members)]}) == []

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
    def test_a_broken_or_unknown_key_does_not_hide_the_good_one(self, item: object) -> None:
        good = ec_key()
        assert [key.kid for key in usable_keys({"keys": [item, good]})] == ["one"]

    def test_a_set_without_keys_is_empty(self) -> None:
        assert usable_keys({}) == []


class TestMatchingKeys:
    """matching_keys()."""

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
    def test_only_keys_of_the_algorithms_kind_and_curve_match(
        self, algorithm: str, expected: list[str]
    ) -> None:
        keys = usable_keys(
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
        assert [key.kid for key in matching_keys(keys, None, algorithm)] == expected

    def test_a_key_for_another_algorithm_does_not_match(self) -> None:
        keys = usable_keys({"keys": [rsa_key(alg="RS256")]})
        assert matching_keys(keys, "rsa", "PS256") == []
        assert len(matching_keys(keys, "rsa", "RS256")) == 1

    async def test_a_key_id_is_compared_exactly(self) -> None:
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

    async def test_the_keys_are_fetched_once_for_ten_minutes(
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

    async def test_a_new_key_is_found_at_once_after_a_rotation(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key("one")]})
        await found(remote)
        provider.serve({"keys": [ec_key("two")]})
        clock.now += 31
        assert await found(remote, "two") == ["two"]
        assert await found(remote, "one") == []

    async def test_unknown_key_ids_ask_again_at_most_every_thirty_seconds(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        for second in range(61):
            assert await found(remote, f"unknown-{second}") == []
            clock.now += 1
        assert len(provider.requests) <= 3

    async def test_many_at_once_make_one_request(
        self, remote: RemoteKeys, provider: KeyServer
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        provider.delay = 0.05
        answers = await asyncio.gather(*(found(remote, f"k{i % 5}") for i in range(50)))
        assert answers == [[]] * 50
        assert len(provider.requests) == 1

    async def test_known_keys_go_on_while_the_provider_is_down(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        await found(remote)
        provider.serve(b"", "503 Service Unavailable")
        clock.now += 23 * 3600
        assert await found(remote) == ["one"]

    async def test_keys_are_not_trusted_longer_than_a_day_without_the_provider(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve({"keys": [ec_key()]})
        await found(remote)
        provider.serve(b"", "503 Service Unavailable")
        clock.now += 24 * 3600 + 60
        with suppress(Unavailable):
            assert await found(remote) == []
        assert len(provider.requests) == 2

    async def test_the_provider_is_taken_up_again_after_an_outage(
        self, remote: RemoteKeys, provider: KeyServer, clock: Clock
    ) -> None:
        provider.serve(b"", "500 Internal Server Error")
        with pytest.raises(Unavailable):
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
    async def test_a_bad_answer_keeps_the_old_keys(
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

    async def test_a_redirect_is_not_followed(
        self, remote: RemoteKeys, provider: KeyServer
    ) -> None:
        provider.serve(b"", "302 Found", "Location: /other.json\r\n")
        with pytest.raises(Unavailable):
            await found(remote)
        assert len(provider.requests) == 1

    async def test_a_huge_answer_is_refused(self, remote: RemoteKeys, provider: KeyServer) -> None:
        provider.serve({"keys": [ec_key()], "padding": "x" * (10 << 20)})
        with pytest.raises(Unavailable):
            await found(remote)

    async def test_a_slow_answer_is_given_up(
        self, remote: RemoteKeys, provider: KeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert jwks.FETCH_SECONDS <= 3
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.1)
        provider.delay = 1
        with pytest.raises(Unavailable):
            await found(remote)

    async def test_a_provider_that_cannot_be_reached_is_unavailable(self, clock: Clock) -> None:
        del clock
        async with httpx.AsyncClient(trust_env=False) as client:
            # Port 1 needs a privileged listener, and nothing listens there.
            with pytest.raises(Unavailable):
                await RemoteKeys("http://127.0.0.1:1/jwks", client).find("one", "ES256")

    async def test_after_a_failure_requests_fail_without_asking_again(
        self, remote: RemoteKeys, provider: KeyServer
    ) -> None:
        provider.serve(b"", "500 Internal Server Error")
        for _ in range(3):
            with pytest.raises(Unavailable):
                await found(remote)
        assert len(provider.requests) == 1

    async def test_while_the_provider_fails_known_keys_wait_for_nobodys_try(
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
        provider.asked.clear()
        trying = asyncio.create_task(found(remote))
        await provider.asked.wait()
        assert await found(remote) == ["one"]
        assert await found(remote, "unknown") == []
        assert not trying.done()
        trying.cancel()
        with suppress(asyncio.CancelledError):
            await trying
