"""The pool of inspectors of a process."""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from uuid import UUID

from docvault.fair_lock import FairLock
from docvault.inspection import child
from docvault.inspection.child_process import InspectorLost, ReadBlock, Source
from docvault.inspection.inspector import InspectionUnavailable, Inspector
from docvault.inspection.protocol import Failed, Request
from docvault.inspection.result import Content, CorruptContent, ExtensionMismatch, UnknownContent
from docvault.observability import metrics

log = logging.getLogger(__name__)

INSPECTORS = 2
# How long a file may wait for an inspector; then the client has to retry.
WAIT_SECONDS = 20.0

_TOO_COMPLEX = "The file is too complex to inspect."
_NOT_INSPECTED = "The file cannot be inspected."
# What to tell the client when the file made the child fail.
_DETAILS = {
    "cpu": _TOO_COMPLEX,
    "memory": _TOO_COMPLEX,
    "crashed": _NOT_INSPECTED,
    "nonsense": _NOT_INSPECTED,
}
_RESULTS = [
    (CorruptContent, "refused"),
    (ExtensionMismatch, "refused"),
    (UnknownContent, "refused"),
    (InspectionUnavailable, "unavailable"),
]


class Inspectors:
    """Inspects a few files at a time: at most one of each owner, round-robin by owner.

    A child process is started when it is first needed, unless `start` has started all of them.
    """

    def __init__(self, program: Path = Path(child.__file__), number: int = INSPECTORS) -> None:
        self._lock = FairLock(number, WAIT_SECONDS)
        # Remote files depend on the store: however slow it is, one inspector is left for others.
        self._block_lock = FairLock(max(1, number - 1), WAIT_SECONDS)
        self._inspectors = [Inspector(program) for _ in range(number)]
        # The idle ones; the last one is used first.
        self._idle = list(self._inspectors)

    async def start(self) -> None:
        """Start all child processes; raises `InspectionUnavailable`."""
        await asyncio.gather(*(inspector.start() for inspector in self._inspectors))

    async def close(self) -> None:
        """End all child processes; an inspection in progress raises `InspectionUnavailable`."""
        for inspector in self._inspectors:
            await inspector.close()

    async def inspect_file(
        self, owner: UUID, path: Path, size_bytes: int, filename: str
    ) -> Content:
        """Inspect a local file.

        Raises `UnknownContent`, `CorruptContent` and `ExtensionMismatch` as `inspect` does,
        `CorruptContent` also for a file that exceeds a limit or crashes its inspector, and
        `InspectionUnavailable`. When cancelled, it waits for the inspection to end.
        """
        source = Source(Request(size_bytes, filename), path=path)
        return await self._wait_and_inspect(owner, source, nullcontext())

    async def inspect_blocks(
        self, owner: UUID, read_block: ReadBlock, size_bytes: int, filename: str
    ) -> Content:
        """Inspect a remote file, read in blocks of `BLOCK_BYTES`; see `inspect_file`.

        Exceptions of `read_block` are raised as well.
        """
        source = Source(Request(size_bytes, filename), read_block=read_block)
        return await self._wait_and_inspect(owner, source, self._block_lock.hold(owner))

    async def _wait_and_inspect(
        self, owner: UUID, source: Source, first: AbstractAsyncContextManager[None]
    ) -> Content:
        try:
            async with first, self._lock.hold(owner):
                return await self._inspect(source)
        except TimeoutError:
            raise InspectionUnavailable("All inspectors are busy.") from None

    async def _inspect(self, source: Source) -> Content:
        inspector = self._idle.pop()
        try:
            with metrics.observe_duration(metrics.INSPECTION_SECONDS, results=_RESULTS):
                return await _inspect_with(inspector, source)
        finally:
            # An inspector that is being replaced is used last.
            self._idle.insert(len(self._idle) if inspector.is_ready else 0, inspector)


async def _inspect_with(inspector: Inspector, source: Source) -> Content:
    try:
        reply = await inspector.inspect(source)
    except InspectorLost as lost:
        if lost.reason in _DETAILS:
            raise CorruptContent(_DETAILS[lost.reason]) from None
        raise InspectionUnavailable(f"The inspector was lost: {lost.reason}.") from None
    except OSError as error:
        raise InspectionUnavailable("The file cannot be opened.") from error
    match reply:
        case Content():
            return reply
        case Failed(kind):
            log.error("a file could not be inspected: %s", kind)
            raise CorruptContent(_NOT_INSPECTED)
        case refusal:
            raise refusal
