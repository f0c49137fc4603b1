"""An inspector: a child process that is started on demand and replaced when it fails."""

import asyncio
import logging
from pathlib import Path

from docvault.inspection.child_process import Child, InspectorLost, Source
from docvault.inspection.protocol import Outcome
from docvault.observability import metrics

log = logging.getLogger(__name__)


class InspectionUnavailable(Exception):
    """The file cannot be inspected now, for reasons other than the file."""


class Inspector:
    """Inspects one file at a time; a failed child process is replaced for the next file."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._child: Child | None = None
        self._is_closed = False
        # Ends a lost child and starts the next one.
        self._replacing: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a child is running, as far as is known."""
        return self._child is not None

    async def start(self) -> Child:
        """Return the child, started if necessary; raises `InspectionUnavailable`."""
        if self._child is not None and not self._child.is_alive():
            self._replace("killed")
        if self._replacing is not None:
            # Shielded: cancelling this caller must not cancel the replacement.
            await asyncio.shield(self._replacing)
            self._replacing = None
        if self._child is None and not self._is_closed:
            await self._start()
        if self._child is None:
            raise InspectionUnavailable("No inspector can be started.")
        return self._child

    async def inspect(self, source: Source) -> Outcome:
        """Return the outcome for a file; raises `InspectionUnavailable` and as `Child.inspect`."""
        child = await self.start()
        try:
            return await child.inspect(source)
        except InspectorLost as lost:
            self._replace(lost.reason)
            raise

    async def close(self) -> None:
        """End the child for good; an inspection in progress raises `InspectorLost`."""
        self._is_closed = True
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.wait([self._replacing])
        if self._child is not None:
            await self._child.close()
            self._child = None

    def _replace(self, reason: str) -> None:
        """Start replacing the child in the background."""
        metrics.INSPECTORS_REPLACED.labels(reason).inc()
        log.warning("an inspector is replaced: %s", reason)
        lost, self._child = self._child, None
        self._replacing = asyncio.create_task(self._restart(lost))

    async def _restart(self, lost: Child | None) -> None:
        if lost is not None:
            await lost.close()
        if not self._is_closed:
            await self._start()

    async def _start(self) -> None:
        try:
            self._child = await Child.start(self._program)
        except (OSError, InspectorLost) as error:
            log.error("no inspector can be started", exc_info=error)  # noqa: TRY400 - the cause is enough
