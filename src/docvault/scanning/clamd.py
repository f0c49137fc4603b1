"""A client of clamd. Every response except its two verdicts is a failure (D25, F13, F14).

It uses one connection per command (`man clamd`): `zINSTREAM` is followed by chunks, each after its
length, and a chunk of length zero. clamd never receives a file name, and never waits for a client
of docvault: files are scanned after they were received.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from docvault.circuit_breaker import CircuitBreaker
from docvault.errors import ScannerUnavailable
from docvault.observability import metrics

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
PARALLEL = 4
CONNECT_SECONDS = 1
VERSION_SECONDS = 3
SCAN_SECONDS = 30
# How long a scan may wait for a permit.
WAIT_SECONDS = 10
RETRY_SECONDS = 5
MAX_RESPONSE_BYTES = 1024

_CLEAN = b"stream: OK\0"
_FOUND = re.compile(rb"stream: ([ -~]{1,200}) FOUND\0")
# With `AlertExceedsMax`: the file exceeds a limit, so this is no verdict.
_OVER_LIMIT = re.compile(rb"stream: (Heuristics\.Limits\.Exceeded[!-~]{0,200}) FOUND\0")
_REFUSED = re.compile(rb"([ -~]{1,200}) ERROR\0")
_VERSION = re.compile(rb"(ClamAV [ -~]{1,200})\0")

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ScanRefused(Exception):
    """clamd has responded without a verdict, mostly because the bytes exceed one of its limits."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """A verdict: the name of the malware, or None.

    `scanned_with` is the version of clamd and of its signatures.
    """

    malware: str | None
    scanned_with: str


class Scanner:
    """A clamd. Its methods raise `ScannerUnavailable` if there is no valid response."""

    def __init__(self, address: str) -> None:
        self._connect = _make_connector(address)
        self._permits = asyncio.Semaphore(PARALLEL)
        self._breaker = CircuitBreaker(ScannerUnavailable)

    async def version(self) -> str:
        """Return the version of clamd and of its signatures."""
        async with _limit_time(VERSION_SECONDS):
            response = await self._send_command(b"VERSION")
        match = _VERSION.fullmatch(response)
        if match is None:
            raise _unavailable("does not report its version")
        return match[1].decode("ascii")

    async def scan(
        self, chunks: AsyncIterator[bytes], *, seconds: float = SCAN_SECONDS
    ) -> ScanResult:
        """Return the verdict on these bytes; raises `ScanRefused` if clamd has none.

        At most four scans run at once; the others wait up to ten seconds. `seconds` limits the scan
        itself, including reading its bytes.
        """
        async with self._acquire_permit():
            with self._use_breaker(), metrics.observe_duration(metrics.SCAN_SECONDS):
                async with _limit_time(seconds):
                    # First: if the signatures change during the scan, the file is scanned again.
                    version = await self.version()
                    response = await self._send_command(b"INSTREAM", chunks)
                    return ScanResult(_parse_verdict(response), version)

    async def _send_command(
        self, command: bytes, chunks: AsyncIterator[bytes] | None = None
    ) -> bytes:
        """Return the whole response; a verdict on a part of the bytes does not count."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._connect()
        except OSError as error:
            raise _unavailable("cannot be reached") from error
        try:
            writer.write(b"z%b\0" % command)
            # clamd may close the connection early, with a response that says why.
            response, was_sent = await asyncio.gather(_receive(reader), _send(writer, chunks))
        finally:
            writer.transport.abort()
        if not was_sent and not _REFUSED.fullmatch(response):
            raise _unavailable("closed the connection early")
        return response

    @asynccontextmanager
    async def _acquire_permit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._permits.acquire()
        except TimeoutError:
            raise _unavailable("is overloaded") from None
        try:
            yield
        finally:
            self._permits.release()

    @contextmanager
    def _use_breaker(self) -> Iterator[None]:
        """Fail fast while clamd keeps failing (D31)."""
        self._breaker.check()
        try:
            yield
        except ScannerUnavailable as error:
            self._breaker.record_failure(error.cause)
            raise
        except ScanRefused:
            self._breaker.record_success()
            raise
        self._breaker.record_success()


def _make_connector(address: str) -> Callable[[], Awaitable[_Connection]]:
    url = urlsplit(address)
    if url.scheme == "unix":
        return lambda: asyncio.open_unix_connection(unquote(url.path))
    return lambda: asyncio.open_connection(url.hostname, url.port)


async def _send(writer: asyncio.StreamWriter, chunks: AsyncIterator[bytes] | None) -> bool:
    """Send chunks and the end marker; return whether clamd accepted all of them."""
    if chunks is None:
        return True
    try:
        async for chunk in chunks:
            for start in range(0, len(chunk), CHUNK_BYTES):
                part = chunk[start : start + CHUNK_BYTES]
                writer.writelines([len(part).to_bytes(4, "big"), part])
                await writer.drain()
        writer.write(bytes(4))
        await writer.drain()
    except OSError:
        return False
    return True


async def _receive(reader: asyncio.StreamReader) -> bytes:
    """Return what clamd sends until it closes the connection; its responses are short."""
    response = b""
    with suppress(OSError):
        while len(response) < MAX_RESPONSE_BYTES:
            part = await reader.read(MAX_RESPONSE_BYTES)
            if not part:
                break
            response += part
    return response


def _parse_verdict(response: bytes) -> str | None:
    """Return the name of the malware, or None if the bytes are clean."""
    if response == _CLEAN:
        return None
    if refused := _OVER_LIMIT.fullmatch(response) or _REFUSED.fullmatch(response):
        # clamd's own words are safe to log: it knows no file name and quotes no content.
        log.warning("the scanner rejected a file: %s", refused[1].decode("ascii"))
        raise ScanRefused
    if found := _FOUND.fullmatch(response):
        return found[1].decode("ascii")
    raise _unavailable("returned no verdict")


@asynccontextmanager
async def _limit_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _unavailable("did not respond in time") from None


def _unavailable(what: str) -> ScannerUnavailable:
    log.warning("the scanner %s", what)
    return ScannerUnavailable(cause=what, retry_after_seconds=RETRY_SECONDS)
