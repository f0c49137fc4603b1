"""SQL about upload sessions."""

from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from docvault.auth.principals import Caller
from docvault.errors import DocumentTypeUnknown
from docvault.models import Blob, DocumentType, UploadSession, new_id
from docvault.repositories.base import Repository
from docvault.rules.field_values import FieldValueChanges
from docvault.rules.upload_sessions import (
    KEPT_AFTER_END,
    SESSION_LIFETIME,
    UploadSessionFacts,
    UploadSessionState,
)

_IS_OPEN = UploadSession.completed_at.is_(None) & (UploadSession.expires_at > func.now())
_STATE: ColumnElement[str] = case(
    (UploadSession.completed_at.is_not(None), UploadSessionState.COMPLETED.value),
    (UploadSession.expires_at <= func.now(), UploadSessionState.EXPIRED.value),
    else_=UploadSessionState.PENDING.value,
)


class UploadSessionRepository(Repository):
    """Files that are announced and come by a signed URL."""

    async def add(
        self,
        *,
        customer_id: UUID,
        document_type_id: UUID,
        blob_id: UUID,
        filename: str,
        field_values: FieldValueChanges,
        created_by: Caller,
    ) -> UploadSessionFacts:
        """Open a session for an announced blob; raises `DocumentTypeUnknown`."""
        session_id = new_id()
        statement = insert(UploadSession).values(
            id=session_id,
            customer_id=customer_id,
            document_type_id=document_type_id,
            blob_id=blob_id,
            filename=filename,
            field_values=dict(field_values),
            created_by_kind=created_by.kind,
            created_by_id=created_by.id,
            expires_at=func.now() + SESSION_LIFETIME,
        )
        try:
            await self._session.execute(statement)
        except IntegrityError as error:
            # The type was deleted since the caller was let in.
            raise DocumentTypeUnknown from error
        added = await self.get(session_id)
        assert added is not None  # noqa: S101 - inserted two lines above
        return added

    async def get(self, session_id: UUID) -> UploadSessionFacts | None:
        """Return a session by its id alone."""
        return await self._one(UploadSession.id == session_id)

    async def find(
        self, customer_id: UUID, key: str, session_id: UUID
    ) -> UploadSessionFacts | None:
        """Return a session of a customer's slot."""
        return await self._one(
            UploadSession.id == session_id,
            UploadSession.customer_id == customer_id,
            DocumentType.key == key,
        )

    async def complete(self, session_id: UUID) -> bool:
        """End an open session; False when it is not open any more.

        Its field values are on the document now.
        """
        statement = (
            update(UploadSession)
            .where(
                UploadSession.id == session_id,
                _IS_OPEN,
                self._reachable(UploadSession.customer_id),
            )
            .values(completed_at=func.now(), field_values={})
            .returning(UploadSession.id)
        )
        return await self._session.scalar(statement) is not None

    async def delete(self, session_id: UUID) -> None:
        """Remove a session; its blob stays until it expires."""
        await self._session.execute(
            delete(UploadSession).where(
                UploadSession.id == session_id, self._reachable(UploadSession.customer_id)
            )
        )

    async def delete_of_customer(self, customer_id: UUID) -> None:
        """Remove every session of a customer."""
        await self._session.execute(
            delete(UploadSession).where(UploadSession.customer_id == customer_id)
        )

    async def delete_old(self) -> None:
        """Remove completed sessions a day after their time; the others go with their blobs."""
        await self._session.execute(
            delete(UploadSession).where(UploadSession.expires_at < func.now() - KEPT_AFTER_END)
        )

    async def _one(self, *conditions: ColumnElement[bool]) -> UploadSessionFacts | None:
        query = (
            select(UploadSession, Blob, _STATE)
            .join(Blob, Blob.id == UploadSession.blob_id)
            .join(DocumentType, DocumentType.id == UploadSession.document_type_id)
            .where(*conditions, self._reachable(UploadSession.customer_id))
            .execution_options(populate_existing=True)
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _facts(*row)


def _facts(row: UploadSession, blob: Blob, state: str) -> UploadSessionFacts:
    return UploadSessionFacts(
        id=row.id,
        state=UploadSessionState(state),
        blob_id=blob.id,
        blob_key=blob.key,
        size_bytes=blob.size_bytes,
        sha256=blob.sha256,
        filename=row.filename,
        field_values=row.field_values,
        created_by_kind=row.created_by_kind,
        created_by_id=row.created_by_id,
        expires_at=row.expires_at,
    )
