"""SQL about previews."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from docvault.models import Blob, DocumentFile, Preview
from docvault.repositories.base import Repository


class PreviewRepository(Repository):
    """Rendered pictures of files."""

    async def find(self, file_id: UUID, size: str) -> tuple[str, str, str, int] | None:
        """Return blob key, media type, SHA-256 and size in bytes of a rendered preview."""
        query = (
            select(Blob.key, Preview.media_type, Blob.sha256, Blob.size_bytes)
            .join(Blob, Blob.id == Preview.blob_id)
            .where(
                Preview.file_id == file_id,
                Preview.size == size,
                self._reachable(Blob.customer_id),
            )
        )
        return (await self._session.execute(query)).one_or_none()

    async def add(self, file_id: UUID, size: str, blob_id: UUID, media_type: str) -> bool:
        """Attach a preview; False when there is one already or the file is gone."""
        file = await self._session.scalar(
            select(DocumentFile.id).where(DocumentFile.id == file_id).with_for_update(read=True)
        )
        if file is None:
            return False
        added = await self._session.scalar(
            insert(Preview)
            .values(file_id=file_id, size=size, blob_id=blob_id, media_type=media_type)
            .on_conflict_do_nothing()
            .returning(Preview.file_id)
        )
        return added is not None

    async def mark_failed(self, file_id: UUID) -> None:
        """Record that the file cannot be rendered, so that nobody tries again."""
        await self._session.execute(
            update(DocumentFile).where(DocumentFile.id == file_id).values(preview_failed=True)
        )
