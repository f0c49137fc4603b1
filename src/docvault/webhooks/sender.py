"""Sending one webhook: to an address that was checked, within a time, without redirects (D28)."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Self

import httpcore
import httpx

from docvault.causes import list_causes
from docvault.domain.webhooks import MAX_RETRY_AFTER
from docvault.webhooks.destinations import Destination, DestinationRefused, Destinations

TOTAL_SECONDS = 15
# For each address of a host, so that one that does not respond leaves time for the next.
CONNECT_SECONDS = 5
MAX_RESPONSE_BYTES = 64 * 1024
# Names that are resolved at the same time. A resolver can hold a thread longer than a delivery.
RESOLVER_THREADS = 50

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class SendError(StrEnum):
    """Why there was no response."""

    DESTINATION_REFUSED = "destination_refused"
    NAME_NOT_RESOLVED = "name_not_resolved"
    # It could not be made, or broke off.
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"
    PROXY_FAILED = "proxy_failed"
    # Closed without one, or not HTTP.
    INVALID_RESPONSE = "invalid_response"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attempt: a status or an error."""

    status: int | None
    error: SendError | None
    duration_ms: int
    # How long the receiver asks to wait, at most a day.
    retry_after: timedelta | None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has accepted the message."""
        return self.status is not None and httpx.codes.is_success(self.status)


class WebhookSender:
    """Sends webhooks where the operators allow it; enter it before use.

    Each attempt resolves the name again, and connects to the addresses that it has checked. No
    connection is used twice, since the name may lead elsewhere by then.
    """

    def __init__(
        self,
        destinations: Destinations,
        tls: ssl.SSLContext,
        *,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._destinations = destinations
        self._tls = tls
        self._resolver = ThreadPoolExecutor(RESOLVER_THREADS, "webhook-resolver")
        self._resolve = resolve or self._resolve_with_system
        self._network = network or httpcore.AnyIOBackend()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._resolver.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send a message once; a failure is an outcome, not an exception."""
        started = time.monotonic()
        head = _Head()
        error = None
        try:
            destination = self._destinations.check(url)
            async with asyncio.timeout(TOTAL_SECONDS):
                await self._exchange(destination, headers, body, head)
        except _FAILURES as failure:
            # After the status, a slow body does not matter: it is not read.
            error = None if head.status else self._classify(failure)
        duration_ms = round((time.monotonic() - started) * 1000)
        return Outcome(head.status, error, duration_ms, head.retry_after)

    async def _exchange(
        self, destination: Destination, headers: Mapping[str, str], body: bytes, head: "_Head"
    ) -> None:
        url = httpcore.URL(
            scheme=destination.scheme,
            host=destination.host,
            port=destination.port,
            target=destination.target,
        )
        own = {"Host": destination.authority, "Content-Length": str(len(body))}
        sent = {**own, "Connection": "close", **headers}
        async with (
            self._open_pool(destination) as pool,
            pool.stream("POST", url, headers=list(sent.items()), content=body) as response,
        ):
            head.read(response)
            await _drain(response)

    def _open_pool(self, destination: Destination) -> httpcore.AsyncConnectionPool:
        """Return a pool for one request; it reads no proxy and no other setting from outside."""
        if self._destinations.proxy is not None:
            return httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                proxy=httpcore.Proxy(self._destinations.proxy, ssl_context=self._tls),
                network_backend=self._network,
            )

        async def find_addresses() -> Sequence[str]:
            try:
                addresses = await self._resolve(destination.host, destination.port)
                self._destinations.check_addresses(destination, addresses)
            except (OSError, ValueError) as error:
                raise _NameError from error
            return addresses

        return httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            network_backend=_PinnedNetwork(find_addresses, self._network),
        )

    def _classify(self, failure: Exception) -> SendError:
        if any(isinstance(cause, ssl.SSLError) for cause in list_causes(failure)):
            return SendError.TLS_FAILED
        if self._destinations.proxy is not None and isinstance(failure, _PROXY_FAILURES):
            return SendError.PROXY_FAILED
        return next(error for kinds, error in _ERRORS.items() if isinstance(failure, kinds))

    async def _resolve_with_system(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._resolver, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were found, whatever name it is asked for.

    TLS still verifies the name: httpcore takes it from the URL.
    """

    def __init__(
        self,
        find_addresses: Callable[[], Awaitable[Sequence[str]]],
        network: httpcore.AsyncNetworkBackend,
    ) -> None:
        self._find_addresses = find_addresses
        self._network = network

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - replaced by its addresses
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = _NameError()
        for address in await self._find_addresses():
            try:
                return await self._network.connect_tcp(
                    address, port, CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


@dataclass(slots=True)
class _Head:
    """What counts of a response."""

    status: int | None = None
    retry_after: timedelta | None = None

    def read(self, response: httpcore.Response) -> None:
        self.status = response.status
        for name, value in response.headers:
            if name.lower() == b"retry-after":
                self.retry_after = read_retry_after(value.decode("latin-1"), datetime.now(UTC))


def read_retry_after(value: str, now: datetime) -> timedelta | None:
    """Return the time to wait, between 0 and a day; None if the header is malformed."""
    text = value.strip()
    try:
        if text.isascii() and text.isdecimal():
            wait = timedelta(seconds=min(float(text), MAX_RETRY_AFTER.total_seconds()))
        else:
            wait = parsedate_to_datetime(text).replace(tzinfo=UTC) - now
    except ValueError:
        return None
    return min(max(wait, timedelta()), MAX_RETRY_AFTER)


async def _drain(response: httpcore.Response) -> None:
    """Read what most receivers send, so that they can finish; the rest is cut off."""
    received = 0
    async for chunk in response.aiter_stream():
        received += len(chunk)
        if received >= MAX_RESPONSE_BYTES:
            break


class _NameError(Exception):
    """The name has no address."""


_PROXY_FAILURES = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ProxyError)
_ERRORS = {
    (DestinationRefused,): SendError.DESTINATION_REFUSED,
    (_NameError,): SendError.NAME_NOT_RESOLVED,
    (TimeoutError, httpcore.TimeoutException): SendError.TIMEOUT,
    (httpcore.NetworkError, httpcore.ProxyError): SendError.CONNECTION_FAILED,
    (httpcore.ProtocolError,): SendError.INVALID_RESPONSE,
}
_FAILURES = tuple(kind for kinds in _ERRORS for kind in kinds)
