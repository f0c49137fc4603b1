"""Keys of the identity provider, fetched and cached (D11), or the one made at first start."""

import asyncio
import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

import httpx
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from docvault.errors import Overloaded

FETCH_SECONDS = 3
MAX_BYTES = 256 * 1024
FRESH_SECONDS = 600
STALE_SECONDS = 24 * 3600
REFRESH_PAUSE_SECONDS = 30
MIN_RSA_BITS = 2048

_KEY_TYPES: Mapping[str, tuple[type[Key], tuple[str, ...]]] = {
    "RS256": (RSAKey, ()),
    "PS256": (RSAKey, ()),
    "ES256": (ECKey, ("P-256",)),
    "EdDSA": (OKPKey, ("Ed25519",)),
    "Ed25519": (OKPKey, ("Ed25519",)),
}


class StaticKeys:
    """A fixed key set: the local signing key of a deployment without an identity provider."""

    def __init__(self, key_set: Mapping[str, Any]) -> None:
        self._keys = usable_keys(key_set)

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the keys that fit; see `KeySource`."""
        return matching_keys(self._keys, key_id, algorithm)


class RemoteKeys:
    """The identity provider's JWKS.

    Cached for ten minutes; an unknown key id asks again at most every thirty seconds, one
    request at a time; old keys go on for a day while the provider is down. Once it has failed,
    nobody waits for the next try but the one who makes it.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._keys: list[Key] = []
        self._fetched_at = -float(STALE_SECONDS)
        self._tried_at = -float(REFRESH_PAUSE_SECONDS)
        self._has_failed = False
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the keys that fit; see `KeySource`. `Overloaded` when there are none to ask."""
        if self._age() > FRESH_SECONDS:
            await self._refresh()
        found = matching_keys(self._keys, key_id, algorithm)
        if not found:
            await self._refresh()
            found = matching_keys(self._keys, key_id, algorithm)
        if self._age() > STALE_SECONDS:
            raise Overloaded("The identity provider's keys cannot be fetched.")
        return found

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    async def _refresh(self) -> None:
        if self._has_failed and self._lock.locked():
            return
        async with self._lock:
            if time.monotonic() - self._tried_at < REFRESH_PAUSE_SECONDS:
                return
            self._tried_at = time.monotonic()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    self._keys = usable_keys(await self._fetch())
            except (httpx.HTTPError, TimeoutError, ValueError, RecursionError):
                self._has_failed = True
                return
            self._has_failed = False
            self._fetched_at = time.monotonic()

    async def _fetch(self) -> Mapping[str, Any]:
        async with self._client.stream("GET", self._url, follow_redirects=False) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError("the key set is not there")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("the key set is too large")
        parsed = json.loads(body)
        if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
            raise ValueError("this is not a key set")  # noqa: TRY004 - one error for all bad answers
        return parsed


def usable_keys(key_set: Mapping[str, Any]) -> list[Key]:
    """Return the keys of a set that may verify: right use, right operations, long enough."""
    keys = []
    for item in key_set.get("keys", []):
        if not isinstance(item, dict) or not _may_verify(item):
            continue
        try:
            with warnings.catch_warnings():
                # A short key warns; it is left out just below.
                warnings.simplefilter("ignore", SecurityWarning)
                key = import_key(item)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, RSAKey) or key.public_key.key_size >= MIN_RSA_BITS:
            keys.append(key)
    return keys


def matching_keys(keys: list[Key], key_id: str | None, algorithm: str) -> list[Key]:
    """Return the keys of the algorithm's type, and with the key id when the token names one."""
    kind, curves = _KEY_TYPES[algorithm]
    return [
        key
        for key in keys
        if isinstance(key, kind)
        and (not curves or key.get("crv") in curves)
        and key.get("alg", algorithm) == algorithm
        and (key_id is None or key.get("kid") == key_id)
    ]


def _may_verify(item: Mapping[str, Any]) -> bool:
    operations = item.get("key_ops")
    return item.get("use") in (None, "sig") and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )
