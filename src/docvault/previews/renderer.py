"""Pictures of documents, rendered from untrusted files in a child process per picture.

The limits are D18, D21 and D22 of the security design; the child's side of them is in `child`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from docvault.previews.child import (
    EXIT_BROKEN,
    EXIT_NO_PARSER,
    EXIT_OVER_LIMIT,
    MAX_OUTPUT_BYTES,
)
from docvault.rules.previews import PreviewSize

WALL_SECONDS = 15.0
_MAX_HEADER_BYTES = 256

_KINDS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
    "application/pdf": "PDF",
}
PREVIEWABLE_TYPES = frozenset(_KINDS)
"""The media types of which a preview can be tried."""

_SIGNATURES = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}
_REASONS = {
    EXIT_BROKEN: "broken",
    EXIT_OVER_LIMIT: "over-limit",
    -signal.SIGXCPU: "time-limit",
}


_SIDES = {PreviewSize.small: 200, PreviewSize.medium: 800, PreviewSize.large: 1600}


@dataclass(frozen=True, slots=True)
class RenderedPreview:
    """A picture without metadata: JPEG, or PNG where it is transparent; sides in pixels."""

    media_type: str
    body: bytes
    width: int
    height: int


class PreviewFailed(Exception):
    """This file has no preview and never will; `reason` is safe to log.

    Reasons: unsupported-type, broken, over-limit, time-limit, crashed, bad-output.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PreviewUnavailable(Exception):
    """The preview could not be tried now (no process, no descriptor, no source); try later."""


class PreviewRenderer:
    """Renders at most `parallel` previews at the same time; further callers wait."""

    def __init__(self, *, parallel: int = 1) -> None:
        self._slots = asyncio.Semaphore(parallel)
        # By path, not by -m: isolated mode (-I) sees no package that only PYTHONPATH points at.
        child = Path(__file__).with_name("child.py")
        self._command: Sequence[str] = (sys.executable, "-I", "-B", str(child))

    async def render(self, source: Path, media_type: str, size: PreviewSize) -> RenderedPreview:
        """The picture of the first page or frame of a file; takes at most 15 s once it begins.

        Raises PreviewFailed where the file is to blame and PreviewUnavailable where it is not.
        Cancelling kills the child.
        """
        if media_type not in _KINDS:
            raise PreviewFailed("unsupported-type")
        command = (*self._command, _KINDS[media_type], str(_SIDES[size]))
        async with self._slots:
            try:
                output = await _run(command, source)
            except OSError as error:
                raise PreviewUnavailable(error.strerror) from error
        return _parsed(output, _SIDES[size])


async def _run(command: Sequence[str], source: Path) -> bytes:
    """What the command writes, given the source as its standard input."""
    async with _output_pipe() as (reader, write_end):
        with write_end:
            process = await _spawn(command, source, write_end)
        try:
            async with asyncio.timeout(WALL_SECONDS):
                output = await _read_bounded(reader)
                code = await process.wait()
        except TimeoutError:
            raise PreviewFailed("time-limit") from None
        finally:
            survivors = _kill_group(process.pid)
            # Should a second cancellation end this wait, asyncio still reaps the child.
            await process.wait()
    _check_exit(code)
    if survivors:
        raise PreviewFailed("crashed")
    return output


@asynccontextmanager
async def _output_pipe() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    """A way for the output of a child: a reader, and the end to be inherited and then closed.

    Not asyncio's PIPE: with that, Python 3.11's `Process.wait` also waits for any process that
    has inherited the pipe, and nothing public closes it. Not `connect_read_pipe`: uvloop closes
    its descriptor twice, and the second time it may be somebody else's. A pair of sockets it
    handles well.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        try:
            yield reader, theirs
        finally:
            writer.transport.abort()


async def _spawn(command: Sequence[str], source: Path, output: socket.socket) -> Process:
    """Start the command; it sees the source as an open file, no environment and no path."""
    source_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=source_fd,
            stdout=output.fileno(),
            # What parsers say of a document may quote it: never read, never logged.
            stderr=DEVNULL,
            env={},
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(source_fd)


async def _read_bounded(reader: asyncio.StreamReader) -> bytes:
    output = bytearray()
    while chunk := await reader.read(65536):
        output += chunk
        if len(output) > _MAX_HEADER_BYTES + MAX_OUTPUT_BYTES:
            raise PreviewFailed("bad-output")
    return bytes(output)


def _kill_group(pid: int) -> bool:
    """Kill all that is left of a child's process group; False if nothing was."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _check_exit(code: int) -> None:
    if code == EXIT_NO_PARSER:
        raise PreviewUnavailable("no parser installed")
    if code != 0:
        raise PreviewFailed(_REASONS.get(code, "crashed"))


def _parsed(output: bytes, side: int) -> RenderedPreview:
    """The answer of the child, of which nothing is believed: it may be in other hands."""
    line, _, body = output.partition(b"\n")
    try:
        header = json.loads(line[:_MAX_HEADER_BYTES])
        media_type, length = header["media_type"], header["length"]
        width, height = header["width"], header["height"]
        signature = _SIGNATURES[media_type]
    except (ValueError, TypeError, KeyError):
        raise PreviewFailed("bad-output") from None
    sides_hold = all(type(value) is int and 1 <= value <= side for value in (width, height))
    if not sides_hold or length != len(body) or not body.startswith(signature):
        raise PreviewFailed("bad-output")
    return RenderedPreview(media_type, body, width, height)
