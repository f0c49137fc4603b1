"""SQL about previews."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from docvault.db.tables import BlobRow, DocumentFileRow, DocumentVersionRow, PreviewRow
from docvault.domain.previews import StoredPreview
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

# Nothing is rendered ahead of demand until no upload has arrived for this long.
PAUSE = timedelta(seconds=1)
# A version that has waited this long no longer waits for a pause.
PATIENCE = timedelta(minutes=15)
# Longer than all files of a version take. Afterwards they are tried again.
LEASE = timedelta(minutes=5)
# Versions of one customer that are rendered ahead of demand.
MAX_DUE_PER_CUSTOMER = 5


@dataclass(slots=True)
class _DueVersion:
    id: UUID


_CLAIM_DUE = load_statement("claim_due_previews", _DueVersion)

# All later ones are tried at each demand.
MAX_FAILED_PAGES = 1000


class PreviewRepository(Repository):
    """Rendered images of files."""

    async def find(self, file_id: UUID, page: int, size: str) -> StoredPreview | None:
        """Return a rendered preview."""
        query = (
            select(PreviewRow.media_type, BlobRow)
            .join(BlobRow, BlobRow.id == PreviewRow.blob_id)
            .where(
                PreviewRow.file_id == file_id,
                PreviewRow.page == page,
                PreviewRow.size == size,
                self._reachable(BlobRow.customer_id),
            )
        )
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            return None
        media_type, blob = row
        return StoredPreview(blob.key, media_type, blob.sha256, blob.size_bytes)

    async def add(
        self, file_id: UUID, page: int, size: str, *, blob_id: UUID, media_type: str
    ) -> bool:
        """Attach a preview; False if there is one already or the file is deleted."""
        file = await self._session.scalar(
            select(DocumentFileRow.id)
            .where(DocumentFileRow.id == file_id)
            .with_for_update(read=True)
        )
        if file is None:
            return False
        added = await self._session.scalar(
            insert(PreviewRow)
            .values(file_id=file_id, page=page, size=size, blob_id=blob_id, media_type=media_type)
            .on_conflict_do_nothing()
            .returning(PreviewRow.file_id)
        )
        return added is not None

    async def remove_oldest(self, file_id: UUID, *, keep: int) -> list[UUID]:
        """Remove all but the newest `keep` previews of pages after the first; return blobs."""
        oldest = (
            select(PreviewRow.blob_id)
            .join(BlobRow, BlobRow.id == PreviewRow.blob_id)
            .where(PreviewRow.file_id == file_id, PreviewRow.page > 1)
            .order_by(BlobRow.created_at.desc(), BlobRow.id.desc())
            .offset(keep)
        )
        removed = await self._session.scalars(
            delete(PreviewRow)
            .where(PreviewRow.blob_id.in_(oldest))
            .returning(PreviewRow.blob_id)
            .execution_options(synchronize_session=False)
        )
        return list(removed)

    async def is_renderable(self, file_id: UUID, page: int) -> bool:
        """Return whether the file exists and rendering neither it nor the page has failed."""
        failed = await self._session.scalar(
            select(
                DocumentFileRow.preview_failed
                | (literal(page) == func.any(DocumentFileRow.failed_pages))
            ).where(DocumentFileRow.id == file_id)
        )
        return failed is False

    async def mark_failed(self, file_id: UUID, page: int) -> None:
        """Record that a page cannot be rendered, so that it is not tried again.

        Without its first page, the file has no preview at all.
        """
        statement = update(DocumentFileRow).where(DocumentFileRow.id == file_id)
        failed_pages = DocumentFileRow.failed_pages
        await self._session.execute(
            statement.values(preview_failed=True)
            if page == 1
            else statement.where(func.cardinality(failed_pages) < MAX_FAILED_PAGES).values(
                failed_pages=func.array_append(failed_pages, page)
            )
        )

    async def set_pages(self, file_id: UUID, pages: int) -> None:
        """Record the number of pages of a file for which it was not known."""
        await self._session.execute(
            update(DocumentFileRow)
            .where(DocumentFileRow.id == file_id, DocumentFileRow.pages.is_(None))
            .values(pages=pages)
        )

    async def claim_due(self) -> UUID | None:
        """Claim a version whose previews are due, until it is finished or the lease ends."""
        rows = await self._rows(
            _CLAIM_DUE,
            {
                "pause": PAUSE,
                "patience": PATIENCE,
                "lease": LEASE,
                "max_others": MAX_DUE_PER_CUSTOMER - 1,
            },
        )
        return rows[0].id if rows else None

    async def finish(self, version_id: UUID) -> None:
        """Record that the previews of a version are rendered, or cannot be."""
        await self._session.execute(
            update(DocumentVersionRow)
            .where(DocumentVersionRow.id == version_id)
            .values(previews_due_at=None)
        )

    async def mark_due(self, version_id: UUID) -> None:
        """Let the previews of a version be rendered from now on."""
        await self._session.execute(
            update(DocumentVersionRow)
            .where(DocumentVersionRow.id == version_id)
            .values(previews_due_at=func.now())
        )

    async def release_all(self) -> None:
        """End every lease: at startup, if no other process can be rendering."""
        await self._session.execute(
            update(DocumentVersionRow)
            .where(DocumentVersionRow.previews_due_at > func.now())
            .values(previews_due_at=func.now())
        )

    async def waiting(self) -> tuple[int, float]:
        """Return how many versions wait for previews, and the age of the oldest in seconds."""
        age = func.extract("epoch", func.now() - func.min(DocumentVersionRow.uploaded_at))
        query = select(func.count(), func.coalesce(func.greatest(age, 0), 0)).where(
            DocumentVersionRow.previews_due_at.is_not(None)
        )
        number, seconds = (await self._session.execute(query)).one()
        return number, float(seconds)
