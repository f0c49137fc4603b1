"""clamd, asked over its socket; anything but its two verdicts is a failure (D25, F13, F14).

One connection a command, as `man clamd` has it: `zINSTREAM` takes the bytes in chunks with their
length before them and ends with a chunk of length zero. clamd never gets a name, and never waits
for a client of ours: what is scanned is here already.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from docvault import metrics
from docvault.breaker import Breaker
from docvault.errors import ScannerUnavailable

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
PARALLEL = 4
CONNECT_SECONDS = 1
VERSION_SECONDS = 3
SCAN_SECONDS = 30
# How long a scan may wait for its turn.
WAIT_SECONDS = 10
RETRY_SECONDS = 5
MAX_ANSWER_BYTES = 1024

_CLEAN = b"stream: OK\0"
_FOUND = re.compile(rb"stream: ([ -~]{1,200}) FOUND\0")
# With `AlertExceedsMax`: there was too much of it to look at, which says nothing about malware.
_OVER_LIMIT = re.compile(rb"stream: (Heuristics\.Limits\.Exceeded[!-~]{0,200}) FOUND\0")
_REFUSED = re.compile(rb"([ -~]{1,200}) ERROR\0")
_VERSION = re.compile(rb"(ClamAV [ -~]{1,200})\0")

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ScanRefused(Exception):
    """clamd answers, but has no verdict on these bytes: they are over a limit of it, mostly."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """A verdict: the name of the malware, None when there is none.

    `scanned_with` names the versions of clamd and of its signatures.
    """

    malware: str | None
    scanned_with: str


class Scanner:
    """One clamd. Its methods raise `ScannerUnavailable` when there is no answer that counts."""

    def __init__(self, address: str) -> None:
        self._connect = _connector(address)
        self._turns = asyncio.Semaphore(PARALLEL)
        self._breaker = Breaker(ScannerUnavailable)

    async def version(self) -> str:
        """Return the versions of clamd and of its signatures."""
        async with _in_time(VERSION_SECONDS):
            answer = await self._ask(b"VERSION")
        match = _VERSION.fullmatch(answer)
        if match is None:
            raise _unavailable("does not tell its version")
        return match[1].decode("ascii")

    async def scan(
        self, chunks: AsyncIterator[bytes], *, seconds: float = SCAN_SECONDS
    ) -> ScanResult:
        """Return the verdict on these bytes; raises `ScanRefused` when clamd has none.

        At most four scans at once; the others wait for ten seconds. `seconds` is how long the
        scan itself may take, the reading of its bytes included.
        """
        async with self._turn():
            with self._watched(), metrics.measured(metrics.SCAN_SECONDS):
                async with _in_time(seconds):
                    # Asked first: should the signatures change now, the file is scanned again.
                    version = await self.version()
                    return ScanResult(_malware(await self._ask(b"INSTREAM", chunks)), version)

    async def _ask(self, command: bytes, chunks: AsyncIterator[bytes] | None = None) -> bytes:
        """Return the whole answer; a verdict on a part of the bytes is none."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._connect()
        except OSError as error:
            raise _unavailable("cannot be reached") from error
        try:
            writer.write(b"z%b\0" % command)
            # clamd can hang up before it has everything, with an answer that says why.
            answer, was_sent = await asyncio.gather(_receive(reader), _send(writer, chunks))
        finally:
            writer.transport.abort()
        if not was_sent and not _REFUSED.fullmatch(answer):
            raise _unavailable("hung up early")
        return answer

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise _unavailable("has too much to do") from None
        try:
            yield
        finally:
            self._turns.release()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Do not wait for a clamd that keeps failing (D31)."""
        self._breaker.admit()
        try:
            yield
        except ScannerUnavailable:
            self._breaker.failed()
            raise
        except ScanRefused:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()


def _connector(address: str) -> Callable[[], Awaitable[_Connection]]:
    url = urlsplit(address)
    if url.scheme == "unix":
        return lambda: asyncio.open_unix_connection(unquote(url.path))
    return lambda: asyncio.open_connection(url.hostname, url.port)


async def _send(writer: asyncio.StreamWriter, chunks: AsyncIterator[bytes] | None) -> bool:
    """Send chunks and their end; return whether clamd took them all."""
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
    """Return what comes until clamd hangs up; no answer of it is long."""
    answer = b""
    with suppress(OSError):
        while len(answer) < MAX_ANSWER_BYTES:
            part = await reader.read(MAX_ANSWER_BYTES)
            if not part:
                break
            answer += part
    return answer


def _malware(answer: bytes) -> str | None:
    if answer == _CLEAN:
        return None
    if refused := _OVER_LIMIT.fullmatch(answer) or _REFUSED.fullmatch(answer):
        # Its own words: it knows no name and shows no content.
        log.warning("the scanner refuses a file: %s", refused[1].decode("ascii"))
        raise ScanRefused
    if found := _FOUND.fullmatch(answer):
        return found[1].decode("ascii")
    raise _unavailable("gives no verdict")


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _unavailable("does not answer in time") from None


def _unavailable(what: str) -> ScannerUnavailable:
    log.warning("the scanner %s", what)
    return ScannerUnavailable(retry_after_seconds=RETRY_SECONDS)
