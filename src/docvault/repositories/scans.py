"""SQL about rescanning stored files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from docvault.db.tables import (
    BlobRow,
    DocumentFileRow,
    DocumentRow,
    DocumentTypeRow,
    DocumentVersionRow,
    ScanPassRow,
)
from docvault.domain.scans import ScanState, ScanVerdict
from docvault.repositories.base import Repository


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A stored file, its last verdict, and the document it belongs to."""

    id: UUID
    number: int
    blob_key: str
    verdict: ScanVerdict
    customer_id: UUID
    type_key: str
    version: int


@dataclass(frozen=True, slots=True)
class ScanPass:
    """An unfinished pass, and the last file it handled."""

    position: UUID | None


class ScanRepository(Repository):
    """Stored files for rescanning; not limited by the access."""

    async def enter_pass(self, scanned_with: str, repeat_after: timedelta) -> ScanPass | None:
        """Return the pass to continue, or a new one if due; None if nothing is due.

        A pass finishes before the next one begins, so that old files are scanned however often
        the signatures change.
        """
        is_due = or_(
            ScanPassRow.scanned_with != scanned_with,
            ScanPassRow.began_at <= func.now() - repeat_after,
        )
        await self._session.execute(
            insert(ScanPassRow)
            .values(id=1, scanned_with=scanned_with)
            .on_conflict_do_update(
                index_elements=[ScanPassRow.id],
                set_={
                    "scanned_with": scanned_with,
                    "position": None,
                    "began_at": func.now(),
                    "finished_at": None,
                },
                where=ScanPassRow.finished_at.is_not(None) & is_due,
            )
        )
        row = await self._session.scalar(
            select(ScanPassRow).where(ScanPassRow.finished_at.is_(None))
        )
        return None if row is None else ScanPass(row.position)

    async def next_files(self, position: UUID | None, limit: int) -> Sequence[ScannedFile]:
        """Return up to `limit` files after this position, newest first."""
        query = (
            select(
                DocumentFileRow.id,
                DocumentFileRow.number,
                DocumentFileRow.scan,
                DocumentFileRow.scanned_with,
                BlobRow.key,
                DocumentRow.customer_id,
                DocumentTypeRow.key,
                DocumentVersionRow.number,
            )
            .join(BlobRow, BlobRow.id == DocumentFileRow.blob_id)
            .join(DocumentVersionRow, DocumentVersionRow.id == DocumentFileRow.version_id)
            .join(DocumentRow, DocumentRow.id == DocumentVersionRow.document_id)
            .join(DocumentTypeRow, DocumentTypeRow.id == DocumentRow.document_type_id)
            .order_by(DocumentFileRow.id.desc())
            .limit(limit)
        )
        if position is not None:
            query = query.where(DocumentFileRow.id < position)
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
        """Save a verdict for all files with these bytes; False if the file is deleted."""
        blob = select(DocumentFileRow.blob_id).where(DocumentFileRow.id == file_id)
        saved = await self._session.scalars(
            update(DocumentFileRow)
            .where(DocumentFileRow.blob_id == blob.scalar_subquery())
            .values(scan=verdict.state, scanned_with=verdict.scanned_with)
            .returning(DocumentFileRow.id)
            .execution_options(synchronize_session=False)
        )
        return file_id in saved.all()

    async def advance(self, position: UUID) -> None:
        """Record that the pass has handled a file and all newer ones."""
        await self._session.execute(update(ScanPassRow).values(position=position))

    async def finish_pass(self) -> None:
        """Record that the pass is finished."""
        await self._session.execute(update(ScanPassRow).values(finished_at=func.now()))
