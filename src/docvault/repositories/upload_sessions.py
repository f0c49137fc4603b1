"""SQL about upload sessions."""

from dataclasses import asdict
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from docvault.db.tables import BlobRow, DocumentTypeRow, UploadSessionRow, new_id
from docvault.domain.actors import Actor
from docvault.domain.field_values import FieldValueChanges
from docvault.domain.upload_sessions import (
    KEPT_AFTER_END,
    SESSION_LIFETIME,
    BytesRefusal,
    UploadSession,
    UploadSessionState,
)
from docvault.errors import DocumentTypeNotFound
from docvault.repositories.base import Repository

_IS_OPEN = UploadSessionRow.completed_at.is_(None) & (UploadSessionRow.expires_at > func.now())
_STATE: ColumnElement[str] = case(
    (UploadSessionRow.completed_at.is_not(None), UploadSessionState.COMPLETED.value),
    (UploadSessionRow.expires_at <= func.now(), UploadSessionState.EXPIRED.value),
    else_=UploadSessionState.PENDING.value,
)


class UploadSessionRepository(Repository):
    """Declared files whose bytes are sent to a signed URL."""

    async def add(
        self,
        *,
        customer_id: UUID,
        document_type_id: UUID,
        blob_id: UUID,
        filename: str,
        field_values: FieldValueChanges,
        appends: bool,
        created_by: Actor,
    ) -> UploadSession:
        """Open a session for a reserved blob; raises `DocumentTypeNotFound`."""
        session_id = new_id()
        statement = insert(UploadSessionRow).values(
            id=session_id,
            customer_id=customer_id,
            document_type_id=document_type_id,
            blob_id=blob_id,
            filename=filename,
            field_values=dict(field_values),
            appends=appends,
            created_by_kind=created_by.kind,
            created_by_id=created_by.id,
            expires_at=func.now() + SESSION_LIFETIME,
        )
        try:
            await self._session.execute(statement)
        except IntegrityError as error:
            # The type was deleted after authorization.
            raise DocumentTypeNotFound from error
        query = self._query(UploadSessionRow.id == session_id)
        return _to_session(*(await self._session.execute(query)).one())

    async def get(self, session_id: UUID) -> UploadSession | None:
        """Return a session by its id."""
        return await self._one(UploadSessionRow.id == session_id)

    async def find(self, customer_id: UUID, key: str, session_id: UUID) -> UploadSession | None:
        """Return a session of a customer's document."""
        return await self._one(
            UploadSessionRow.id == session_id,
            UploadSessionRow.customer_id == customer_id,
            DocumentTypeRow.key == key,
        )

    async def complete(self, session_id: UUID) -> bool:
        """Complete an open session; False if it is not open any more.

        Its field values are deleted: they are saved with the document.
        """
        statement = (
            update(UploadSessionRow)
            .where(
                UploadSessionRow.id == session_id,
                _IS_OPEN,
                self._reachable(UploadSessionRow.customer_id),
            )
            .values(completed_at=func.now(), field_values={})
            .returning(UploadSessionRow.id)
        )
        return await self._session.scalar(statement) is not None

    async def refuse(self, session_id: UUID, refusal: BytesRefusal) -> None:
        """Record why the bytes of a session were refused."""
        await self._session.execute(
            update(UploadSessionRow)
            .where(UploadSessionRow.id == session_id, self._reachable(UploadSessionRow.customer_id))
            .values(refusal=asdict(refusal))
        )

    async def delete(self, session_id: UUID) -> None:
        """Delete a session; its blob stays until it expires."""
        await self._session.execute(
            delete(UploadSessionRow).where(
                UploadSessionRow.id == session_id, self._reachable(UploadSessionRow.customer_id)
            )
        )

    async def delete_of_customer(self, customer_id: UUID) -> None:
        """Delete every session of a customer."""
        await self._session.execute(
            delete(UploadSessionRow).where(UploadSessionRow.customer_id == customer_id)
        )

    async def delete_old(self) -> None:
        """Delete completed sessions a day after they expired; others go with their blobs."""
        await self._session.execute(
            delete(UploadSessionRow).where(
                UploadSessionRow.expires_at < func.now() - KEPT_AFTER_END
            )
        )

    async def _one(self, *conditions: ColumnElement[bool]) -> UploadSession | None:
        row = (await self._session.execute(self._query(*conditions))).one_or_none()
        return None if row is None else _to_session(*row)

    def _query(self, *conditions: ColumnElement[bool]) -> Select[UploadSessionRow, BlobRow, str]:
        return (
            select(UploadSessionRow, BlobRow, _STATE)
            .join(BlobRow, BlobRow.id == UploadSessionRow.blob_id)
            .join(DocumentTypeRow, DocumentTypeRow.id == UploadSessionRow.document_type_id)
            .where(*conditions, self._reachable(UploadSessionRow.customer_id))
            .execution_options(populate_existing=True)
        )


def _to_session(row: UploadSessionRow, blob: BlobRow, state: str) -> UploadSession:
    return UploadSession(
        id=row.id,
        state=UploadSessionState(state),
        blob_id=blob.id,
        blob_key=blob.key,
        size_bytes=blob.size_bytes,
        sha256=blob.sha256,
        filename=row.filename,
        field_values=row.field_values,
        appends=row.appends,
        created_by_kind=row.created_by_kind,
        created_by_id=row.created_by_id,
        expires_at=row.expires_at,
        refusal=None if row.refusal is None else BytesRefusal(**row.refusal),
    )
