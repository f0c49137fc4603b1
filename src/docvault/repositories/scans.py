"""SQL about scanning stored files again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from docvault.models import (
    Blob,
    Document,
    DocumentFile,
    DocumentType,
    DocumentVersion,
    ScanPass,
)
from docvault.repositories.base import Repository
from docvault.rules.scans import ScanState, ScanVerdict


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A stored file, how it was scanned last, and where it belongs."""

    id: UUID
    number: int
    blob_key: str
    verdict: ScanVerdict
    customer_id: UUID
    type_key: str
    version: int


class ScanRepository(Repository):
    """Stored files as the scanner sees them; for the service itself, not for callers."""

    async def enter_pass(self, scanned_with: str, repeat_after: timedelta) -> ScanPass | None:
        """Return the pass to go on with, a new one when that is due; None when nothing is.

        A pass that is under way comes to its end before another begins, so that old files get
        their turn however often the signatures change.
        """
        is_due = or_(
            ScanPass.scanned_with != scanned_with, ScanPass.began_at <= func.now() - repeat_after
        )
        await self._session.execute(
            insert(ScanPass)
            .values(id=1, scanned_with=scanned_with)
            .on_conflict_do_update(
                index_elements=[ScanPass.id],
                set_={
                    "scanned_with": scanned_with,
                    "position": None,
                    "began_at": func.now(),
                    "finished_at": None,
                },
                where=ScanPass.finished_at.is_not(None) & is_due,
            )
        )
        return await self._session.scalar(select(ScanPass).where(ScanPass.finished_at.is_(None)))

    async def next_files(self, position: UUID | None, limit: int) -> Sequence[ScannedFile]:
        """Return up to `limit` files after this place, newest first."""
        query = (
            select(
                DocumentFile.id,
                DocumentFile.number,
                DocumentFile.scan,
                DocumentFile.scanned_with,
                Blob.key,
                Document.customer_id,
                DocumentType.key,
                DocumentVersion.number,
            )
            .join(Blob, Blob.id == DocumentFile.blob_id)
            .join(DocumentVersion, DocumentVersion.id == DocumentFile.version_id)
            .join(Document, Document.id == DocumentVersion.document_id)
            .join(DocumentType, DocumentType.id == Document.document_type_id)
            .order_by(DocumentFile.id.desc())
            .limit(limit)
        )
        if position is not None:
            query = query.where(DocumentFile.id < position)
        return [
            ScannedFile(
                id=file_id,
                number=number,
                blob_key=blob_key,
                verdict=ScanVerdict(ScanState(state), scanned_with),
                customer_id=customer_id,
                type_key=type_key,
                version=version,
            )
            for file_id, number, state, scanned_with, blob_key, customer_id, type_key, version in (
                await self._session.execute(query)
            )
        ]

    async def save(self, file_id: UUID, verdict: ScanVerdict) -> bool:
        """Keep a verdict; False when the file is gone."""
        statement = (
            update(DocumentFile)
            .where(DocumentFile.id == file_id)
            .values(scan=verdict.state, scanned_with=verdict.scanned_with)
            .returning(DocumentFile.id)
        )
        return await self._session.scalar(statement) is not None

    async def advance(self, position: UUID) -> None:
        """Record that the pass has dealt with a file and with all newer ones."""
        await self._session.execute(update(ScanPass).values(position=position))

    async def finish_pass(self) -> None:
        """Record that the pass has come to its end."""
        await self._session.execute(update(ScanPass).values(finished_at=func.now()))
