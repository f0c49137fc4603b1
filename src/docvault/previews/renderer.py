"""Previews of untrusted files, each rendered in a child process of its own (D18, D21, D22).

The limits that the child process sets for itself are in `child`.
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

from docvault.domain.previews import PreviewSize
from docvault.previews.child import (
    EXIT_BROKEN,
    EXIT_NO_PARSER,
    EXIT_NO_SUCH_PAGE,
    EXIT_OVER_LIMIT,
)
from docvault.previews.encode import MAX_OUTPUT_BYTES

WALL_SECONDS = 15.0
_MAX_HEADER_BYTES = 256
# What the database can store.
_MAX_PAGES = 2**31 - 1

_KINDS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
    "image/avif": "AVIF",
    "image/bmp": "BMP",
    "image/jp2": "JPEG2000",
    "application/pdf": "PDF",
}
_SIGNATURES = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}
_REASONS = {
    EXIT_BROKEN: "broken",
    EXIT_OVER_LIMIT: "over-limit",
    -signal.SIGXCPU: "time-limit",
}


_SIDES = {PreviewSize.small: 200, PreviewSize.medium: 800, PreviewSize.large: 1600}


@dataclass(frozen=True, slots=True)
class RenderedPreview:
    """A picture without metadata: JPEG, or PNG if it is transparent; sizes are in pixels."""

    media_type: str
    body: bytes
    width: int
    height: int
    # Of a PDF; None for images.
    pages: int | None


class NoSuchPage(Exception):
    """The file is intact and has fewer pages."""


class PreviewFailed(Exception):
    """No preview of this file is possible; `reason` is safe to log.

    Reasons: unsupported-type, broken, over-limit, time-limit, crashed, bad-output.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def is_time_limit(self) -> bool:
        """Whether rendering took too long."""
        return self.reason == "time-limit"


class PreviewUnavailable(Exception):
    """The preview cannot be rendered now (no process, descriptor or source); can be retried."""


class PreviewRenderer:
    """Renders at most `parallel` previews at the same time; further callers wait."""

    def __init__(self, *, parallel: int = 1) -> None:
        self._permits = asyncio.Semaphore(parallel)
        # By path, not by -m: isolated mode (-I) sees no package that only PYTHONPATH points at.
        child = Path(__file__).with_name("child.py")
        self._command: Sequence[str] = (sys.executable, "-I", "-B", str(child))

    async def render(
        self, source: Path, media_type: str, size: PreviewSize, page: int = 1
    ) -> RenderedPreview:
        """Render a page of a file, in at most 15 s after waiting.

        Raises `NoSuchPage`, `PreviewFailed` if the file cannot be rendered and
        `PreviewUnavailable` for other reasons. Cancellation kills the child.
        """
        if media_type not in _KINDS:
            raise PreviewFailed("unsupported-type")
        command = (*self._command, _KINDS[media_type], str(_SIDES[size]), str(page))
        async with self._permits:
            try:
                output = await _run(command, source)
            except NoSuchPage:
                if page == 1:
                    raise PreviewFailed("broken") from None
                raise
            except OSError as error:
                raise PreviewUnavailable(error.strerror) from error
        return _parse_output(output, _SIDES[size])


async def _run(command: Sequence[str], source: Path) -> bytes:
    """Return the output of the command, with the source as its standard input."""
    async with _open_output() as (reader, write_end):
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
            # If a second cancellation ends this wait, asyncio still reaps the child.
            await process.wait()
    _check_exit(code)
    if survivors:
        raise PreviewFailed("crashed")
    return output


@asynccontextmanager
async def _open_output() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    """Yield a reader, and the end that the child inherits and that is then to be closed.

    A pair of sockets. Not asyncio's PIPE: with that, Python 3.11's `Process.wait` also waits for
    every process that has inherited the pipe, and no public function closes it. Not
    `connect_read_pipe`: uvloop closes its descriptor twice, and the second time the number may
    belong to another file.
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
    """Start the command with the source as its standard input, and an empty environment."""
    source_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=source_fd,
            stdout=output.fileno(),
            # Discarded: messages of parsers could quote the file.
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
    """Kill what is left of a child's process group; return whether anything was."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _check_exit(code: int) -> None:
    if code == EXIT_NO_PARSER:
        raise PreviewUnavailable("no parser installed")
    if code == EXIT_NO_SUCH_PAGE:
        raise NoSuchPage
    if code != 0:
        raise PreviewFailed(_REASONS.get(code, "crashed"))


def _parse_output(output: bytes, side: int) -> RenderedPreview:
    """Parse and validate the output of the child, which a hostile file may control."""
    line, _, body = output.partition(b"\n")
    try:
        header = json.loads(line[:_MAX_HEADER_BYTES])
        media_type, length = header["media_type"], header["length"]
        width, height, pages = header["width"], header["height"], header["pages"]
        signature = _SIGNATURES[media_type]
    except (ValueError, TypeError, KeyError):
        raise PreviewFailed("bad-output") from None
    has_valid_size = all(type(value) is int and 1 <= value <= side for value in (width, height))
    has_valid_pages = pages is None or (type(pages) is int and 1 <= pages <= _MAX_PAGES)
    if (
        not (has_valid_size and has_valid_pages)
        or length != len(body)
        or not body.startswith(signature)
    ):
        raise PreviewFailed("bad-output")
    return RenderedPreview(media_type, body, width, height, pages)
