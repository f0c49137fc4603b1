"""The keys that verify tokens: those of an identity provider (D11), or fixed ones."""

import asyncio
import json
import logging
import socket
import ssl
import time
import warnings
from collections.abc import Mapping
from typing import Any

import httpx
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from docvault.causes import list_causes
from docvault.errors import ServiceUnavailable
from docvault.issuers import SIMPLE_NAME
from docvault.observability import metrics

FETCH_SECONDS = 3
MAX_BYTES = 256 * 1024
FRESH_SECONDS = 600
STALE_SECONDS = 24 * 3600
REFRESH_PAUSE_SECONDS = 30
MIN_RSA_BITS = 2048

_KEY_TYPES: Mapping[str, tuple[type[Key], tuple[str, ...]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), (RSAKey, ())),
    "ES256": (ECKey, ("P-256",)),
    "ES384": (ECKey, ("P-384",)),
    "ES512": (ECKey, ("P-521",)),
    "EdDSA": (OKPKey, ("Ed25519",)),
    "Ed25519": (OKPKey, ("Ed25519",)),
}


class _BadKeySet(Exception):
    """The response is not a key set; the message says why."""


_FETCH_ERRORS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    TimeoutError,
    ValueError,
    RecursionError,
    _BadKeySet,
)
logger = logging.getLogger(__name__)


class StaticKeys:
    """A fixed key set: from the settings, or the local signing key of a deployment."""

    # It cannot fail; see `RemoteKeys`.
    failure = None
    is_usable = True

    def __init__(self, key_set: Mapping[str, Any]) -> None:
        self._keys = load_keys(key_set)

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the matching keys; see `KeySource`."""
        return select_keys(self._keys, key_id, algorithm)

    async def refresh(self) -> None:
        """Do nothing: the keys are there."""


class RemoteKeys:
    """The JWKS of an identity provider.

    It is cached for ten minutes. An unknown key id triggers a refresh, at most every thirty seconds
    and one at a time. While the provider is down, old keys are used for up to a day. After a
    failure, only the caller that retries waits for the provider.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, name: str = SIMPLE_NAME) -> None:
        self._url = url
        self._client = client
        self._name = name
        # Why the last fetch failed, None if it succeeded.
        self.failure: str | None = None
        for result in ("ok", "failed"):
            metrics.KEY_FETCHES.labels(name, result)
        self._keys: list[Key] = []
        self._fetched_at = -float(STALE_SECONDS)
        self._tried_at = -float(REFRESH_PAUSE_SECONDS)
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the matching keys; raises `ServiceUnavailable` if none could be fetched."""
        if self._compute_age() > FRESH_SECONDS:
            await self.refresh()
        found = select_keys(self._keys, key_id, algorithm)
        if not found:
            await self.refresh()
            found = select_keys(self._keys, key_id, algorithm)
        if self._compute_age() > STALE_SECONDS:
            raise ServiceUnavailable("The identity provider's keys cannot be fetched.")
        return found

    def _compute_age(self) -> float:
        return time.monotonic() - self._fetched_at

    @property
    def is_usable(self) -> bool:
        """Whether there are keys; without them tokens are refused with 503."""
        return self._compute_age() <= STALE_SECONDS

    async def refresh(self) -> None:
        """Fetch the keys, at most every thirty seconds; a failure is logged and counted."""
        if self.failure is not None and self._lock.locked():
            return
        async with self._lock:
            if time.monotonic() - self._tried_at < REFRESH_PAUSE_SECONDS:
                return
            self._tried_at = time.monotonic()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    self._keys = load_keys(await self._fetch())
            except _FETCH_ERRORS as error:
                self._report_failure(_describe_failure(error))
                return
            self._fetched_at = time.monotonic()
            self._report_success()

    def _report_failure(self, cause: str) -> None:
        self.failure = cause
        metrics.KEY_FETCHES.labels(self._name, "failed").inc()
        logger.warning("the keys of issuer %s cannot be fetched: %s", self._name, cause)

    def _report_success(self) -> None:
        metrics.KEY_FETCHES.labels(self._name, "ok").inc()
        had_failed, self.failure = self.failure is not None, None
        if not self._keys:
            # The provider may have withdrawn them all, but a wrong address is more likely.
            self.failure = "no key that may verify signatures"
            logger.warning("the key set of issuer %s holds %s", self._name, self.failure)
        elif had_failed:
            logger.info("the keys of issuer %s were fetched again", self._name)

    async def _fetch(self) -> Mapping[str, Any]:
        async with self._client.stream("GET", self._url, follow_redirects=False) as response:
            if response.status_code != httpx.codes.OK:
                raise _BadKeySet(f"HTTP status {response.status_code}")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _BadKeySet(f"more than {MAX_BYTES} bytes")
        parsed = json.loads(body)
        if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
            raise _BadKeySet("not a key set")
        return parsed


def _describe_failure(error: Exception) -> str:
    """Return why a fetch failed, without the texts of others, which may quote anything."""
    if isinstance(error, _BadKeySet):
        return str(error)
    causes = list(list_causes(error))
    for kinds, text in (
        ((httpx.InvalidURL,), "address not valid"),
        ((ssl.SSLCertVerificationError,), "certificate not trusted"),
        ((ssl.SSLError,), "TLS failed"),
        ((TimeoutError, httpx.TimeoutException), f"no response within {FETCH_SECONDS} s"),
        ((socket.gaierror,), "host name unknown"),
        ((ConnectionRefusedError,), "connection refused"),
        ((httpx.TransportError,), "connection failed"),
        ((httpx.DecodingError, ValueError, RecursionError), "not a key set"),
    ):
        if any(isinstance(cause, kinds) for cause in causes):
            return text
    return "connection failed"


def load_keys(key_set: Mapping[str, Any]) -> list[Key]:
    """Return the keys of a set that may verify signatures and are long enough."""
    keys = []
    for item in key_set.get("keys", []):
        if not isinstance(item, dict) or not _may_verify(item):
            continue
        try:
            with warnings.catch_warnings():
                # A short key causes a warning; it is skipped below.
                warnings.simplefilter("ignore", SecurityWarning)
                key = import_key(item)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, RSAKey) or key.public_key.key_size >= MIN_RSA_BITS:
            keys.append(key)
    return keys


def select_keys(keys: list[Key], key_id: str | None, algorithm: str) -> list[Key]:
    """Return the keys of the algorithm's type, and with the token's key id if it has one."""
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
